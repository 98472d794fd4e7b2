// The pooler as part of a service: connections without a socket in between, several in one process, nothing left at the end.

import { createServer, type Socket } from 'node:net'
import pg from 'pg'
import { expect, test } from 'vitest'
import { createPooler, type Pooler } from '../../src/pooler.js'
import { libraryConfig as config, startLibrary as start } from '../harness/library-pooler.js'
import { eventually, startPooler } from '../harness/pooler.js'
import { query as ask, createDatabase } from '../harness/postgres.js'
import { bind, cancel, copyData, copyDone, execute, parse, query, RawClient, sync } from '../harness/raw-client.js'

async function connect(pooler: Pooler): Promise<pg.Client> {
  const client = new pg.Client({ user: 'service', database: 'shop', stream: () => pooler.connect() as Socket })
  client.on('error', () => {})
  await client.connect()
  return client
}

const login = { parameters: { user: 'service', database: 'shop' } }

test('a pg.Client takes a connection to it as its stream', async () => {
  const pooler = await start({ default_pool_size: 2 })
  const clients = await Promise.all(Array.from({ length: 20 }, () => connect(pooler)))
  const answers = await Promise.all(
    clients.map((client, n) => client.query('select $1::int as n, repeat($2, 50000) as x', [n, 'é'])),
  )
  expect(answers.map(({ rows }) => rows)).toEqual(clients.map((_, n) => [{ n, x: 'é'.repeat(50_000) }]))
  await expect(clients[0]!.query('select 1 / 0')).rejects.toMatchObject({ code: '22012' })
  // The second server may still be logging in: one was enough for all.
  await eventually(async () => {
    const pool = (await pooler.show('pools')).find((row) => row.database === 'shop')
    return pool?.cl_active === 20 && pool.sv_idle === 2
  })
  expect((await pooler.show('clients'))[0]).toMatchObject({ addr: 'unix', port: 0 })
  for (const client of clients) await client.end()
  await eventually(async () => (await pooler.show('clients')).length === 0)
})

test('a pg.Pool does, too', async () => {
  const pooler = await start({ default_pool_size: 2 })
  const pool = new pg.Pool({ user: 'service', database: 'shop', max: 10, stream: () => pooler.connect() as Socket })
  const answers = await Promise.all(Array.from({ length: 50 }, (_, n) => pool.query('select $1::int as n', [n])))
  expect(answers.map(({ rows }) => rows[0].n)).toEqual(Array.from({ length: 50 }, (_, n) => n))
  await pool.end()
})

test('such a connection is cut and joined like any other', async () => {
  const pooler = await start()
  const client = new RawClient(pooler.connect())
  await client.logIn(login)
  const said = Buffer.concat([parse('select $1::text as x', 's'), bind(['mine'], 's'), execute(), sync])
  for (let at = 0; at < said.length; at++) client.send(said.subarray(at, at + 1))
  expect(await client.answer()).toEqual(['1', '2', 'D mine', 'C SELECT 1', 'Z I'])
  await client.end()
})

test('it goes slow where its reader does', async () => {
  const pooler = await start()
  const client = new RawClient(pooler.connect())
  await client.logIn(login)
  client.stream.pause()
  client.send(query("select repeat('x', 1000000) as x from generate_series(1, 60)"))
  const counted = async (): Promise<unknown> =>
    (await pooler.show('stats')).find((row) => row.database === 'shop')?.total_sent
  let before: unknown
  await eventually(async () => {
    const now = await counted()
    const isStill = now === before && Number(now) > 0
    before = now
    return isStill
  })
  expect(Number(await counted())).toBeLessThan(20_000_000)
  client.stream.resume()
  expect((await client.answer()).length).toBe(63)
  await client.end()
})

test('two poolers in one process know nothing of each other', async () => {
  const [one, other] = [
    await start({ default_pool_size: 1 }),
    await start({ default_pool_size: 3, admin_users: 'service' }),
  ]
  const [first, second] = [await connect(one), await connect(other)]
  await first.query('begin')
  await second.query('begin')
  const pid = async (client: pg.Client): Promise<unknown> =>
    (await client.query('select pg_backend_pid() as pid')).rows[0].pid
  expect(await pid(first)).not.toBe(await pid(second))
  expect((await one.show('clients')).length).toBe(1)
  other.admin.kill('shop')
  await eventually(async () => (await other.show('clients')).length === 0)
  expect((await first.query('select 1 as one')).rows).toEqual([{ one: 1 }])
  await one.close()
  expect(await other.show('state')).toEqual(expect.any(Array))
})

