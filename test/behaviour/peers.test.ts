// Peers: a CancelRequest that comes to the wrong pooler reaches the right query, whatever else may be wrong with peers.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { findFreePort } from '../../src/demo/port.js'
import { type BackendConnection, FakeBackend } from '../harness/fake-backend.js'
import { FilePooler } from '../harness/file-pooler.js'
import { ManualClock } from '../harness/manual-clock.js'
import { eventually, type PoolerOptions, type Settings, startPooler, type TestPooler } from '../harness/pooler.js'
import { cancel, cancelRequest, query, RawClient, startup } from '../harness/raw-client.js'
import { clientTlsFiles, Folder, openTls } from '../harness/tls.js'
import { Balancer, canceled, keyOfPeer, sleep } from './peers.js'

const user = 'trust_user'
const host = '127.0.0.1'

/** Poolers that are each other's peers, numbered from 1. */
class Peers implements AsyncDisposable {
  readonly poolers: TestPooler[] = []

  static async start(count: number, settings: Settings = {}): Promise<Peers> {
    const started = new Peers()
    const ports: number[] = []
    while (ports.length < count) ports.push(await findFreePort(...ports))
    const peers = Object.fromEntries(ports.map((port, n) => [n + 1, { host, port }]))
    for (const [n, listen_port] of ports.entries()) {
      started.poolers.push(await startPooler({ ...settings, listen_port, peer_id: n + 1 }, { peers }))
    }
    return started
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const pooler of this.poolers) await pooler[Symbol.asyncDispose]()
  }
}

/** One pooler with id 1, and these peers. */
const withPeers = (peers: NonNullable<PoolerOptions['peers']>, settings: Settings = {}, clock?: ManualClock) =>
  startPooler({ peer_id: 1, ...settings }, { peers, ...(clock !== undefined && { clock }) })

const said = (pooler: { readonly logged: readonly string[] }, text: string): number =>
  pooler.logged.filter((line) => line.includes(text)).length

describe('a cancel that comes to another peer', () => {
  test('stops the query it is meant for, and no other', async () => {
    await using peers = await Peers.start(3)
    const clients = await Promise.all(peers.poolers.map((pooler) => pooler.raw({ user })))
    for (const client of clients) await sleep(client)
    for (const [n, client] of clients.entries()) {
      await cancel(peers.poolers[(n + 1) % 3]!.port, client.key)
      expect((await client.answer()).slice(-2)).toEqual(canceled)
      for (const other of clients.slice(n + 1)) {
        expect(other.unread.filter((line) => !line.startsWith('T '))).toEqual([])
      }
    }
  })

  test('ends the wait of a client that is in the queue', async () => {
    await using peers = await Peers.start(2, { default_pool_size: 1 })
    const [one, two] = peers.poolers as [TestPooler, TestPooler]
    const [holder, client] = [await one.raw({ user }), await one.raw({ user })]
    await holder.ask(query('begin'))
    client.send(query("select 'never'"))
    await one.until('SHOW POOLS', (row) => row.cl_waiting === 1)
    await cancel(two.port, client.key)
    expect(await client.answer()).toEqual(canceled)
  })

  test('cancels that come anywhere never hit anybody else', async () => {
    await using peers = await Peers.start(2, { default_pool_size: 1 })
    const [one, two] = peers.poolers as [TestPooler, TestPooler]
    const [client, other] = [await one.raw({ user }), await one.raw({ user })]
    let hits = 0
    for (let round = 0; round < 40; round++) {
      client.send(query(`select 'mine' as x from pg_sleep(${(round % 12) / 1000})`))
      other.send(query("select 'other' as x"))
      await Promise.all([cancel(two.port, client.key), cancel(one.port, client.key), cancel(two.port, client.key)])
      const mine = await client.answer()
      if (mine.includes(canceled[0]!)) hits++
      else expect(mine).toEqual(['T x', 'D mine', 'C SELECT 1', 'Z I'])
      expect(await other.answer()).toEqual(['T x', 'D other', 'C SELECT 1', 'Z I'])
    }
    expect(hits).toBeGreaterThan(0)
  })

  test('behind one address, it does not matter who gets what', async () => {
    await using peers = await Peers.start(3)
    await using balancer = await Balancer.start(peers.poolers.map(({ port }) => port))
    for (let round = 0; round < 7; round++) {
      await using client = await RawClient.connect({
        port: balancer.port,
        parameters: { user, database: 'postgres' },
      })
      await sleep(client)
      await cancel(balancer.port, client.key)
      expect((await client.answer()).slice(-2)).toEqual(canceled)
    }
  })

  test('finds its way over a Unix socket, in a folder and in the abstract namespace', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tsbouncer-peers-'))
    const hosts = process.platform === 'linux' ? [folder, `@tsbouncer-peers-${process.pid}`] : [folder]
    try {
      for (const where of hosts) {
        const port = await findFreePort()
        await using one = await startPooler({ peer_id: 2, unix_socket_dir: where, listen_port: port })
        await using two = await withPeers({ 2: { host: where, port } })
        const client = await one.raw({ user })
        await sleep(client)
        await cancel(two.port, client.key)
        expect((await client.answer()).slice(-2)).toEqual(canceled)
      }
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })

  test('is taken also where clients have to use TLS: as in pgbouncer, peers ask each other in the clear', async () => {
    await using folder = await Folder.open(clientTlsFiles)
    await using peers = await Peers.start(2, { client_tls_sslmode: 'require', ...folder.clientTls })
    const [one, two] = peers.poolers as [TestPooler, TestPooler]
    await using client = await openTls(one.port)
    await client.logIn(one.login({ user }))
    await sleep(client)
    await cancel(two.port, client.key)
    expect((await client.answer()).slice(-2)).toEqual(canceled)
    expect(said(two, 'closing because: successfully sent cancel request')).toBe(1)
  })
})

