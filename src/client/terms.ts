// What settings say of how a client is served: in force from its login on, and, where they change, from then on for everyone.

import type { PoolMode } from '../config/choices.js'
import type { Pool } from '../pool/pool.js'
import * as backend from '../protocol/backend.js'
import { PgError } from '../protocol/errors.js'
import type { ClientRelay } from '../relay/client-relay.js'
import type { ServerSession } from '../server/server-session.js'
import { noSettings } from '../session-state/settings.js'
import type { StateOwner } from '../session-state/tracker.js'
import { type SessionWatch, watchSession } from '../session-state/watch.js'

/** The terms that are bound up with what a client has on servers: they change between two of these. */
export interface Terms {
  readonly mode: PoolMode
  readonly preparedLimit: number
  readonly sessionState: 'allow' | 'warn' | 'track'
}

/** A client of a pool, as far as its terms have to do with it. */
export interface ServedClient extends StateOwner {
  readonly relay: ClientRelay
  readonly pool: Pool
  readonly server: ServerSession | null
  fail(error: PgError): void
}

export class ClientTerms {
  current: Terms
  /** Settings say otherwise by now: from its next server on, or so that it can't go on. */
  change: 'none' | 'due' | 'broken' = 'none'
  /** What it leaves in sessions, where `session_state` wants that looked after. */
  session: SessionWatch | null = null
  private readonly client: ServedClient

  constructor(client: ServedClient) {
    this.client = client
    this.setRules()
    this.current = this.wanted
    client.relay.names.limit = this.current.preparedLimit
    this.watch()
  }

  /** The settings may have changed: what is new holds now, or as soon as the client has no server, or the client is closed with a word. */
  renew(): void {
    const { client, wanted } = this
    const { relay, server: given } = client
    if (client.pool.isReplication) return
    this.setRules()
    const { server } = relay
    if (wanted.mode === 'session' && given !== null) given.wasOwned = true
    if (!this.isBroken(wanted)) {
      this.change = 'due'
      if (server === null) this.adopt()
    } else if (server === null) {
      client.fail(new PgError('database_changed'))
    } else {
      this.change = 'broken'
      if (server.isQuiet && relay.isIdle && server.status === backend.Idle) this.breakOff()
    }
  }

  /** A client that has no server is served by what the settings say now. */
  adopt(): void {
    const { client, current: former, wanted } = this
    const { relay } = client
    if (client.pool.isReplication) return
    this.current = wanted
    this.change = 'none'
    // Names that are rewritten stay so, on a server of the client's own, too.
    if (wanted.mode !== 'session' || relay.statements.count === 0) relay.names.limit = wanted.preparedLimit
    if (wanted.sessionState === former.sessionState) return
    // What the client has set is given to its server for the session, and stays there.
    if (wanted.mode !== 'session' || (this.session?.tracker.settings.size ?? 0) === 0) this.watch()
  }

  /** It is between two transactions, on a server with what only its former terms have let be there. */
  breakOff(): void {
    const { server } = this.client
    if (server !== null) server.isDirty = true
    this.client.fail(new PgError('database_changed'))
  }

  private get wanted(): Terms {
    const { limits, context } = this.client.pool
    const mode = limits.poolMode
    const { max_prepared_statements } = context.config.settings
    return {
      mode,
      preparedLimit: mode === 'session' ? 0 : max_prepared_statements,
      sessionState: mode === 'session' ? 'allow' : limits.sessionState,
    }
  }

  /** Looks after the client's session where that is wanted: `session_state` at its login, where sessions are not its own anyway. */
  private watch(): void {
    const { relay, pool } = this.client
    const { poolMode, sessionState } = pool.limits
    const { tracked, classifier } = pool.context
    // What it has set stays its own, however often this changes.
    const settings = this.session?.tracker.settings ?? noSettings
    const plan = { tracked, reported: pool.usual.defaults, classifier, settings }
    const isWatched = sessionState !== 'allow' && poolMode !== 'session'
    this.session = isWatched ? watchSession(this.client, relay, { ...plan, mode: sessionState }) : null
    relay.session = this.session
  }

  /** What holds for every message, whatever came before. */
  private setRules(): void {
    const { relay, pool } = this.client
    const { settings } = pool.context.config
    relay.refuseQuery = settings.disable_pqexec
    relay.refusesBlocks = pool.limits.poolMode === 'statement'
    relay.outlivesServers = pool.limits.serverLost === 'error'
    relay.maxPacketSize = settings.max_packet_size
  }

  /** Returns whether the client has what it could not keep. */
  private isBroken(wanted: Terms): boolean {
    const { relay, server } = this.client
    // A session of its own: prepared statements, settings, temporary tables, whatever.
    if (wanted.mode !== 'session' && server?.wasOwned === true) return true
    if (wanted.mode === 'session') return false
    if (this.current.preparedLimit > 0 && wanted.preparedLimit === 0 && relay.statements.count > 0) return true
    const tracker = this.session?.tracker
    return wanted.sessionState !== 'track' && (tracker?.mayHold === true || (tracker?.settings.size ?? 0) > 0)
  }
}
