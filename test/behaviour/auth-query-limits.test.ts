// auth_query where it meets something unusual: databases that are not there, the console, secrets that are costly to check.

import { createHmac, randomBytes } from 'node:crypto'
import { lookup } from 'node:dns/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { lookupQuery } from '../../src/demo/roles.js'
import { FakeBackend } from '../harness/fake-backend.js'
import { ManualClock } from '../harness/manual-clock.js'
import { eventually, type PoolerOptions, type Settings, startPooler, type TestPooler } from '../harness/pooler.js'
import { createDatabase, postgres, type TestDatabase } from '../harness/postgres.js'
import { message, query } from '../harness/raw-client.js'

const { roles } = postgres()

/** The auth_user alone is in auth_file; it looks everybody else up. */
async function startLooking(settings: Settings = {}, options: PoolerOptions = {}): Promise<TestPooler> {
  return startPooler(
    { auth_type: 'plain', auth_user: 'pgbouncer', auth_query: lookupQuery, ...settings },
    { secrets: { pgbouncer: roles.pgbouncer.password }, ...options },
  )
}

const user = 'scram_user'

test('of several rows the last counts, as in pgbouncer', async () => {
  await using pooler = await startLooking({
    auth_query: "select $1::text, secret from (values (1, 'first'), (2, 'last')) rows(n, secret) order by n",
  })
  expect(await pooler.refusal({ user, password: 'first' })).toBe('E FATAL 08P01 password authentication failed')
  expect(await pooler.refusal({ user, password: 'last' })).toContain('28P01') // it is the server that says no
})

describe('a database that the server does not have', () => {
  test('the client gets the words of the server, then and a moment later', async () => {
    await using pooler = await startLooking()
    expect(await pooler.refusal({ user, database: 'no_such_place' })).toBe(
      'E FATAL 3D000 database "no_such_place" does not exist',
    )
    expect(await pooler.refusal({ user, database: 'no_such_place' })).toContain(
      'database "no_such_place" does not exist',
    )
  })

  test('where auth_dbname is the one, that is not for strangers', async () => {
    await using pooler = await startLooking({ auth_dbname: 'no_such_place' })
    for (let n = 0; n < 2; n++) expect(await pooler.refusal({ user })).toBe('E FATAL 08P01 bouncer config error')
  })

  test('what the server says of the auth_user stays hidden, also from who comes a moment later', async () => {
    await using pooler = await startLooking({}, { secrets: { pgbouncer: 'not its password' } })
    for (let n = 0; n < 2; n++) expect(await pooler.refusal({ user })).toBe('E FATAL 08P01 bouncer config error')
  })

  test('those that are only named are not remembered for long, nor many at a time', async () => {
    const clock = new ManualClock()
    await using pooler = await startLooking({ server_login_retry: 15 }, { clock })
    for (let n = 0; n < 130; n++) await pooler.refusal({ user, database: `named_${n}` })
    const named = async (): Promise<number> =>
      (await pooler.show('databases')).filter((row) => String(row.name).startsWith('named_')).length
    expect(await named()).toBe(100)
    clock.advance(16)
    expect(await named()).toBe(0)
  })

  test('one that somebody has been let into is remembered for autodb_idle_timeout', async () => {
    const clock = new ManualClock()
    const database = await createDatabase()
    try {
      await using pooler = await startLooking({ server_login_retry: 1, server_idle_timeout: 2 }, { clock })
      const client = await pooler.raw({ user, database: database.name })
      await client.end()
      await pooler.untilEmpty()
      clock.advance(5)
      await eventually(async () => (await pooler.show('servers')).length === 0)
      clock.advance(60)
      expect((await pooler.show('databases')).map((row) => row.name)).toContain(database.name)
    } finally {
      await database.drop()
    }
  })
})

