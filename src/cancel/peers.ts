// The other poolers of [peers], and the CancelRequests on their way to them.
// https://www.pgbouncer.org/config.html#section-peers

import { Attempt } from '../server/attempt.js'
import type { Context } from '../server/context.js'
import { locate } from '../server/hosts.js'
import { CancelExpired, deliverCancel } from './cancel-delivery.js'

/** CancelRequests for one peer: being sent, and waiting for a connection; connections in use, and being made. */
export interface PeerPoolStatus {
  readonly peerId: number
  readonly clActiveCancelReq: number
  readonly clWaitingCancelReq: number
  readonly svActiveCancel: number
  readonly svLogin: number
}

/** Requests for peers at a time, under way and waiting; whoever can connect may send them, and more are dropped. */
const mostRequests = 1000

export class Peers {
  private readonly context: Context
  private requests = 0
  /** Of peers that requests have been passed on to. */
  private readonly pools = new Map<number, PeerPool>()

  constructor(context: Context) {
    this.context = context
  }

  /**
   * Passes a request on; resolves when the peer has taken it.
   * @param key PID and secret, as the peer is to get them
   * @returns false: there is no such peer
   * @throws Error where the peer does not take it, within `cancel_wait_timeout`
   */
  async pass(peerId: number, key: Buffer): Promise<boolean> {
    if (!this.context.config.peers.has(peerId)) return false
    let pool = this.pools.get(peerId)
    if (pool === undefined) {
      pool = new PeerPool(this.context, peerId)
      this.pools.set(peerId, pool)
    }
    if (this.requests >= mostRequests) throw new Error('too many for peers')
    this.requests++
    try {
      await pool.pass(key)
    } finally {
      this.requests--
    }
    return true
  }

  /** The configuration was read again: peers may have gone, or take more at a time. */
  reconfigure(): void {
    for (const [id, pool] of this.pools) {
      if (this.context.config.peers.has(id)) {
        pool.beginNext()
      } else {
        pool.close()
        this.pools.delete(id)
      }
    }
  }

  /** The pooler is down. */
  end(): void {
    for (const pool of this.pools.values()) pool.close()
    this.pools.clear()
  }

  status(): PeerPoolStatus[] {
    return [...this.pools.values()].map((pool) => pool.status())
  }
}

/** One who waits for a turn. */
interface Waiting {
  readonly begin: () => void
  readonly refuse: (reason: Error) => void
}

/** As many connections to one peer as its `pool_size` allows, each for one request; the other requests wait in line. */
class PeerPool {
  private readonly context: Context
  private readonly id: number
  private readonly queue = new Set<Waiting>()
  private readonly attempts = new Set<Attempt>()
  private connecting = 0
  private sending = 0

  constructor(context: Context, id: number) {
    this.context = context
    this.id = id
  }

  async pass(key: Buffer): Promise<void> {
    const { clock, config, resolver } = this.context
    const limit = config.settings.cancel_wait_timeout * 1000
    const since = clock.now()
    await this.turn(limit)
    let isConnected = false
    const onConnected = (): void => {
      isConnected = true
      this.connecting--
      this.sending++
    }
    const attempt = new Attempt()
    this.attempts.add(attempt)
    try {
      const peer = this.context.config.peers.get(this.id)
      if (peer === undefined) throw new Error(removed)
      const left = limit > 0 ? Math.max(1, limit - (clock.now() - since)) : 0
      const where = locate(peer.host, peer.port, resolver)
      await deliverCancel(attempt, this.context, where, key, { limit: left, onConnected })
    } finally {
      this.attempts.delete(attempt)
      if (isConnected) this.sending--
      else this.connecting--
      this.beginNext()
    }
  }

  /** Those who wait go on, as far as there is room. */
  beginNext(): void {
    for (const next of this.queue) {
      if (this.isFull) return
      this.queue.delete(next)
      next.begin()
    }
  }

  /** The peer is not configured any more, or the pooler is down: nobody waits for it. */
  close(): void {
    for (const waiting of this.queue) waiting.refuse(new Error(removed))
    this.queue.clear()
    for (const attempt of [...this.attempts]) attempt.giveUp(new Error(removed))
  }

  status(): PeerPoolStatus {
    return {
      peerId: this.id,
      clActiveCancelReq: this.sending,
      clWaitingCancelReq: this.queue.size + this.connecting,
      svActiveCancel: this.sending,
      svLogin: this.connecting,
    }
  }

  private get isFull(): boolean {
    const { peers, settings } = this.context.config
    const most = peers.get(this.id)?.poolSize ?? settings.default_pool_size
    return most > 0 && this.connecting + this.sending >= most
  }

  /** Resolves with a place taken, which the caller gives back. */
  private turn(limit: number): Promise<void> {
    if (this.queue.size === 0 && !this.isFull) {
      this.connecting++
      return Promise.resolve()
    }
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        begin: () => {
          timer?.cancel()
          this.connecting++
          resolve()
        },
        refuse: (reason) => {
          timer?.cancel()
          reject(reason)
        },
      }
      const expired = (): void => {
        this.queue.delete(waiting)
        reject(new CancelExpired())
      }
      const timer = limit > 0 ? this.context.clock.after(limit, expired) : undefined
      this.queue.add(waiting)
    })
  }
}

const removed = 'the peer was removed from the configuration'
