// Session state in transaction mode (`session_state`), on servers that several clients share.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Settings, startPooler, type TestClient, type TestPooler } from '../harness/pooler.js'
import { createDatabase, postgres, query, type TestDatabase } from '../harness/postgres.js'
import * as wire from '../harness/raw-client.js'

let database: TestDatabase

beforeAll(async () => {
  database = await createDatabase()
  await query('CREATE ROLE session_state_other; GRANT session_state_other TO postgres', { database: database.name })
})
afterAll(async () => {
  await database.drop()
  await query('DROP ROLE session_state_other')
})

const track = (settings: Settings = {}) => startPooler({ session_state: 'track', default_pool_size: 1, ...settings })
const connect = (pooler: TestPooler) => pooler.connect({ database: database.name })
const raw = (pooler: TestPooler) => pooler.raw({ database: database.name })

async function value(client: TestClient, name: string): Promise<string | null> {
  return (await client.query(`SELECT current_setting('${name}', true) AS value`)).rows[0].value
}

async function pid(client: TestClient): Promise<number> {
  return (await client.query('SELECT pg_backend_pid() AS pid')).rows[0].pid
}

/** What SHOW CLIENTS says of each client, in the order they came. */
async function sessions(pooler: TestPooler): Promise<unknown[]> {
  const rows = await pooler.show('clients')
  return [...rows].sort((one, other) => Number(one.id) - Number(other.id)).map((row) => row.session)
}

/** They become this: what a client holds is known when its server has told, a moment later. */
async function become(pooler: TestPooler, expected: string[]): Promise<void> {
  const isSo = async () => JSON.stringify(await sessions(pooler)) === JSON.stringify(expected)
  await pooler.settles(isSo).catch(async () => expect(await sessions(pooler)).toEqual(expected))
}

test('settings follow their client from server to server, and no other client sees them', async () => {
  await using pooler = await track()
  const one = await connect(pooler)
  const other = await connect(pooler)
  await one.query("SET work_mem = '5MB'")
  await one.query("SET \"App\".Tenant TO 'it''s; me' -- here")
  await other.query("SET work_mem = '6MB'; SET search_path TO pg_temp, public")
  expect(await value(one, 'work_mem')).toBe('5MB')
  expect(await value(one, 'app.tenant')).toBe("it's; me")
  expect(await value(one, 'search_path')).toBe('"$user", public')
  expect(await value(other, 'work_mem')).toBe('6MB')
  expect(await value(other, 'app.tenant')).toBe('')
  expect(await value(other, 'search_path')).toBe('pg_temp, public')
  await become(pooler, ['settings: 2', 'settings: 2'])
  await one.query('RESET work_mem')
  await other.query('SET work_mem TO DEFAULT; RESET search_path')
  expect(await value(one, 'work_mem')).toBe('4MB')
  expect(await value(other, 'work_mem')).toBe('4MB')
  await become(pooler, ['settings: 1', ''])
})

test('what a transaction sets stays if it commits, and only then', async () => {
  await using pooler = await track()
  const one = await connect(pooler)
  const other = await connect(pooler)
  const at = async (client: TestClient) => [await value(client, 'app.a'), await value(client, 'lock_timeout')]
  await one.query("BEGIN; SET app.a = 'kept'; SET LOCAL lock_timeout = 7")
  await one.query('COMMIT')
  expect(await at(other)).toEqual(['', '0'])
  expect(await at(one)).toEqual(['kept', '0'])
  await one.query("BEGIN; SET app.a = 'lost'; SET lock_timeout = 8; ROLLBACK")
  expect(await at(other)).toEqual(['', '0'])
  expect(await at(one)).toEqual(['kept', '0'])
  await one.query("BEGIN; SET lock_timeout = 9; SAVEPOINT s; SET app.a = 'lost'; SET lock_timeout = 10")
  await one.query('ROLLBACK TO s; COMMIT')
  expect(await at(other)).toEqual(['', '0'])
  expect(await at(one)).toEqual(['kept', '9ms'])
  await expect(one.query("SET app.a = 'lost'; SELECT 1/0")).rejects.toThrow('division by zero')
  await expect(one.query("SET lock_timeout = 'soon'")).rejects.toThrow('invalid value')
  expect(await at(other)).toEqual(['', '0'])
  expect(await at(one)).toEqual(['kept', '9ms'])
  await one.query("BEGIN; SET app.a = 'lost'")
  await expect(one.query('SELECT 1/0')).rejects.toThrow('division by zero')
  await one.query('COMMIT') // which is a ROLLBACK
  expect(await at(other)).toEqual(['', '0'])
  expect(await at(one)).toEqual(['kept', '9ms'])
  await one.query('BEGIN; RESET ALL; ROLLBACK')
  await at(other)
  expect(await at(one)).toEqual(['kept', '9ms'])
  await one.query('BEGIN; RESET ALL; COMMIT')
  await at(other)
  expect(await at(one)).toEqual(['', '0'])
  await become(pooler, ['', ''])
})

