// Clients that keep their server while they hold what cannot be carried (`session_state = track`).

import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDatabase, query, type TestDatabase } from '../harness/postgres.js'
import * as wire from '../harness/raw-client.js'
import { become, clientsOf, pid, track, value } from './sessions.js'

let database: TestDatabase

beforeAll(async () => {
  database = await createDatabase()
})
afterAll(async () => {
  await database.drop()
})

const { connect, raw } = clientsOf(() => database.name)

test.each<[what: string, begin: string, end: string[], shown: string]>([
  ['LISTEN', 'LISTEN a', ['UNLISTEN b', 'UNLISTEN a'], 'listen'],
  ['an advisory lock', 'SELECT pg_advisory_lock(1)', ['SELECT pg_advisory_unlock(1)'], 'locks'],
  ['one that was tried for', 'SELECT pg_try_advisory_lock_shared(1)', ['SELECT pg_advisory_unlock_all()'], 'locks'],
  [
    'one taken twice',
    'SELECT pg_advisory_lock(1), pg_advisory_lock(1)',
    ['SELECT pg_advisory_unlock(1)', 'SELECT pg_advisory_unlock(1)'],
    'locks',
  ],
  ['a lock that outlasts its transaction', 'BEGIN; SELECT pg_advisory_lock(1); ROLLBACK', ['DISCARD ALL'], 'locks'],
  [
    'a temporary table',
    'CREATE TEMP TABLE t AS SELECT 1 AS a',
    ['BEGIN; DROP TABLE t; ROLLBACK', 'DROP TABLE t'],
    'temp',
  ],
  ['a temporary view', 'CREATE TEMPORARY VIEW t AS SELECT 1', ['DISCARD TEMP'], 'temp'],
  [
    'a temporary function',
    "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    ['DROP FUNCTION pg_temp.f'],
    'temp',
  ],
  ['a cursor', 'DECLARE c CURSOR WITH HOLD FOR SELECT 1', ['CLOSE c'], 'cursors'],
  ['a cursor of a transaction', 'BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1; COMMIT', ['CLOSE ALL'], 'cursors'],
])('%s keeps a client on its server until it ends', async (_, begin, end, shown) => {
  await using pooler = await track()
  const one = await connect(pooler)
  const other = await connect(pooler)
  await one.query(begin)
  await pooler.until('clients', (row) => row.session === `pinned: ${shown}` && row.state === 'active')
  const waiting = other.query('SELECT 1')
  await pooler.until('pools', (row) => row.cl_waiting === 1)
  for (const statement of end.slice(0, -1)) await one.query(statement)
  await one.query('SELECT 1')
  await become(pooler, [`pinned: ${shown}`, ''])
  await pooler.until('pools', (row) => row.cl_waiting === 1)
  await one.query(end.at(-1)!)
  await waiting
  await become(pooler, ['', ''])
})

test.each([
  'BEGIN; LISTEN a; ROLLBACK',
  'BEGIN; SELECT pg_advisory_xact_lock(1); COMMIT',
  'BEGIN; CREATE TEMP TABLE t (a int) ON COMMIT DROP; COMMIT',
  'BEGIN; CREATE TEMP TABLE t (a int); ROLLBACK',
  'CREATE TEMP TABLE t (a int); DROP TABLE t',
  'BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1; CLOSE c; COMMIT',
  'SELECT pg_advisory_lock(1); SELECT pg_advisory_unlock(1)',
  'PREPARE p AS SELECT pg_advisory_lock(1)',
])('nothing is left of %s, so the client is free', async (text) => {
  await using pooler = await track()
  const one = await connect(pooler)
  const other = await connect(pooler)
  await one.query(text)
  await other.query('SELECT 1')
  await become(pooler, ['', ''])
})

test('a lock that somebody else has does not keep the client that tried for it', async () => {
  await using pooler = await track({ default_pool_size: 2 })
  const holder = await connect(pooler)
  const one = await connect(pooler)
  const other = await connect(pooler)
  await holder.query('SELECT pg_advisory_lock(1)')
  expect((await one.query('SELECT pg_try_advisory_lock(1) AS got')).rows).toEqual([{ got: false }])
  await other.query('SELECT 1')
  await become(pooler, ['pinned: locks', '', ''])
})

test('notifications reach a client that listens, idle or not, and all of them', async () => {
  await using pooler = await track({ default_pool_size: 2 })
  const one = await connect(pooler)
  const other = await connect(pooler)
  const heard: (string | undefined)[] = []
  one.on('notification', ({ payload }) => heard.push(payload))
  await one.query('LISTEN a')
  await other.query("NOTIFY a, 'idle'")
  await pooler.settles(() => heard.length === 1)
  // Each of these has the server asked, again and again, while notifications come in.
  let sent = 1
  const busy = (async () => {
    for (let i = 0; i < 200; i++) await one.query('CREATE TEMP TABLE t (); DROP TABLE t')
  })()
  const notifier = (async () => {
    while (sent < 400) await other.query(`NOTIFY a, '${sent++}'`)
  })()
  await Promise.all([busy, notifier])
  await pooler.settles(() => heard.length === 400)
  expect(heard.slice(1)).toEqual(Array.from({ length: 399 }, (_, at) => String(at + 1)))
})

