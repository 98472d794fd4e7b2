// Entries with target_session_attrs: where their servers are, who waits and for what, and what an administrator may do.

import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { lookupQuery } from '../../src/demo/roles.js'
import type { Address } from '../harness/cluster.js'
import { errorResponse, FakeBackend } from '../harness/fake-backend.js'
import { FilePooler } from '../harness/file-pooler.js'
import { eventually, type PoolerOptions, type Settings, startPooler, type TestPooler } from '../harness/pooler.js'
import { query as ask, createDatabase, needs, postgres, standbyCaughtUp } from '../harness/postgres.js'
import { query, RawClient, startup } from '../harness/raw-client.js'

vi.mock('node:dns/promises', async (original) => {
  const system = await original<typeof import('node:dns/promises')>()
  const lookup = async (name: string, options: object): Promise<unknown> => {
    if (name === 'nowhere.test') throw Object.assign(new Error('getaddrinfo ENOTFOUND'), { code: 'ENOTFOUND' })
    if (name === 'never.test') return new Promise(() => {})
    if (name === 'here.test') return [{ address: '127.0.0.1', family: 4 }]
    return system.lookup(name, options)
  }
  return { ...system, lookup }
})

const { primary, standby, roles } = postgres()
const nameOf = ({ host, port }: Address): string => `${host}:${port}`

/** Keys of an entry with these hosts. */
const on = (...hosts: readonly Address[]) => ({
  host: hosts.map(({ host }) => host).join(),
  port: hosts.map(({ port }) => port).join(),
  dbname: 'postgres',
})

/** Databases `rw` and `ro` on both servers, unless told otherwise. */
function startRoles(
  settings: Settings = {},
  { databases, ...options }: PoolerOptions = {},
  hosts: readonly Address[] = [standby, primary],
): Promise<TestPooler> {
  const entries = {
    rw: { ...on(...hosts), target_session_attrs: 'read-write' },
    ro: { ...on(...hosts), target_session_attrs: 'prefer-standby' },
    ...databases,
  }
  return startPooler({ host_check_period: 0.2, ...settings }, { databases: entries, ...options })
}

const where = query('select pg_is_in_recovery()')
const onPrimary = ['T', 'D f', 'C SELECT 1', 'Z I']
const onStandby = ['T', 'D t', 'C SELECT 1', 'Z I']
const told = { primary: onPrimary, standby: onStandby }

/** One query of a client of its own. */
async function whereIs(pooler: TestPooler, database: string, user = 'postgres'): Promise<string[]> {
  await using client = await pooler.raw({ database, user })
  return (await client.ask(where)).map((line) => (line.startsWith('T') ? 'T' : line))
}

const host = async (pooler: TestPooler, address: Address) =>
  (await pooler.show('hosts')).find((row) => row.host === nameOf(address))

/** Nobody listens there. */
async function closedPort(): Promise<Address> {
  const backend = await FakeBackend.start(async () => {})
  await backend[Symbol.asyncDispose]()
  return { host: backend.host, port: backend.port }
}

async function waitingFor(pooler: TestPooler, clients: number): Promise<void> {
  await eventually(async () => {
    const rows = await pooler.show('pools')
    return rows.reduce((sum, row) => sum + Number(row.cl_waiting), 0) === clients
  })
}

describe.each([
  ['primary first', [primary, standby]],
  ['standby first', [standby, primary]],
] as const)('servers are where target_session_attrs says, %s', (_, hosts) => {
  test.each([
    ['primary', 'primary'],
    ['read-write', 'primary'],
    ['standby', 'standby'],
    ['prefer-standby', 'standby'],
    ['read-only', 'standby'],
  ] as const)('%s', async (attrs, role) => {
    for (const balance of ['round-robin', 'disable', 'random', 'least-connections']) {
      await using pooler = await startPooler(
        {},
        { databases: { app: { ...on(...hosts), target_session_attrs: attrs, load_balance_hosts: balance } } },
      )
      const clients = await Promise.all([1, 2, 3].map(() => pooler.raw({ database: 'app' })))
      const answers = await Promise.all(clients.map((client) => client.ask(where)))
      for (const answer of answers) expect(answer.slice(1)).toEqual(told[role].slice(1))
    }
  })
})

