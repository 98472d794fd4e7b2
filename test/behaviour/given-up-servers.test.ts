// A server connection that nobody wants any more, whatever it was waiting for just then: nothing of it stays.

import { getActiveResourcesInfo } from 'node:process'
import { afterEach, expect, test, vi } from 'vitest'
import { type BackendConnection, FakeBackend } from '../harness/fake-backend.js'
import { ManualClock } from '../harness/manual-clock.js'
import { eventually, startPooler, type TestPooler } from '../harness/pooler.js'
import { postgres } from '../harness/postgres.js'
import { cancelRequest, query, RawClient, startup } from '../harness/raw-client.js'
import { keyOfPeer } from './peers.js'

/** Look-ups of names that end in `.test` wait here until they are let go. */
const held = vi.hoisted(() => ({ names: [] as string[], go: [] as (() => void)[] }))

vi.mock('node:dns/promises', async (original) => {
  const system = await original<typeof import('node:dns/promises')>()
  const lookup = async (name: string, options: object): Promise<unknown> => {
    if (!name.endsWith('.test')) return system.lookup(name, options)
    held.names.push(name)
    await new Promise<void>((resolve) => held.go.push(resolve))
    return [{ address: '127.0.0.1', family: 4 }]
  }
  return { ...system, lookup }
})

afterEach(() => {
  for (const go of held.go.splice(0)) go()
  held.names.length = 0
})

const rejections: unknown[] = []
process.on('unhandledRejection', (reason) => rejections.push(reason))

/** Where each wait of a connection attempt is made to last. */
const stages: Readonly<Record<string, (connection: BackendConnection) => Promise<void>>> = {
  'the host name': async () => {},
  'the answer to the SSLRequest': async (connection) => void (await connection.packet()),
  'the handshake': async (connection) => {
    await connection.packet()
    connection.send(Buffer.from('S'))
  },
  'the answer to the startup packet': async (connection) => {
    await connection.packet()
    connection.send(Buffer.from('N'))
    await connection.packet()
  },
  connect_query: async (connection) => {
    await connection.packet()
    connection.send(Buffer.from('N'))
    await connection.welcome()
    await connection.message()
  },
}

/** Whoever may end it. */
const leavings: Readonly<Record<string, (pooler: TestPooler, clock: ManualClock) => void>> = {
  RECONNECT: ({ pooler }) => pooler.admin.reconnect(undefined),
  KILL: ({ pooler }) => pooler.admin.kill('one'),
  PAUSE: ({ pooler }) => void pooler.admin.pause('one', AbortSignal.timeout(1)).catch(() => {}),
  server_connect_timeout: (_, clock) => clock.advance(3),
  shutdown: ({ pooler }) => void pooler.close(),
}

const cases = Object.keys(stages).flatMap((stage) => Object.keys(leavings).map((leaving) => [leaving, stage] as const))

test.each(cases)('%s while a server is waited for: %s', async (leaving, stage) => {
  const isHeld = stage === 'the host name'
  let reached = 0
  await using backend = await FakeBackend.start(async (connection) => {
    await stages[stage]!(connection)
    reached++
  })
  const clock = new ManualClock()
  await using pooler = await startPooler(
    { server_connect_timeout: 2, server_tls_sslmode: 'prefer', server_login_retry: 0 },
    {
      clock,
      databases: {
        one: { host: isHeld ? 'db.test' : backend.host, port: backend.port, connect_query: 'select 1' },
      },
    },
  )
  const before = sockets()
  await using client = await RawClient.open(pooler.port)
  client.send(startup({ user: 'postgres', database: 'one' }))
  await eventually(() => (isHeld ? held.names.length > 0 : reached > 0))
  const [attempt] = await pooler.show('servers')
  expect(attempt).toMatchObject({ state: 'new' })

  leavings[leaving]!(pooler, clock)
  for (const go of held.go.splice(0)) go()
  await eventually(async () => (await pooler.show('servers')).every((row) => row.ptr !== attempt!.ptr))
  client.stream.destroy()
  pooler.pooler.admin.kill(undefined) // also what came after it
  for (const go of held.go.splice(0)) go()

  await Promise.all(backend.connections.map((connection) => connection.ended))
  await pooler.untilEmpty()
  await eventually(() => sockets() <= before)
  expect(await pooler.show('servers')).toEqual([])
  expect(await pooler.show('databases')).toMatchObject([{ current_connections: 0, current_client_connections: 0 }, {}])
  expect(rejections).toEqual([])
})

