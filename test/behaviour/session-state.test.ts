// Where session state is looked after, and where it is only warned of (`session_state`).

import { afterAll, beforeAll, expect, test } from 'vitest'
import { startPooler } from '../harness/pooler.js'
import { createDatabase, postgres, type TestDatabase } from '../harness/postgres.js'
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
