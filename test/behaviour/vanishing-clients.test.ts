// Clients that are gone without a word, at any moment: their server serves the next one as if they had never been.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startPooler, type TestPooler, untilItSleeps } from '../harness/pooler.js'
import { query as ask, createDatabase, type TestDatabase } from '../harness/postgres.js'
import {
  bind,
  copyData,
  execute,
  extended,
  flush,
  functionCall,
  parse,
  query,
  type RawClient,
  sync,
} from '../harness/raw-client.js'

const user = 'trust_user'
let database: TestDatabase
beforeAll(async () => {
  database = await createDatabase()
  await ask('create table t (n int); grant all on t to public', { database: database.name })
})
afterAll(() => database.drop())

/** It gets a server at once, finds nothing of others on it, and all is counted rightly. */
async function isServed(pooler: TestPooler): Promise<void> {
  await using next = await pooler.raw({ user, database: database.name })
  const answer = await next.ask(query("select 'mine' as x, txid_current_if_assigned() as y, count(*) from t"))
  expect(answer).toEqual(['T x|y|count', 'D mine|(null)|0', 'C SELECT 1', 'Z I'])
  expect(await next.ask(extended('select $1::text as x', ['mine']), sync)).toContain('D mine')
  expect(next.unread).toEqual([])
  await next.end()
  await pooler.untilEmpty()
  await pooler.until('SHOW POOLS', (row) => row.sv_active === 0 && row.cl_active === 0 && row.sv_idle === 1)
  await pooler.settles(async () => {
    const [row] = await ask('select count(*)::int as n from pg_stat_activity where datname = $1', {
      values: [database.name],
    })
    return row?.n === 1
  })
}

/** In place of a line: the server has begun, and a cancel is not too early for it. */
const sleeps = 'sleeps'

const big = query(`select '${'x'.repeat(100_000)}'`)

/** What it says, and the line that is awaited before it leaves; `resets`: only a reset ends it, see half-closed.test.ts. */
const scenes: Readonly<Record<string, readonly [bytes: Buffer[], upTo: string, how?: 'resets']>> = {
  idle: [[query('select 1')], 'Z I'],
  'idle in a transaction': [[query('begin; insert into t values (1)')], 'Z T'],
  'idle in a transaction that has failed': [[query('begin; insert into t values (1); select 1 / 0')], 'Z E'],
  'within an exchange, nothing of which has been carried out': [[parse('select 1')], ''],
  'within an exchange, part of which has been carried out': [[extended('insert into t values (1)'), flush], 'C'],
  'with a portal open': [[parse('select generate_series(1, 1000)'), bind(), execute('', 2), flush], 's'],
  'while its query runs': [[query('insert into t values (1); select pg_sleep(10)')], sleeps, 'resets'],
  'while its query runs, and more is to come': [[query('select pg_sleep(10)'), query('select 1')], sleeps, 'resets'],
  'while its extended query runs': [
    [extended('select pg_sleep(10)'), sync, extended('select 1'), sync],
    sleeps,
    'resets',
  ],
  'in the middle of a header': [[query('select 1'), big.subarray(0, 3)], 'Z I'],
  'in the middle of a message': [[big.subarray(0, 50_000)], ''],
  'in the middle of a message that names a statement': [[parse(big.toString('latin1'), 's').subarray(0, 50_000)], ''],
  'in the middle of a function call': [[functionCall(177, '1', '2').subarray(0, 15)], ''],
  'before it has read a long answer': [
    [query("select repeat('x', 100000) from generate_series(1, 500)")],
    'T',
    'resets',
  ],
  'in the middle of COPY IN': [[query('copy t from stdin'), copyData('1\n')], 'G'],
  'in the middle of COPY IN, extended': [[extended('copy t from stdin'), sync, copyData('1\n')], 'G'],
  'in the middle of a message of COPY IN': [
    [query('copy t from stdin'), copyData('1\n'.repeat(999)).subarray(0, 99)],
    'G',
  ],
  'in the middle of COPY OUT': [[query('copy (select generate_series(1, 300000)) to stdout')], 'd', 'resets'],
  'after COPY IN has failed, with data under way': [
    [query('copy t from stdin'), copyData('x\n'), copyData('1\n')],
    'E',
  ],
}

describe.each(['transaction', 'session'] as const)('%s mode', (pool_mode) => {
  let pooler: TestPooler
  beforeAll(async () => {
    pooler = await startPooler({ pool_mode, default_pool_size: 1 })
  })
  afterAll(() => pooler[Symbol.asyncDispose]())

  test.each(Object.entries(scenes))('%s', async (_name, [bytes, upTo, resets]) => {
    for (const how of resets === undefined ? (['reset', 'end'] as const) : (['reset'] as const)) {
      await using client = await pooler.raw({ user, database: database.name })
      client.send(...bytes)
      await reach(client, upTo)
      if (how === 'reset') client.vanish()
      else client.stream.end()
      await isServed(pooler)
    }
  })

  async function reach(client: RawClient, upTo: string): Promise<void> {
    if (upTo === sleeps) await untilItSleeps(database.name)
    else if (upTo === '') await pooler.until('SHOW POOLS', (row) => row.sv_active === 1)
    else while (!(await client.line()).startsWith(upTo));
  }
})

test('while it waits for a server, or for its parameters to be set', async () => {
  await using pooler = await startPooler({ default_pool_size: 1 })
  const holder = await pooler.raw({ user, database: database.name })
  await holder.ask(query('begin'))
  for (let n = 0; n < 10; n++) {
    const client = await pooler.raw({ user, database: database.name, parameters: { application_name: `gone ${n}` } })
    client.send(query('insert into t values (1)'))
    await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 1)
    if (n < 8) client.vanish()
    if (n < 8) await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 0)
    else if (n === 8) {
      await holder.ask(query('commit')) // and now it is given a server
      client.vanish()
      await holder.ask(query('begin'))
    } else {
      client.vanish()
    }
  }
  await ask('truncate t', { database: database.name })
  await holder.end()
  await isServed(pooler)
})

test('one client after the other, each at another byte of what it has to say', async () => {
  const said = Buffer.concat([
    query('begin'),
    parse('insert into t values ($1)', 's'),
    bind(['1'], 's'),
    execute(),
    sync,
    query('copy t from stdin'),
    copyData('1\n'),
    query('select 1'),
  ])
  await using pooler = await startPooler({ default_pool_size: 1, max_client_conn: 1000 })
  for (let cut = 1; cut < said.length; cut++) {
    const client = await pooler.raw({ user, database: database.name })
    client.send(said.subarray(0, cut))
    if (cut % 3 > 0) await new Promise((resolve) => setImmediate(resolve))
    if (cut % 2 === 0) client.vanish()
    else client.stream.end()
  }
  await isServed(pooler)
})
