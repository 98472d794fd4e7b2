// Bytes on their way over TLS on both sides: nothing lost, nothing out of order, no more held than fits.

import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { FakeBackend } from '../harness/fake-backend.js'
import { eventually, startPooler, type TestPooler } from '../harness/pooler.js'
import { createDatabase, postgres, query as queryServer, type TestDatabase } from '../harness/postgres.js'
import { copyData, copyDone, extended, query, RawClient as Raw, type RawClient, sync } from '../harness/raw-client.js'
import { clientTlsFiles, Folder, openTls, startTlsFront } from '../harness/tls.js'

let folder: Folder
let front: FakeBackend
let database: TestDatabase
let pooler: TestPooler

beforeAll(async () => {
  folder = await Folder.open(clientTlsFiles)
  front = await startTlsFront(postgres().primary.port)
  database = await createDatabase()
  pooler = await startPooler(
    {
      ...folder.clientTls,
      client_tls_sslmode: 'require',
      server_tls_sslmode: 'verify-full',
      server_tls_ca_file: folder.file('clients.crt'),
      default_pool_size: 2,
    },
    { server: front },
  )
})
afterAll(async () => {
  await pooler[Symbol.asyncDispose]()
  await front[Symbol.asyncDispose]()
  await database.drop()
  await folder[Symbol.asyncDispose]()
})

async function connect(): Promise<RawClient> {
  const client = await openTls(pooler.port)
  await client.logIn({ parameters: { user: 'postgres', database: database.name } })
  return client
}

const rows = (count: number, width: number): string =>
  `select i, repeat(chr(65 + i % 26), i % ${width}) from generate_series(1, ${count}) i`

/** Digest and size of an answer, byte for byte as it comes. */
async function digest(client: RawClient, text: string): Promise<{ digest: string; size: number }> {
  const hash = createHash('sha256')
  let size = 0
  const { stream } = client
  stream.removeAllListeners('data')
  await new Promise<void>((resolve) => {
    let tail: Buffer = Buffer.alloc(0)
    stream.on('data', (chunk: Buffer) => {
      hash.update(chunk)
      size += chunk.length
      tail = Buffer.concat([tail, chunk]).subarray(-6)
      if (tail.equals(Buffer.from('Z\0\0\0\x05I'))) resolve()
    })
    stream.write(query(text))
  })
  return { digest: hash.digest('hex'), size }
}

describe('with TLS on both sides', () => {
  test('a big answer is the one that comes without', async () => {
    const text = rows(20_000, 4000)
    const { primary, roles } = postgres()
    const { user, password } = roles.plain_user
    await using direct = await Raw.connect({ ...primary, password, parameters: { user, database: database.name } })
    const expected = await digest(direct, text)
    expect(expected.size).toBeGreaterThan(30_000_000)
    await using client = await connect()
    expect(await digest(client, text)).toEqual(expected)
  })

  test('what a slow reader does not take stays with the server, and comes when it is wanted', async () => {
    await using client = await connect()
    client.stream.pause()
    const held = (): number => process.memoryUsage().arrayBuffers
    const before = held()
    client.send(query(`/* slow reader */ ${rows(40_000, 4000)}`))
    const blocked = `select 1 from pg_stat_activity where query like '/* slow reader */%' and wait_event = 'ClientWrite'`
    await eventually(async () => (await queryServer(blocked)).length === 1)
    expect(held() - before).toBeLessThan(40_000_000) // half of the answer; most of it is garbage
    await using quick = await connect()
    expect(await quick.ask(query('select 1'))).toContain('D 1') // others go on meanwhile
    client.stream.resume()
    expect((await client.answer()).length).toBe(40_003)
  })

  test('exchanges sent all at once are answered in their order, however the bytes are cut', async () => {
    await using client = await connect()
    const count = 300
    const all = Buffer.concat(
      Array.from({ length: count }, (_, n) => Buffer.concat([extended('select $1::int', [String(n)]), sync])),
    )
    for (let at = 0, size = 1; at < all.length; at += size, size = 1 + ((size * 7) % 997)) {
      client.stream.write(all.subarray(at, at + size))
    }
    const values = (await client.answer(count)).filter((line) => line.startsWith('D '))
    expect(values).toEqual(Array.from({ length: count }, (_, n) => `D ${n}`))
  })

  test('a big COPY goes in whole', async () => {
    await using client = await connect()
    await client.ask(query('create table lines (line text)'))
    client.send(query('copy lines from stdin'))
    expect(await client.line()).toBe('G')
    const line = `${'x'.repeat(999)}\n`
    for (let n = 0; n < 200; n++) client.send(copyData(line.repeat(100)))
    expect(await client.send(copyDone).answer()).toEqual(['C COPY 20000', 'Z I'])
    expect(await client.ask(query('select count(*), sum(length(line)) from lines'))).toContain('D 20000|19980000')
  })

  test('a client that vanishes in the middle of a big answer leaves the pool whole', async () => {
    for (let n = 0; n < 4; n++) {
      const client = await connect()
      client.send(query(rows(20_000, 4000)))
      await client.line()
      client.stream.destroy()
    }
    await using client = await connect()
    expect(await client.ask(query('select 1'))).toContain('D 1')
    await pooler.until(
      'SHOW POOLS',
      (row) => row.database === database.name && row.cl_active === 1 && row.sv_active === 0,
    )
  })
})
