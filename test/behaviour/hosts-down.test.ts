// Servers that cannot be reached or say no: who waits is told as soon as there is nothing left to wait for, and not before.

import { describe, expect, test, vi } from 'vitest'
import {
  type BackendConnection,
  commandComplete,
  errorResponse,
  FakeBackend,
  readyForQuery,
} from '../harness/fake-backend.js'
import { ManualClock } from '../harness/manual-clock.js'
import { eventually, startPooler } from '../harness/pooler.js'
import { query, RawClient, startup } from '../harness/raw-client.js'

vi.mock('node:dns/promises', async (original) => {
  const system = await original<typeof import('node:dns/promises')>()
  const lookup = async (name: string, options: object): Promise<unknown> =>
    name === 'both.test'
      ? ['127.0.0.2', '127.0.0.1'].map((address) => ({ address, family: 4 }))
      : system.lookup(name, options)
  return { ...system, lookup }
})

/** Answers whatever it is asked; `hold` when the test lets it. */
async function serve(connection: BackendConnection, release: Promise<void>): Promise<void> {
  for (;;) {
    const { code, body } = await connection.message()
    if (code === 'X') return void connection.socket.end()
    if (body.includes('hold')) await release
    connection.send(commandComplete('SELECT 0'), readyForQuery())
  }
}

const served = ['C SELECT 0', 'Z I']

/** A server that lets in or refuses, as the test says. */
async function startMoody() {
  const mood = { says: undefined as Buffer | undefined, release: (): void => {} }
  const released = new Promise<void>((resolve) => {
    mood.release = resolve
  })
  const backend = await FakeBackend.start(async (connection) => {
    await connection.packet()
    if (mood.says !== undefined) return void connection.socket.end(mood.says)
    connection.greet()
    await serve(connection, released)
  })
  return Object.assign(backend, { mood })
}

describe('a server that says no', () => {
  test.each([
    ['28P01', 'password authentication failed for user "postgres"'],
    ['28000', 'no pg_hba.conf entry for host'],
    ['3D000', 'database "postgres" does not exist'],
  ])('%s: clients that wait are told at once where no server is left', async (sqlstate, text) => {
    const clock = new ManualClock()
    await using backend = await startMoody()
    await using pooler = await startPooler({}, { clock, server: backend })
    const clients = [await pooler.raw(), await pooler.raw(), await pooler.raw()]
    backend.mood.says = errorResponse(sqlstate, text, 'FATAL')
    for (const { socket } of backend.connections) socket.destroy()
    await eventually(async () => (await pooler.show('servers')).length === 0)
    for (const client of clients) client.send(query('select 1'))
    for (const client of clients) {
      const [told] = await client.toTheEnd()
      expect(told).toMatch(
        new RegExp(`^E FATAL (${sqlstate} ${text}|08P01 server login has been failing, .*${text}.*)$`),
      )
    }
  })

  test('clients wait on for a server that there is', async () => {
    await using backend = await startMoody()
    await using pooler = await startPooler({}, { clock: new ManualClock(), server: backend })
    const [holder, waiting] = [await pooler.raw(), await pooler.raw()]
    holder.send(query('hold'))
    await pooler.until('SHOW POOLS', (row) => row.sv_active === 1)
    backend.mood.says = errorResponse('53300', 'too many connections', 'FATAL')
    waiting.send(query('select 1'))
    await eventually(() => pooler.logged.some((line) => line.includes('too many connections')))
    await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 1 && row.sv_login === 0)
    backend.mood.release()
    expect(await holder.answer()).toEqual(served)
    expect(await waiting.answer()).toEqual(served)
  })

  test('57P03 is no refusal: the server is starting up, and clients wait for it', async () => {
    const clock = new ManualClock()
    await using backend = await startMoody()
    await using pooler = await startPooler({ server_login_retry: 5, query_wait_notify: 0 }, { clock, server: backend })
    const client = await pooler.raw()
    backend.mood.says = errorResponse('57P03', 'the database system is starting up', 'FATAL')
    for (const { socket } of backend.connections) socket.destroy()
    await eventually(async () => (await pooler.show('servers')).length === 0)
    client.send(query('select 1'))
    await eventually(() => pooler.logged.some((line) => line.includes('the database system is starting up')))
    await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 1 && row.sv_login === 0)
    backend.mood.says = undefined
    clock.advance(6)
    expect(await client.answer()).toEqual(served)
  })

  test('one of two hosts: the other is tried before anybody is told', async () => {
    await using refusing = await startMoody()
    refusing.mood.says = errorResponse('28000', 'not here', 'FATAL')
    await using backend = await startMoody()
    const hosts = { host: '127.0.0.1,127.0.0.1', port: `${refusing.port},${backend.port}` }
    await using pooler = await startPooler({}, { clock: new ManualClock(), databases: { '*': hosts } })
    const client = await pooler.raw()
    expect(await client.ask(query('select 1'))).toEqual(served)
    backend.mood.says = errorResponse('28000', 'not here either', 'FATAL')
    for (const { socket } of backend.connections) socket.destroy()
    await eventually(async () => (await pooler.show('servers')).length === 0)
    client.send(query('select 1'))
    expect(await client.toTheEnd()).toEqual(['E FATAL 28000 not here either'])
  })
})