test('standby: a primary is never used, whatever that means for who waits', async () => {
  await using pooler = await startRoles({ query_wait_timeout: 1 }, {}, [primary])
  expect(await whereIs(pooler, 'ro')).toEqual(onPrimary) // prefer-standby
  await using other = await startPooler(
    { query_wait_timeout: 1 },
    { databases: { app: { ...on(primary), target_session_attrs: 'standby' } } },
  )
  expect(await other.refusal({ database: 'app' })).toBe('E FATAL 08P01 query_wait_timeout')
})

test('read-write and read-only hold default_transaction_read_only of the user against the primary', async () => {
  await using database = await createDatabase()
  await ask(`alter role trust_user in database ${database.name} set default_transaction_read_only = on`)
  const entry = { ...on(primary), dbname: database.name }
  await using pooler = await startRoles(
    { query_wait_timeout: 1 },
    {
      databases: {
        rw: { ...entry, target_session_attrs: 'read-write' },
        ro: { ...entry, target_session_attrs: 'read-only' },
        either: { ...entry, target_session_attrs: 'primary' },
      },
    },
  )
  const timeout = 'E FATAL 08P01 query_wait_timeout'
  expect(await whereIs(pooler, 'either', 'trust_user')).toEqual(onPrimary)
  expect(await whereIs(pooler, 'ro', 'trust_user')).toEqual(onPrimary)
  expect(await pooler.refusal({ database: 'rw', user: 'trust_user' })).toBe(timeout)
  expect(await whereIs(pooler, 'rw')).toEqual(onPrimary) // others are not concerned
  const tried = pooler.logged.filter((line) =>
    /rw\/trust_user.*closing because: host does not have the role/.test(line),
  )
  expect(tried).toHaveLength(1) // and not again before server_login_retry
  expect(await pooler.refusal({ database: 'ro' })).toBe(timeout)
})

describe('as whom hosts are asked', () => {
  test('with SCRAM and no password of anybody, the first login is the first question', async () => {
    const { user, secret } = roles.scram_user
    await using pooler = await startRoles({ auth_type: 'scram-sha-256' }, { secrets: { [user]: secret } })
    await eventually(async () => (await pooler.show('hosts')).length === 2)
    expect(await host(pooler, primary)).toMatchObject({ role: 'unknown', state: 'unknown', writes: 'no' })
    const client = await pooler.connect({ user, database: 'rw' })
    const { rows } = await client.query('select pg_is_in_recovery() as standby')
    expect(rows).toEqual([{ standby: false }])
    expect(await host(pooler, primary)).toMatchObject({ role: 'primary', state: 'up', writes: 'yes' })
  })

  test('auth_query asks any host that is up', async () => {
    await using database = await createDatabase() // a copy of template1, which has the function
    await standbyCaughtUp()
    const entry = { ...on(standby), dbname: database.name }
    await using pooler = await startRoles(
      { auth_type: 'scram-sha-256', auth_user: 'pgbouncer', auth_query: lookupQuery },
      {
        secrets: { pgbouncer: roles.pgbouncer.password },
        databases: {
          rw: { ...entry, target_session_attrs: 'read-write' },
          ro: { ...entry, target_session_attrs: 'prefer-standby' },
        },
      },
    )
    const client = await pooler.connect({ user: 'scram_user', database: 'ro' })
    expect((await client.query('select pg_is_in_recovery() as standby')).rows).toEqual([{ standby: true }])
    // There is no primary to log in to, but one to ask: who is nobody is told so at once.
    await expect(pooler.connect({ user: 'scram_user', database: 'rw', password: 'wrong' })).rejects.toThrow(
      'SASL authentication failed',
    )
  })

  test('host_check_user is, and nobody else', async () => {
    await using pooler = await startRoles({ host_check_user: 'md5_user' })
    expect(await whereIs(pooler, 'rw')).toEqual(onPrimary)
    for (const at of [primary, standby]) {
      const sessions = await ask(
        "select usename from pg_stat_activity where application_name = 'tsbouncer host check' and usename <> 'replicator'",
        { on: at },
      )
      expect(sessions).toContainEqual({ usename: 'md5_user' })
    }
  })

  test('where one is refused, another is tried', async () => {
    const secrets = { scram_user: 'not that', postgres: roles.postgres.password }
    await using pooler = await startRoles({ auth_user: 'scram_user' }, { secrets })
    expect(await whereIs(pooler, 'rw')).toEqual(onPrimary)
    await pooler.until('SHOW HOSTS', (row) => row.writes === 'yes' && row.timeline !== null)
    expect((await host(pooler, primary))?.last_error).toContain('password authentication failed')
  })

  test('host_check_user that is refused: roles are known from the logins of servers', async (context) => {
    needs(14, 'in_hot_standby', context)
    const secrets = { scram_user: 'not that', postgres: roles.postgres.password }
    await using pooler = await startRoles({ host_check_user: 'scram_user' }, { secrets })
    expect(await whereIs(pooler, 'rw')).toEqual(onPrimary)
    expect(await whereIs(pooler, 'ro')).toEqual(onStandby)
    expect(await host(pooler, primary)).toMatchObject({ role: 'primary', state: 'up', writes: 'yes', timeline: null })
  })
})

