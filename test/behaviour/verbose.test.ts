// `verbose`, and -v: what the log tells of clients, servers and pools beyond the ordinary; and what it never tells.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { lookupQuery } from '../../src/demo/roles.js'
import { startPooler, type TestPooler, untilItSleeps } from '../harness/pooler.js'
import { createDatabase, postgres, type TestDatabase } from '../harness/postgres.js'
import { cancel, query, RawClient, startup } from '../harness/raw-client.js'

let database: TestDatabase
beforeAll(async () => {
  database = await createDatabase()
})
afterAll(() => database.drop())

/** A pooler of one server, with one client of `user` behind it that has asked something; then it is as verbose as this. */
async function start(verbose: number, settings = {}): Promise<TestPooler> {
  const pooler = await startPooler({ default_pool_size: 1, query_wait_notify: 0, ...settings })
  await setVerbose(pooler, verbose)
  return pooler
}

async function setVerbose(pooler: TestPooler, verbose: number): Promise<void> {
  await using console = await pooler.connect({ database: 'pgbouncer' })
  await console.query(`SET verbose = ${verbose}`)
}

const login = { user: 'trust_user' }

/** The lines of a level, without who they are about. */
function lines(pooler: TestPooler, level: 'DEBUG' | 'NOISE'): string[] {
  const found = pooler.logged.filter((line) => line.startsWith(`${level} `))
  return found.map((line) => line.replace(/^\w+ (?:[CS]-0x\w+: \S+ )?/, ''))
}

const one = query('select 1')

test('verbose = 0 tells nothing of it', async () => {
  await using pooler = await start(0)
  const client = await pooler.raw({ ...login, database: database.name })
  await client.ask(one)
  expect([...lines(pooler, 'DEBUG'), ...lines(pooler, 'NOISE')]).toEqual([])
})

test('verbose = 1: connections, what is asked for at login, servers launched, reset and checked', async () => {
  await using pooler = await start(1, {
    server_reset_query_always: true,
    server_check_delay: 0,
    ignore_startup_parameters: 'extra_float_digits',
  })
  const parameters = { application_name: 'shop', extra_float_digits: '3' }
  const client = await pooler.raw({ ...login, database: database.name, parameters })
  await client.ask(one)
  await pooler.settles(async () => {
    await client.ask(one)
    return lines(pooler, 'DEBUG').includes('P: checking: <empty>')
  })
  const told = lines(pooler, 'DEBUG')
  expect(told.find((line) => line.startsWith('P: got connection: '))).toMatch(
    /^P: got connection: 127\.0\.0\.1:\d+ -> 127\.0\.0\.1:\d+$/,
  )
  for (const line of [
    'got var: user=trust_user',
    `got var: database=${database.name}`,
    'got var: application_name=shop',
    'ignoring startup parameter: extra_float_digits=3',
    'login method: trust',
    'launching new connection to server',
    'resetting: DISCARD ALL',
    'P: checking: <empty>',
  ]) {
    expect(told).toContain(line)
  }
  expect(told.some((line) => /^S: login ok, backend \d+$/.test(line))).toBe(true)
  // With whom: each is told of with the client or server it is about.
  expect(pooler.logged.find((line) => line.includes('resetting: '))).toMatch(
    new RegExp(`^DEBUG S-0x\\w+: ${database.name}/trust_user@127\\.0\\.0\\.1:\\d+ resetting: DISCARD ALL$`),
  )
  expect(lines(pooler, 'NOISE')).toEqual([])
})

