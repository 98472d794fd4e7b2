// auth_query: users that auth_file does not know are looked up on the server, and nothing else comes of that.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { lookupQuery } from '../../src/demo/roles.js'
import { type PoolerOptions, type Settings, startPooler, type TestPooler } from '../harness/pooler.js'
import { createDatabase, postgres, query, type TestDatabase } from '../harness/postgres.js'

let database: TestDatabase
beforeAll(async () => {
  database = await createDatabase()
})
afterAll(() => database.drop())

const { roles } = postgres()

/** The auth_user alone is in auth_file; it looks everybody else up. */
async function startLooking(settings: Settings, options: PoolerOptions = {}): Promise<TestPooler> {
  return startPooler(
    { auth_type: 'md5', auth_user: 'pgbouncer', auth_query: lookupQuery, ...settings },
    { secrets: { pgbouncer: roles.pgbouncer.password }, ...options },
  )
}

describe.each(['plain', 'md5', 'scram-sha-256'] as const)('auth_type %s', (method) => {
  let pooler: TestPooler
  beforeAll(async () => {
    pooler = await startLooking({ auth_type: method })
  })
  afterAll(() => pooler[Symbol.asyncDispose]())
  const exchange = { plain: 'password', md5: 'SASL', 'scram-sha-256': 'SASL' }[method]

  test('a user that only the server knows logs in with the right password', async () => {
    const login = { user: 'scram_user', database: database.name }
    const client = await pooler.connect(login)
    expect((await client.query('select current_user')).rows).toEqual([{ current_user: 'scram_user' }])
    await expect(pooler.connect({ ...login, password: 'wrong' })).rejects.toThrow(`${exchange} authentication failed`)
  })

  test('an md5 hash that was looked up logs in where the method allows it', async () => {
    const login = { user: 'md5_user', database: database.name }
    if (method === 'scram-sha-256') {
      await expect(pooler.connect(login)).rejects.toThrow('SASL authentication failed')
    } else {
      const client = await pooler.connect(login)
      expect((await client.query('select current_user')).rows).toEqual([{ current_user: 'md5_user' }])
      await expect(pooler.connect({ ...login, password: 'wrong' })).rejects.toThrow('password authentication failed')
    }
  })

  test.each(['expired_user', 'nopassword_user'])('%s has no password, so that nothing matches', async (user) => {
    const known = Object.values(roles).find((role) => role.user === user)
    const texts = [known?.password ?? 'x', 'null', 'NULL', 'md5', 'none', 'undefined', known?.secret ?? 'y']
    for (const password of texts) {
      const failed = method === 'scram-sha-256' ? 'SASL' : 'password'
      await expect(pooler.connect({ user, database: database.name, password })).rejects.toMatchObject({
        code: '08P01',
        message: `${failed} authentication failed`,
      })
    }
  })

  test.each(['nologin_user', 'nobody_at_all'])('%s is refused like a wrong password', async (user) => {
    const failed = method === 'scram-sha-256' ? 'SASL' : 'password'
    await expect(pooler.connect({ user, database: database.name, password: 'nologin' })).rejects.toMatchObject({
      code: '08P01',
      message: expect.stringMatching(new RegExp(`^(${failed} authentication failed|no such user)$`)),
    })
  })
})

test('the default query knows about VALID UNTIL and NOLOGIN', async () => {
  await using pooler = await startPooler(
    { auth_type: 'md5', auth_user: 'postgres' },
    { secrets: { postgres: roles.postgres.password } },
  )
  const scram = await pooler.connect({ user: 'scram_user', database: database.name })
  expect((await scram.query('select 1 as one')).rows).toEqual([{ one: 1 }])
  for (const user of ['expired_user', 'nologin_user', 'nopassword_user']) {
    await expect(pooler.connect({ user, database: database.name, password: 'expired' })).rejects.toThrow(
      /authentication failed|no such user/,
    )
  }
})

test('an unknown name never becomes the auth_user (CVE-2015-6817)', async () => {
  await using pooler = await startLooking({ auth_type: 'trust' })
  for (const user of ['nobody_at_all', 'nologin_user']) {
    expect(await pooler.refusal({ user, database: database.name })).toMatch(
      /^E FATAL 08P01 ("trust" authentication failed|no such user)$/,
    )
  }
  const client = await pooler.connect({ user: 'trust_user', database: database.name })
  expect((await client.query('select current_user')).rows).toEqual([{ current_user: 'trust_user' }])
})

