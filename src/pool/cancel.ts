// Cancel keys of the pooler's own, and CancelRequests passed on to the server that a client is using just then.

import { randomBytes, timingSafeEqual } from 'node:crypto'
import { connect as netConnect } from 'node:net'
import { Socket } from '../io/socket.js'
import { PgError } from '../protocol/errors.js'
import { type CancelRequest, cancelRequest } from '../protocol/frontend.js'
import type { Context } from './context.js'
import type { ServerSession } from './server-session.js'

/** Whoever can be cancelled: a client of a pool, or of the console. */
export interface Cancellable {
  readonly cancelKey: { pid: number; secret: Buffer }
  /** What a CancelRequest that names it should do: stop a server's work, or end the wait for one. */
  cancelTarget(): ServerSession | 'waiting' | 'console' | undefined
  /** It does not wait any more (57014). */
  cancelWaiting(): void
}

export class Cancels {
  private readonly context: Context
  private readonly byPid = new Map<number, Cancellable>()
  /** Requests being passed on. */
  active = 0

  constructor(context: Context) {
    this.context = context
  }

  /** Gives the client a key that nobody else has. */
  register(client: Cancellable): void {
    const { cancelKey } = client
    do cancelKey.pid = randomBytes(4).readInt32BE(0) & 0x7fffffff
    while (cancelKey.pid === 0 || this.byPid.has(cancelKey.pid))
    cancelKey.secret = randomBytes(4)
    this.byPid.set(cancelKey.pid, client)
  }

  forget(client: Cancellable): void {
    if (this.byPid.get(client.cancelKey.pid) === client) this.byPid.delete(client.cancelKey.pid)
  }

  /** Carries a CancelRequest out; its connection is closed when that is done. A wrong key does nothing. */
  async request(packet: CancelRequest, from: Socket): Promise<void> {
    try {
      const client = this.byPid.get(packet.pid)
      if (client === undefined || !same(client.cancelKey.secret, packet.secret)) {
        this.context.log.debug('cancel request with an unknown key')
        return
      }
      const target = client.cancelTarget()
      if (target === 'waiting' || target === 'console') client.cancelWaiting()
      else if (target !== undefined) await this.stop(target)
    } finally {
      from.end()
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

  private deliver(server: ServerSession): Promise<void> {
    const target = server.target
    if (target === undefined) return Promise.resolve()
    const limit = this.context.config.settings.cancel_wait_timeout * 1000
    return new Promise((resolve, reject) => {
      const timer =
        limit > 0
          ? this.context.clock.after(limit, () => {
              socket.destroy()
              reject(new PgError('config_error'))
            })
          : undefined
      const socket = Socket.plain(
        (onread) =>
          netConnect({
            ...(target.kind === 'unix' ? { path: target.path } : { host: target.address, port: target.port }),
            onread: onread as never,
          }),
        {
          onBytes() {},
          onDrain() {},
          onGone() {
            timer?.cancel()
            resolve()
          },
        },
      )
      socket.stream.once('connect', () => {
        socket.write(cancelRequest(server.key.pid, server.key.secret))
        socket.resume()
      })
    })
  }
}

function same(one: Buffer, other: Buffer): boolean {
  return one.length === other.length && timingSafeEqual(one, other)
}
