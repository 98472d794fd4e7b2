// Settings that follow their clients from server to server (`session_state = track`).

import { afterAll, beforeAll, expect, test } from 'vitest'
import type { TestClient } from '../harness/pooler.js'
import { createDatabase, needs, query, type TestDatabase } from '../harness/postgres.js'
import * as wire from '../harness/raw-client.js'
import { become, clientsOf, track, value } from './sessions.js'

let database: TestDatabase

beforeAll(async () => {
  database = await createDatabase()
  await query('CREATE ROLE session_state_other; GRANT session_state_other TO postgres', { database: database.name })
})
afterAll(async () => {
  await database.drop()
  await query('DROP ROLE session_state_other')
})

const { connect, raw } = clientsOf(() => database.name)

test('settings follow their client from server to server, and no other client sees them', async (context) => {
  needs(18, 'it reports search_path', context)
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
  await become(pooler, ['settings: 2', 'settings: 1']) // search_path is carried for everybody
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

test('set_config counts as far as it is for the session, whether its values stand in the text or not', async (context) => {
  needs(18, 'it reports search_path', context)
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
  await become(pooler, ['settings: 4', ''])
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

test('SET SESSION CHARACTERISTICS and other spellings are carried along', async (context) => {
  needs(18, 'it reports search_path', context)
  await using pooler = await track()
  const one = await connect(pooler)
  const other = await connect(pooler)
  await one.query('SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ')
  await one.query("SET SCHEMA 'pg_catalog'")
  await one.query("SET SESSION TIME ZONE 'Europe/Zurich'") // parameters that every pooler carries
  await other.query('SELECT 1')
  expect(await value(one, 'transaction_isolation')).toBe('repeatable read')
  expect(await value(one, 'search_path')).toBe('pg_catalog')
  expect(await value(one, 'timezone')).toBe('Europe/Zurich')
  expect(await value(other, 'transaction_isolation')).toBe('read committed')
  expect(await value(other, 'timezone')).not.toBe('Europe/Zurich')
  await one.query("BEGIN; SET timezone = 'Asia/Tokyo'; COMMIT")
  await other.query('SELECT 1')
  expect(await value(one, 'timezone')).toBe('Asia/Tokyo')
  await become(pooler, ['settings: 1', ''])
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
