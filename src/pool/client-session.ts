// One client, from startup packet to closed.

import type { Socket } from '../io/socket.js'
import type { LogPeer } from '../observe/log.js'
import * as backend from '../protocol/backend.js'
import { ConnectionLost } from '../protocol/conversation.js'
import { type Condition, PgError } from '../protocol/errors.js'
import type { StartupMessage } from '../protocol/frontend.js'
import type { Cancellable } from './cancel.js'
import { logInClient } from './client-login.js'
import { ClientRelay } from './client-relay.js'
import { type Arrival, negotiateStartup } from './client-startup.js'
import { ClientStatements } from './client-statements.js'
import { logInToConsole, openConsole } from './console-login.js'
import { type Context, pointer } from './context.js'
import { type Database, Timeouts, type User } from './database.js'
import type { DestinationRelay } from './destination.js'
import { ParameterSet } from './parameters.js'
import type { Pool, Waiter } from './pool.js'
import { MessageReader } from './reader.js'
import type { Registry } from './registry.js'
import type { ClientEvents } from './relay-events.js'
import { endReplication, openReplication } from './replication.js'
import type { ServerRelay } from './server-relay.js'
import type { ServerSession } from './server-session.js'
import { watchSession } from './session-watch.js'
import { type ClientStartup, readClientStartup, replicationWords } from './startup-parameters.js'
import { isCarried } from './uncarried.js'
import { reportOf, setParameters, welcomeMessages } from './welcome.js'

/** The newest protocol is 3.2: longer cancel keys. */
const newestMinor = 2

export class ClientSession implements ClientEvents, Waiter, Cancellable, LogPeer {
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
  pool: Pool | undefined
  relay: ClientRelay | undefined
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
  private arriving: Waiter | undefined
  private entered: { database: Database; user: User } | undefined

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

  /** The database it has been let into. */
  get databaseObject(): Database | undefined {
    return this.entered?.database
  }

  /** From the first packet to the welcome. Never rejects. */
  async run(): Promise<void> {
    try {
      const packet = await this.negotiate()
      if (packet === undefined) return
      await this.enter(packet)
    } catch (error) {
      this.refuse(error)
    }
  }

  private async negotiate(): Promise<StartupMessage | undefined> {
    const result = await negotiateStartup(this.reader, this.origin, this.context, this)
    this.origin = result.arrival
    this.tls = result.arrival.tls
    const packet = result.packet
    if (packet.kind === 'startup') return packet
    this.phase = 'closed'
    this.registry.leave(this)
    await this.registry.cancels.request(packet, this.reader.socket, this)
    return undefined
  }

  private async enter(packet: StartupMessage): Promise<void> {
    const { context, registry, reader } = this
    const { settings } = context.config
    const startup = readClientStartup(packet.parameters, settings, context.tracked)
    this.user = startup.user
    this.database = startup.database
    this.replication = startup.replication
    this.minor = Math.min(packet.minor, newestMinor)
    if (packet.minor > newestMinor || startup.protocolOptions.length > 0) {
      reader.write(backend.negotiateProtocolVersion(this.minor, startup.protocolOptions))
    }
    if (settings.log_connections) {
      const tls = this.tls === '' ? 'no' : this.tls
      context.log.info(
        `login attempt: db=${startup.database} user=${startup.user} tls=${tls} replication=${replicationWords[startup.replication]}`,
        this,
      )
    }
    if (startup.database === 'pgbouncer') {
      for (const [name, value] of startup.parameters) this.parameters.set(name, value)
      return this.enterConsole()
    }
    registry.checkArrival(this.id)
    const database = registry.databaseNamed(startup.database)
    const credentials = await logInClient(
      reader,
      {
        user: startup.user,
        database,
        databaseName: startup.database,
        replication: startup.replication,
        origin: { ...this.origin, tls: this.tls !== '' },
        who: this,
      },
      registry.loginSources,
      context,
    )
    if (database === undefined) {
      if (settings.log_connections) {
        context.log.info(`login failed: db=${startup.database} user=${startup.user}`, this)
      }
      throw new PgError('no_such_database', startup.database)
    }
    this.user = credentials.user // whom auth_query names; with auth_type any, whoever has come is the forced user
    this.entered = registry.admit(database, this.user)
    const pool =
      startup.replication === 'none'
        ? registry.poolFor(this.entered.database, credentials)
        : openReplication(registry, this, this.entered.database, credentials, startup)
    this.pool = pool
    this.timeouts = new Timeouts(context, this.entered.database, this.entered.user, pool)
    pool.clients.add(this)
    await this.welcomed(pool)
    const addsHost = settings.application_name_add_host && !pool.isReplication
    setParameters(this, startup, pool.defaults, addsHost)
    this.welcome(pool)
  }

