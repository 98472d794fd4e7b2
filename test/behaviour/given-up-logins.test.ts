// A login that nobody wants any more, whatever it was waiting for just then: nothing of it stays, and nobody is let in.

import { once } from 'node:events'
import { getActiveResourcesInfo } from 'node:process'
import { afterEach, describe, expect, test } from 'vitest'
import { commandComplete, FakeBackend, readyForQuery } from '../harness/fake-backend.js'
import { FilePooler } from '../harness/file-pooler.js'
import { ManualClock } from '../harness/manual-clock.js'
import { eventually, type PoolerOptions, type Settings, startPooler, type TestPooler } from '../harness/pooler.js'
import { query as ask, createDatabase, postgres } from '../harness/postgres.js'
import { message, password, RawClient, startup } from '../harness/raw-client.js'
import { clientTlsFiles, Folder } from '../harness/tls.js'

const sslRequest = Buffer.of(0, 0, 0, 8, 4, 210, 22, 47)

const rejections: unknown[] = []
process.on('unhandledRejection', (reason) => rejections.push(reason))
afterEach(() => expect(rejections).toEqual([]))

function sockets(): number {
  return getActiveResourcesInfo().filter((name) => name.startsWith('TCP') || name.startsWith('TLS')).length
}

/** Nobody is in, and nobody counts as being in. */
async function expectNobody(pooler: TestPooler): Promise<void> {
  await pooler.untilEmpty()
  for (const row of await pooler.show('databases')) expect(row).toMatchObject({ current_client_connections: 0 })
  for (const row of await pooler.show('users')) expect(row).toMatchObject({ current_client_connections: 0 })
  for (const row of await pooler.show('pools')) expect(row).toMatchObject({ cl_active: 0, cl_waiting: 0 })
}

interface Wait extends AsyncDisposable {
  readonly pooler: TestPooler
  readonly clock: ManualClock
  readonly client: RawClient
  /** Lets come what was waited for. */
  readonly release: () => void
}

async function scene(
  settings: Settings,
  options: PoolerOptions,
  begin: (client: RawClient) => void | Promise<void>,
  isWaiting: (pooler: TestPooler) => boolean | Promise<boolean>,
  release: () => void = () => {},
  end: () => Promise<void> = async () => {},
): Promise<Wait> {
  const clock = new ManualClock()
  const pooler = await startPooler(
    { client_login_timeout: 60, server_connect_timeout: 600, ...settings },
    { clock, ...options },
  )
  const client = await RawClient.open(pooler.port)
  await begin(client)
  await eventually(() => isWaiting(pooler))
  const dispose = async (): Promise<void> => {
    client.stream.destroy()
    await pooler[Symbol.asyncDispose]()
    await end()
  }
  return { pooler, clock, client, release, [Symbol.asyncDispose]: dispose }
}

/** The user is found after all: two columns without a name, and `scram_user` with some secret. */
const columns = message('T', Buffer.of(0, 2), ...[0, 0].map(() => Buffer.alloc(19)))
const row = message(
  'D',
  Buffer.of(0, 2, 0, 0, 0, 10),
  Buffer.from('scram_user'),
  Buffer.of(0, 0, 0, 1),
  Buffer.from('x'),
)

const lookedUp = { user: 'scram_user', database: 'postgres' }
const roles = postgres().roles

/** What a login can wait for, apart from its client. */
const waits: Record<string, () => Promise<Wait>> = {
  'a server that says nothing, for auth_query': async () => {
    const backend = await FakeBackend.start(async () => {})
    return scene(
      { auth_type: 'trust', auth_user: 'asker' },
      { server: backend, secrets: { asker: 'x' } },
      (client) => void client.send(startup(lookedUp)),
      () => backend.connections.length > 0,
      () => {
        for (const connection of backend.connections) connection.greet()
      },
      () => backend[Symbol.asyncDispose](),
    )
  },
  'an auth_query that sleeps': async () => {
    const backend = await FakeBackend.start(async (connection) => {
      const packet = await connection.packet()
      if (packet.readInt32BE(0) === 80877102) return void connection.socket.end() // a CancelRequest is taken
      connection.greet()
      await connection.message()
    })
    return scene(
      { auth_type: 'trust', auth_user: 'asker' },
      { server: backend, secrets: { asker: 'x' } },
      (client) => void client.send(startup(lookedUp)),
      async (pooler) => (await pooler.show('pools')).some((row) => row.user === 'asker' && row.sv_active === 1),
      () => backend.connections[0]!.send(columns, row, commandComplete('SELECT 1'), readyForQuery()),
      () => backend[Symbol.asyncDispose](),
    )
  },
  'an LDAP server that says nothing': async () => {
    const directory = await FakeBackend.start(async () => {})
    return scene(
      { auth_type: 'ldap', auth_ldap_options: `ldapserver=127.0.0.1 ldapport=${directory.port} ldapprefix="cn="` },
      {},
      async (client) => {
        client.send(startup(lookedUp))
        await client.line()
        client.send(password('secret'))
      },
      () => directory.connections.length > 0 && directory.connections[0]!.unread.length > 0,
      () => {},
      () => directory[Symbol.asyncDispose](),
    )
  },
  "the pool's first server": async () => {
    const backend = await FakeBackend.start(async () => {})
    return scene(
      {},
      { server: backend },
      (client) => void client.send(startup(lookedUp)),
      () => backend.connections.length > 0,
      () => {
        for (const connection of backend.connections) connection.greet()
      },
      () => backend[Symbol.asyncDispose](),
    )
  },
  'the delay after a wrong password': async () => {
    let isAsked = false
    return scene(
      { auth_type: 'plain', auth_failure_delay: 30 },
      {},
      async (client) => {
        client.send(startup(lookedUp))
        await client.line()
        client.send(password('wrong'))
        await new Promise((resolve) => setTimeout(resolve, 20))
        isAsked = true
      },
      () => isAsked,
    )
  },
}