test('sockets that were accepted elsewhere are served', async () => {
  const pooler = await start()
  const server = createServer({ pauseOnConnect: true }, (socket) => pooler.accept(socket))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  const client = await RawClient.connect({ port, ...login })
  expect(await client.ask(query('select 1 as x'))).toEqual(['T x', 'D 1', 'C SELECT 1', 'Z I'])
  await client.end()
  server.close()
})

test('one may stand in front of another', async () => {
  await using inner = await startPooler({ default_pool_size: 2 })
  await using outer = await startPooler({ default_pool_size: 4 }, { server: { host: '127.0.0.1', port: inner.port } })
  const parameters = { TimeZone: 'Asia/Tokyo' }
  const clients = await Promise.all(Array.from({ length: 12 }, () => outer.raw({ user: 'trust_user', parameters })))
  const work = clients.map(async (client, n) => {
    await client.ask(parse(`select $1::text || ' ${n % 3}' as x`, 's'), sync)
    for (let round = 0; round < 10; round++) {
      const lines = await client.ask(bind([`${n}.${round}`], 's'), execute(), sync)
      expect(lines).toEqual(['2', `D ${n}.${round} ${n % 3}`, 'C SELECT 1', 'Z I'])
      expect(await client.ask(query('show timezone'))).toContain('D Asia/Tokyo')
    }
  })
  await Promise.all(work)
  clients[0]!.send(query('select pg_sleep(60)'))
  await inner.until('SHOW POOLS', (row) => row.sv_active === 1)
  await cancel(outer.port, clients[0]!.key)
  expect((await clients[0]!.answer()).at(-2)).toBe('E ERROR 57014 canceling statement due to user request')
})

test('before it is started, and after it is closed, it says what to do', async () => {
  const pooler = createPooler({ config: config() })
  expect(() => pooler.connect()).toThrow(/start/)
  await expect(pooler.show('pools')).rejects.toThrow(/start/)
  await pooler.close()
  await pooler.close()
  await pooler.stopped
  await expect(pooler.start()).rejects.toThrow('the pooler has been closed')
})

test('a connection that it is given once it is closed is told so, and ended', async () => {
  const pooler = await start()
  await pooler.close()
  await expect(pooler.start()).rejects.toThrow('the pooler has been closed')
  const silent = pooler.connect()
  silent.resume()
  await new Promise((resolve) => silent.once('close', resolve))
  await expect(connect(pooler)).rejects.toThrow('server shutting down')
})

test('who came while it was suspended is not left behind when it is closed', async () => {
  const pooler = await start()
  await pooler.admin.suspend(new AbortController().signal)
  const parked = pooler.connect()
  parked.resume()
  await pooler.close()
  await new Promise((resolve) => parked.once('close', resolve))
})

test('a configuration that is wrong is refused before anything is opened', async () => {
  const pooler = createPooler({ config: { pgbouncer: { pool_mode: 'sometimes' as 'session' }, databases: {} } })
  await expect(pooler.listen()).rejects.toThrow(/pool_mode/)
  await pooler.close()
})

test('close leaves nothing: no connection and no listener', async () => {
  await using database = await createDatabase()
  const handles = (): string[] =>
    process.getActiveResourcesInfo().filter((name) => name !== 'Timeout' && name !== 'Immediate')
  await ask('select 1')
  const before = handles().sort()
  const pooler = await startPooler({ default_pool_size: 5 })
  const login = { user: 'trust_user', database: database.name }
  const clients = await Promise.all([1, 2, 3, 4, 5, 6, 7, 8].map(() => pooler.raw(login)))
  clients[0]!.send(query('select pg_sleep(60)'))
  await clients[1]!.ask(query('begin'))
  clients[2]!.send(query('create temporary table t (n int); copy t from stdin'), copyData('1\n'))
  clients[3]!.send(query('create temporary table t (n int); copy t from stdin'), copyData('1\n'), copyDone)
  await pooler.until('SHOW POOLS', (row) => row.database === database.name && Number(row.sv_active) >= 3)
  const half = await RawClient.open(pooler.port)
  await pooler[Symbol.asyncDispose]()
  for (const client of [...clients, half]) await client.ended
  await eventually(async () => {
    const left = await ask('select 1 from pg_stat_activity where datname = $1', { values: [database.name] })
    return left.length === 0
  })
  await eventually(() => handles().sort().join() === before.join())
  await expect(RawClient.open(pooler.port)).rejects.toThrow('ECONNREFUSED')
})
