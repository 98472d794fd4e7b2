// One address with target_session_attrs: a virtual address that another machine takes over, and a name that leads elsewhere.

import { connect, createServer, type Server, type Socket } from 'node:net'
import { expect, test, vi } from 'vitest'
import type { Address } from '../harness/cluster.js'
import { eventually, startPooler } from '../harness/pooler.js'
import { postgres } from '../harness/postgres.js'
import { query } from '../harness/raw-client.js'

/** What the name `moving.test` leads to. */
let moving = '127.0.0.2'

vi.mock('node:dns/promises', async (original) => {
  const system = await original<typeof import('node:dns/promises')>()
  const lookup = async (name: string, options: object): Promise<unknown> =>
    name === 'moving.test' ? [{ address: moving, family: 4 }] : system.lookup(name, options)
  return { ...system, lookup }
})

const { primary, standby } = postgres()

/** Forwards to one server; when it leads to another, what was connected before falls silent, as on a machine that is gone. */
class MovingAddress implements AsyncDisposable {
  readonly #server: Server
  readonly #pairs = new Set<readonly [Socket, Socket]>()

  private constructor(server: Server, to: Address) {
    this.#server = server
    this.lead(to)
  }

  static async open(to: Address, host = '127.0.0.1', port = 0): Promise<MovingAddress> {
    const server = createServer()
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(port, host, resolve)
    })
    return new MovingAddress(server, to)
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port
  }

  lead(to: Address): void {
    for (const pair of this.#pairs) for (const socket of pair) socket.unpipe().pause()
    this.#server.removeAllListeners('connection')
    this.#server.on('connection', (client) => {
      const onward = connect(to.port, to.host)
      const pair = [client, onward] as const
      this.#pairs.add(pair)
      for (const socket of pair) socket.on('error', () => {})
      client.pipe(onward).pipe(client)
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

const where = query('select pg_is_in_recovery() as r')
const settings = { host_check_period: 0.2, host_check_timeout: 1, server_login_retry: 1, dns_max_ttl: 0.2 }

test('an address that another machine takes over: what hangs on the old one is told, and who writes waits for a primary', async () => {
  await using address = await MovingAddress.open(primary)
  const entry = { host: '127.0.0.1', port: address.port, dbname: 'postgres', target_session_attrs: 'read-write' }
  await using pooler = await startPooler(settings, { databases: { app: entry } })
  const client = await pooler.raw({ database: 'app', user: 'postgres' })
  const other = await pooler.raw({ database: 'app', user: 'postgres' })
  expect(await client.ask(where)).toContain('D f')
  other.send(query('select pg_sleep(600)'))
  await eventually(async () => (await pooler.show('servers')).some((row) => row.state === 'active'))

  address.lead(standby) // no connection is reset
  const told = await other.answer()
  expect(told.filter((line) => !line.startsWith('T'))).toEqual([expect.stringContaining('E ERROR 08007'), 'Z I'])
  expect(await pooler.show('hosts')).toMatchObject([{ role: 'standby', writes: 'no' }])

  client.send(where)
  await eventually(async () => (await pooler.show('pools')).some((row) => row.cl_waiting === 1))
  address.lead(primary)
  expect(await client.answer()).toContain('D f')
  expect(await other.ask(where)).toContain('D f')
})

test('another machine that fits as well: what hangs on the old one is told', async () => {
  await using address = await MovingAddress.open(primary)
  const entry = { host: '127.0.0.1', port: address.port, dbname: 'postgres', target_session_attrs: 'prefer-standby' }
  await using pooler = await startPooler(settings, { databases: { app: entry } })
  const client = await pooler.raw({ database: 'app', user: 'postgres' })
  client.send(query('select pg_sleep(600)'))
  await eventually(async () => (await pooler.show('servers')).some((row) => row.state === 'active'))
  // What is connected since the latest check may be the other one's already.
  await pooler.pooler.admin.waitPrimary('app', 10, AbortSignal.timeout(10_000))
  address.lead(standby)
  expect((await client.answer()).at(-2)).toContain('E ERROR 08007')
  expect(await client.ask(where)).toContain('D t')
})

// Elsewhere than on Linux, 127.0.0.1 is the only address of its network.
test.skipIf(process.platform !== 'linux')(
  'a name that leads to another address: dns_max_ttl later it is found',
  async () => {
    await using first = await MovingAddress.open(primary, '127.0.0.2')
    await using second = await MovingAddress.open(primary, '127.0.0.3', first.port)
    const entry = { host: 'moving.test', port: first.port, dbname: 'postgres', target_session_attrs: 'primary' }
    await using pooler = await startPooler(settings, { databases: { app: entry } })
    const client = await pooler.raw({ database: 'app', user: 'postgres' })
    expect(await client.ask(where)).toContain('D f')
    expect(await pooler.show('hosts')).toMatchObject([{ host: `127.0.0.2:${first.port}`, writes: 'yes' }])
    moving = '127.0.0.3'
    await eventually(async () => (await pooler.show('hosts')).every((row) => row.host === `127.0.0.3:${second.port}`))
    expect(await client.ask(where)).toContain('D f')
    expect((await pooler.show('servers')).map((row) => row.addr)).toEqual(['127.0.0.3'])
  },
)