waits['its TLS handshake'] = async () => {
  const folder = await Folder.open(clientTlsFiles)
  return scene(
    { client_tls_sslmode: 'require', ...folder.clientTls },
    {},
    async (client) => {
      client.stream.removeAllListeners('data')
      client.stream.write(sslRequest)
      await once(client.stream, 'data')
    },
    () => true,
    () => {},
    () => folder[Symbol.asyncDispose](),
  )
}

/** Who ends it, and how. */
const leavings: Readonly<Record<string, (wait: Wait) => void | Promise<void>>> = {
  'the client closes its connection': ({ client }) => void client.stream.end(),
  'the client resets its connection': ({ client }) => client.vanish(),
  KILL_CLIENT: ({ pooler }) => pooler.pooler.admin.killClient(pooler.pooler.admin.clients()[0]!.id),
  client_login_timeout: ({ clock }) => clock.advance(61),
  shutdown: ({ pooler }) => pooler.pooler.close(),
}

describe.each(Object.keys(waits))('while a login waits for %s', (wait) => {
  test.each(Object.keys(leavings))('%s', async (leaving) => {
    const before = sockets()
    await using held = await waits[wait]!()
    const { pooler, client } = held
    await leavings[leaving]!(held)
    await client.ended
    held.release()
    await eventually(async () => {
      const servers = await pooler.show('servers')
      return servers.every((row) => row.state === 'idle' || row.state === 'new' || row.state === 'login')
    })
    await expectNobody(pooler)
    expect(pooler.logged.filter((line) => /ERROR|FATAL/.test(line))).toEqual([])
    pooler.pooler.admin.kill(undefined)
    await pooler.pooler.close()
    await held[Symbol.asyncDispose]()
    await eventually(() => sockets() <= before)
  })
})

test('an auth_query that nobody waits for any more is cancelled, and its server used again', async () => {
  const database = await createDatabase()
  try {
    await using pooler = await startPooler(
      {
        auth_type: 'trust',
        auth_user: 'pgbouncer',
        auth_query:
          "select usename::text, case when $1 = 'trust_user' then 'x' else pg_sleep(600)::text end from pg_user limit 1",
      },
      { secrets: { pgbouncer: roles.pgbouncer.password } },
    )
    const sleeping = async (): Promise<number> => {
      const rows = await ask("select 1 from pg_stat_activity where datname = $1 and wait_event = 'PgSleep'", {
        values: [database.name],
      })
      return rows.length
    }
    const client = await RawClient.open(pooler.port)
    client.send(startup({ user: 'scram_user', database: database.name }))
    await eventually(async () => (await sleeping()) === 1)
    const { remote_pid } = (await pooler.show('servers'))[0]!
    client.vanish()
    await eventually(async () => (await sleeping()) === 0)
    await pooler.until('SHOW SERVERS', (row) => row.state === 'idle' && row.remote_pid === remote_pid)
    await pooler.untilEmpty()
  } finally {
    await database.drop()
  }
})

test('logins that wait for a look-up on a database that is removed are told so', async () => {
  await using backend = await FakeBackend.start(async () => {})
  const databases = (names: string[]) =>
    Object.fromEntries(names.map((name) => [name, `host=${backend.host} port=${backend.port}`]))
  await using pooler = await FilePooler.start({
    pgbouncer: { auth_type: 'trust', auth_user: 'asker' },
    databases: databases(['one', 'two']),
  })
  await using client = await RawClient.open(pooler.port)
  client.send(startup({ user: 'nobody_known', database: 'one' }))
  await eventually(() => backend.connections.length > 0)
  await pooler.change({ pgbouncer: { auth_type: 'trust', auth_user: 'asker' }, databases: databases(['two']) })
  expect(await client.toTheEnd()).toEqual(['E FATAL 08P01 database removed'])
  await backend.connections[0]!.ended
  expect((await pooler.pooler.show('databases')).map((row) => row.name)).not.toContain('one')
})

test('a database that is removed while a client logs in does not come back with it', async () => {
  await using pooler = await FilePooler.start({
    pgbouncer: { auth_type: 'plain' },
    databases: { one: 'dbname=postgres', two: 'dbname=postgres' },
  })
  await using client = await RawClient.open(pooler.port)
  client.send(startup({ user: 'plain', database: 'one' }))
  expect(await client.line()).toBe('R 3')
  await pooler.change({ pgbouncer: { auth_type: 'plain' }, databases: { two: 'dbname=postgres' } })
  client.send(password('secret'))
  expect(await client.toTheEnd()).toEqual(['E FATAL 08P01 database removed'])
  expect((await pooler.pooler.show('databases')).map((row) => row.name)).not.toContain('one')
})

test('clients of the console that came and went, let in or not, leave max_client_conn as it was', async () => {
  await using pooler = await startPooler({ max_client_conn: 2 })
  for (let n = 0; n < 3; n++) {
    const console = await pooler.raw({ database: 'pgbouncer' })
    await console.end()
    await pooler.refusal({ user: 'trust_user', database: 'pgbouncer' })
    const hasty = await RawClient.open(pooler.port)
    hasty.send(startup({ user: 'postgres', database: 'pgbouncer' }))
    hasty.vanish()
  }
  await pooler.untilEmpty()
  const console = await pooler.raw({ database: 'pgbouncer' })
  const [one, two] = [await pooler.raw(), await pooler.raw()]
  expect(await pooler.refusal({})).toContain('no more connections allowed (max_client_conn)')
  for (const client of [console, one, two]) await client.end()
  await pooler.untilEmpty()
  await pooler.raw()
})