describe('verbose = 1 tells why who waits has no server opened', () => {
  const waiting = async (pooler: TestPooler, reason: string): Promise<void> => {
    const [busy, late] = [
      await pooler.raw({ ...login, database: database.name }),
      await pooler.raw({ ...login, database: database.name }),
    ]
    await busy.ask(query('begin'))
    late.send(one)
    const line = `launch_new_connection: ${reason}; 1 waiting in ${database.name}/trust_user`
    await pooler.settles(() => lines(pooler, 'DEBUG').includes(line))
    await busy.ask(query('commit'))
    expect(await late.answer()).toContain('D 1')
  }

  test.each([
    ['pool full (1 >= 1)', {}],
    [`database '%s' full (1 >= 1)`, { default_pool_size: 2, max_db_connections: 1 }],
    [`user 'trust_user' full (1 >= 1)`, { default_pool_size: 2, max_user_connections: 1 }],
  ])('%s', async (reason, settings) => {
    await using pooler = await start(1, settings)
    await waiting(pooler, reason.replace('%s', database.name))
  })

  test('PAUSE', async () => {
    await using pooler = await start(1)
    const client = await pooler.raw({ ...login, database: database.name })
    await using console = await pooler.connect({ database: 'pgbouncer' })
    await console.query('PAUSE')
    client.send(one)
    await pooler.settles(() =>
      lines(pooler, 'DEBUG').some((line) => line.startsWith('launch_new_connection: paused; ')),
    )
    expect(lines(pooler, 'DEBUG')).toContain('got admin query: PAUSE')
    await console.query('RESUME')
    expect(await client.answer()).toContain('D 1')
  })

  test('a server that was not there', async () => {
    await using pooler = await startPooler({}, { databases: { gone: { host: '127.0.0.1', port: 1 } } })
    await setVerbose(pooler, 1)
    const client = await RawClient.open(pooler.port)
    client.send(startup({ ...login, database: 'gone' }))
    const text =
      /^launch_new_connection: last failed, not launching new connection yet, still waiting \d+ s; 1 waiting /
    await pooler.settles(() => lines(pooler, 'DEBUG').some((line) => text.test(line)))
    client.vanish()
  })
})

test('verbose = 2: who is given which server, and what becomes of it', async () => {
  await using pooler = await start(2)
  const parameters = { application_name: 'other' }
  const client = await pooler.raw({ ...login, database: database.name })
  const other = await pooler.raw({ ...login, database: database.name, parameters })
  await client.ask(one)
  await other.ask(one)
  await other.ask(one)
  const told = lines(pooler, 'NOISE').filter((line) => !line.startsWith('dns: '))
  const ptr = String((await pooler.show('servers'))[0]?.ptr)
  expect(told).toEqual([
    `linked to S-${ptr}`,
    'release_server: idle',
    `linked to S-${ptr}, after its parameters are set`,
    'release_server: idle',
    `linked to S-${ptr}`,
    'release_server: idle',
  ])
  expect(lines(pooler, 'NOISE')).toContain('dns: 127.0.0.1 = 127.0.0.1')
})

test('a cancel request on its way is told of', async () => {
  await using pooler = await start(1)
  const client = await pooler.raw({ ...login, database: database.name })
  client.send(query('select pg_sleep(60)'))
  await untilItSleeps(database.name)
  await cancel(pooler.port, client.key)
  expect((await client.answer()).some((line) => line.includes('57014'))).toBe(true)
  expect(lines(pooler, 'DEBUG')).toContain('sending cancel request')
})

test('no password, verifier or hash is in any of it, whatever the method', async () => {
  const { roles } = postgres()
  for (const method of ['plain', 'md5', 'scram-sha-256'] as const) {
    await using pooler = await startPooler({ auth_type: method, auth_user: 'pgbouncer', auth_query: lookupQuery })
    await setVerbose(pooler, 2)
    for (const user of ['scram_user', 'md5_user', 'plain_user'] as const) {
      await (await pooler.connect({ user, database: database.name }).catch(() => undefined))?.query('select 1')
      await pooler.connect({ user, database: database.name, password: 'a wrong guess' }).catch(() => {})
    }
    await using console = await pooler.connect({ database: 'pgbouncer' })
    await console.query("SET auth_ldap_options = 'ldapserver=x ldapbasedn=y ldapbindpasswd=bindsecret'")
    const all = pooler.logged.join('\n')
    expect(all).toContain('login method: ')
    expect(all).toContain('DEBUG')
    const secrets = Object.values(roles).flatMap(({ password, secret }) => [password, secret, secret.slice(3)])
    const used = secrets.filter(
      (secret) => !['postgres', 'unused', 'pgbouncer', 'expired', 'replicator'].includes(secret),
    )
    for (const secret of [...used, 'a wrong guess', 'bindsecret']) expect(all.includes(secret), secret).toBe(false)
  }
})