describe('what is told at once', () => {
  test.each([
    ['a wrong password', { user: 'scram_user', database: 'rw' }, /^E FATAL 28P01 /],
    ['a database that is not there', { user: 'postgres', database: 'gone' }, /^E FATAL 3D000 /],
  ])('%s', async (_, login, told) => {
    await using pooler = await startRoles(
      { host_check_user: 'postgres', query_wait_timeout: 30 },
      {
        secrets: { scram_user: 'not that', postgres: roles.postgres.password },
        databases: { gone: { ...on(standby, primary), dbname: 'gone', target_session_attrs: 'read-write' } },
      },
    )
    const begun = performance.now()
    expect(await pooler.refusal(login)).toMatch(told)
    expect(performance.now() - begun).toBeLessThan(15_000)
  })
})

describe('hosts that are no use do not keep anyone from those that are', () => {
  test('nobody listens there', async () => {
    await using pooler = await startRoles({}, {}, [await closedPort(), standby, primary, await closedPort()])
    for (let round = 0; round < 3; round++) {
      expect(await whereIs(pooler, 'rw')).toEqual(onPrimary)
      expect(await whereIs(pooler, 'ro')).toEqual(onStandby)
      pooler.pooler.admin.reconnect(undefined)
    }
    const down = (await pooler.show('hosts')).filter((row) => row.state === 'down')
    expect(down).toMatchObject([
      { role: 'unknown', last_error: expect.stringContaining('ECONNREFUSED') },
      { role: 'unknown', last_error: expect.stringContaining('ECONNREFUSED') },
    ])
    expect(pooler.logged.filter((line) => line.includes('closing because: connect failed'))).toEqual([])
  })

  test('it takes connections and says nothing: it counts when its time is over', async () => {
    await using mute = await FakeBackend.start(() => new Promise(() => {}))
    await using pooler = await startRoles({ host_check_timeout: 0.5 }, {}, [mute, standby, primary])
    expect(await whereIs(pooler, 'rw')).toEqual(onPrimary)
    expect(await host(pooler, mute)).toMatchObject({ state: 'down', last_error: 'no answer within 500 ms' })
    const times: number[] = []
    for (let round = 0; round < 20; round++) {
      const begun = performance.now()
      expect(await whereIs(pooler, 'rw')).toEqual(onPrimary)
      times.push(performance.now() - begun)
      pooler.pooler.admin.reconnect(undefined)
    }
    expect(times.sort((one, other) => one - other)[10]).toBeLessThan(400) // not one of them waits for it
  })

  test('it is starting up', async () => {
    await using starting = await FakeBackend.start(async (connection) => {
      await connection.packet()
      connection.socket.end(errorResponse('57P03', 'the database system is starting up', 'FATAL'))
    })
    await using pooler = await startRoles({}, {}, [starting, standby, primary])
    expect(await whereIs(pooler, 'rw')).toEqual(onPrimary)
    expect(await host(pooler, starting)).toMatchObject({
      state: 'starting',
      last_error: expect.stringContaining('the database system is starting up'),
    })
  })

  test.each(['nowhere.test', 'never.test'])('its name leads nowhere: %s', async (name) => {
    const lost = { host: name, port: 5432 }
    await using pooler = await startRoles({ host_check_timeout: 0.5 }, {}, [lost, standby, primary])
    expect(await whereIs(pooler, 'rw')).toEqual(onPrimary)
    expect(await whereIs(pooler, 'ro')).toEqual(onStandby)
    expect(await pooler.show('hosts')).toHaveLength(2)
  })

  test('two names for one host are one', async () => {
    const again = { host: 'here.test', port: primary.port }
    const named = { ...on(standby, again), target_session_attrs: 'primary' }
    await using pooler = await startRoles({}, { databases: { named } })
    expect(await whereIs(pooler, 'named')).toEqual(onPrimary)
    expect(await whereIs(pooler, 'rw')).toEqual(onPrimary)
    expect(await pooler.show('hosts')).toHaveLength(2)
    pooler.pooler.admin.banHost('here.test', 0)
    expect(await host(pooler, primary)).toMatchObject({ state: 'banned' })
  })
})