test('set_config counts as far as it is for the session, whether its values stand in the text or not', async () => {
  await using pooler = await track()
  const one = await connect(pooler)
  const other = await connect(pooler)
  await one.query("SELECT set_config('app.a', 'text', false), set_config('app.local', 'x', true)")
  await one.query("SELECT set_config('app.b', $1, false)", ['bound'])
  await one.query("SELECT set_config('app.c', $1, $2)", ['local', true])
  await one.query("SELECT pg_catalog.set_config('search_path', '', false)")
  await one.query("DO $$BEGIN PERFORM set_config('app.d', 'within', false); SET app.e = 'ö\\'; END$$")
  await other.query('SELECT 1')
  const names = ['app.a', 'app.b', 'app.c', 'app.local', 'app.d', 'app.e']
  const values: (string | null)[] = []
  for (const name of names) values.push(await value(one, name))
  expect(values).toEqual(['text', 'bound', '', '', 'within', 'ö\\'])
  expect(await value(one, 'search_path')).toBe('')
  await become(pooler, ['settings: 5', ''])
  await one.query('DISCARD ALL')
  await become(pooler, ['', ''])
  expect(await value(one, 'search_path')).toBe('"$user", public')
})

test.each(['RESET ALL', 'DISCARD ALL'])(
  'a setting whose name only the values tell keeps the client on its server until %s',
  async (reset) => {
    await using pooler = await track()
    const one = await connect(pooler)
    const other = await connect(pooler)
    await one.query('SELECT set_config($1, $2, false)', ['app.a', 'bound'])
    await become(pooler, ['pinned: settings', ''])
    const waiting = value(other, 'app.a')
    await pooler.until('pools', (row) => row.cl_waiting === 1)
    expect(await value(one, 'app.a')).toBe('bound')
    await one.query(reset)
    expect(await waiting).toBe('')
    await become(pooler, ['', ''])
  },
)

test('who acts is carried along, with the rights of the login for all else', async () => {
  await using pooler = await track()
  const one = await connect(pooler)
  const other = await connect(pooler)
  const who = async (client: TestClient) =>
    (await client.query('SELECT session_user AS s, current_user AS c')).rows.map(({ s, c }) => `${s}/${c}`)[0]
  await one.query('SET ROLE session_state_other')
  await one.query("SET session_replication_role = 'replica'").catch(() => {}) // refused: it is no superuser now
  await other.query('SET session_replication_role = replica')
  await other.query('SET SESSION AUTHORIZATION session_state_other')
  expect(await who(one)).toBe('postgres/session_state_other')
  expect(await who(other)).toBe('session_state_other/session_state_other')
  expect(await value(other, 'session_replication_role')).toBe('replica')
  await one.query('RESET ROLE')
  await other.query('BEGIN; RESET SESSION AUTHORIZATION; COMMIT')
  expect(await who(one)).toBe('postgres/postgres')
  expect(await value(one, 'session_replication_role')).toBe('origin')
  expect(await who(other)).toBe('postgres/postgres')
  await become(pooler, ['', 'settings: 1'])
  await other.query('BEGIN; SET LOCAL ROLE session_state_other; SET ROLE session_state_other; COMMIT')
  await who(one)
  expect(await who(other)).toBe('postgres/session_state_other')
})