describe('while the first server of a pool is waited for', () => {
  test.each([
    ['query_timeout', { query_timeout: 5 }],
    ['query_wait_timeout', { query_wait_timeout: 5 }],
  ])('%s', async (text, settings) => {
    const clock = new ManualClock()
    await using backend = await FakeBackend.start(async () => {})
    await using pooler = await startPooler({ server_connect_timeout: 60, ...settings }, { clock, server: backend })
    await using client = await RawClient.open(pooler.port)
    client.send(startup({ user: 'postgres', database: 'postgres' }))
    await eventually(() => backend.connections.length > 0)
    clock.advance(4.5)
    expect((await pooler.show('lists')).find((row) => row.list === 'login_clients')?.items).toBe(1)
    clock.advance(1)
    expect(await client.toTheEnd()).toEqual([`E FATAL 08P01 ${text}`])
  })
})

describe('one of several hosts is down', () => {
  async function closedPort(): Promise<number> {
    const backend = await FakeBackend.start(async () => {})
    await backend[Symbol.asyncDispose]()
    return backend.port
  }

  test.each(['round-robin', 'disable'])('the next one is tried at once (load_balance_hosts = %s)', async (balance) => {
    await using backend = await startMoody()
    const ports = `${await closedPort()},${backend.port}`
    await using pooler = await startPooler(
      { server_login_retry: 15, default_pool_size: 3 },
      {
        clock: new ManualClock(), // no time passes
        databases: { '*': { host: '127.0.0.1,127.0.0.1', port: ports, load_balance_hosts: balance } },
      },
    )
    const clients = [await pooler.raw(), await pooler.raw(), await pooler.raw()]
    for (let round = 0; round < 3; round++) {
      await Promise.all(clients.map(async (client) => expect(await client.ask(query('select 1'))).toEqual(served)))
      pooler.pooler.admin.reconnect(undefined)
    }
    const failures = pooler.logged.filter((line) => line.includes('closing because: connect failed'))
    expect(failures.length).toBe(1) // it is not tried again before server_login_retry has passed
  })

  test('it is one of the addresses of a name', async () => {
    await using backend = await startMoody()
    await using pooler = await startPooler(
      { server_login_retry: 15 },
      { clock: new ManualClock(), databases: { '*': { host: 'both.test', port: backend.port } } },
    )
    for (let round = 0; round < 4; round++) {
      await using client = await pooler.raw()
      expect(await client.ask(query('select 1'))).toEqual(served)
      pooler.pooler.admin.reconnect(undefined)
    }
    const failures = pooler.logged.filter((line) => line.includes('closing because: connect failed'))
    expect(failures.length).toBe(1)
  })

  test('all of them: a pause, then all of them again', async () => {
    const clock = new ManualClock()
    const ports = [await closedPort(), await closedPort()]
    await using pooler = await startPooler(
      { server_login_retry: 15 },
      { clock, databases: { '*': { host: '127.0.0.1,127.0.0.1', port: ports.join() } } },
    )
    await using client = await RawClient.open(pooler.port)
    client.send(startup({ user: 'postgres', database: 'postgres' }))
    const failures = (): number =>
      pooler.logged.filter((line) => line.includes('closing because: connect failed')).length
    await eventually(() => failures() === 2)
    clock.advance(14)
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(failures()).toBe(2)
    clock.advance(2)
    await eventually(() => failures() === 4)
  })
})