test('what a client held is gone when it has left, and its server goes on', async () => {
  await using pooler = await track()
  const one = await raw(pooler)
  const own = (await one.ask(wire.query('SELECT pg_backend_pid()')))[1]
  await one.ask(wire.query("LISTEN a; SELECT pg_advisory_lock(2); CREATE TEMP TABLE t (); SET app.a = 'x'"))
  await one.ask(wire.query('DECLARE c CURSOR WITH HOLD FOR SELECT 1'))
  await become(pooler, ['pinned: listen, locks, temp, cursors; settings: 1'])
  await one.end()
  const other = await connect(pooler)
  expect(`D ${await pid(other)}`).toBe(own)
  const left = await other.query(`SELECT (SELECT count(*) FROM pg_listening_channels())
    + (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())
    + (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema())
    + (SELECT count(*) FROM pg_cursors WHERE is_holdable) + length(current_setting('app.a')) AS left`)
  expect(left.rows).toEqual([{ left: '0' }])
})

test.each([
  'in a transaction',
  'in a failed transaction',
  'in the middle of a statement',
  'in the middle of a message',
])('a client that vanishes %s leaves no lock behind', async (when) => {
  await using pooler = await track()
  const one = await raw(pooler)
  await one.ask(wire.query('BEGIN; SELECT pg_advisory_lock(3)'))
  if (when.includes('failed')) await one.ask(wire.query('SELECT 1/0'))
  if (when.includes('statement')) {
    one.send(wire.query('SELECT pg_sleep(1000)'))
    await pooler.settles(
      async () =>
        (await query("SELECT 1 FROM pg_stat_activity WHERE query LIKE '%sleep(1000)%' AND pid <> pg_backend_pid()"))
          .length === 1,
    )
  }
  if (when.includes('message')) one.send(wire.query('SELECT 1').subarray(0, 7))
  one.vanish()
  const other = await connect(pooler)
  // The lock goes with the server, which may take a moment.
  await other.query('SELECT pg_advisory_lock(3)')
  await become(pooler, ['pinned: locks'])
})

test('a client that leaves while its server is being asked does not take the server with it', async () => {
  await using pooler = await track()
  const pids = new Set<string | undefined>()
  for (let i = 0; i < 30; i++) {
    const one = await raw(pooler)
    pids.add((await one.ask(wire.query("BEGIN; SET app.a = 'x'; SELECT pg_backend_pid(); COMMIT")))[3])
    one.send(wire.query('BEGIN; SET app.b = 1; SELECT pg_advisory_lock(4); COMMIT'))
    await one.answer()
    await one.end()
  }
  expect(pids.size).toBe(1)
  const other = await connect(pooler)
  expect(await value(other, 'app.b')).toBe('')
  const locks = await query(`SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 4`)
  expect(locks).toEqual([])
})

test('a CancelRequest hits the query of a client that is held, never what the pooler asks for it', async () => {
  await using pooler = await track()
  const one = await raw(pooler)
  await one.ask(wire.query('LISTEN a'))
  one.send(wire.query('SELECT pg_sleep(1000)'))
  await pooler.settles(
    async () =>
      (await query("SELECT 1 FROM pg_stat_activity WHERE query LIKE '%sleep(1000)%' AND wait_event = 'PgSleep'"))
        .length === 1,
  )
  await wire.cancel(pooler.port, one.key)
  expect((await one.answer())[1]).toBe('E ERROR 57014 canceling statement due to user request')
  for (let i = 0; i < 40; i++) {
    const late = wire.cancel(pooler.port, one.key)
    const lines = await one.ask(wire.query(`BEGIN; SET app.a = ${i}; SELECT pg_advisory_lock(5); COMMIT`))
    await late
    if (lines.some((line) => line.startsWith('E ')))
      await one.ask(wire.query(`ROLLBACK; SET app.a = ${i}; SELECT pg_advisory_lock(5)`))
    await pooler.until('clients', (row) => row.session === 'pinned: listen, locks; settings: 1')
    expect((await one.ask(wire.query('SHOW app.a')))[1]).toBe(`D ${i}`)
  }
})

test('a client that is held by its server is closed with it, where server_fast_close wants that', async () => {
  await using pooler = await track({ server_fast_close: '1' })
  const one = await connect(pooler)
  const other = await connect(pooler)
  await one.query('LISTEN a')
  await become(pooler, ['pinned: listen', ''])
  pooler.pooler.admin.reconnect(database.name)
  await one.query('SELECT 1').catch(() => {})
  expect(String(await one.lost)).toContain('database configuration changed')
  await other.query('SELECT 1')
})
