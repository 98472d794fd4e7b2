// What a client asked before its Terminate, or before it closed its side, is carried out and answered, as PostgreSQL does.

import type { Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { startPooler, type TestPooler, untilItSleeps } from '../harness/pooler.js'
import { query as ask, createDatabase, needs, postgres, type TestDatabase } from '../harness/postgres.js'
import {
  bind,
  copyData,
  copyDone,
  copyFail,
  execute,
  extended,
  flush,
  parse,
  query,
  RawClient,
  sync,
  terminate,
} from '../harness/raw-client.js'
import { clientTlsFiles, Folder, openTls } from '../harness/tls.js'

const user = 'trust_user'
let database: TestDatabase
beforeAll(async () => {
  database = await createDatabase()
})
afterAll(() => database.drop())
beforeEach(async () => {
  await ask('drop table if exists t; create table t (n int); grant all on t to public', { database: database.name })
})

const rows = async (): Promise<number[]> => {
  const found = await ask('select n from t order by n', { database: database.name })
  return found.map(({ n }) => Number(n))
}

/** How a client may say that nothing more will come. */
type Part = (client: RawClient, bytes: Buffer[]) => void
const partings: Readonly<Record<string, Part>> = {
  'Terminate in the same packet': (client, bytes) => client.send(...bytes, terminate),
  'the end of its side right behind': (client, bytes) => client.stream.end(Buffer.concat(bytes)),
  'Terminate, and the end of its side': (client, bytes) => client.stream.end(Buffer.concat([...bytes, terminate])),
}

const scenes: Readonly<Record<string, readonly Buffer[]>> = {
  nothing: [],
  'a query': [query('insert into t values (1) returning n')],
  'several queries': [query('insert into t values (1)'), query('select 1 / 0'), query('insert into t values (2)')],
  'a query that takes its time': [query('select pg_sleep(0.2)'), query('insert into t values (1)')],
  'batches, pipelined': [
    extended('insert into t values ($1)', ['1']),
    sync,
    extended('select 1 / 0'),
    extended('insert into t values (9)'),
    sync,
    parse('insert into t values ($1)', 'named'),
    bind(['2'], 'named'),
    execute(),
    sync,
  ],
  'a transaction that is left open': [query('begin'), query('insert into t values (1)')],
  'a batch without its Sync, behind others': [
    query('insert into t values (1)'),
    extended('insert into t values (2)'),
    flush,
  ],
  'a query in a batch': [parse('select 1'), query('insert into t values (1)')],
  'a query in a batch that has failed': [extended('select 1 / 0'), query('insert into t values (1)')],
  'a COPY': [query('copy t from stdin'), copyData('1\n'), copyDone],
  'a COPY without its end': [query('insert into t values (1)'), query('copy t from stdin'), copyData('2\n')],
  'a COPY out': [query('copy (select generate_series(1, 20000)) to stdout')],
  'a long answer': [query("select repeat('x', 1000) from generate_series(1, 5000)")],
}

describe.each(['transaction', 'session'] as const)('%s mode', (pool_mode) => {
  let pooler: TestPooler
  beforeAll(async () => {
    pooler = await startPooler({ pool_mode, default_pool_size: 1 })
  })
  afterAll(() => pooler[Symbol.asyncDispose]())
  afterEach(() => pooler.untilEmpty())

  describe.each(Object.entries(partings))('%s', (_how, part) => {
    test.for(Object.entries(scenes))('behind %s', async ([what, bytes], context) => {
      if (what === 'a COPY without its end') needs(14, 'what is no part of a COPY ends the connection there', context)
      const parameters = { user, database: database.name }
      const itself = await RawClient.connect({ ...postgres().primary, parameters })
      part(itself, [...bytes])
      const expected = { lines: await itself.toTheEnd(), rows: await rows() }
      await ask('truncate t', { database: database.name })

      const client = await pooler.raw(parameters)
      part(client, [...bytes])
      expect({ lines: await client.toTheEnd(), rows: await rows() }).toEqual(expected)
    })
  })
})

test('half a message at the end is not carried out, what stands before it is', async () => {
  await using pooler = await startPooler({ default_pool_size: 1 })
  const client = await pooler.raw({ user, database: database.name })
  client.stream.end(
    Buffer.concat([query('insert into t values (1)'), query('insert into t values (2)').subarray(0, 9)]),
  )
  expect(await client.toTheEnd()).toEqual(['C INSERT 0 1', 'Z I'])
  expect(await rows()).toEqual([1])
  await pooler.untilEmpty()
})

test('half a message that is no query, at the end: what stands before it is answered', async () => {
  await using pooler = await startPooler({ default_pool_size: 1 })
  const client = await pooler.raw({ user, database: database.name })
  const before = query('select pg_sleep(0.2); insert into t values (1)')
  client.stream.end(Buffer.concat([before, copyData('not a COPY').subarray(0, 9)]))
  expect(await client.toTheEnd()).toEqual(['T pg_sleep', 'D ', 'C SELECT 1', 'C INSERT 0 1', 'Z I'])
  expect(await rows()).toEqual([1])
  await pooler.untilEmpty()
})

const copies: Readonly<Record<string, readonly Buffer[]>> = {
  'a COPY that its client gives up': [query('copy t from stdin'), copyData('1\n'), sync, copyFail('enough')],
  'two COPYs': [query('copy t from stdin; copy t from stdin'), copyData('1\n'), copyDone, copyFail('enough')],
  'a COPY that fails': [query('copy t from stdin'), copyData('x\n'), sync, sync, copyFail('late')],
  'a COPY in a batch': [extended('copy t from stdin'), sync, copyData('1\n'), copyFail('enough'), sync],
  'a COPY that no Sync follows': [extended('copy t from stdin'), sync, copyData('1\n'), copyDone],
}

describe.each(Object.entries(copies))('%s, cut anywhere', (_what, pieces) => {
  // Of half a message, and of a batch without its end, it may be told less, and of a COPY without its Sync more.
  test('is answered nothing else than PostgreSQL says, and leaves no server behind', async () => {
    const bytes = Buffer.concat(pieces)
    const parameters = { user, database: database.name }
    await using pooler = await startPooler({ default_pool_size: 2 })
    const heard = async (client: RawClient, length: number): Promise<string[]> => {
      client.stream.end(bytes.subarray(0, length))
      return (await client.toTheEnd()).filter((line) => !line.includes('EOF') && !line.includes('synchronization'))
    }
    for (let length = 1; length <= bytes.length; length++) {
      const itself = await RawClient.connect({ ...postgres().primary, parameters })
      const expected = await heard(itself, length)
      const own = await heard(await pooler.raw(parameters), length)
      expect(own.slice(0, expected.length), `after ${length} bytes`).toEqual(expected.slice(0, own.length))
      expect(await rows()).toEqual([])
    }
    await pooler.untilEmpty()
    await pooler.until('SHOW POOLS', (row) => row.sv_active === 0)
  })
})

test.each(Object.entries(copies))('%s, sent before there is a server', async (_what, pieces) => {
  const parameters = { user, database: database.name }
  await using pooler = await startPooler({ default_pool_size: 1, query_wait_notify: 0 })
  const holder = await pooler.raw(parameters)
  for (let count = 1; count <= pieces.length; count++) {
    const itself = await RawClient.connect({ ...postgres().primary, parameters })
    itself.stream.end(Buffer.concat(pieces.slice(0, count)))
    const expected = await itself.toTheEnd()
    await holder.ask(query('begin'))
    const client = await pooler.raw(parameters)
    client.stream.end(Buffer.concat(pieces.slice(0, count)))
    await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 1)
    await holder.ask(query('commit'))
    const own = await client.toTheEnd()
    expect(own.slice(0, expected.length), `after ${count} messages`).toEqual(expected.slice(0, own.length))
    expect(await rows()).toEqual([])
  }
})

