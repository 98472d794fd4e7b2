// How many servers and clients there may be: by pool, database and user; and when servers are closed for their age or idleness.

import { expect, test } from 'vitest'
import type { Registry } from '../../src/pool/registry.js'
import { Resolver } from '../../src/server/hosts.js'
import { ManualClock } from '../harness/manual-clock.js'
import { startPooler, type TestPooler } from '../harness/pooler.js'
import { postgres } from '../harness/postgres.js'
import { query, type RawClient } from '../harness/raw-client.js'

const primary = () => postgres().primary
/** Entries for databases of any name that are all the same one to PostgreSQL. */
const entry = (more: Record<string, string | number> = {}) => ({ ...primary(), dbname: 'postgres', ...more })

/** Servers in each state, of one pool or of all. */
async function servers(pooler: TestPooler, of: { database?: string; user?: string } = {}): Promise<string[]> {
  const rows = await pooler.show('servers')
  return rows
    .filter((row) => Object.entries(of).every(([column, value]) => row[column] === value))
    .map((row) => String(row.state))
    .sort()
}

/** Clients with a transaction open, each on a server of its own. */
async function busy(pooler: TestPooler, count: number, login = {}): Promise<RawClient[]> {
  const clients: RawClient[] = []
  while (clients.length < count) {
    const client = await pooler.raw(login)
    await client.ask(query('begin'))
    clients.push(client)
  }
  return clients
}

const waitingIn = (pooler: TestPooler, database: string, count = 1) =>
  pooler.until('SHOW POOLS', (row) => row.database === database && row.cl_waiting === count)

test.each([
  ['default_pool_size', { default_pool_size: 2 }, {}, {}],
  ['pool_size of the database', { default_pool_size: 9 }, { pool_size: 2 }, {}],
  ['pool_size of the user', { default_pool_size: 9 }, { pool_size: 8 }, { trust_user: { pool_size: 2 } }],
])('%s: so many servers, and who comes then waits', async (_, settings, more, users) => {
  await using pooler = await startPooler(settings, { databases: { app: entry(more) }, users })
  const login = { user: 'trust_user', database: 'app' }
  const [first] = await busy(pooler, 2, login)
  const third = await pooler.raw(login)
  third.send(query('select 3'))
  await waitingIn(pooler, 'app')
  expect(await servers(pooler)).toEqual(['active', 'active'])
  await first!.ask(query('commit'))
  expect(await third.answer()).toContain('D 3')
})

test('pool_size 0 is no limit', async () => {
  await using pooler = await startPooler({ default_pool_size: 0 })
  await busy(pooler, 25)
  expect(await servers(pooler)).toHaveLength(25)
})

test('the reserve opens for a client that has waited, and not before', async () => {
  const clock = new ManualClock()
  await using pooler = await startPooler(
    { default_pool_size: 1, reserve_pool_size: 1, reserve_pool_timeout: 5 },
    { clock },
  )
  await busy(pooler, 1)
  const late = await pooler.raw()
  late.send(query('select 2'))
  await waitingIn(pooler, 'postgres')
  clock.advance(4)
  expect(await servers(pooler)).toEqual(['active'])
  clock.advance(2)
  expect(await late.answer()).toContain('D 2')
  expect(pooler.logged).toContainEqual(expect.stringContaining('taking connection from reserve_pool'))
})

test('max_db_connections: a server that is idle in another pool makes room at once', async () => {
  const clock = new ManualClock() // so that nothing is found out by the janitor
  await using pooler = await startPooler({}, { clock, databases: { app: entry({ max_db_connections: 1 }) } })
  const one = await pooler.raw({ user: 'trust_user', database: 'app' })
  const two = await pooler.raw({ user: 'md5_user', database: 'app' })
  expect(await servers(pooler)).toEqual(['idle'])
  await one.ask(query('begin'))
  two.send(query('select 2'))
  await waitingIn(pooler, 'app')
  expect(await servers(pooler)).toEqual(['active'])
  await one.ask(query('commit'))
  expect(await two.answer()).toContain('D 2')
  expect(await servers(pooler)).toEqual(['idle'])
})

test('max_db_connections of all databases holds for each of them', async () => {
  await using pooler = await startPooler({ max_db_connections: 2 }, { databases: { one: entry(), two: entry() } })
  await busy(pooler, 2, { database: 'one' })
  await busy(pooler, 2, { database: 'two' })
  const third = await pooler.raw({ database: 'one' })
  third.send(query('select 3'))
  await waitingIn(pooler, 'one')
  expect(await servers(pooler, { database: 'one' })).toHaveLength(2)
})