describe('keys', () => {
  test('are in pgbouncer’s layout, with peers short ones also for protocol 3.2', async () => {
    await using peers = await Peers.start(2)
    for (const [n, pooler] of peers.poolers.entries()) {
      for (const minor of [0, 2]) {
        await using client = await RawClient.connect({ ...pooler.login({ user }), minor })
        const key = Buffer.alloc(4)
        key.writeInt32BE(client.key.pid)
        expect(key[0]! & 0x80).toBe(0)
        expect(key.readUInt16LE(1)).toBe(n + 1)
        expect(client.key.secret.length).toBe(4) // a longer CancelRequest, pgbouncer would drop
        expect(client.key.secret[3]! & 3).toBe(3)
        await sleep(client)
        await cancel(peers.poolers[1 - n]!.port, client.key)
        expect((await client.answer()).slice(-2)).toEqual(canceled)
      }
    }
    await using alone = await startPooler()
    await using client = await RawClient.connect({ ...alone.login({ user }), minor: 2 })
    expect(client.key.secret.length).toBe(32)
  })
})

describe('hops', () => {
  test('are counted down, and a request without any left goes nowhere', async () => {
    const got: Buffer[] = []
    await using peer = await FakeBackend.start(async (connection) => {
      got.push(await connection.packet())
      connection.socket.end()
    })
    await using pooler = await withPeers({ 300: { host, port: peer.port } })
    for (const hops of [3, 2, 1, 0]) await cancel(pooler.port, keyOfPeer(300, hops))
    expect(got).toEqual([2, 1, 0].map((hops) => cancelRequest(keyOfPeer(300, hops)).subarray(4)))
    expect(said(pooler, 'failed to forward cancel request because its TTL was exhausted')).toBe(1)
  })

  test('end a request that would go round in circles', async () => {
    const [a, b] = [await findFreePort(), await findFreePort()]
    await using one = await withPeers({ 7: { host, port: b } }, { listen_port: a })
    await using two = await withPeers({ 7: { host, port: a } }, { listen_port: b })
    await cancel(one.port, keyOfPeer(7, 3))
    expect(said(one, 'successfully sent cancel request') + said(two, 'successfully sent cancel request')).toBe(3)
    expect(said(two, 'TTL was exhausted')).toBe(1)
  })

  test('that were used up on the way do not keep the owner of the key from knowing it', async () => {
    await using pooler = await withPeers({})
    for (const hops of [0, 1, 2]) {
      await using client = await pooler.raw({ user })
      await sleep(client)
      const secret = Buffer.from(client.key.secret)
      secret[3] = (secret[3]! & ~3) | hops
      await cancel(pooler.port, { pid: client.key.pid, secret })
      expect((await client.answer()).slice(-2)).toEqual(canceled)
    }
  })
})