test('auth_dbname says where the query runs; the client goes where it asked to go', async () => {
  await using pooler = await startLooking({ auth_dbname: database.name })
  const client = await pooler.connect({ user: 'scram_user', database: 'postgres' })
  expect((await client.query('select current_database()')).rows).toEqual([{ current_database: 'postgres' }])
  const pools = (await pooler.show('pools')).map((row) => `${String(row.database)} ${String(row.user)}`)
  expect(pools).toContain(`${database.name} pgbouncer`)
  expect(pools).toContain('postgres scram_user')
  expect(pools).not.toContain('postgres pgbouncer')
})

test('no parameter of a client reaches the connection that asks (CVE-2025-12819)', async () => {
  // Finds the user only where nothing of the client is to be seen.
  await using pooler = await startLooking({
    track_extra_parameters: 'IntervalStyle,search_path',
    auth_query:
      'select usename, passwd from pgbouncer.get_auth(' +
      "case when current_setting('application_name') = '' and current_setting('IntervalStyle') = 'postgres' " +
      "and current_setting('search_path') = '\"$user\", public' then $1 else 'nobody' end)",
  })
  const parameters = { application_name: 'evil', options: '-c search_path=evil -c IntervalStyle=iso_8601' }
  for (let i = 0; i < 3; i++) {
    const client = await pooler.connect({ user: 'scram_user', database: database.name, parameters })
    expect((await client.query('show application_name')).rows).toEqual([{ application_name: 'evil' }])
    expect((await client.query('show IntervalStyle')).rows).toEqual([{ IntervalStyle: 'iso_8601' }])
  }
})

test('a row whose name is null is no user, as no row is', async () => {
  await using pooler = await startLooking({ auth_query: "select null::text, 'x' || $1" })
  await expect(pooler.connect({ user: 'scram_user', database: database.name })).rejects.toMatchObject({
    code: '08P01',
    message: expect.stringMatching(/^(SASL|password) authentication failed$/),
  })
  expect(pooler.logged.join()).toContain('no such user: scram_user')
  await pooler.until('SHOW POOLS', (row) => row.sv_active === 0)
})

describe('a query that goes wrong', () => {
  test.each([
    ['an error', 'select * from nowhere where $1 is null', /S: error in auth_query: relation "nowhere" does not exist/],
    ['one column', 'select $1::text', /expected 2 columns/],
    ['three columns', "select $1::text, 'x', 'y'", /expected 2 columns/],
    ['a lost connection', 'select pg_terminate_backend(pg_backend_pid()), $1::text', /./],
  ])('%s refuses the client, and says why in the log', async (_what, authQuery, logged) => {
    await using pooler = await startLooking({ auth_query: authQuery })
    const login = { user: 'scram_user', database: database.name }
    for (let i = 0; i < 3; i++) {
      await expect(pooler.connect(login)).rejects.toMatchObject({
        code: '08P01',
        message: expect.stringMatching(/^(bouncer config error|server conn crashed\?)$/),
      })
    }
    expect(pooler.logged.some((line) => logged.test(line))).toBe(true)
    await pooler.untilEmpty()
    await pooler.until('SHOW POOLS', (row) => row.sv_active === 0)
  })

  test('the auth_user may not log in: that is in the log, and not for strangers', async () => {
    await using pooler = await startLooking({}, { secrets: { pgbouncer: 'not its password' } })
    await expect(pooler.connect({ user: 'scram_user', database: database.name })).rejects.toMatchObject({
      code: '08P01',
      message: 'bouncer config error',
    })
    expect(pooler.logged.join()).toContain('password authentication failed for user "pgbouncer"')
  })
})

test('a password that is changed on the server counts from the next login on', async () => {
  await using pooler = await startLooking({})
  const login = { user: 'changing', database: database.name }
  await query("create role changing login password 'first'")
  try {
    const client = await pooler.connect({ ...login, password: 'first' })
    await query("alter role changing password 'second'")
    await expect(pooler.connect({ ...login, password: 'first' })).rejects.toThrow('SASL authentication failed')
    await pooler.connect({ ...login, password: 'second' })
    await client.query('select 1') // who is in stays in
    await query("alter role changing valid until '2001-01-01'")
    await expect(pooler.connect({ ...login, password: 'second' })).rejects.toThrow('authentication failed')
  } finally {
    await query('drop role changing')
  }
})