test('look-ups slower than server_connect_timeout leave no backend in PostgreSQL', async () => {
  const { port } = postgres().primary
  const clock = new ManualClock()
  await using pooler = await startPooler(
    { server_connect_timeout: 1, server_login_retry: 1, dns_max_ttl: 0, client_login_timeout: 0 },
    { clock, databases: { one: { host: 'db.test', port, dbname: 'postgres' } } },
  )
  await using client = await RawClient.open(pooler.port)
  client.send(startup({ user: 'postgres', database: 'one', application_name: 'never here' }))
  for (let attempts = 1; attempts <= 3; attempts++) {
    await eventually(() => held.names.length === attempts)
    clock.advance(1.5) // server_connect_timeout
    for (const go of held.go.splice(0)) go()
    await eventually(async () => (await pooler.show('servers')).length === 0)
    clock.advance(1.4) // server_login_retry
  }
  expect(pooler.logged.filter((line) => line.includes('new connection to server'))).toEqual([])
  await eventually(() => held.names.length === 4)
  for (const go of held.go.splice(0)) go()
  await client.answer()
  expect((await pooler.show('servers')).length).toBe(1)
  expect(await client.ask(query('select 1 as x'))).toContain('D 1')
  expect(pooler.logged.filter((line) => line.includes('new connection to server')).length).toBe(1)
  expect(rejections).toEqual([])
})

/** A server that runs a query, and takes CancelRequests without closing their connections. */
async function startDeaf() {
  return FakeBackend.start(async (connection) => {
    const packet = await connection.packet()
    if (packet.readInt32BE(0) === 80877102) return
    connection.greet()
  })
}

test('CancelRequests that a server does not take end a moment after the pooler', async () => {
  await using backend = await startDeaf()
  const before = sockets()
  await using pooler = await startPooler({ cancel_wait_timeout: 0 }, { server: backend })
  const client = await pooler.raw()
  client.send(query('select 1'))
  await pooler.until('SHOW SERVERS', (row) => row.state === 'active')
  await using asking = await RawClient.open(pooler.port)
  asking.send(cancelRequest(client.key))
  await eventually(() => backend.connections.length === 2)
  await pooler.pooler.close()
  await Promise.all(backend.connections.map((connection) => connection.ended))
  asking.stream.destroy()
  await eventually(() => sockets() <= before)
  expect(rejections).toEqual([])
})

test('CancelRequests for a peer that does not take them, or is still looked up, end with the pooler', async () => {
  for (const host of ['127.0.0.1', 'peer.test']) {
    await using peer = await FakeBackend.start(async () => {})
    const before = sockets()
    await using pooler = await startPooler(
      { cancel_wait_timeout: 0, peer_id: 1 },
      { peers: { 2: { host, port: peer.port } } },
    )
    await using asking = await RawClient.open(pooler.port)
    asking.send(cancelRequest(keyOfPeer(2, 3)))
    await eventually(() => peer.connections.length === 1 || held.names.length === 1)
    await pooler.pooler.close()
    for (const go of held.go.splice(0)) go()
    await asking.ended
    await Promise.all(peer.connections.map((connection) => connection.ended))
    await eventually(() => sockets() <= before)
    held.names.length = 0
  }
  expect(rejections).toEqual([])
})

function sockets(): number {
  return getActiveResourcesInfo().filter((name) => name.startsWith('TCP') || name.startsWith('TLS')).length
}
