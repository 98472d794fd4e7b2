// One client, from startup packet to closed.

import type { Cancellable } from '../cancel/cancel.js'
import type { Socket } from '../io/socket.js'
import type { LogPeer } from '../observe/log.js'
import * as backend from '../protocol/backend.js'
import { type Condition, PgError } from '../protocol/errors.js'
import type { ClientRelay } from '../relay/client-relay.js'
import type { ClientEvents } from '../relay/events.js'
import { ParameterSet } from '../relay/parameters.js'
import { MessageReader } from '../relay/reader.js'
import type { ServerRelay } from '../relay/server-relay.js'
import { isCarried } from '../relay/uncarried.js'
import { type Context, pointer } from '../server/context.js'
import type { Borrower, ServerSession } from '../server/server-session.js'
import type { SessionWatch } from '../session-state/watch.js'
import { ClientEntry } from './client-entry.js'
import type { Arrival } from './client-startup.js'
import { adoptTerms, leave, type Terms } from './client-terms.js'
import type { Database, Timeouts, User } from './database.js'
import type { DestinationRelay } from './destination.js'
import type { Pool } from './pool.js'
import type { Registry } from './registry.js'
import { endReplication } from './replication.js'
import type { ClientStartup } from './startup-parameters.js'

export class ClientSession implements ClientEvents, Borrower, Cancellable, LogPeer {
  readonly id: number
  /** `login` until it is welcome, then as SHOW CLIENTS says. */
  phase: 'login' | 'ready' | 'closed' = 'login'
  database = '(nodb)'
  user = '(nouser)'
  /** Where it is connected from and to. */
  origin: Arrival
  address: string
  tls = ''
  replication: ClientStartup['replication'] = 'none'
  /** What it has been let into; it counts there until it leaves. */
  entered: { readonly database: Database; readonly user: User } | undefined
  pool: Pool | undefined
  relay: ClientRelay | undefined
  /** What it leaves in sessions, where `session_state` wants that looked after. */
  session: SessionWatch | null = null
  /** How it is served. */
  terms: Terms | undefined
  /** Settings say otherwise by now: from its next server on, or so that it can't go on. */
  termsChange: 'none' | 'due' | 'broken' = 'none'
  /** Instead of a pool: the admin console. */
  console: DestinationRelay | undefined
  server: ServerSession | null = null
  waitingSince = 0
  readonly wantsAlignment = true
  /** Has been told that it waits (query_wait_notify). */
  isNotified = false
  /** PID and secret for CancelRequest. */
  cancelKey: Buffer = Buffer.alloc(8)
  /** Protocol version, 3.minor. */
  minor = 0
  timeouts: Timeouts | undefined
  readonly parameters: ParameterSet
  readonly connectedAt: number
  readonly connectedDate: Date
  /** Since when it has had nothing to do, or its transaction has, ms on the clock. */
  quietSince: number
  transactionSince = 0
  private readonly context: Context
  private readonly registry: Registry
  private readonly reader: MessageReader
  private readonly entry: ClientEntry

  constructor(context: Context, registry: Registry, socket: Socket, arrival: Arrival) {
    this.id = context.nextId++
    this.context = context
    this.registry = registry
    this.origin = arrival
    this.address = arrival.description
    this.parameters = new ParameterSet(context.tracked)
    this.connectedAt = this.quietSince = context.clock.now()
    this.connectedDate = context.clock.date()
    this.reader = new MessageReader(socket)
    this.entry = new ClientEntry(context, registry, this, this.reader)
  }

  get ptr(): string {
    return pointer(this.id)
  }

  get logPrefix(): string {
    return `C-${this.ptr}: ${this.database}/${this.user}@${this.address}`
  }

  get isWaiting(): boolean {
    return this.pool !== undefined && this.pool.waiting.size > 0 && this.pool.waiting.has(this)
  }

  /** It has not been closed, by whatever was done for it just now. */
  get stays(): boolean {
    return this.phase !== 'closed'
  }

  /** Waits for its pool's first server, to be welcomed. */
  get isArriving(): boolean {
    return this.phase === 'login' && this.pool !== undefined
  }

  /** From the first packet to the welcome. Never rejects. */
  run(): Promise<void> {
    return this.entry.run()
  }

  // The relay's events.

  acquire(): boolean {
    if (this.isWaiting || this.server !== null) return false
    this.isNotified = false
    if (this.termsChange === 'due') adoptTerms(this)
    return this.pool!.acquire(this)
  }

  onServer(server: ServerSession, now: number): void {
    const relay = this.relay!
    this.server = server
    server.client = this
    if (this.terms?.mode === 'session') server.wasOwned = true
    relay.server = server.relay!
    server.relay!.client = relay
    this.transactionSince = relay.requestSince = now
  }

