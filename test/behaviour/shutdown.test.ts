// How a pooler goes down: at once, or when clients or servers are done, and not later than shutdown_timeout.

import { expect, test } from 'vitest'
import { ManualClock } from '../harness/manual-clock.js'
import { eventually, startPooler, type TestPooler } from '../harness/pooler.js'
import { bind, copyFail, execute, parse, query, RawClient, startup, sync } from '../harness/raw-client.js'

const shuttingDown = 'E FATAL 08P01 server shutting down'

/** Is anybody listening? */
async function listens(pooler: TestPooler): Promise<boolean> {
  return RawClient.open(pooler.port).then(
    async (client) => {
      await client[Symbol.asyncDispose]()
      return true
    },
    () => false,
  )
}

/** Over a connection without a socket: there is no listener any more. */
async function loginWithin(pooler: TestPooler): Promise<string[]> {
  const client = new RawClient(pooler.pooler.connect())
  client.send(startup({ user: 'postgres', database: 'postgres' }))
  return client.toTheEnd()
}

test('at once: everybody is told, and all is closed', async () => {
  await using pooler = await startPooler()
  const [idle, busy] = [await pooler.raw(), await pooler.raw()]
  await busy.ask(query('begin'))
  await pooler.pooler.shutdown('now')
  expect([await idle.toTheEnd(), await busy.toTheEnd()]).toEqual([[shuttingDown], [shuttingDown]])
  expect(await listens(pooler)).toBe(false)
  await pooler.pooler.stopped
})

test('waiting for clients: those who are there are served, nobody else comes in, and it ends with the last of them', async () => {
  await using pooler = await startPooler()
  const [one, two] = [await pooler.raw(), await pooler.raw()]
  const console = await pooler.raw({ database: 'pgbouncer' })
  expect(await console.ask(query('SHUTDOWN WAIT_FOR_CLIENTS'))).toEqual(['C SHUTDOWN', 'Z I'])
  expect(await listens(pooler)).toBe(false)
  expect(await loginWithin(pooler)).toEqual(['E FATAL 08P01 pooler is shutting down'])
  expect(await one.ask(query('select 1'))).toContain('D 1')
  await one.end()
  expect(await two.ask(query('select 2'))).toContain('D 2')
  expect(await console.ask(query('RESUME'))).toContain('E ERROR 08P01 pooler is shutting down')
  await two.end()
  await Promise.all([pooler.pooler.stopped, console.ended]) // the console does not keep it
  expect(pooler.logged).toContain('LOG client connections dropped, exiting')
})

test('waiting for servers: transactions end, who waits or asks is told, and it ends with the last server', async () => {
  await using pooler = await startPooler({ default_pool_size: 1 })
  const [busy, waiting, idle] = [await pooler.raw(), await pooler.raw(), await pooler.raw()]
  const console = await pooler.raw({ database: 'pgbouncer' })
  await busy.ask(query('begin'))
  waiting.send(query('select 1'))
  await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 1)
  expect(await console.ask(query('SHUTDOWN WAIT_FOR_SERVERS'))).toEqual(['C SHUTDOWN', 'Z I'])
  expect(await listens(pooler)).toBe(false)
  expect(await waiting.toTheEnd()).toEqual([shuttingDown])
  expect(await busy.ask(query('select 1'))).toContain('D 1')
  idle.send(query('select 1'))
  expect(await idle.toTheEnd()).toEqual([shuttingDown])
  busy.send(query('commit'))
  expect(await busy.toTheEnd()).toEqual(['C COMMIT', 'Z I', shuttingDown])
  await pooler.pooler.stopped
  expect(pooler.logged).toContain('LOG server connections dropped, exiting')
})

test.each(['WAIT_FOR_CLIENTS', 'WAIT_FOR_SERVERS'])(
  'SHUTDOWN %s is answered, also where there is nobody to wait for',
  async (mode) => {
    for (const send of [[query(`SHUTDOWN ${mode}`)], [parse(`SHUTDOWN ${mode}`), bind(), execute(), sync]]) {
      await using pooler = await startPooler()
      const console = await pooler.raw({ database: 'pgbouncer' })
      console.send(...send)
      await pooler.pooler.stopped
      expect((await console.toTheEnd()).slice(-2)).toEqual(['C SHUTDOWN', 'Z I'])
    }
  },
)

test('waiting for servers does not wait for one that is only being connected to', async () => {
  const { createServer } = await import('node:net')
  const deaf = createServer(() => {}).listen(0, '127.0.0.1')
  await new Promise((resolve) => deaf.once('listening', resolve))
  const { port } = deaf.address() as { port: number }
  await using pooler = await startPooler({}, { databases: { deaf: { host: '127.0.0.1', port, dbname: 'x' } } })
  const login = pooler.raw({ database: 'deaf' }).catch((error: Error) => error.message)
  await pooler.until('SHOW POOLS', (row) => row.sv_login === 1)
  await pooler.pooler.shutdown('wait_for_servers')
  expect(await login).toBe(shuttingDown)
  deaf.close()
})

test.each(['wait_for_clients', 'wait_for_servers'] as const)(
  'shutdown_timeout: %s ends when the time is over, whoever is left',
  async (mode) => {
    const clock = new ManualClock()
    await using pooler = await startPooler({ shutdown_timeout: 30 }, { clock })
    const client = await pooler.raw()
    await client.ask(query('begin'))
    const down = pooler.pooler.shutdown(mode)
    clock.advance(29)
    expect(await client.ask(query('select 1'))).toContain('D 1')
    clock.advance(2)
    expect(await client.toTheEnd()).toEqual([shuttingDown])
    await down
    expect(pooler.logged).toContain('WARNING not done after 30 s (shutdown_timeout), closing what is left')
    expect(pooler.logged.filter((line) => line.includes('dropped, exiting'))).toEqual([])
  },
)

test('without shutdown_timeout it waits for as long as it takes', async () => {
  const clock = new ManualClock()
  await using pooler = await startPooler({}, { clock })
  const client = await pooler.raw()
  const down = pooler.pooler.shutdown('wait_for_clients')
  clock.advance(5000)
  expect(await client.ask(query('select 1'))).toContain('D 1')
  await client.end()
  await down
})

test('a second shutdown that waits for less is what happens', async () => {
  await using pooler = await startPooler()
  const client = await pooler.raw()
  const [patient, hasty] = [pooler.pooler.shutdown('wait_for_clients'), pooler.pooler.shutdown('now')]
  expect(await client.toTheEnd()).toEqual([shuttingDown])
  await Promise.all([patient, hasty])
})

test('a client in the middle of a COPY is waited for', async () => {
  await using pooler = await startPooler()
  const client = await pooler.raw()
  await client.ask(query('create temporary table mine (n int)'))
  client.send(query('copy pg_temp.mine from stdin'))
  await eventually(() => client.unread.length > 0)
  const down = pooler.pooler.shutdown('wait_for_servers')
  expect((await pooler.show('servers')).map((row) => row.state)).toEqual(['active'])
  client.send(copyFail('enough'))
  await down
  expect((await client.toTheEnd()).at(-1)).toBe(shuttingDown)
})
