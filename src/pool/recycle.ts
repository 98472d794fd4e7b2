// What happens to a server between two clients: reset and check.

import * as backend from '../protocol/backend.js'
import * as frontend from '../protocol/frontend.js'
import type { Context } from '../server/context.js'
import type { ServerSession } from '../server/server-session.js'
import { traceRelease } from '../server/trace.js'
import type { Limits } from './limits.js'

/** A pool, as far as its servers are made ready for whoever comes next. */
export interface ServerPool {
  readonly context: Context
  readonly isPaused: boolean
  readonly limits: Limits
  /** Returns whether the server is to be closed for its age. */
  expire(server: ServerSession, now: number): boolean
  move(server: ServerSession, to: 'tested'): void
  /** The server is clean. */
  putBack(server: ServerSession, now?: number): void
  /** The server is free. */
  serve(server: ServerSession, now?: number): void
  demand(): void
}

export class Recycler {
  private readonly pool: ServerPool

  constructor(pool: ServerPool) {
    this.pool = pool
  }

  /** A server that a client has left goes back to the pool: rolled back and reset where that is due. */
  recycle(server: ServerSession, now: number = this.pool.context.clock.now()): void {
    const { pool } = this
    if (server.state === 'closed' || server.relay === undefined) return
    if (pool.expire(server, now)) server.retire('server_lifetime')
    const { context } = pool
    if (server.closeNeeded || pool.isPaused) {
      traceRelease(context, server, 'close')
      return pool.serve(server)
    }
    if (server.relay.status !== backend.Idle || server.relay.isMixed) {
      server.relay.isMixed = false
      return this.run(server, 'ROLLBACK', () => this.recycle(server))
    }
    if (server.relay.statements.hasUnknown) {
      server.relay.statements.hasUnknown = false
      return this.run(server, 'DEALLOCATE ALL', () => this.recycle(server))
    }
    const isForeign = server.isDirty || (server.wasOwned && pool.limits.poolMode !== 'session')
    const reset = isForeign ? 'DISCARD ALL' : this.resetQuery
    traceRelease(context, server, reset === '' ? 'idle' : 'tested')
    if (reset === '') return pool.putBack(server, now)
    this.run(server, reset, () => {
      server.parameters.doubt()
      // That DISCARD ALL takes prepared statements with it is seen where it is answered.
      const { certain } = pool.context.classifier.of(reset)
      // What server_reset_query sets, servers are meant to have: it is no client's doing, and stays.
      const undone = certain?.map((change) => ({ ...change, sql: '' }))
      server.settings = undone === undefined ? server.settings.doubted() : server.settings.with(undone)
      server.wasOwned = false
      if (!isForeign) return pool.putBack(server)
      server.isDirty = false
      this.recycle(server)
    })
  }

  private get resetQuery(): string {
    const { server_reset_query: text, server_reset_query_always: always } = this.pool.context.config.settings
    return this.pool.limits.poolMode === 'session' || always ? text : ''
  }

  /** A query of the pooler's own; the server is closed where it fails or leaves a transaction open. */
  private run(server: ServerSession, text: string, then: () => void): void {
    const { log } = this.pool.context
    if (log.verbose > 0) log.debug(`resetting: ${text}`, server)
    if (server.state !== 'tested') this.pool.move(server, 'tested')
    server.ask(frontend.query(text), (answer) => {
      if (answer instanceof Error) return // the loss is told elsewhere
      if (answer.error !== undefined || answer.status !== backend.Idle) {
        server.close('reset_failed', answer.error?.message ?? 'transaction left open')
        this.pool.demand()
      } else {
        then()
      }
    })
  }

  /** `server_check_query` on a server that was idle for long. */
  check(server: ServerSession): void {
    const text = this.pool.context.config.settings.server_check_query
    this.pool.move(server, 'tested')
    if (text === '') return this.pool.serve(server)
    const { log } = this.pool.context
    if (log.verbose > 0) log.debug(`P: checking: ${text}`, server)
    server.isChecked = true
    server.ask(frontend.query(text === '<empty>' ? '' : text), (answer) => {
      server.isChecked = false
      if (answer instanceof Error) return
      if (answer.error !== undefined || answer.status !== backend.Idle) {
        server.close('check_failed')
        this.pool.demand()
      } else {
        this.pool.serve(server)
      }
    })
  }
}
