import pg from 'pg'
import { expect, test } from 'vitest'
import { createDatabase, postgres, query, standbyCaughtUp, type TestRole } from '../harness/postgres.js'

async function logIn(user: string, password: string, host = postgres().primary.host): Promise<string> {
  const client = new pg.Client({ host, port: postgres().primary.port, user, password, database: 'postgres' })
  await client.connect()
  try {
    const { rows } = await client.query<{ name: string }>('SELECT current_user AS name')
    return rows[0]?.name ?? ''
  } finally {
    await client.end()
  }
}

test('what is committed on the primary comes to the standby', async () => {
  await using database = await createDatabase()
  const on = postgres().standby
  await query('CREATE TABLE tree AS SELECT 7 AS age', { database: database.name })
  await standbyCaughtUp()
  expect(await query('SELECT age FROM tree', { database: database.name, on })).toEqual([{ age: 7 }])
  await expect(query('INSERT INTO tree VALUES (8)', { database: database.name, on })).rejects.toThrow(
    'cannot execute INSERT in a read-only transaction',
  )
})

test('the standby streams through its slot', async () => {
  const rows = await query(
    'SELECT s.slot_name, s.active, r.state FROM pg_replication_slots s JOIN pg_stat_replication r ON r.pid = s.active_pid',
  )
  expect(rows).toEqual([{ slot_name: 'standby1', active: true, state: 'streaming' }])
  expect(await query('SELECT slot_name FROM pg_replication_slots', { on: postgres().standby })).toEqual([])
})

const mayLogIn: readonly TestRole[] = ['postgres', 'scram_user', 'md5_user', 'plain_user', 'pgbouncer', 'replicator']

test.each(mayLogIn)('%s logs in with its password only', async (role) => {
  const { user, password } = postgres().roles[role]
  expect(await logIn(user, password)).toBe(role)
  expect(await logIn(user, password, postgres().socketDir)).toBe(role)
  await expect(logIn(user, `${password}!`)).rejects.toThrow('password authentication failed')
})

test('trust_user needs no password', async () => {
  expect(await logIn('trust_user', '')).toBe('trust_user')
})

test.each(['expired_user', 'nopassword_user', 'nologin_user', 'no_such_user'])('%s does not get in', async (user) => {
  await expect(logIn(user, 'expired')).rejects.toThrow('password authentication failed')
})

test('the stored secrets are those that tests are given', async () => {
  const stored = await query(
    'SELECT rolname AS user, rolpassword AS secret FROM pg_authid WHERE rolpassword IS NOT NULL',
  )
  const known = Object.values(postgres().roles).map(({ user, secret }) => ({ user, secret }))
  expect(stored).toEqual(expect.arrayContaining(known))
})

async function lookUp(name: string | null, database: string): Promise<unknown[]> {
  const { user, password } = postgres().roles.pgbouncer
  const client = new pg.Client({ ...postgres().primary, user, password, database })
  await client.connect()
  try {
    // A caller's search_path must not decide what the function finds.
    await client.query('CREATE TEMP TABLE pg_authid (rolname name, rolpassword text, rolcanlogin bool)')
    await client.query('SET search_path = pg_temp')
    return (await client.query('SELECT usename, passwd FROM pgbouncer.get_auth($1)', [name])).rows
  } finally {
    await client.end()
  }
}

test('the lookup function is in every database, and knows who may log in', async () => {
  await using database = await createDatabase()
  const { secret } = postgres().roles.scram_user
  expect(await lookUp('scram_user', database.name)).toEqual([{ usename: 'scram_user', passwd: secret }])
  expect(await lookUp('expired_user', database.name)).toEqual([{ usename: 'expired_user', passwd: null }])
  expect(await lookUp('nopassword_user', database.name)).toEqual([{ usename: 'nopassword_user', passwd: null }])
  expect(await lookUp('nologin_user', database.name)).toEqual([])
  expect(await lookUp('no_such_user', database.name)).toEqual([])
  expect(await lookUp(null, database.name)).toEqual([])
})

test('the lookup function is for the pooler alone', async () => {
  await using database = await createDatabase()
  const sql = "SELECT * FROM pgbouncer.get_auth('postgres')"
  await expect(query(`SET ROLE scram_user; ${sql}`, { database: database.name })).rejects.toThrow(
    'permission denied for schema pgbouncer',
  )
  await query('GRANT USAGE ON SCHEMA pgbouncer TO PUBLIC', { database: database.name })
  await expect(query(`SET ROLE scram_user; ${sql}`, { database: database.name })).rejects.toThrow(
    'permission denied for function get_auth',
  )
})