describe('a peer', () => {
  test('that is not known: the request is dropped', async () => {
    await using pooler = await withPeers({})
    await cancel(pooler.port, keyOfPeer(9, 3))
    expect(said(pooler, 'closing because: could not find peer to forward request to')).toBe(1)
    expect(await pooler.show('peer_pools')).toEqual([])
  })

  test('that is one’s own entry: a key that nobody has is dropped', async () => {
    const port = await findFreePort()
    await using pooler = await withPeers({ 1: { host, port } }, { listen_port: port })
    await cancel(pooler.port, keyOfPeer(1, 3))
    expect(said(pooler, 'closing because: failed cancel request')).toBe(1)
    expect(await pooler.show('peer_pools')).toEqual([])
  })

  test('that is down, or has no address: the request fails at once, and others do not', async () => {
    await using other = await startPooler({ peer_id: 4 })
    await using pooler = await withPeers({
      2: { host, port: await findFreePort() },
      3: { host: 'no-such-host.invalid', port: 1 },
      4: { host, port: other.port },
    })
    await cancel(pooler.port, keyOfPeer(2, 3))
    await cancel(pooler.port, keyOfPeer(3, 3))
    expect(said(pooler, 'cancel request failed: ECONNREFUSED')).toBe(1)
    expect(said(pooler, 'cancel request failed: could not look up no-such-host.invalid')).toBe(1)
    const client = await other.raw({ user })
    await sleep(client)
    await cancel(pooler.port, client.key)
    expect((await client.answer()).slice(-2)).toEqual(canceled)
    expect(await pooler.show('peer_pools')).toEqual([2, 3, 4].map((id) => idle(id)))
  })

  test('that hangs: as many requests as pool_size are with it, others wait, and all end with cancel_wait_timeout', async () => {
    const clock = new ManualClock()
    await using peer = await FakeBackend.start(async (connection) => {
      await connection.packet()
      await new Promise(() => {})
    })
    await using pooler = await withPeers(
      { 2: { host, port: peer.port, pool_size: 2 } },
      { cancel_wait_timeout: 10 },
      clock,
    )
    const key = keyOfPeer(2, 3)
    const asked = Array.from({ length: 5 }, () => cancel(pooler.port, key))
    await pooler.until('SHOW PEER_POOLS', (row) => row.cl_waiting_cancel_req === 3 && row.cl_active_cancel_req === 2)
    expect(await pooler.show('peer_pools')).toEqual([
      { peer_id: 2, cl_active_cancel_req: 2, cl_waiting_cancel_req: 3, sv_active_cancel: 2, sv_login: 0 },
    ])
    expect(await pooler.show('lists')).toEqual(
      expect.arrayContaining([
        { list: 'peers', items: 1 },
        { list: 'peer_pools', items: 1 },
      ]),
    )
    expect(peer.connections.length).toBe(2)
    clock.advance(9)
    expect(said(pooler, 'cancel_wait_timeout')).toBe(0)
    clock.advance(2)
    await Promise.all(asked)
    expect(said(pooler, 'closing because: cancel_wait_timeout')).toBe(5)
    expect(await pooler.show('peer_pools')).toEqual([idle(2)])
    // Those connections are closed, and the next request is not kept from going out.
    await Promise.all(peer.connections.map(({ ended }) => ended))
    const next = cancel(pooler.port, key)
    await pooler.until('SHOW PEER_POOLS', (row) => row.sv_active_cancel === 1)
    clock.advance(11)
    await next
  })

  test('that is slow: who waits goes on when the one before is done, in order', async () => {
    const held: BackendConnection[] = []
    const got: number[] = []
    await using peer = await FakeBackend.start(async (connection) => {
      got.push((await connection.packet())[4]!)
      held.push(connection)
      await new Promise(() => {})
    })
    await using pooler = await withPeers({ 2: { host, port: peer.port, pool_size: 1 } })
    const asked: Promise<void>[] = []
    for (const mark of [1, 2, 3]) {
      const { secret } = keyOfPeer(2, 3)
      asked.push(cancel(pooler.port, { pid: (mark << 24) | (2 << 16), secret }))
      await pooler.until(
        'SHOW PEER_POOLS',
        (row) => Number(row.cl_waiting_cancel_req) === mark - 1 && held.length === 1,
      )
    }
    for (const mark of [1, 2, 3]) {
      await eventually(() => held.length === mark)
      held[mark - 1]!.socket.end()
      await asked[mark - 1]
    }
    expect(got).toEqual([1, 2, 3])
    expect(await pooler.show('peer_pools')).toEqual([idle(2)])
  })

  test('that takes the request and says more than it should: nothing comes of it', async () => {
    await using peer = await FakeBackend.start(async (connection) => {
      await connection.packet()
      connection.send(Buffer.alloc(1_000_000, 'E'))
      connection.socket.end()
    })
    await using pooler = await withPeers({ 2: { host, port: peer.port } })
    const client = await RawClient.open(pooler.port)
    client.send(cancelRequest(keyOfPeer(2, 3)))
    expect(await client.toTheEnd()).toEqual([])
    expect(await pooler.show('peer_pools')).toEqual([idle(2)])
  })

  test('pool_size 0 is no limit', async () => {
    await using peer = await FakeBackend.start(async (connection) => {
      await connection.packet()
      await new Promise(() => {})
    })
    await using pooler = await withPeers({ 2: { host, port: peer.port, pool_size: 0 } })
    const clients = await Promise.all(Array.from({ length: 50 }, () => RawClient.open(pooler.port)))
    for (const client of clients) client.send(cancelRequest(keyOfPeer(2, 3)))
    await pooler.until('SHOW PEER_POOLS', (row) => row.sv_active_cancel === 50)
    for (const client of clients) client.vanish()
  })

  test('that hangs cannot be used to keep cancels from clients here', async () => {
    await using peer = await FakeBackend.start(async (connection) => {
      await connection.packet()
      await new Promise(() => {})
    })
    await using pooler = await withPeers({ 2: { host, port: peer.port, pool_size: 1 } }, { listen_backlog: 1024 })
    const request = cancelRequest(keyOfPeer(2, 3))
    const flood = await Promise.all(Array.from({ length: 1010 }, () => RawClient.open(pooler.port)))
    for (const client of flood) client.send(request)
    await Promise.any(flood.map(({ ended }) => ended)) // one too many
    await pooler.until('SHOW PEER_POOLS', (row) => row.cl_waiting_cancel_req === 999)
    const client = await pooler.raw({ user })
    await sleep(client)
    await cancel(pooler.port, client.key)
    expect((await client.answer()).slice(-2)).toEqual(canceled)
    await eventually(() => said(pooler, 'cancel request failed: too many for peers') === 10)
    for (const one of flood) one.vanish()
  })
})