test('max_user_connections counts the servers of a user in all databases', async () => {
  await using pooler = await startPooler(
    {},
    {
      databases: { one: entry({ user: 'trust_user' }), two: entry({ user: 'trust_user' }), other: entry() },
      users: { trust_user: { max_user_connections: 2 } },
    },
  )
  const idle = await pooler.raw({ database: 'two' })
  await idle.ask(query('select 1'))
  await idle.end()
  const [first] = await busy(pooler, 2, { database: 'one' })
  expect(await servers(pooler, { user: 'trust_user' })).toEqual(['active', 'active'])
  expect(pooler.logged).toContainEqual(expect.stringContaining('closing because: evicted for max_user_connections'))
  const third = await pooler.raw({ database: 'one' })
  third.send(query('select 3'))
  await waitingIn(pooler, 'one')
  await pooler.raw({ database: 'other' }) // another user
  await first!.ask(query('commit'))
  expect(await third.answer()).toContain('D 3')
})

test('min_pool_size is kept for a forced user before anybody comes, and for others while they are here', async () => {
  await using pooler = await startPooler(
    { min_pool_size: 2 },
    {
      databases: {
        forced: entry({ user: 'trust_user' }),
        none: entry({ user: 'trust_user', min_pool_size: 0 }),
        app: entry(),
      },
    },
  )
  await pooler.until('SHOW POOLS', (row) => row.database === 'forced' && row.sv_idle === 2)
  const client = await pooler.raw({ database: 'app' })
  await pooler.until('SHOW POOLS', (row) => row.database === 'app' && row.sv_idle === 2)
  await client.end()
  expect(await pooler.show('pools')).not.toContainEqual(expect.objectContaining({ database: 'none' }))
})

test('min_pool_size takes no servers away from other pools', async () => {
  const clock = new ManualClock()
  await using pooler = await startPooler(
    { min_pool_size: 2, max_db_connections: 3 },
    { clock, databases: { app: entry() } },
  )
  await pooler.raw({ user: 'trust_user', database: 'app' })
  await pooler.raw({ user: 'md5_user', database: 'app' })
  for (let round = 0; round < 5; round++) {
    clock.advance(1)
    await pooler.until('SHOW POOLS', (row) => row.database === 'app' && row.sv_login === 0)
  }
  expect(await servers(pooler)).toHaveLength(3)
  expect(pooler.logged.filter((line) => line.includes('evicted'))).toEqual([])
})

test('a pool that is made smaller closes the servers it has too many', async () => {
  await using pooler = await startPooler({ default_pool_size: 3 })
  for (const client of await busy(pooler, 3)) await client.ask(query('commit'))
  await pooler.pooler.admin.set('default_pool_size', '1')
  await pooler.until('SHOW POOLS', (row) => row.database === 'postgres' && row.sv_idle === 1)
  expect(pooler.logged.filter((line) => line.includes('closing because: too many servers in the pool'))).toHaveLength(2)
})

test('server_idle_timeout leaves min_pool_size servers', async () => {
  const clock = new ManualClock()
  await using pooler = await startPooler(
    { server_idle_timeout: 10, server_check_delay: 100, min_pool_size: 1 },
    { clock },
  )
  for (const client of await busy(pooler, 3)) await client.ask(query('commit'))
  clock.advance(9)
  expect(await servers(pooler)).toHaveLength(3)
  clock.advance(2)
  expect(await servers(pooler)).toHaveLength(1)
})

test('server_lifetime closes servers one after the other, idle or as they are released', async () => {
  const clock = new ManualClock()
  await using pooler = await startPooler(
    { server_lifetime: 100, default_pool_size: 4, server_check_delay: 1000 },
    { clock },
  )
  const [one, ...others] = await busy(pooler, 4)
  for (const client of others) await client.ask(query('commit'))
  clock.advance(101)
  expect(await servers(pooler)).toEqual(['active', 'idle', 'idle'])
  clock.advance(10)
  expect(await servers(pooler)).toHaveLength(3)
  await one!.ask(query('commit')) // too old, but the last one was closed less than 100/4 s ago
  expect(await servers(pooler)).toEqual(['idle', 'idle', 'idle'])
  await one!.ask(query('begin'))
  clock.advance(15)
  await one!.ask(query('commit'))
  await pooler.settles(async () => (await servers(pooler)).length <= 2)
  expect(pooler.logged).toContainEqual(expect.stringContaining('closing because: server lifetime over'))
})

test('server_lifetime 0: a server is used once', async () => {
  await using pooler = await startPooler({ server_lifetime: 0 })
  await using client = await pooler.raw()
  const pids = new Set<string>()
  for (let n = 0; n < 3; n++) {
    const [, row] = await client.ask(query('select pg_backend_pid()'))
    pids.add(row!)
  }
  expect(pids.size).toBe(3)
})

