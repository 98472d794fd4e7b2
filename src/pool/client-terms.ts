// What settings say of how a client is served: in force from its login on, and, where they change, from then on for everyone.

import type { PoolMode } from '../config/settings.js'
import * as backend from '../protocol/backend.js'
import { PgError } from '../protocol/errors.js'
import type { ClientRelay } from '../relay/client-relay.js'
import { noSettings } from '../session-state/settings.js'
import { watchSession } from '../session-state/watch.js'
import type { ClientSession } from './client-session.js'
import type { Pool } from './pool.js'

/** The terms that are bound up with what a client has on servers: they change between two of these. */
export interface Terms {
  readonly mode: PoolMode
  readonly preparedLimit: number
  readonly sessionState: 'allow' | 'warn' | 'track'
}

function termsOf(pool: Pool): Terms {
  const mode = pool.limits.poolMode
  const { max_prepared_statements } = pool.context.config.settings
  return {
    mode,
    preparedLimit: mode === 'session' ? 0 : max_prepared_statements,
    sessionState: mode === 'session' ? 'allow' : pool.limits.sessionState,
  }
}

/** At the login of a client. */
export function agreeTerms(client: ClientSession, relay: ClientRelay, pool: Pool): void {
  setRules(relay, pool)
  client.terms = termsOf(pool)
  relay.names.out.limit = client.terms.preparedLimit
  watch(client, relay, pool)
}

/** Looks after the client's session where that is wanted: `session_state` at its login, where sessions are not its own anyway. */
function watch(client: ClientSession, relay: ClientRelay, pool: Pool): void {
  const { poolMode, sessionState } = pool.limits
  const { tracked, judgements } = pool.context
  // What it has set stays its own, however often this changes.
  const settings = client.session?.state.settings ?? noSettings
  const plan = { tracked, reported: pool.usual.defaults, judgements, settings }
  const isWatched = sessionState !== 'allow' && poolMode !== 'session'
  client.session = isWatched ? watchSession(client, relay, { ...plan, mode: sessionState }) : null
  relay.session = client.session
}

/** The settings may have changed: what is new holds now, or as soon as the client has no server, or the client is closed with a word. */
export function renewTerms(client: ClientSession): void {
  const { relay, pool, terms } = client
  if (relay === undefined || pool === undefined || terms === undefined || pool.isReplication) return
  setRules(relay, pool)
  const next = termsOf(pool)
  const { server } = relay
  if (next.mode === 'session' && client.server !== null) client.server.wasOwned = true
  if (!isBroken(client, relay, terms, next)) {
    client.termsChange = 'due'
    if (server === null) adoptTerms(client)
  } else if (server === null) {
    client.fail(new PgError('database_changed'))
  } else {
    client.termsChange = 'broken'
    if (server.isQuiet && relay.isIdle && server.status === backend.Idle) leave(client)
  }
}

/** A client that has no server is served by what the settings say now. */
export function adoptTerms(client: ClientSession): void {
  const { relay, pool, terms } = client
  if (relay === undefined || pool === undefined || terms === undefined || pool.isReplication) return
  const next = termsOf(pool)
  client.terms = next
  client.termsChange = 'none'
  // Names that are rewritten stay so, on a server of the client's own, too.
  if (next.mode !== 'session' || relay.statements.count === 0) relay.names.out.limit = next.preparedLimit
  if (next.sessionState === terms.sessionState) return
  // What the client has set is given to its server for the session, and stays there.
  if (next.mode !== 'session' || (client.session?.state.settings.size ?? 0) === 0) watch(client, relay, pool)
}

/** It is between two transactions, on a server with what only its former terms have let be there. */
export function leave(client: ClientSession): void {
  if (client.server !== null) client.server.isSoiled = true
  client.fail(new PgError('database_changed'))
}

/** What holds for every message, whatever came before. */
function setRules(relay: ClientRelay, pool: Pool): void {
  const { settings } = pool.context.config
  relay.refuseQuery = settings.disable_pqexec
  relay.refusesBlocks = pool.limits.poolMode === 'statement'
  relay.maxPacketSize = settings.max_packet_size
}

/** Has the client what it could not keep? */
function isBroken({ session, server }: ClientSession, relay: ClientRelay, terms: Terms, next: Terms): boolean {
  // A session of its own: prepared statements, settings, temporary tables, whatever.
  if (next.mode !== 'session' && server?.wasOwned === true) return true
  if (next.mode === 'session') return false
  if (terms.preparedLimit > 0 && next.preparedLimit === 0 && relay.statements.count > 0) return true
  const state = session?.state
  return next.sessionState !== 'track' && (state?.mayHold === true || (state?.settings.size ?? 0) > 0)
}
