// hot path
// A client that is served by a pool: when it has a server, when it gives that back, and what is counted.

import type { Socket } from '../io/socket.js'
import type { CloseCounts } from '../observe/close-counts.js'
import type { LogPeer } from '../observe/log.js'
import * as logTexts from '../observe/log-texts.js'
import { exchanges } from '../observe/trace.js'
import type { Borrower, Lease, Member, Wants } from '../pool/lease.js'
import type { Pool } from '../pool/pool.js'
import * as backend from '../protocol/backend.js'
import { type Condition, PgError } from '../protocol/errors.js'
import { ClientRelay } from '../relay/client-relay.js'
import type { ClientEvents } from '../relay/events.js'
import { serverError } from '../relay/own-query.js'
import type { ParameterSet } from '../relay/parameters.js'
import { ClientStatements } from '../relay/statements/client-statements.js'
import type { Context } from '../server/context.js'
import type { ServerSession } from '../server/server-session.js'
import { noSettings, type SettingSet } from '../session-state/settings.js'
import type { ClientPhase, ClientSession } from './client-session.js'
import { lossOf } from './loss.js'
import type { Seat } from './seat.js'
import { ClientTerms } from './terms.js'
import { tellUncarried } from './uncarried.js'

export class PooledClient implements ClientPhase, ClientEvents, Borrower, Member, Wants {
  readonly name = 'pool'
  readonly isReady = true
  readonly isImpatient = false
  private readonly client: ClientSession
  readonly pool: Pool
  readonly seat: Seat
  readonly relay: ClientRelay
  readonly parameters: ParameterSet
  readonly wants: Wants
  /** How it is served. */
  readonly terms: ClientTerms
  /** The server that it has, or is being given. */
  lease: Lease | null = null
  waitingSince = 0
  /** How long it waited for its server, ms; 0 once that has answered it. */
  private waited = 0
  /** Has been told that it waits (`query_wait_notify`). */
  isNotified = false
  /** Since when it has had nothing to do, or its transaction has, ms on the clock. */
  quietSince: number
  private readonly context: Context

  /** @param socket becomes this client's when that is said: it is its owner from then on */
  constructor(context: Context, client: ClientSession, seat: Seat, socket: Socket) {
    const { pool } = seat
    this.context = context
    this.client = client
    this.seat = seat
    this.pool = pool
    this.parameters = client.parameters
    this.wants = this
    this.quietSince = context.clock.now()
    const statements = new ClientStatements(context.statements, client.parameters)
    const longest = context.config.settings.max_packet_size
    this.relay = new ClientRelay(socket, client.parameters, statements, pool.counters, this, longest, context.clock)
    this.relay.leavesAtOnce = pool.isReplication
    this.terms = new ClientTerms(this)
  }

  get ptr(): string {
    return this.client.ptr
  }

  get who(): LogPeer {
    return this.client
  }

  get socket(): Socket {
    return this.relay.socket
  }

  get server(): ServerSession | null {
    return this.lease === null ? null : this.lease.server
  }

  /** What it has set beyond parameters (`session_state = track`). */
  get settings(): SettingSet {
    const { session } = this.terms
    return session === null ? noSettings : session.tracker.settings
  }

  get requestSince(): number {
    return this.relay.requestSince
  }

  get isWaiting(): boolean {
    return this.pool.waiting.size > 0 && this.pool.waiting.has(this)
  }

  /** Has a server, which is still being given its parameters. */
  get isAligning(): boolean {
    return this.lease !== null && this.lease.state === 'aligning'
  }

  get closes(): CloseCounts {
    return this.pool.counters.clientCloses
  }

  get isSpokenTo(): boolean {
    const { server } = this.relay
    return server?.hadLastWord(this.relay) === true
  }

  // What the relay tells.

  acquire(): boolean {
    if (this.isWaiting || this.lease !== null) return false
    this.isNotified = false
    if (this.terms.change === 'due') this.terms.adopt()
    return this.pool.acquire(this)
  }

  /** All that was sent has been answered. */
  onAnswered(status: number): void {
    const now = this.context.clock.now()
    const { counters } = this.pool
    const queryTime = now - this.relay.requestSince
    counters.queries++
    counters.queryTime += 1000 * queryTime
    counters.queryTimes.observe(queryTime)
    this.quietSince = now
    if (exchanges.hasSubscribers) this.traceExchange(now, status)
    this.waited = 0
    if (status !== backend.Idle) return
    const xactTime = now - this.relay.transactionSince
    counters.xacts++
    counters.xactTime += 1000 * xactTime
    counters.xactTimes.observe(xactTime)
  }

