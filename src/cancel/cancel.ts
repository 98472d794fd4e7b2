// Cancel keys of the pooler's own, and CancelRequests passed on to the server that a client is using just then.

import { randomFillSync, timingSafeEqual } from 'node:crypto'
import type { Socket } from '../io/socket.js'
import type { LogPeer } from '../observe/log.js'
import * as logTexts from '../observe/log-texts.js'
import { cancels } from '../observe/trace.js'
import type { CancelRequest } from '../protocol/frontend.js'
import { Attempt } from '../server/attempt.js'
import type { Context } from '../server/context.js'
import { leavePromise } from '../server/leave-promise.js'
import type { ServerSession } from '../server/server-session.js'
import { CancelExpired, deliverCancel } from './cancel-delivery.js'
import { Peers } from './peers.js'

/** Whoever can be cancelled: a client of a pool, or of the console. */
export interface Cancellable {
  /** As SHOW names it. */
  readonly ptr: string
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

/** What has become of a request, in pgbouncer's words for the log: whoever asks is not told. */
export const cancelOutcomes = {
  cancel_sent: 'successfully sent cancel request',
  cancel_malformed: 'bad cancel request',
  cancel_unknown: 'failed cancel request',
  cancel_not_sent: 'failed to send cancel request',
  cancel_no_peer: 'could not find peer to forward request to',
  cancel_hops_exhausted: 'failed to forward cancel request because its TTL was exhausted',
  cancel_wait_timeout: 'cancel_wait_timeout',
  cancel_idle: 'cancel request for idle client',
  cancel_waiting: 'cancel request for waiting client',
  cancel_console: 'cancel request for console client',
} as const

type Outcome = keyof typeof cancelOutcomes

/** Whom a request is for. */
interface Found {
  client: Cancellable | undefined
  server: ServerSession | undefined
}

/** How long requests may still be on their way when the pooler is down, ms. */
const lastMoment = 1000

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
  readonly peers: Peers
  private readonly context: Context
  private readonly byKey = new Map<string, Cancellable>()
  /** Requests being passed on. */
  active = 0
  private readonly deliveries = new Set<Attempt>()

  constructor(context: Context) {
    this.context = context
    this.peers = new Peers(context)
  }

  /** Gives the client a key that nobody else has; a longer one to clients of protocol 3.2, if pgbouncers need not pass it on. */
  register(client: Cancellable, minor: number): void {
    const { peer_id: peerId } = this.context.config.settings
    do {
      const key = random(4 + (minor >= 2 && peerId === 0 ? longSecret : shortSecret))
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
  async request(packet: CancelRequest, from: Socket, who: LogPeer & { readonly connectedAt: number }): Promise<void> {
    const { log, clock, config, closes } = this.context
    let outcome: Outcome = 'cancel_not_sent'
    const found: Found = { client: undefined, server: undefined }
    try {
      if (this.active < mostRequests) outcome = await this.carryOut(packet, found)
    } catch (error) {
      if (error instanceof CancelExpired) outcome = 'cancel_wait_timeout'
      else log.warning(logTexts.cancelFailed((error as Error).message), who)
    } finally {
      from.end()
    }
    closes.add(outcome)
    if (cancels.hasSubscribers) {
      cancels.publish({ address: who.address, client: found.client?.ptr, server: found.server?.ptr, outcome })
    }
    if (!config.settings.log_disconnections) return
    log.info(logTexts.closing(cancelOutcomes[outcome], clock.now() - who.connectedAt), who)
  }

  /** The pooler is down: what is on its way to servers has a moment left, for queries that ended with their clients. */
  end(): void {
    this.peers.end()
    this.context.clock.after(lastMoment, () => {
      for (const attempt of [...this.deliveries]) attempt.giveUp(new Error('pooler is shutting down'))
    })
  }

  /** Whose key it is, also where peers that passed it on have counted its hops down. */
  private find(key: Buffer): Cancellable | undefined {
    const original = Buffer.from(key)
    if (this.context.config.settings.peer_id > 0) original[7]! |= hopsMask
    for (const wanted of [key, original]) {
      const client = this.byKey.get(name(wanted))
      if (client !== undefined && same(client.cancelKey, wanted)) return client
    }
    return undefined
  }

  private async carryOut(packet: CancelRequest, found: Found): Promise<Outcome> {
    if (packet.secret.length === 0) return 'cancel_malformed'
    const { peer_id: ownId } = this.context.config.settings
    const key = Buffer.concat([pidBytes(packet.pid), packet.secret])
    const peerId = key[1]! | (key[2]! << 8)
    const client = this.find(key)
    if (client === undefined) return ownId > 0 && peerId !== ownId ? this.passOn(key, peerId) : 'cancel_unknown'
    found.client = client
    const target = client.cancelTarget()
    if (target === undefined) return 'cancel_idle'
    if (target !== 'waiting' && target !== 'console') {
      found.server = target
      return (await this.stop(target)) ? 'cancel_sent' : 'cancel_not_sent'
    }
    leavePromise(() => client.cancelWaiting())
    return `cancel_${target}`
  }

  /** To the peer that made the key, or at least one that may know it. */
  private async passOn(key: Buffer, peerId: number): Promise<Outcome> {
    if ((key[7]! & hopsMask) === 0) return 'cancel_hops_exhausted'
    key[7]! -= 1
    return (await this.peers.pass(peerId, key)) ? 'cancel_sent' : 'cancel_no_peer'
  }

  /**
   * Cancels what the server is doing. Until the server has taken the request and closed its connection, nobody else is
   * given this server: a late cancel must not hit the next client's query. Never rejects.
   * @returns whether the server has taken it
   */
  async stop(server: ServerSession): Promise<boolean> {
    const { log } = this.context
    if (log.verbose > 0) log.debug('sending cancel request', server)
    server.cancels++
    this.active++
    try {
      await this.deliver(server)
      return true
    } catch (error) {
      this.context.log.warning(logTexts.cancelFailed((error as Error).message), server)
      server.retire('cancel_failed')
      return false
    } finally {
      leavePromise(() => {
        this.active--
        server.cancels--
        if (server.cancels === 0) server.pool.onCancelled(server)
      })
    }
  }

  private async deliver({ location, tls, security, key }: ServerSession): Promise<void> {
    if (location === undefined) return
    const attempt = new Attempt()
    this.deliveries.add(attempt)
    await deliverCancel(attempt, this.context, location, Buffer.concat([pidBytes(key.pid), key.secret]), {
      tls: tls === '' ? undefined : security,
      limit: this.context.config.settings.cancel_wait_timeout * 1000,
    }).finally(() => this.deliveries.delete(attempt))
  }
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