test('SET SESSION CHARACTERISTICS and other spellings are carried along', async () => {
  await using pooler = await track()
  const one = await connect(pooler)
  const other = await connect(pooler)
  await one.query('SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ')
  await one.query("SET SCHEMA 'pg_catalog'")
  await one.query("SET SESSION TIME ZONE 'Europe/Zurich'") // a parameter that every pooler carries
  await other.query('SELECT 1')
  expect(await value(one, 'transaction_isolation')).toBe('repeatable read')
  expect(await value(one, 'search_path')).toBe('pg_catalog')
  expect(await value(one, 'timezone')).toBe('Europe/Zurich')
  expect(await value(other, 'transaction_isolation')).toBe('read committed')
  expect(await value(other, 'timezone')).not.toBe('Europe/Zurich')
  await one.query("BEGIN; SET timezone = 'Asia/Tokyo'; COMMIT")
  await other.query('SELECT 1')
  expect(await value(one, 'timezone')).toBe('Asia/Tokyo')
  await become(pooler, ['settings: 2', ''])
})

test('what statements prepared in either way do counts when they are executed', async () => {
  await using pooler = await track()
  const one = await connect(pooler)
  const other = await connect(pooler)
  const set = (text: string) => ({ name: 'set', text: "SELECT set_config('app.a', $1, false)", values: [text] })
  for (const text of ['first', 'second']) {
    await one.query(set(text))
    expect(await value(other, 'app.a')).toBe('')
    expect(await value(one, 'app.a')).toBe(text)
  }
  await one.query('PREPARE lock(int) AS SELECT pg_advisory_lock($1)')
  await one.query({ name: 'run', text: "SET app.b = 'run'" })
  await become(pooler, ['settings: 2', ''])
  await one.query('EXECUTE lock(1)')
  await become(pooler, ['pinned: locks; settings: 2', ''])
  await one.query('SELECT pg_advisory_unlock(1)')
  expect(await value(other, 'app.b')).toBe('')
  expect(await value(one, 'app.b')).toBe('run')
})

test('a pipeline is one transaction up to its Sync', async () => {
  await using pooler = await track()
  const one = await raw(pooler)
  const other = await connect(pooler)
  const ask = async (name: string) => (await one.ask(wire.query(`SELECT current_setting('${name}', true)`)))[1]
  // Alone, twice, undone by a later statement, by a ROLLBACK, and without an Execute.
  await one.ask(wire.extended('SET app.a = 1'), wire.sync)
  await one.ask(wire.extended('SET app.b = 1'), wire.extended('SET app.b = 2'), wire.sync)
  await one.ask(wire.extended('SET app.c = 1'), wire.extended('SELECT 1/0'), wire.sync)
  await one.ask(wire.extended('BEGIN'), wire.extended('SET app.d = 1'), wire.extended('ROLLBACK'), wire.sync)
  await one.ask(wire.parse('SET app.e = 1'), wire.bind(), wire.sync)
  await one.send(wire.extended('BEGIN'), wire.flush).lines(4)
  await one.send(wire.extended('SET app.f = 1'), wire.flush).lines(4)
  await one.ask(wire.extended('ROLLBACK'), wire.sync)
  one.send(wire.query('SET app.g = 1'), wire.query('BEGIN'), wire.query('SET app.h = 1'), wire.query('ABORT'))
  await one.answer(4)
  await other.query('SELECT 1')
  const values = []
  for (const name of 'abcdefgh') values.push(await ask(`app.${name}`))
  expect(values.map((line) => line?.slice(2))).toEqual(['1', '2', '', '', '(null)', '', '1', ''])
  await become(pooler, ['settings: 3', ''])
})

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