describe('users of the console', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createDatabase()
  })
  afterAll(() => database.drop())
  const admin = () => ({ admin_users: 'scram_user, postgres', auth_dbname: database.name })

  test('are found by auth_query in auth_dbname', async () => {
    await using pooler = await startLooking(admin())
    const console = await pooler.raw({ user, database: 'pgbouncer' })
    expect((await console.ask(query('SHOW VERSION'))).at(-1)).toBe('Z I')
    expect(await pooler.refusal({ user, database: 'pgbouncer', password: 'wrong' })).toBe(
      'E FATAL 08P01 password authentication failed',
    )
    const pools = (await pooler.show('pools')).map((row) => `${row.database} ${row.user}`)
    expect(pools).toContain(`${database.name} pgbouncer`)
  })

  test('without auth_dbname there is nowhere to ask', async () => {
    await using pooler = await startLooking({ admin_users: 'scram_user' })
    expect(await pooler.refusal({ user, database: 'pgbouncer' })).toBe('E FATAL 08P01 password authentication failed')
  })

  const secrets = { pgbouncer: roles.pgbouncer.password, postgres: '' }

  test('are those of auth_file where no server can be reached', async () => {
    const backend = await FakeBackend.start(async () => {})
    await backend[Symbol.asyncDispose]()
    await using pooler = await startLooking({ ...admin(), auth_type: 'trust' }, { server: backend, secrets })
    for (let n = 0; n < 2; n++) {
      const console = await pooler.raw({ user: 'postgres', database: 'pgbouncer' })
      expect((await console.ask(query('SHOW VERSION'))).at(-1)).toBe('Z I')
      expect(await pooler.refusal({ user, database: 'pgbouncer' })).toContain('connect failed')
    }
  })

  test('are those of auth_file while all is paused, or nobody could resume it', async () => {
    await using pooler = await startLooking({ ...admin(), auth_type: 'trust' }, { secrets })
    await pooler.pooler.admin.pause(undefined, AbortSignal.timeout(10_000))
    const console = await pooler.raw({ user: 'postgres', database: 'pgbouncer' })
    expect(await console.ask(query('RESUME'))).toEqual(['C RESUME', 'Z I'])
  })
})

describe('SCRAM iterations', () => {
  /** Of no password that anybody knows: what a role may set for itself. */
  const costly = (iterations: number): string => {
    const key = createHmac('sha256', 'x').digest('base64')
    return `SCRAM-SHA-256$${iterations}:${randomBytes(16).toString('base64')}$${key}:${key}`
  }

  test('a secret with too many is not checked, and the log says so; files and names are read meanwhile', async () => {
    await using pooler = await startPooler(
      { auth_type: 'plain', auth_failure_delay: 0 },
      { secrets: { greedy: costly(0x7fff_ffff), patient: costly(1_000_000) } },
    )
    const refusals = ['greedy', 'greedy', 'patient', 'patient', 'patient', 'patient', 'patient', 'patient'].map(
      (name) => pooler.refusal({ user: name, password: name }),
    )
    await lookup('localhost')
    await pooler.pooler.reload()
    for (const told of await Promise.all(refusals)) expect(told).toBe('E FATAL 08P01 password authentication failed')
    expect(pooler.logged.join('\n')).toContain(
      'SCRAM secret of greedy has 2147483647 iterations, at most 1000000 are done',
    )
  })

  test('a server that asks for too many: its log line says how many, and who waits is told', async () => {
    await using backend = await FakeBackend.start(async (connection) => {
      await connection.packet()
      connection.send(message('R', Buffer.of(0, 0, 0, 10), Buffer.from('SCRAM-SHA-256\0\0')))
      const { body } = await connection.message()
      const nonce = /r=([^,]+)/.exec(body.toString('latin1'))![1]
      const first = `r=${nonce}more,s=${Buffer.from('salt').toString('base64')},i=2000000`
      connection.send(message('R', Buffer.of(0, 0, 0, 11), Buffer.from(first)))
      await connection.message()
    })
    await using pooler = await startPooler({}, { server: backend })
    const text = 'server login failed: server asks for 2000000 SCRAM iterations, at most 1000000 are done'
    expect(await pooler.refusal({})).toBe(`E FATAL 08P01 ${text}`)
    expect(pooler.logged.join('\n')).toContain(text)
  })
})