describe('without peer_id', () => {
  test('nothing is passed on', async () => {
    await using peer = await FakeBackend.start(async () => {})
    await using pooler = await withPeers({ 2: { host, port: peer.port } }, { peer_id: 0 })
    await cancel(pooler.port, keyOfPeer(2, 3))
    expect(peer.connections).toEqual([])
  })
})

describe('a reload', () => {
  test('adds a peer, moves it, and takes it away', async () => {
    const asked: number[] = []
    const start = (n: number) =>
      FakeBackend.start(async (connection) => {
        await connection.packet()
        asked.push(n)
        connection.socket.end()
      })
    await using first = await start(1)
    await using second = await start(2)
    const pgbouncer = { peer_id: 1 }
    await using pooler = await FilePooler.start({ pgbouncer })
    const key = keyOfPeer(2, 3)
    await cancel(pooler.port, key)
    await pooler.change({ peers: { 2: `host=${host} port=${first.port}` } })
    await cancel(pooler.port, key)
    await pooler.change({ peers: { 2: `host=${host} port=${second.port}` } })
    await cancel(pooler.port, key)
    expect(await pooler.pooler.show('peer_pools')).toEqual([idle(2)])
    await pooler.change({ peers: {} })
    await cancel(pooler.port, key)
    expect(asked).toEqual([1, 2])
    expect(await pooler.pooler.show('peers')).toEqual([])
    expect(await pooler.pooler.show('peer_pools')).toEqual([])
  })

  test('makes room for requests, and ends all those for a peer that is gone', async () => {
    await using peer = await FakeBackend.start(async (connection) => {
      await connection.packet()
      await new Promise(() => {})
    })
    const line = (size: number) => ({ 2: `host=${host} port=${peer.port} pool_size=${size}` })
    await using pooler = await FilePooler.start({ pgbouncer: { peer_id: 1 }, peers: line(1) })
    const counts = async () => (await pooler.pooler.show('peer_pools'))[0]
    const clients: RawClient[] = []
    for (let n = 0; n < 4; n++) clients.push((await RawClient.open(pooler.port)).send(cancelRequest(keyOfPeer(2, 3))))
    await eventually(async () => (await counts())?.cl_waiting_cancel_req === 3)
    await pooler.change({ peers: line(2) })
    await eventually(async () => (await counts())?.sv_active_cancel === 2)
    await pooler.change({ peers: {} })
    await eventually(() => said(pooler, 'the peer was removed from the configuration') === 4)
    expect(await pooler.pooler.show('peer_pools')).toEqual([])
    await Promise.all(peer.connections.map((connection) => connection.ended))
    for (const client of clients) client.vanish()
  })

  test('that changes peer_id does not make the keys of those who are there worthless', async () => {
    await using pooler = await FilePooler.start({ pgbouncer: { peer_id: 1, auth_type: 'trust' } })
    for (const peer_id of [2, 0]) {
      await using client = await RawClient.open(pooler.port)
      client.send(startup({ user: 'plain', database: 'app' }))
      let line = ''
      do {
        line = await client.line()
        if (line === 'K') {
          client.key = { pid: client.latestBody.readInt32BE(0), secret: Buffer.from(client.latestBody.subarray(4)) }
        }
      } while (line !== 'Z I')
      await pooler.change({ pgbouncer: { peer_id, auth_type: 'trust' } })
      await sleep(client)
      await cancel(pooler.port, client.key)
      expect((await client.answer()).slice(-2)).toEqual(canceled)
    }
  })
})

/** The row of a peer that has been asked before, and is not now. */
const idle = (peer_id: number) => ({
  peer_id,
  cl_active_cancel_req: 0,
  cl_waiting_cancel_req: 0,
  sv_active_cancel: 0,
  sv_login: 0,
})