  private async enterConsole(): Promise<void> {
    const role = await logInToConsole(this.registry, this, this.reader)
    this.phase = 'ready'
    this.console = openConsole(this.registry, this, this.reader, role)
  }

  /** Waits for the pool's first server, whose parameters the client is welcomed with. */
  private async welcomed(pool: Pool): Promise<void> {
    if (pool.isWelcoming) return
    await new Promise<void>((resolve, reject) => {
      const waiter: Waiter = {
        waitingSince: this.context.clock.now(),
        wantsAlignment: false,
        onServer: () => resolve(),
        onRefused: reject,
      }
      this.arriving = waiter
      pool.arrive(waiter)
      this.reader.watch(() => this.close('client unexpected eof'))
    })
    this.arriving = undefined
    if ((this.phase as string) === 'closed') throw new ConnectionLost('closed during login')
  }

  private welcome(pool: Pool): void {
    const { context, reader } = this
    const { settings } = context.config
    this.registry.cancels.register(this, this.minor)
    reader.write(welcomeMessages(reportOf(pool), this.parameters, this.cancelKey, settings.login_notify_message))
    this.phase = 'ready'
    this.quietSince = context.clock.now()
    pool.counters.clientLogins++
    const relay = new ClientRelay(
      reader.socket,
      this.parameters,
      new ClientStatements(context.statements, this.parameters),
      pool.counters,
      this,
      settings.max_packet_size,
      pool.limits.poolMode === 'session' ? 0 : settings.max_prepared_statements,
      context.clock,
    )
    relay.refuseQuery = settings.disable_pqexec
    relay.refusesBlocks = pool.limits.poolMode === 'statement'
    relay.session = watchSession(this, relay, pool)
    this.relay = relay
    reader.socket.owner = relay
    if (pool.isReplication) this.acquire() // its own, whatever it is going to say
    if (reader.rest.length > 0) relay.onBytes(reader.rest)
    if (this.phase === 'ready' && !this.registry.isSuspended) reader.socket.resume()
  }

  // The relay's events.

  acquire(): boolean {
    if (this.isWaiting || this.server !== null) return false
    this.isNotified = false
    return this.pool!.acquire(this)
  }

  onServer(server: ServerSession, now: number): void {
    const relay = this.relay!
    this.server = server
    server.client = this
    relay.server = server.relay!
    server.relay!.client = relay
    this.transactionSince = relay.requestSince = now
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
    if (status !== backend.Idle) {
      if (mode === 'statement') this.fail(new PgError('transaction_blocks'))
      return
    }
    const state = this.relay!.session?.state
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

  private refuse(error: unknown): void {
    if (error instanceof PgError) return this.fail(error)
    if (error instanceof ConnectionLost) {
      if (this.user === '(nouser)' && this.reader.rest.length === 0) return this.close('')
      return this.close('client unexpected eof')
    }
    this.context.log.error(`login failed: ${(error as Error).message}`, this)
    this.fail(new PgError('config_error'))
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
    if (this.relay === undefined)
      this.reader.fail(new ConnectionLost(reason)) // somebody may be waiting in it
    ;(this.relay?.socket ?? this.reader.socket).end()
    this.pool?.waiting.delete(this)
    if (this.arriving !== undefined) this.pool?.arriving.delete(this.arriving)
    this.pool?.clients.delete(this)
    if (this.pool?.isReplication) endReplication(this.pool)
    if (this.entered !== undefined) this.registry.depart(this.entered)
    this.registry.leave(this)
  }
}