test('server_lifetime of a database beats the global one', async () => {
  const clock = new ManualClock()
  await using pooler = await startPooler(
    { server_check_delay: 1000 },
    { clock, databases: { short: entry({ server_lifetime: 10 }), long: entry() } },
  )
  await pooler.raw({ database: 'short' })
  await pooler.raw({ database: 'long' })
  clock.advance(11)
  expect(await servers(pooler, { database: 'short' })).toEqual([])
  expect(await servers(pooler, { database: 'long' })).toEqual(['idle'])
})

test.each([
  ['round robin', 1, 3],
  ['the last one first', 0, 1],
] as const)('idle servers are used %s', async (_, server_round_robin, different) => {
  await using pooler = await startPooler({ server_round_robin })
  const [client, ...others] = await busy(pooler, 3)
  for (const each of [client!, ...others]) await each.ask(query('commit'))
  const used = new Set<string>()
  for (let n = 0; n < 6; n++) used.add((await client!.ask(query('select pg_backend_pid()')))[1]!)
  expect(used.size).toBe(different)
})

test('server_check_query is asked of a server that has been idle for server_check_delay', async () => {
  const clock = new ManualClock()
  await using pooler = await startPooler(
    { server_check_delay: 10, server_check_query: 'select pg_backend_pid() / 0', server_idle_timeout: 0 },
    { clock },
  )
  const client = await pooler.raw()
  await client.ask(query('select 1'))
  clock.advance(5)
  expect(await servers(pooler)).toEqual(['idle'])
  clock.advance(6)
  expect(await servers(pooler)).toEqual(['used'])
  expect(await client.ask(query('select 2'))).toContain('D 2')
  expect(pooler.logged).toContainEqual(expect.stringContaining('closing because: test query failed'))
})

test('pool_idle_timeout: a pool nobody uses is dropped, and its totals with it', async () => {
  const clock = new ManualClock()
  await using pooler = await startPooler(
    { pool_idle_timeout: 60, server_idle_timeout: 10, server_check_delay: 1000 },
    { clock, databases: { app: entry() } },
  )
  const client = await pooler.raw({ database: 'app' })
  await client.ask(query('select 1'))
  clock.advance(100)
  expect(await pooler.show('pools')).toContainEqual(expect.objectContaining({ database: 'app' }))
  await client.end()
  clock.advance(30)
  expect(await pooler.show('stats')).toContainEqual(expect.objectContaining({ database: 'app' }))
  clock.advance(60)
  for (const what of ['pools', 'stats']) {
    expect(await pooler.show(what)).not.toContainEqual(expect.objectContaining({ database: 'app' }))
  }
})

test('autodb_idle_timeout: a database that * made up is forgotten, unless it is stopped', async () => {
  const clock = new ManualClock()
  await using pooler = await startPooler({ autodb_idle_timeout: 60, server_idle_timeout: 10 }, { clock })
  const { admin } = pooler.pooler
  for (const database of ['template1', 'postgres']) await pooler.raw({ database }).then((client) => client.end())
  await admin.pause('postgres', new AbortController().signal)
  const names = async () => (await pooler.show('databases')).map((row) => row.name)
  clock.advance(30)
  expect(await names()).toEqual(['pgbouncer', 'postgres', 'template1'])
  clock.advance(60)
  expect(await names()).toEqual(['pgbouncer', 'postgres'])
  admin.resume('postgres')
  clock.advance(1)
  expect(await names()).toEqual(['pgbouncer'])
})

test('time-outs of a user hold for its clients, and those of a forced user for all of them', async () => {
  const clock = new ManualClock()
  await using pooler = await startPooler(
    { client_idle_timeout: 100 },
    {
      clock,
      databases: { app: entry(), forced: entry({ user: 'trust_user' }) },
      users: { md5_user: { client_idle_timeout: 10 }, trust_user: { client_idle_timeout: 20 } },
    },
  )
  const clients = {
    own: await pooler.raw({ user: 'md5_user', database: 'app' }),
    other: await pooler.raw({ user: 'postgres', database: 'app' }),
    forced: await pooler.raw({ user: 'postgres', database: 'forced' }),
    ownBeatsForced: await pooler.raw({ user: 'md5_user', database: 'forced' }),
  }
  const left = async () => (await pooler.show('clients')).length
  clock.advance(11)
  await Promise.all([clients.own.ended, clients.ownBeatsForced.ended])
  expect(await left()).toBe(2)
  clock.advance(10)
  expect(await clients.forced.toTheEnd()).toEqual(['E FATAL 08P01 client_idle_timeout'])
  clock.advance(80)
  expect(await clients.other.toTheEnd()).toEqual(['E FATAL 08P01 client_idle_timeout'])
})

