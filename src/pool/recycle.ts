// What happens to a server between two clients: reset, check, and the SETs that align it with the next one.

import * as backend from '../protocol/backend.js'
import { PgError } from '../protocol/errors.js'
import * as frontend from '../protocol/frontend.js'
import type { Answer } from '../relay/ask.js'
import type { ServerSession } from '../server/server-session.js'
import { noSettings, restoring } from '../session-state/settings.js'
import type { ClientSession } from './client-session.js'
import type { Pool } from './pool.js'
import { traceLink, traceRelease } from './trace.js'

export class Recycler {
  private readonly pool: Pool

  constructor(pool: Pool) {
    this.pool = pool
  }

  /** A client has left, in whatever state: mid-query, mid-message, mid-transaction. */
  reclaim(client: ClientSession): void {
    const { pool } = this
    const { server, relay } = client
    if (server === null || relay === undefined) return
    const isReserved = client.isReserved
    const isWhole = relay.sentWhole
    server.relay?.owed.forget(relay)
    client.unlink()
    server.client = null
    if (pool.isReplication) return // it ends with the pool, which is this client's alone
    if (isReserved) return pool.move(server, 'tested') // given back when its SETs are answered
    if (client.session?.state.leave(server) === true && isWhole) return // given back when it has told what it holds
    if (isWhole && server.relay?.isQuiet) return pool.release(server)
    pool.owner.cancel(server)
    server.close('client disconnect while server was not ready')
    pool.demand()
  }

  /** A server that a client has left goes back to the pool: rolled back and reset where that is due. */
  recycle(server: ServerSession, now: number = this.pool.context.clock.now()): void {
    const { pool } = this
    if (server.state === 'closed' || server.relay === undefined) return
    if (pool.isTooOld(server, now)) server.retire('server lifetime over')
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
    const isForeign = server.isSoiled || (server.wasOwned && pool.limits.poolMode !== 'session')
    const reset = isForeign ? 'DISCARD ALL' : this.resetQuery
    traceRelease(context, server, reset === '' ? 'idle' : 'tested')
    if (reset === '') return pool.putBack(server, now)
    this.run(server, reset, () => {
      server.parameters.doubt()
      // That DISCARD ALL takes prepared statements with it is seen where it is answered.
      const { certain } = pool.context.judgements.of(reset)
      // What server_reset_query sets, servers are meant to have: it is no client's doing, and stays.
      const undone = certain?.map((change) => ({ ...change, sql: '' }))
      server.settings = undone === undefined ? server.settings.doubted() : server.settings.with(undone)
      server.wasOwned = false
      if (!isForeign) return pool.putBack(server)
      server.isSoiled = false
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
        server.close(`reset query failed: ${answer.error?.message ?? 'transaction left open'}`)
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
        server.close('test query failed')
        this.pool.demand()
      } else {
        this.pool.serve(server)
      }
    })
  }

  /** Has the server the client's parameters? If not, they are sent, and the client gets the server when they hold. */
  isAligned(client: ClientSession, server: ServerSession): boolean {
    const { parameters } = client
    tell(client, parameters.hear(server.parameters))
    tell(client, parameters.follow(this.pool.usual.defaults))
    const alignment = parameters.key === server.parameters.key ? null : parameters.alignment(server.parameters)
    const settings = client.session?.state.settings ?? noSettings
    const restored = settings === server.settings ? null : restoring(server.settings, settings)
    if (restored === null) server.settings = settings
    const isAligned = alignment === null && restored === null
    traceLink(this.pool.context, client, server, isAligned)
    if (isAligned) return true
    client.reserve(server)
    // Behind the parameters, since client_encoding is one of them.
    if (alignment !== null) {
      server.parameters.expect(alignment)
      server.ask(frontend.query(alignment.sql), (answer) => {
        if (isDone(answer)) server.parameters.confirm(alignment)
        this.onAligned(client, server, answer, restored === null)
      })
    }
    if (restored === null) return false
    server.settings = server.settings.doubtedWith(settings)
    server.ask(restored, (answer) => {
      if (isDone(answer)) server.settings = settings
      this.onAligned(client, server, answer, true)
    })
    return false
  }

  /** @param isLast all that was sent has been answered */
  private onAligned(client: ClientSession, server: ServerSession, answer: Answer | Error, isLast: boolean): void {
    if (answer instanceof Error) return
    const isFine = isDone(answer)
    if (isFine && !isLast) return
    if (server.client !== client) {
      if (isLast) this.pool.release(server) // the client left meanwhile
    } else if (!isFine) {
      this.pool.context.log.warning(`could not set parameters: ${answer.error?.message ?? ''}`, server)
      client.unlink()
      server.client = null
      client.onRefused(new PgError('invalid_server_parameter'))
      server.close('invalid server parameter')
      this.pool.demand()
    } else {
      tell(client, client.parameters.agree(server.parameters))
      client.onServer(server, this.pool.context.clock.now())
      client.resume()
    }
  }
}

/** The client, which has no server, is told what some of its parameters are now. */
function tell(client: ClientSession, changed: readonly (readonly [name: string, value: string])[]): void {
  for (const [name, value] of changed) client.relay!.socket.write(backend.parameterStatus(name, value))
}

/** Has it been carried out, for good? */
function isDone(answer: Answer | Error): boolean {
  return !(answer instanceof Error) && answer.error === undefined && answer.status === backend.Idle
}
