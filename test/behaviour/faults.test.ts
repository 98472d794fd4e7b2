// A fault of our own while clients and servers are served: an uncaught exception, wherever it was that it was called for.

import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { ClientSession } from '../../src/client/client-session.js'
import { PooledClient } from '../../src/client/pooled-client.js'
import { Pool } from '../../src/pool/pool.js'
import { Registry } from '../../src/pool/registry.js'
import { startPooler } from '../harness/pooler.js'
import { postgres } from '../harness/postgres.js'
import { cancel, query, RawClient, startup } from '../harness/raw-client.js'

/** Stands in for process/last-resort.ts; the test runner would take it for a failure. */
let uncaught: unknown[]
let others: NodeJS.UncaughtExceptionListener[]
const onUncaught = (error: unknown): number => uncaught.push(error)
beforeEach(() => {
  uncaught = []
  others = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException')
  process.on('uncaughtException', onUncaught)
})
afterEach(() => {
  process.off('uncaughtException', onUncaught)
  for (const other of others) process.on('uncaughtException', other)
  vi.restoreAllMocks()
})

/** The method's next call ends with an exception; resolves when it has been caught by nobody. */
function expectFault<T extends object>(prototype: T, method: keyof T & string): () => Promise<void> {
  const fault = new Error(`a fault in ${method}`)
  vi.spyOn(prototype, method as never).mockImplementationOnce((() => {
    throw fault
  }) as never)
  return () => vi.waitFor(() => expect(uncaught).toContain(fault), { timeout: 10_000 })
}

const login = { user: 'postgres', database: 'postgres' }

test('the first query of a new server', async () => {
  await using pooler = await startPooler()
  const [holder, client] = [await pooler.raw(), await pooler.raw()]
  await holder.ask(query('begin'))
  const happens = expectFault(PooledClient.prototype, 'granted')
  client.send(query('select 1'))
  await happens()
})

test('the first query, sent together with the login', async () => {
  await using pooler = await startPooler()
  await pooler.raw()
  const happens = expectFault(PooledClient.prototype, 'acquire')
  await using client = await RawClient.open(pooler.port)
  client.send(startup(login), query('select 1'))
  await happens()
})

test('the first query, sent together with the login that waits for the first server', async () => {
  await using pooler = await startPooler()
  const happens = expectFault(PooledClient.prototype, 'acquire')
  await using client = await RawClient.open(pooler.port)
  client.send(startup(login), query('select 1'))
  await happens()
})

test.each(['acquire', 'takeBack'] as const)('auth_query: %s', async (method) => {
  await using pooler = await startPooler(
    { auth_user: 'postgres' },
    { secrets: { postgres: postgres().roles.postgres.password } },
  )
  const happens = expectFault(Pool.prototype, method)
  await using client = await RawClient.open(pooler.port)
  client.send(startup({ ...login, user: 'trust_user' }))
  await happens()
})

test('a cancel: its server is free again', async () => {
  await using pooler = await startPooler()
  const client = await pooler.raw()
  client.send(query('select pg_sleep(60)'))
  await pooler.until('SHOW SERVERS', (row) => row.state === 'active')
  const happens = expectFault(Pool.prototype, 'onCancelled')
  client.vanish()
  await happens()
})

test('a cancel of who waits', async () => {
  await using pooler = await startPooler({ default_pool_size: 1 })
  const [holder, client] = [await pooler.raw(), await pooler.raw()]
  await holder.ask(query('begin'))
  client.send(query('select 1'))
  await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 1)
  const happens = expectFault(PooledClient.prototype, 'cancelWaiting')
  await cancel(pooler.port, client.key)
  await happens()
})

test.each([
  ['RESUME', 'PAUSE'],
  ['RELOAD', 'SHOW VERSION'],
  ["SET default_pool_size = '7'", 'SHOW VERSION'],
])('%s from the console', async (command, before) => {
  await using pooler = await startPooler()
  await pooler.raw()
  const console = await pooler.raw({ database: 'pgbouncer' })
  await console.ask(query(before))
  const happens = expectFault(Pool.prototype, 'serveWaiting')
  console.send(query(command))
  await happens()
})

test.each([
  ['RECONNECT', 'retireServers'],
  ['KILL', 'closeConnections'],
] as const)('%s from the console', async (command, method) => {
  await using pooler = await startPooler()
  await pooler.raw()
  const console = await pooler.raw({ database: 'pgbouncer' })
  const happens = expectFault(Registry.prototype, method)
  console.send(query(command))
  await happens()
})

test('a shutdown', async () => {
  await using pooler = await startPooler()
  await pooler.raw()
  const happens = expectFault(ClientSession.prototype, 'fail')
  pooler.pooler.shutdown('wait_for_servers').catch(() => {})
  pooler.pooler.close().catch(() => {})
  await happens()
})

test('what is refused is no fault', async () => {
  await using pooler = await startPooler()
  const console = await pooler.raw({ database: 'pgbouncer' })
  expect((await console.ask(query('RESUME')))[0]).toMatch(/^E ERROR 08P01/)
  expect((await console.ask(query('RECONNECT nowhere')))[0]).toMatch(/^(E ERROR|C RECONNECT)/)
  expect(uncaught).toEqual([])
})