  get requestSince(): number {
    return this.relay?.requestSince ?? 0
  }

  /** The server is this client's, but not to be used yet. */
  reserve(server: ServerSession): void {
    this.server = server
    server.client = this
  }

  /** Has a server, which is still being given its parameters. */
  get isReserved(): boolean {
    return this.server !== null && this.relay?.server === null
  }

  resume(): void {
    this.relay?.resume()
  }

  /** All that was sent has been answered. */
  onAnswered(status: number): void {
    const now = this.context.clock.now()
    const counters = this.pool!.counters
    counters.queries++
    counters.queryTime += 1000 * (now - this.relay!.requestSince)
    this.quietSince = now
    if (status !== backend.Idle) return
    counters.xacts++
    counters.xactTime += 1000 * (now - this.transactionSince)
    this.transactionSince = now
  }

  onQuiet(status: number): void {
    const server = this.server
    const pool = this.pool!
    if (server === null) return
    if (server.relay!.hadLastWord(this.relay!)) return // its last words were passed on: both end when it has gone
    const mode = pool.limits.poolMode
    if (this.termsChange === 'broken' && status === backend.Idle) return leave(this)
    if (status !== backend.Idle) return
    const state = this.session?.state
    const isFree = mode !== 'session' && (state === undefined || state.isFree(server))
    if (isFree && isCarried(this)) pool.release(server, this.quietSince)
    else if (server.closeNeeded && state?.isAsking !== true && this.context.config.settings.server_fast_close) {
      this.fail(new PgError('database_changed'))
    }
  }

  onTerminate(): void {
    this.relay!.socket.discards = true
    this.close('client close request')
  }

  onGone(): void {
    this.close('client unexpected eof')
  }

  onViolation(condition: Condition, detail: string): void {
    this.fail(new PgError(condition, detail))
  }

  /** Has no server any more. */
  unlink(): void {
    if (this.relay !== undefined) {
      if (this.relay.server !== null) this.relay.server.client = null
      this.relay.server = null
      if (this.relay.blockedServer !== null) {
        this.relay.blockedServer.socket.resume()
        this.relay.blockedServer = null
      }
    }
    this.server = null
  }

  onServerLost(server: ServerSession): void {
    this.fail(new PgError('server_crashed'), server.relay)
    server.relay?.owed.forget(this.relay!)
  }

  onRefused(error: PgError): void {
    this.fail(error)
  }

  /** What a CancelRequest of this client should stop. */
  cancelTarget(): ServerSession | 'waiting' | 'console' | undefined {
    if (this.console !== undefined) return 'console'
    return this.isWaiting || this.isReserved ? 'waiting' : (this.server ?? undefined)
  }

  /** Ends what the client waits for with an ERROR; the client stays. */
  cancelWaiting(): void {
    if (this.console !== undefined) return this.console.cancel()
    if (this.isReserved)
      this.pool!.reclaim(this) // its SETs are not the client's to cancel
    else if (!this.pool?.waiting.delete(this)) return
    this.relay!.refuse(backend.errorResponse(new PgError('query_canceled')))
  }

  notify(text: string): void {
    this.isNotified = true
    this.relay?.socket.write(backend.noticeResponse(text))
  }

  /** Tells the client what is wrong and closes it. */
  fail(error: PgError, server: ServerRelay | null | undefined = this.relay?.server): void {
    if (this.phase === 'closed') return
    const { log, config } = this.context
    const socket = this.relay?.socket ?? this.reader.socket
    if (this.relay === undefined || !server?.hadLastWord(this.relay)) socket.write(backend.errorResponse(error))
    this.close(error.message)
    if (config.settings.log_pooler_errors) log.warning(`pooler error: ${error.message}`, this)
  }

  /** Ends the session; what it has is given back, or closed where its state is not known. */
  close(reason: string): void {
    if (this.phase === 'closed') return
    this.phase = 'closed'
    const { log, config, clock } = this.context
    if (reason !== '' && config.settings.log_disconnections) {
      const age = Math.trunc((clock.now() - this.connectedAt) / 1000)
      log.info(`closing because: ${reason} (age=${age}s)`, this)
    }
    if (this.server !== null) this.pool?.reclaim(this)
    this.registry.cancels.forget(this)
    this.relay?.close()
    this.console?.end(reason)
    this.entry.giveUp(reason)
    ;(this.relay?.socket ?? this.reader.socket).end()
    this.pool?.waiting.delete(this)
    this.pool?.clients.delete(this)
    if (this.pool?.isReplication) endReplication(this.pool)
    if (this.entered !== undefined) this.registry.depart(this.entered)
    this.registry.leave(this)
  }
}