test('with auth_type any it is the forced user whose clients are counted', async () => {
  await using pooler = await startPooler(
    { auth_type: 'any', max_user_client_connections: 2 },
    { databases: { app: entry({ user: 'trust_user' }) } },
  )
  await pooler.raw({ user: 'one', database: 'app' })
  await pooler.raw({ user: 'two', database: 'app' })
  expect(await pooler.refusal({ user: 'three', database: 'app' })).toBe(
    'E FATAL 08P01 client connections exceeded (max_user_client_connections)',
  )
  expect((await pooler.show('clients')).map((row) => row.user)).toEqual(['trust_user', 'trust_user'])
})

test('the clients of the console do not count for max_client_conn', async () => {
  await using pooler = await startPooler({ max_client_conn: 1 })
  await pooler.raw()
  for (let n = 0; n < 3; n++) await pooler.raw({ database: 'pgbouncer' })
  expect(await pooler.refusal({})).toBe('E FATAL 08P01 no more connections allowed (max_client_conn)')
})

test('load_balance_hosts: connections go round the hosts, or stay with the first that works', async () => {
  const { primary, standby } = postgres()
  const both = { host: '127.0.0.1,127.0.0.1', port: `${primary.port},${standby.port}`, dbname: 'postgres' }
  await using pooler = await startPooler(
    {},
    { databases: { round: both, fixed: { ...both, load_balance_hosts: 'disable' } } },
  )
  const ports = async (database: string) => {
    await busy(pooler, 4, { database })
    return (await pooler.show('servers')).filter((row) => row.database === database).map((row) => Number(row.port))
  }
  const [one, other] = [primary.port, standby.port].sort((a, b) => a - b)
  expect((await ports('round')).sort((a, b) => a - b)).toEqual([one, one, other, other])
  expect(new Set(await ports('fixed'))).toEqual(new Set([primary.port]))
})

test('names are looked up once in dns_max_ttl, failures once in dns_nxdomain_ttl; addresses that are gone are told', async () => {
  const clock = new ManualClock()
  const answers: (readonly string[])[] = [['10.0.0.1', '10.0.0.2'], ['10.0.0.2'], [], ['10.0.0.3']]
  let asked = 0
  const gone: string[] = []
  const resolver = new Resolver(
    clock,
    () => ({ maxTtl: 15, failureTtl: 5 }),
    (name, addresses) => gone.push(`${name} ${addresses.join()}`),
    async () => {
      const addresses = answers[asked++]!
      if (addresses.length === 0) throw new Error('no such name')
      return addresses
    },
  )
  const both = await Promise.all([resolver.address('db'), resolver.address('db')])
  expect([both, asked]).toEqual([['10.0.0.1', '10.0.0.2'], 1])
  clock.advance(14)
  await resolver.address('db')
  expect(resolver.status()).toEqual([{ hostname: 'db', ttl: 1, addresses: ['10.0.0.1', '10.0.0.2'] }])
  clock.advance(2)
  expect([await resolver.address('db'), asked, gone]).toEqual(['10.0.0.2', 2, ['db 10.0.0.1']])
  clock.advance(16)
  await expect(resolver.address('db')).rejects.toThrow('could not look up db')
  clock.advance(4)
  await expect(resolver.address('db')).rejects.toThrow('could not look up db')
  expect(asked).toBe(3)
  clock.advance(2)
  expect([await resolver.address('db'), gone]).toEqual(['10.0.0.3', ['db 10.0.0.1']])
})

test('a server at an address that its name has lost is used no more', async () => {
  await using pooler = await startPooler({}, { databases: { app: entry({ host: 'localhost' }) } })
  const client = await pooler.raw({ database: 'app' })
  await client.ask(query('begin'))
  // The system's look-up cannot be made to change its mind.
  const { registry } = (pooler.pooler as unknown as { running: { clients: { registry: Registry } } }).running.clients
  registry.retireAddresses('localhost', ['10.0.0.1'])
  registry.retireAddresses('other', ['127.0.0.1', '::1'])
  expect((await pooler.show('servers'))[0]).toMatchObject({ close_needed: 0 })
  registry.retireAddresses('localhost', ['127.0.0.1', '::1'])
  expect((await pooler.show('servers'))[0]).toMatchObject({ close_needed: 1 })
  await client.ask(query('commit'))
  expect(pooler.logged).toContainEqual(expect.stringContaining('closing because: server DNS address changed'))
})
