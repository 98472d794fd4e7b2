// Cancel keys of the pooler's own, and CancelRequests passed on to the server that a client is using just then.

import { randomFillSync, timingSafeEqual } from 'node:crypto'
import { connect as netConnect } from 'node:net'
import type { PeerConfig } from '../config/peers.js'
import { Socket } from '../io/socket.js'
import { type CancelRequest, cancelRequest } from '../protocol/frontend.js'
import type { Context } from './context.js'
import type { Resolver, ServerAddress } from './hosts.js'
import { MessageReader } from './reader.js'
import type { ServerSession } from './server-session.js'
import { secureServer } from './server-tls.js'
import type { ServerTls } from './tls-files.js'

/** Whoever can be cancelled: a client of a pool, or of the console. */
export interface Cancellable {
  /** PID and secret of its BackendKeyData, one behind the other. */
  cancelKey: Buffer
  /** What a CancelRequest that names it should do: stop a server's work, or end the wait for one. */
  cancelTarget(): ServerSession | 'waiting' | 'console' | undefined
  /** It does not wait any more (57014). */
  cancelWaiting(): void
}

/** Length of a secret in protocol 3.0, and what we give to those who speak 3.2 (as PostgreSQL 18 does). */
const shortSecret = 4
const longSecret = 32

/** The two lowest bits of a key's eighth byte: how often peers may still pass the request on. */
const hopsMask = 0x03

/** Requests that may be on their way to servers at a time; more are dropped. */
const mostRequests = 1000

const stock = Buffer.alloc(4096)
let used = stock.length

/** Random bytes; the system is asked for many at a time, since each time costs as much as a query. */
function random(size: number): Buffer {
  if (used + size > stock.length) {
    randomFillSync(stock)
    used = 0
  }
  const bytes = Buffer.from(stock.subarray(used, used + size))
  stock.fill(0, used, used + size)
  used += size
  return bytes
}

export class Cancels {
  private readonly context: Context
  private readonly byKey = new Map<string, Cancellable>()
  /** Requests being passed on. */
  active = 0

  constructor(context: Context) {
    this.context = context
  }

  /** Gives the client a key that nobody else has; a longer one to clients of protocol 3.2. */
  register(client: Cancellable, minor: number): void {
    const { peer_id: peerId } = this.context.config.settings
    do {
      const key = random(4 + (minor >= 2 ? longSecret : shortSecret))
      if (peerId > 0) {
        // pgbouncer's layout, so that its instances and ours can be peers of each other.
        key[1] = peerId & 0xff
        key[2] = peerId >> 8
        key[7]! |= hopsMask
      }
      key[0]! &= 0x7f // the first four bytes are a PID: some clients want it positive
      client.cancelKey = key
    } while (this.byKey.has(name(client.cancelKey)))
    this.byKey.set(name(client.cancelKey), client)
  }

  forget(client: Cancellable): void {
    if (this.byKey.get(name(client.cancelKey)) === client) this.byKey.delete(name(client.cancelKey))
  }

  /** Carries a CancelRequest out; its connection is closed when that is done. A wrong key does nothing. Never rejects. */
  async request(packet: CancelRequest, from: Socket): Promise<void> {
    try {
      if (this.active < mostRequests) await this.carryOut(packet)
    } catch (error) {
      this.context.log.warning(`cancel request failed: ${(error as Error).message}`)
    } finally {
      from.end()
    }
  }

  private async carryOut(packet: CancelRequest): Promise<void> {
    const { peer_id: ownId } = this.context.config.settings
    const key = Buffer.concat([pidBytes(packet.pid), packet.secret])
    const peerId = key[1]! | (key[2]! << 8)
    if (ownId > 0 && peerId !== ownId) return this.passOn(key, peerId)
    if (ownId > 0) key[7]! |= hopsMask
    const client = this.byKey.get(name(key))
    if (client === undefined || !same(client.cancelKey, key)) {
      this.context.log.debug('cancel request with an unknown key')
      return
    }
    const target = client.cancelTarget()
    if (target === 'waiting' || target === 'console') client.cancelWaiting()
    else if (target !== undefined) await this.stop(target)
  }

  /** To the peer that made the key, or at least one that may know it. */
  private async passOn(key: Buffer, peerId: number): Promise<void> {
    const { log, config } = this.context
    const peer = config.peers.get(peerId)
    const hops = key[7]! & hopsMask
    if (peer === undefined) return log.debug(`cancel request for peer ${peerId}, which is not configured`)
    if (hops === 0) return log.info('failed to forward cancel request because its TTL was exhausted')
    key[7]! -= 1
    this.active++
    try {
      await this.send(await peerAddress(peer, this.context.resolver), key)
    } finally {
      this.active--
    }
  }

  /**
   * Cancels what the server is doing. Until the server has taken the request and closed its connection, nobody else is
   * given this server: a late cancel must not hit the next client's query. Never rejects.
   */
  async stop(server: ServerSession): Promise<void> {
    server.cancels++
    this.active++
    try {
      await this.deliver(server)
    } catch (error) {
      this.context.log.warning(`cancel request failed: ${(error as Error).message}`, server)
      server.retire('cancel request failed')
    } finally {
      this.active--
      server.cancels--
      if (server.cancels === 0) server.pool.onCancelled(server)
    }
  }

  private async deliver(server: ServerSession): Promise<void> {
    if (server.target === undefined) return
    const tls = server.tls === '' ? undefined : server.security
    await this.send(server.target, Buffer.concat([pidBytes(server.key.pid), server.key.secret]), tls)
  }

  /**
   * Sends a CancelRequest; resolves when the other side has taken it and closed the connection.
   * @param tls how the connection whose work it stops is protected: the key is as secret as what it guards
   */
  private async send(target: ServerAddress, key: Buffer, tls?: ServerTls): Promise<void> {
    const limit = this.context.config.settings.cancel_wait_timeout * 1000
    const reader = new MessageReader(dial(target))
    const expired = (): void => {
      reader.fail(new Error('cancel_wait_timeout'))
      reader.socket.destroy()
    }
    const timer = limit > 0 ? this.context.clock.after(limit, expired) : undefined
    try {
      await reader.connected()
      if (tls !== undefined && target.kind === 'tcp') await secureServer(reader, tls, target.name)
      reader.write(cancelRequest(key.readInt32BE(0), key.subarray(4)))
      await reader.closed()
    } finally {
      timer?.cancel()
      reader.socket.destroy()
    }
  }
}

function dial(target: ServerAddress): Socket {
  const where = target.kind === 'unix' ? { path: target.path } : { host: target.address, port: target.port }
  return Socket.plain((onread) => netConnect({ ...where, onread: onread as never }), nobody)
}

const nobody = { onBytes() {}, onDrain() {}, onGone() {} }

async function peerAddress(peer: PeerConfig, resolver: Resolver): Promise<ServerAddress> {
  const { host, port } = peer
  if (host.startsWith('/')) return { kind: 'unix', path: `${host}/.s.PGSQL.${port}`, port }
  return { kind: 'tcp', name: host, address: await resolver.address(host), port }
}

function pidBytes(pid: number): Buffer {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeInt32BE(pid)
  return bytes
}

/** Keys are found by their first eight bytes, all that protocol 3.0 has. */
function name(key: Buffer): string {
  return key.toString('latin1', 0, 8)
}

function same(one: Buffer, other: Buffer): boolean {
  return one.length === other.length && timingSafeEqual(one, other)
}