test.each(Object.entries(partings))('%s: what waits for a server is carried out, too', async (_how, part) => {
  await using pooler = await startPooler({ default_pool_size: 1, query_wait_notify: 0 })
  const holder = await pooler.raw({ user, database: database.name })
  await holder.ask(query('begin'))
  const client = await pooler.raw({ user, database: database.name })
  part(client, [query('insert into t values (1) returning n'), query('select 2 as x')])
  await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 1)
  await holder.ask(query('commit'))
  expect(await client.toTheEnd()).toEqual(['T n', 'D 1', 'C INSERT 0 1', 'Z I', 'T x', 'D 2', 'C SELECT 1', 'Z I'])
  expect(await rows()).toEqual([1])
})

test('who reads no more, and says so by a reset, ends what it had asked for', async () => {
  await using pooler = await startPooler({ default_pool_size: 1 })
  const client = await pooler.raw({ user, database: database.name })
  client.send(query('insert into t values (1); select pg_sleep(60)'))
  await untilItSleeps(database.name)
  client.vanish()
  await pooler.untilEmpty()
  expect(await rows()).toEqual([])
})

test('a client behind TLS is answered after it has closed its side', async () => {
  await using folder = await Folder.open(clientTlsFiles)
  await using pooler = await startPooler({ ...folder.clientTls, client_tls_sslmode: 'require' })
  await using client = await openTls(pooler.port)
  await client.logIn({ parameters: { user, database: database.name } })
  client.stream.end(Buffer.concat([query('insert into t values (1)'), query('select pg_sleep(0.1)')]))
  expect(await client.toTheEnd()).toEqual(['C INSERT 0 1', 'Z I', 'T pg_sleep', 'D ', 'C SELECT 1', 'Z I'])
})

test('the console answers before it closes', async () => {
  await using pooler = await startPooler()
  for (const part of Object.values(partings)) {
    const client = await pooler.raw({ database: 'pgbouncer' })
    part(client, [query('show version'), query('show version')])
    const lines = await client.toTheEnd()
    expect(lines.filter((line) => line.startsWith('Z'))).toEqual(['Z I', 'Z I'])
  }
})

test('a client whose side is closed counts as one until it is answered', async () => {
  await using pooler = await startPooler({ default_pool_size: 1 })
  const client = await pooler.raw({ user, database: database.name })
  ;(client.stream as Socket).end(query('select pg_sleep(0.3)'))
  await pooler.until('SHOW POOLS', (row) => row.cl_active === 1 && row.sv_active === 1)
  await client.ended
  await pooler.until('SHOW POOLS', (row) => row.cl_active === 0 && row.sv_idle === 1)
})