  private traceExchange(now: number, status: number): void {
    const { lease } = this
    if (lease === null) return
    exchanges.publish({
      client: this.ptr,
      server: lease.server.ptr,
      durationMs: now - this.relay.requestSince,
      waitMs: this.waited,
      status: status === backend.Idle ? 'idle' : status === backend.InFailedTransaction ? 'failed' : 'transaction',
    })
  }

  onQuiet(status: number): void {
    const { lease, terms } = this
    if (lease === null) return
    const { server } = lease
    if (server.relay!.hadLastWord(this.relay)) return // its last words were passed on: both end when it has gone
    if (status !== backend.Idle) return
    if (terms.change === 'broken') return terms.breakOff()
    const { session } = terms
    const isShared = this.pool.limits.poolMode !== 'session'
    const isFree = isShared && (session === null || session.tracker.tryRelease(server))
    if (isFree) tellUncarried(this)
    if (isFree && this.parameters.isCarried) lease.release(this.quietSince)
    else if (server.closeNeeded && session?.tracker.isAsking !== true) this.leaveRetired()
  }

  /** Its server is to be closed, and it would keep it for long. */
  private leaveRetired(): void {
    if (this.context.config.settings.server_fast_close) this.fail(new PgError('database_changed'))
  }

  onTerminate(): void {
    this.relay.socket.discards = true
    this.client.close('client_close_request')
  }

  onGone(): void {
    this.client.close('client_unexpected_eof')
  }

  onViolation(condition: Condition, detail: string): void {
    this.fail(new PgError(condition, detail))
  }

  // What the pool and the lease tell.

  granted(lease: Lease, now: number): void {
    if (this.terms.current.mode === 'session') lease.server.wasOwned = true
    this.relay.transactionSince = this.relay.requestSince = now
    this.waited = now - this.waitingSince
  }

  resume(): void {
    this.relay.resume()
  }

  refused(error: PgError): void {
    this.fail(error)
  }

  mayOutlive(server: ServerSession): boolean {
    return this.isFree && this.relay.mayOutlive(server.relay!)
  }

  outlive(server: ServerSession): void {
    const error = this.relay.outlive(server.relay!, lossOf(server.relay!.parting))
    if (error !== null) this.onToldOfLoss(error)
  }

  onPlayed(): void {
    this.quietSince = this.context.clock.now()
    this.waited = 0
  }

  onRefusedAsReadOnly(): void {
    const { lease } = this
    if (lease === null) return
    const may = this.isFree && this.pool.mayRunAgain(lease.server, this)
    if (may !== 'later') this.decide(may)
  }

  /** Whether the statement that its server has refused as a write is run again. */
  decide(mayRunAgain: boolean): void {
    const { lease, relay } = this
    if (lease === null || !relay.isRefused) return
    const { status } = lease.server.relay!
    if (!mayRunAgain || !this.isFree) return relay.tellRefusal(status)
    if (status === backend.Idle) lease.release()
    else lease.abandon() // its BEGIN is rolled back
    relay.runElsewhere()
  }

  /** It can do with any server. */
  private get isFree(): boolean {
    const { session, change } = this.terms
    return change !== 'broken' && this.parameters.isCarried && session?.tracker.isAttached !== true
  }

  onToldOfLoss(error: PgError): void {
    const { log, config } = this.context
    if (config.settings.log_pooler_errors) log.warning(logTexts.poolerError(error.message), this.client)
  }

  serverLost(server: ServerSession, isTold: boolean): void {
    const { parting } = server.relay!
    this.client.fail(parting === null ? new PgError('server_crashed') : serverError(parting), isTold)
    server.relay!.owed.forget(this.relay)
  }

  leaves(server: ServerSession): boolean {
    return this.terms.session?.tracker.leave(server) === true
  }

  /** The client is told what some of its parameters are now; it is not amid an answer. */
  tell(changed: readonly (readonly [name: string, value: string])[]): void {
    for (const [name, value] of changed) this.relay.socket.write(backend.parameterStatus(name, value))
  }

  renewTerms(): void {
    this.terms.renew()
  }

  fail(error: PgError): void {
    this.client.fail(error)
  }

  // What is done with the client from outside.

  cancelTarget(): ServerSession | 'waiting' | undefined {
    return this.isWaiting || this.isAligning ? 'waiting' : (this.server ?? undefined)
  }

  cancelWaiting(): void {
    if (this.isAligning)
      this.lease!.abandon() // its SETs are not the client's to cancel
    else if (!this.pool.waiting.delete(this)) return
    this.quietSince = this.context.clock.now()
    this.relay.refuse(backend.errorResponse(new PgError('query_canceled')))
  }

  notify(text: string): void {
    this.isNotified = true
    this.relay.socket.write(backend.noticeResponse(text))
  }

  end(): void {
    this.lease?.abandon()
    this.relay.close()
    this.pool.waiting.delete(this)
    this.pool.clients.delete(this)
    this.seat.leave()
  }
}