describe('SHOW HOSTS', () => {
  test('what it says', async () => {
    await using pooler = await startRoles({ max_replica_lag: 60 })
    const [writer, reader] = [await pooler.raw({ database: 'rw' }), await pooler.raw({ database: 'ro' })]
    await writer.ask(query('begin'))
    await reader.ask(where)
    await pooler.until('SHOW HOSTS', (row) => row.role === 'standby' && row.lag_ms !== null)
    const [facts] = await ask(
      "select system_identifier::text as id, ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int as line from pg_control_system()",
    )
    const common = { state: 'up', system_identifier: facts?.id, last_error: null, failovers: 0 }
    const shown = await pooler.show('hosts')
    expect(shown.map((row) => row.host)).toEqual([nameOf(primary), nameOf(standby)].sort())
    expect(await host(pooler, primary)).toMatchObject({
      ...common,
      role: 'primary',
      writes: 'yes',
      timeline: facts?.line,
      lag_ms: null,
      sv_active: 1,
      sv_idle: 0,
    })
    expect(await host(pooler, standby)).toMatchObject({
      ...common,
      role: 'standby',
      writes: 'no',
      timeline: facts?.line,
      sv_active: 0,
      sv_idle: 1,
      sv_other: 0,
    })
    // The same for a library, with names and types of its own.
    expect(pooler.pooler.hosts().find((row) => row.host === nameOf(primary))).toMatchObject({
      role: 'primary',
      isPrimary: true,
      timeline: facts?.line,
      systemId: facts?.id,
      lag: undefined,
      active: 1,
    })
  })

  test('hosts of entries without target_session_attrs are not in it', async () => {
    await using pooler = await startPooler()
    await pooler.raw()
    expect(await pooler.show('hosts')).toEqual([])
  })

  test('each host is asked over one connection, for all entries, which counts to no pool', async () => {
    await using database = await createDatabase()
    await using pooler = await startRoles(
      { auth_user: 'trust_user' },
      {
        databases: {
          more: { ...on(primary, standby), dbname: database.name, target_session_attrs: 'standby' },
          // other hosts, of which one is the same
          alone: { ...on(primary), target_session_attrs: 'primary' },
        },
      },
    )
    expect(await whereIs(pooler, 'rw')).toEqual(onPrimary)
    expect(await whereIs(pooler, 'alone')).toEqual(onPrimary)
    await standbyCaughtUp()
    expect(await whereIs(pooler, 'more')).toEqual(onStandby)
    expect(await pooler.show('hosts')).toHaveLength(2)
    expect((await pooler.show('servers')).length).toBe(3)
    const pids = new Set<unknown>()
    for (let look = 0; look < 5; look++) {
      const text =
        "select pid from pg_stat_activity where application_name = 'tsbouncer host check' and usename = 'trust_user'"
      for (const { pid } of await ask(text)) pids.add(pid)
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    expect(pids.size).toBe(1)
  })
})

describe('BAN HOST', () => {
  test('of a standby: reads go to the primary when their transaction has ended, and come back', async () => {
    await using pooler = await startRoles()
    const console = await pooler.raw({ database: 'pgbouncer' })
    const [idle, busy] = [await pooler.raw({ database: 'ro' }), await pooler.raw({ database: 'ro' })]
    expect((await idle.ask(where))[1]).toBe('D t')
    await busy.ask(query('begin'))
    expect(await console.ask(query(`BAN HOST ${nameOf(standby)}`))).toEqual(['C BAN HOST', 'Z I'])
    expect((await idle.ask(where))[1]).toBe('D f')
    expect((await busy.ask(where))[1]).toBe('D t')
    expect(await busy.ask(query('commit'))).toEqual(['C COMMIT', 'Z I'])
    expect((await busy.ask(where))[1]).toBe('D f')
    expect(await host(pooler, standby)).toMatchObject({ state: 'banned', role: 'standby', sv_active: 0, sv_idle: 0 })
    expect(pooler.logged.some((line) => /S-.*closing because: host is banned/.test(line))).toBe(true)
    expect(await console.ask(query(`UNBAN HOST ${nameOf(standby)}`))).toEqual(['C UNBAN HOST', 'Z I'])
    expect((await idle.ask(where))[1]).toBe('D t')
    await eventually(async () => (await host(pooler, primary))?.sv_idle === 0)
  })

  test('it ends by itself', async () => {
    await using pooler = await startRoles()
    const client = await pooler.raw({ database: 'ro' })
    expect((await client.ask(where))[1]).toBe('D t')
    pooler.pooler.admin.banHost(nameOf(standby), 1.5)
    expect((await client.ask(where))[1]).toBe('D f')
    await eventually(async () => (await client.ask(where))[1] === 'D t')
    expect(await host(pooler, standby)).toMatchObject({ state: 'up' })
  })

  test('of the primary: writes wait, and UNBAN HOST wakes them in their order', async () => {
    await using pooler = await startRoles({ default_pool_size: 1 })
    const clients = await Promise.all([1, 2, 3, 4].map(() => pooler.raw({ database: 'rw' })))
    await clients[0]!.ask(where)
    pooler.pooler.admin.banHost(nameOf(primary), 0)
    const order: number[] = []
    const answers = clients.map(async (client, n) => {
      const answer = await client.ask(where)
      order.push(n)
      return answer[1]
    })
    await waitingFor(pooler, 4)
    // Nor is anybody refused who comes now; reads go on.
    const newcomer = pooler.raw({ database: 'rw' })
    expect(await whereIs(pooler, 'ro')).toEqual(onStandby)
    pooler.pooler.admin.unbanHost(nameOf(primary))
    expect(await Promise.all(answers)).toEqual(['D f', 'D f', 'D f', 'D f'])
    expect(order).toEqual([0, 1, 2, 3])
    await newcomer
  })

  test('query_wait_timeout ends the waiting', async () => {
    await using pooler = await startRoles({ query_wait_timeout: 0.5 })
    const client = await pooler.raw({ database: 'rw' })
    pooler.pooler.admin.banHost(nameOf(primary), 0)
    client.send(where)
    expect(await client.toTheEnd()).toEqual(['E FATAL 08P01 query_wait_timeout'])
  })

  test.each([
    [
      'BAN HOST 127.0.0.1',
      /^E ERROR 08P01 more than one host: 127\.0\.0\.1 \(known: 127\.0\.0\.1:\d+, 127\.0\.0\.1:\d+\)$/,
    ],
    ['BAN HOST 10.9.8.7:1', /^E ERROR 08P01 no such host: 10\.9\.8\.7:1 \(known: /],
    ['UNBAN HOST 10.9.8.7:1', /^E ERROR 08P01 no such host: 10\.9\.8\.7:1 \(known: /],
  ])('%s', async (text, told) => {
    await using pooler = await startRoles()
    const console = await pooler.raw({ database: 'pgbouncer' })
    expect((await console.ask(query(text)))[0]).toMatch(told)
  })

  test('without any entry that has roles', async () => {
    await using pooler = await startPooler()
    const console = await pooler.raw({ database: 'pgbouncer' })
    expect((await console.ask(query('BAN HOST a')))[0]).toBe(
      'E ERROR 08P01 no such host: a (known: none, since no database has target_session_attrs)',
    )
  })
})

describe('WAIT PRIMARY', () => {
  test('answers when there is one, also under PAUSE', async () => {
    await using pooler = await startRoles()
    const console = await pooler.raw({ database: 'pgbouncer' })
    await whereIs(pooler, 'rw')
    expect(await console.ask(query('PAUSE rw'))).toEqual(['C PAUSE', 'Z I'])
    expect(await console.ask(query('WAIT PRIMARY rw 30'))).toEqual(['C WAIT PRIMARY', 'Z I'])
    pooler.pooler.admin.banHost(nameOf(primary), 0)
    console.send(query('WAIT PRIMARY rw'))
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(console.unread).toEqual([])
    pooler.pooler.admin.unbanHost(nameOf(primary))
    expect(await console.answer()).toEqual(['C WAIT PRIMARY', 'Z I'])
  })

  test('says so when there is none, and of databases that have none', async () => {
    await using pooler = await startRoles({}, { databases: { plain: on(primary) } })
    const console = await pooler.raw({ database: 'pgbouncer' })
    await whereIs(pooler, 'rw')
    pooler.pooler.admin.banHost(nameOf(primary), 0)
    const answers = await Promise.all([
      console.ask(query('WAIT PRIMARY rw 0.3')),
      pooler.raw({ database: 'pgbouncer' }).then((other) => other.ask(query('WAIT PRIMARY plain'))),
      pooler.raw({ database: 'pgbouncer' }).then((other) => other.ask(query('WAIT PRIMARY nodb'))),
    ])
    expect(answers.map(([first]) => first)).toEqual([
      'E ERROR 08P01 no primary is known after 0.3 s',
      'E ERROR 08P01 database plain has no target_session_attrs',
      'E ERROR 08P01 no such database: nodb',
    ])
  })
})

describe('clients', () => {
  test('are told the in_hot_standby that their entry asks for, wherever they are', async (context) => {
    needs(14, 'in_hot_standby', context)
    await using pooler = await startRoles({ host_check_period: 0.05 })
    const [writer, reader] = [await pooler.raw({ database: 'rw' }), await pooler.raw({ database: 'ro' })]
    expect(writer.reported.get('in_hot_standby')).toBe('off')
    expect(reader.reported.get('in_hot_standby')).toBe('on')
    await reader.ask(where)
    pooler.pooler.admin.banHost(nameOf(standby), 0)
    expect(await reader.ask(where)).toEqual([expect.stringMatching(/^T/), ...onPrimary.slice(1)]) // and no S
    const newcomer = await pooler.raw({ database: 'ro' })
    expect(newcomer.reported.get('in_hot_standby')).toBe('on')
  })

  test('200 of them that wait for a primary cost next to nothing', async () => {
    await using pooler = await startRoles({ max_client_conn: 300, host_check_period: 1 }, {}, [standby])
    await whereIs(pooler, 'ro')
    const clients = await Promise.all(
      Array.from({ length: 200 }, async () => {
        const client = await RawClient.open(pooler.port)
        return client.send(startup({ user: 'postgres', database: 'rw' }))
      }),
    )
    await eventually(async () =>
      (await pooler.show('lists')).some((row) => row.list === 'login_clients' && row.items === 200),
    )
    const before = process.cpuUsage()
    await new Promise((resolve) => setTimeout(resolve, 1500))
    const { user, system } = process.cpuUsage(before)
    expect((user + system) / 1000).toBeLessThan(500) // ms
    for (const { stream } of clients) stream.destroy()
  })

  test('who waited is let loose a few at a time', async () => {
    await using pooler = await startRoles({ default_pool_size: 50, max_client_conn: 300 })
    const clients = await Promise.all(Array.from({ length: 60 }, () => pooler.raw({ database: 'rw' })))
    pooler.pooler.admin.banHost(nameOf(primary), 0)
    const answers = clients.map(async (client) => (await client.ask(where))[1])
    await waitingFor(pooler, 60)
    pooler.pooler.admin.unbanHost(nameOf(primary))
    let most = 0
    await eventually(async () => {
      const connecting = (await pooler.show('pools')).find((row) => row.database === 'rw')?.sv_login
      most = Math.max(most, Number(connecting))
      return (await pooler.show('pools')).every((row) => row.cl_waiting === 0)
    })
    expect(new Set(await Promise.all(answers))).toEqual(new Set(['D f']))
    expect(most).toBeLessThanOrEqual(8)
    expect(most).toBeGreaterThan(0)
  })
})

describe('RELOAD', () => {
  const entry = `host=${standby.host},${primary.host} port=${standby.port},${primary.port} dbname=postgres user=trust_user`

  test('adds target_session_attrs and takes it away; clients stay', async () => {
    await using pooler = await FilePooler.start({ databases: { app: `${entry} load_balance_hosts=disable` } })
    const client = await pooler.connect()
    const standbyNow = async () => (await client.query('select pg_is_in_recovery() as it')).rows[0]?.it
    expect(await standbyNow()).toBe(true)
    await pooler.change({ databases: { app: `${entry} load_balance_hosts=disable target_session_attrs=primary` } })
    expect(await standbyNow()).toBe(false)
    expect(await pooler.pooler.show('hosts')).toHaveLength(2)
    await pooler.change({ databases: { app: `${entry} load_balance_hosts=disable target_session_attrs=standby` } })
    expect(await standbyNow()).toBe(true)
    await pooler.change({ databases: { app: `${entry} load_balance_hosts=disable` } })
    expect(await standbyNow()).toBe(true)
    expect(await pooler.pooler.show('hosts')).toEqual([])
    await client.end()
  })

  test('keeps a ban, also where other hosts are added', async () => {
    await using pooler = await FilePooler.start({ databases: { app: `${entry} target_session_attrs=prefer-standby` } })
    const client = await pooler.connect()
    const standbyNow = async () => (await client.query('select pg_is_in_recovery() as it')).rows[0]?.it
    expect(await standbyNow()).toBe(true)
    pooler.pooler.admin.banHost(nameOf(standby), 0)
    expect(await standbyNow()).toBe(false)
    await pooler.change({ pgbouncer: { host_check_period: 0.3 } })
    expect(await standbyNow()).toBe(false)
    const { host: other, port } = await closedPort()
    const more = entry.replace(/^host=(\S+) port=(\S+)/, `host=$1,${other} port=$2,${port}`)
    await pooler.change({ databases: { app: `${more} target_session_attrs=prefer-standby` } })
    expect(await standbyNow()).toBe(false)
    expect(await pooler.pooler.show('hosts')).toHaveLength(3)
    await client.end()
  })

  test('max_replica_lag is that of the entry, or the global one', async () => {
    const lag = (at: string) => ({ app: `${entry} target_session_attrs=prefer-standby ${at}` })
    await using pooler = await FilePooler.start({
      databases: lag('max_replica_lag=60'),
      pgbouncer: { max_replica_lag: 1 },
    })
    const client = await pooler.connect()
    expect((await client.query('select pg_is_in_recovery() as it')).rows).toEqual([{ it: true }])
    await pooler.change({ databases: lag('') })
    expect((await client.query('select pg_is_in_recovery() as it')).rows).toEqual([{ it: true }])
    await client.end()
  })
})

test('load_balance_hosts = least-connections evens out, also without target_session_attrs', async () => {
  const entry = { ...on(primary, standby), load_balance_hosts: 'least-connections' }
  await using pooler = await startPooler({}, { databases: { app: entry } })
  const clients = await Promise.all(Array.from({ length: 6 }, () => pooler.raw({ database: 'app' })))
  for (const client of clients) await client.ask(query('begin'))
  const ports = (await pooler.show('servers')).map((row) => Number(row.port))
  expect(ports.sort()).toEqual([primary, primary, primary, standby, standby, standby].map(({ port }) => port).sort())
})

describe('a server is lost', () => {
  let pooler: TestPooler
  beforeAll(async () => {
    pooler = await startRoles()
  })
  afterAll(() => pooler[Symbol.asyncDispose]())

  test('and its host is there still: the next transaction is served', async () => {
    const client = await pooler.raw({ database: 'rw', parameters: { application_name: 'loser' } })
    await client.ask(where)
    await ask("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'loser'")
    await eventually(async () => (await pooler.show('servers')).every((row) => row.database !== 'rw'))
    expect((await client.ask(where))[1]).toBe('D f')
  })

  test('the connection for questions too: nobody notices', async () => {
    expect(await whereIs(pooler, 'rw')).toEqual(onPrimary)
    await ask("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'tsbouncer host check'")
    expect(await whereIs(pooler, 'rw')).toEqual(onPrimary)
    expect(await host(pooler, primary)).toMatchObject({ state: 'up', writes: 'yes' })
    expect(pooler.logged.filter((line) => line.includes('no primary'))).toEqual([])
  })
})

test('it closes without leaving a connection', async () => {
  await using backend = await FakeBackend.start(() => new Promise(() => {}))
  {
    await using pooler = await startRoles({ host_check_timeout: 60, auth_user: 'postgres' }, {}, [backend])
    await eventually(() => backend.connections.length > 0)
    await pooler.show('hosts')
  }
  await Promise.all(backend.connections.map(({ ended }) => ended))
  const socket = connect(backend.port)
  await new Promise((resolve) => socket.once('connect', resolve))
  socket.destroy()
})