test('a setting that cannot be given to a server any more ends its client', async () => {
  await using pooler = await track()
  const one = await connect(pooler)
  const other = await connect(pooler)
  await query('CREATE ROLE session_state_gone')
  await one.query('SET ROLE session_state_gone')
  await other.query('SELECT 1')
  await query('DROP ROLE session_state_gone')
  await expect(one.query('SELECT 1')).rejects.toThrow('invalid server parameter')
  expect(await value(other, 'role')).toBe('none')
  expect(pooler.logged.join('\n')).toContain('could not set parameters: role "session_state_gone" does not exist')
})

test('bytes that are no UTF-8 come back as they were', async () => {
  await using pooler = await track()
  const one = await pooler.raw({ database: database.name, parameters: { client_encoding: 'LATIN1' } })
  const other = await connect(pooler)
  await one.ask(wire.query(Buffer.from("SET app.a = '\xe9t\xe9'", 'latin1') as unknown as string))
  await other.query("SET app.a = 'été'")
  await one.ask(wire.query('SHOW app.a'))
  one.send(wire.query("SELECT encode(convert_to(current_setting('app.a'), 'UTF8'), 'hex')"))
  expect((await one.answer())[1]).toBe(`D ${Buffer.from('été').toString('hex')}`)
  expect(await value(other, 'app.a')).toBe('été')
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

test('statement mode is looked after, too', async () => {
  await using pooler = await track({ pool_mode: 'statement' })
  const one = await connect(pooler)
  const other = await connect(pooler)
  await one.query("SET app.a = 'x'")
  await other.query('LISTEN a')
  await become(pooler, ['settings: 1', 'pinned: listen'])
  const waiting = value(one, 'app.a')
  await pooler.until('pools', (row) => row.cl_waiting === 1)
  await other.query('UNLISTEN *')
  expect(await waiting).toBe('x')
})

test('a reset query of the configuration is reckoned with', async () => {
  for (const reset of ['RESET ALL', 'DISCARD ALL', "DO 'BEGIN RESET app.a; END'", "SET app.a = 'reset'", 'SELECT 1']) {
    await using pooler = await track({ server_reset_query: reset, server_reset_query_always: '1' })
    const one = await connect(pooler)
    const other = await connect(pooler)
    await one.query("SET app.a = 'one'; SET app.b = 'one'")
    expect([await value(one, 'app.a'), await value(one, 'app.b')], reset).toEqual(['one', 'one'])
    expect(await value(other, 'app.b')).toBe('')
    expect([await value(one, 'app.a'), await value(one, 'app.b')], reset).toEqual(['one', 'one'])
  }
})

test('in session mode a client that leaves its transaction open costs no more than a ROLLBACK and the reset', async () => {
  await using pooler = await startPooler({ pool_mode: 'session', default_pool_size: 1 })
  const one = await raw(pooler)
  const own = (await one.ask(wire.query("BEGIN; SET app.a = 'x'; SELECT pg_backend_pid()")))[3]
  await one.end()
  const other = await connect(pooler)
  expect(`D ${await pid(other)}`).toBe(own)
  expect(await value(other, 'app.a')).toBe('')
})

test('warn tells a client once of each kind, before its ReadyForQuery, and counts', async () => {
  await using pooler = await startPooler({ session_state: 'warn', default_pool_size: 1 })
  const one = await raw(pooler)
  const notices = async (...messages: Buffer[]) => {
    const lines = await one.ask(...messages)
    expect(lines.at(-1)).toMatch(/^Z /)
    return lines
      .filter((line) => line.startsWith('N '))
      .map((line) => line.replace(/^N NOTICE 00000 | does not stay.*/g, ''))
  }
  const harmless = 'SELECT 1; SET LOCAL work_mem = 100; SET timezone = UTC; RESET work_mem'
  expect(await notices(wire.query(harmless))).toEqual([])
  expect(await notices(wire.query('SET nosuch = 1'))).toEqual([])
  expect(await notices(wire.query('SET app.a = 1'))).toEqual(['a setting'])
  expect(await notices(wire.query('SET app.a = 2'))).toEqual([])
  expect(await notices(wire.query('BEGIN'))).toEqual([])
  expect(await notices(wire.query('LISTEN a; SELECT pg_advisory_lock(6)'))).toEqual([
    'LISTEN',
    'an advisory lock of the session',
  ])
  expect(await notices(wire.extended('CREATE TEMP TABLE t ()'), wire.extended('SELECT 1'), wire.sync)).toEqual([
    'a temporary object',
  ])
  expect(await notices(wire.query('DECLARE c CURSOR WITH HOLD FOR SELECT 1'))).toEqual(['a cursor WITH HOLD'])
  expect(await notices(wire.query('COMMIT'))).toEqual([])
  await one.ask(wire.query('DISCARD ALL'))
  const counts = (await pooler.show('stats')).find((row) => row.database === database.name)
  expect(counts).toMatchObject({
    total_session_setting_count: 3,
    total_session_listen_count: 1,
    total_session_lock_count: 1,
    total_session_temp_count: 1,
    total_session_cursor_count: 1,
  })
  const other = await raw(pooler)
  expect(
    (await other.ask(wire.query('LISTEN b'))).some((line) => line.startsWith('N NOTICE 00000 LISTEN does not stay')),
  ).toBe(true)
  await other.ask(wire.query('UNLISTEN *'))
})

test('a warning never cuts into an answer', async () => {
  await using pooler = await startPooler({ session_state: 'warn', default_pool_size: 1 })
  const one = await raw(pooler)
  const wide = wire.query("SELECT repeat('x', 3000000)")
  const lines = await one.send(wide, wire.query('SET app.a = 1'), wide, wire.query('LISTEN a'), wide).answer(5)
  expect(lines.map((line) => line.slice(0, 20))).toEqual(
    ['T repeat', 'D xxxxxxxxxxxxxxxxxx', 'C SELECT 1', 'Z I']
      .flatMap((_, at, answer) => (at === 0 ? answer : []))
      .concat(
        ['C SET', 'N NOTICE 00000 a set', 'Z I', 'T repeat', 'D xxxxxxxxxxxxxxxxxx', 'C SELECT 1', 'Z I'],
        ['C LISTEN', 'N NOTICE 00000 LISTE', 'Z I', 'T repeat', 'D xxxxxxxxxxxxxxxxxx', 'C SELECT 1', 'Z I'],
      ),
  )
})

test('entries of databases and users have their own say, and a reload counts for those who come later', async () => {
  const server = { ...postgres().primary, dbname: database.name }
  await using pooler = await startPooler(
    { default_pool_size: 1 },
    {
      databases: { tracked: { ...server, session_state: 'track' }, plain: { ...server } },
      users: { [postgres().roles.scram_user.user]: { session_state: 'warn' } },
    },
  )
  const kept = async (name: string, user = 'postgres') => {
    const one = await pooler.connect({ database: name, user })
    const other = await pooler.connect({ database: name, user })
    let warned = false
    one.on('notice', () => {
      warned = true
    })
    await one.query("SET app.a = 'x'")
    await other.query("SET app.a = 'y'")
    const result = warned ? 'warn' : (await value(one, 'app.a')) === 'x' ? 'track' : 'allow'
    await one.end()
    await other.end()
    return result
  }
  expect(await kept('tracked')).toBe('track')
  expect(await kept('plain')).toBe('allow')
  expect(await kept('tracked', postgres().roles.scram_user.user)).toBe('warn')
  const early = await pooler.connect({ database: 'plain' })
  await pooler.pooler.admin.set('session_state', 'track')
  expect(await kept('plain')).toBe('track')
  await pooler.pooler.admin.set('session_state', 'allow')
  const other = await pooler.connect({ database: 'plain' })
  await early.query("SET app.early = 'x'")
  expect(await value(other, 'app.early')).toBe('x')
})

test('with allow, the columns and the leaks are those of pgbouncer', async () => {
  await using pooler = await startPooler({ default_pool_size: 1 })
  const one = await connect(pooler)
  const other = await connect(pooler)
  await one.query("SET app.a = 'x'")
  expect(await value(other, 'app.a')).toBe('x')
  expect(Object.keys((await pooler.show('clients'))[0]!).at(-1)).toBe('id')
  expect(Object.keys((await pooler.show('stats'))[0]!).at(-1)).toBe('avg_client_login_count')
})
