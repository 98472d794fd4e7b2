// One server connection: connecting, idle, active, tested, closed; who has it, and whose it is.

import type { BackendKey, Credentials } from '../auth/server-login.js'
import type { DatabaseConfig } from '../config/databases.js'
import { hostAndPort } from '../io/listener.js'
import type { LogPeer } from '../observe/log.js'
import * as logTexts from '../observe/log-texts.js'
import type { Counters } from '../observe/stats.js'
import { serverCloses, type TracedServer } from '../observe/trace.js'
import * as backend from '../protocol/backend.js'
import { ConnectionLost } from '../protocol/conversation.js'
import type { PgError } from '../protocol/errors.js'
import * as frontend from '../protocol/frontend.js'
import type { ServerEvents } from '../relay/events.js'
import { type Answer, OwnQuery } from '../relay/own-query.js'
import { ofTheServer, ParameterSet } from '../relay/parameters.js'
import { ServerRelay } from '../relay/server-relay.js'
import { ServerStatements } from '../relay/statements/server-statements.js'
import { noSettings, type SettingSet } from '../session-state/settings.js'
import type { StatefulServer } from '../session-state/tracker.js'
import { Attempt } from './attempt.js'
import { type ServerCloseReason, serverCloseText } from './close-reason.js'
import { type ConnectFailed, connectFailure, failed } from './connect-failed.js'
import { type Context, pointer } from './context.js'
import { type HostList, pauseOf } from './host-list.js'
import type { NamedHost, ServerAddress } from './hosts.js'
import { leavePromise } from './leave-promise.js'
import { openServer } from './open-server.js'
import type { ServerState } from './server-states.js'
import type { ServerTls } from './tls-files.js'
import type { Host } from './topology/host.js'
import { type SessionRole, sessionRoleOf, sessionRoleQuestion } from './topology/session-role.js'
import type { Reach, Target } from './topology/target.js'

/** Whoever a server has been given to, as far as a server and SHOW want to know. */
export interface Holder {
  /** As SHOW names it; '' for a query of the pooler's own. */
  readonly ptr: string
  /** When the exchange under way began, ms on the clock; 0: none ever did. */
  readonly requestSince: number
  /** Is told what is wrong, and closed. */
  fail(error: PgError): void
  /** The connection is over: it parts from the server, which is closed. */
  lost(reason: ServerCloseReason): void
}

/** Startup parameters of servers beyond those of the database: the client's own, for replication. */
export interface ServerStartup {
  readonly replication: 'none' | 'logical' | 'physical'
  readonly parameters: Readonly<Record<string, string>>
}

/** The pool that a server belongs to: where it goes and as whom it logs in, and who hears what becomes of it. */
export interface ServerOwner {
  readonly database: {
    readonly name: string
    readonly config: DatabaseConfig
    readonly hosts: HostList
    readonly target: Target | undefined
    countServers(isTrue: (server: ServerSession) => boolean): number
  }
  /** Which hosts its servers may be on, where hosts have roles. */
  readonly reach: Reach
  readonly user: { readonly name: string }
  readonly credentials: Credentials
  readonly startup: ServerStartup
  readonly counters: Counters
  /** Nobody has it any more, and it owes nothing. */
  takeBack(server: ServerSession): void
  /** It has reported a parameter, of its own accord or `isChecked`: in answer to what sets nothing. */
  onParameter(server: ServerSession, name: string, value: string, isChecked: boolean): void
  /** The connection is over, and its client is yet to be told. */
  onServerLost(server: ServerSession, reason: ServerCloseReason): void
  /** It is being closed. */
  onServerClosing(server: ServerSession, reason: ServerCloseReason): void
  /** The last CancelRequest for it has been delivered. */
  onCancelled(server: ServerSession): void
}

export class ServerSession implements ServerEvents, StatefulServer, LogPeer {
  readonly id: number
  readonly pool: ServerOwner
  /** Changed by the pool's `move` alone. */
  state: ServerState = 'connecting'
  /** In the list of its state, where that has places. */
  place = 0
  relay: ServerRelay | undefined
  /** Whoever it is lent to; written by the Lease alone. */
  holder: Holder | null = null
  key: BackendKey = { pid: 0, secret: Buffer.alloc(4) }
  /** Which of its database's hosts it is for. */
  host: NamedHost | undefined
  /** The same, where hosts have roles. */
  roleHost: Host | undefined
  /** Where that is. */
  location: ServerAddress | undefined
  tls = ''
  /** How it was to be connected to. */
  security: ServerTls | undefined
  readonly parameters: ParameterSet
  /** All that it reported while it logged in. */
  readonly reported: Map<string, string> = new Map()
  /** It is being asked something that sets nothing. */
  isChecked = false
  /** What clients have set here, beyond parameters (`session_state = track`). */
  settings: SettingSet = noSettings
  /** Its session holds what belongs to a client that has left: it is discarded before anyone else comes. */
  isDirty = false
  /** It was a client's own (session mode), and has whatever that client has left. */
  wasOwned = false
  readonly connectedAt: number
  readonly connectedDate: Date
  /** When it was put back, ms on the clock. */
  idleSince: number
  /** CancelRequests for this server that are under way: it is not given to anyone meanwhile. */
  cancels = 0
  /** Why it is to be closed at the next release; null: it is not. */
  closeReason: ServerCloseReason | null = null
  private readonly context: Context
  /** To connect and log in. */
  private readonly attempt = new Attempt()

  constructor(context: Context, pool: ServerOwner) {
    this.id = context.nextId++
    this.context = context
    this.pool = pool
    this.parameters = new ParameterSet(context.tracked)
    this.connectedAt = this.idleSince = context.clock.now()
    this.connectedDate = context.clock.date()
  }

  get ptr(): string {
    return pointer(this.id)
  }

  get database(): string {
    return this.pool.database.name
  }

  get user(): string {
    return this.pool.user.name
  }

  get address(): string {
    const { location } = this
    if (location === undefined) return '(nohost)'
    if (location.kind === 'unix') return `unix:${location.port}`
    return hostAndPort(location.address, location.port)
  }

  get logPrefix(): string {
    return `S-${this.ptr}: ${this.database}/${this.user}@${this.address}`
  }

  /** What is told of it to whoever traces. */
  get traced(): TracedServer {
    return { server: this.ptr, address: this.address, database: this.database, user: this.user }
  }

  get closeNeeded(): boolean {
    return this.closeReason !== null
  }

  /** It goes as soon as nobody uses it, where TLS is to be other than it was made with. */
  recheckTls(wanted: ServerTls): void {
    if (this.security === undefined || this.security === wanted) return
    this.retire('database_changed')
    if (this.state === 'idle' || this.state === 'used') this.closeRetired()
  }

  /** It will be closed when its client is done with it; the first reason stands. */
  retire(reason: ServerCloseReason): void {
    this.closeReason ??= reason
  }

  /** Closes it for the reason that it was retired for. */
  closeRetired(): void {
    if (this.closeReason !== null) this.close(this.closeReason)
  }

  /**
   * Connects and logs in, within `server_connect_timeout`; where that fails, nothing stays open, whatever it was that was
   * waited for.
   * @param done called once, outside of any promise
   */
  connect(done: (failure?: ConnectFailed) => void): void {
    const { attempt } = this
    const { clock, config } = this.context
    attempt.limit(clock, config.settings.server_connect_timeout * 1000, () => failed('connect_timeout'))
    const ended = this.open(attempt).then(() => attempt.succeed())
    ended.then(
      () => leavePromise(done),
      (error: unknown) => {
        attempt.giveUp(error as Error) // what was opened is closed
        leavePromise(() => done(connectFailure(error)))
      },
    )
  }

  private async open(attempt: Attempt): Promise<void> {
    const { config, log } = this.context
    const { database } = this.pool
    this.security = this.context.tls.serversOf(database.config)
    const location = await attempt.wait(this.locate())
    this.location = location
    if (log.verbose > 1 && location.kind === 'tcp') log.noise(`dns: ${location.name} = ${location.address}`, this)
    const { reader, key } = await openServer(attempt, {
      address: location,
      security: this.security,
      settings: config.settings,
      credentials: this.pool.credentials,
      parameters: {
        database: database.config.dbname,
        ...database.config.startupParameters,
        ...this.pool.startup.parameters,
      },
      keyring: this.context.keyring,
      onConnected: ({ stream }) => {
        if (config.settings.log_connections)
          log.info(logTexts.newServer(stream as { localAddress?: string; localPort?: number }), this)
      },
      onSecured: (tls) => {
        this.tls = tls
        if (config.settings.log_connections) log.info(logTexts.tlsEstablished(tls), this)
      },
      onParameter: (name, value) => {
        this.parameters.report(name, value)
        this.reported.set(name, value)
      },
    })
    this.key = key
    if (log.verbose > 0) log.debug(`S: login ok, backend ${this.key.pid}`, this)
    const relay = new ServerRelay(
      reader.socket,
      this.parameters,
      new ServerStatements(this.context.statements),
      this.pool.counters,
      this,
    )
    this.relay = relay
    reader.socket.owner = relay
    if (reader.rest.length > 0) relay.onBytes(reader.rest)
    reader.socket.resume()
    await attempt.wait(this.checkRole())
    await attempt.wait(this.runConnectQuery())
  }

  /** Where it connects to: a host in turn, or one that has the role that its database wants. */
  private async locate(): Promise<ServerAddress> {
    const { database, user, reach } = this.pool
    const { target } = database
    if (target === undefined) {
      this.host = database.hosts.next(database.config, user.name, this.context, ({ name, port }) =>
        database.countServers(({ host }) => host?.name === name && host.port === port),
      )
      return database.hosts.locate(this.host, user.name, this.context)
    }
    const found = target.choose(user.name, reach, (host) => database.countServers(({ roleHost }) => roleHost === host))
    if (found === undefined) throw failed('no_host')
    this.host = found.named
    this.roleHost = found.host
    return found.address
  }

  /** What its login says of its host is held against what was heard, and against what its database wants. */
  private async checkRole(): Promise<void> {
    const { roleHost, pool } = this
    const { target } = pool.database
    if (roleHost === undefined || target === undefined || pool.startup.replication === 'physical') return
    const role = await this.sessionRole()
    const { topology } = this.context
    leavePromise(() => topology.hearLogin(roleHost, role.isInRecovery))
    if (target.accepts(role, pool.reach)) {
      // What clients are told is what their database asks for, whichever of its hosts they are on.
      if (this.reported.has(ofTheServer)) this.onParameter(ofTheServer, target.inHotStandby)
      this.parameters.report(ofTheServer, this.reported.get(ofTheServer))
      return
    }
    if (target.standing(roleHost, pool.reach) === 'fit' && roleHost.report?.isInRecovery === role.isInRecovery) {
      target.noteMisfit(roleHost, pool.user.name, pauseOf(this.context))
    }
    throw failed('role_changed')
  }

  /** Reported since PostgreSQL 14, asked for before. */
  private async sessionRole(): Promise<SessionRole> {
    const reported = sessionRoleOf(this.reported)
    if (reported !== undefined) return reported
    const { rows, error } = await this.query(frontend.query(sessionRoleQuestion))
    if (error !== undefined) throw error
    return { isInRecovery: rows[0]?.[0] === 't', isReadOnly: rows[0]?.[1] === 'on' }
  }

  private async runConnectQuery(): Promise<void> {
    const text = this.pool.database.config.connectQuery
    if (text === undefined || this.pool.startup.replication === 'physical') return // there SQL is not spoken
    const answer = await this.query(frontend.query(text))
    if (answer.error !== undefined) this.context.log.warning(`connect_query: ${answer.error.message}`, this)
    const question = this.parameters.unreportedQuestion
    if (question === '') return
    const { rows } = await this.query(frontend.query(question))
    for (const [name, value] of rows) this.parameters.presume(name ?? '', value ?? '')
  }

  /** An exchange of the pooler's own. Rejects where the connection is lost. */
  private query(bytes: Buffer): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.ask(bytes, (answer) => (answer instanceof Error ? reject(answer) : resolve(answer)))
    })
  }

  /** The same with a callback, which runs before anything else happens on this connection. */
  ask(bytes: Buffer, done: (answer: Answer | Error) => void): void {
    this.relay!.ask(bytes, new OwnQuery(done))
  }

  get loginUser(): string {
    return this.pool.credentials.user
  }

  warn(text: string): void {
    this.context.log.warning(text, this)
  }

  giveBack(): void {
    this.pool.takeBack(this)
  }

  /**
   * Closes, and tells why in the log.
   * @param detail what `%s` stands for in the text of the reason
   */
  close(reason: ServerCloseReason, detail = ''): void {
    if (this.state === 'closed') return
    const { log, config, clock } = this.context
    const text = serverCloseText(reason, detail)
    if (config.settings.log_disconnections) {
      log.info(logTexts.closing(text, clock.now() - this.connectedAt), this)
    }
    this.pool.onServerClosing(this, reason)
    this.attempt.giveUp(failed(reason, detail))
    if (this.relay !== undefined) this.closeRelay(this.relay, text)
    if (serverCloses.hasSubscribers) {
      serverCloses.publish({ ...this.traced, reason, ageMs: clock.now() - this.connectedAt })
    }
  }

  private closeRelay(relay: ServerRelay, text: string): void {
    if (relay.isQuiet) relay.socket.write(frontend.terminate())
    relay.close()
    // What was done last is undone first: for a client that goes on.
    for (let i = relay.owed.length - 1; i >= 0; i--) {
      const note = relay.owed.noteAt(i)
      if (note instanceof OwnQuery) note.fail(new ConnectionLost(text))
      else note?.undo(relay.statements) // lets go of what it holds
    }
    relay.statements.clear()
  }

  onGone(): void {
    if (this.state === 'connecting') this.attempt.giveUp(failed('server_crashed'))
    else this.pool.onServerLost(this, 'server_crashed')
  }

  onDesync(what: string): void {
    this.context.log.error(`protocol out of sync: ${what}`, this)
    this.pool.onServerLost(this, 'out_of_sync')
  }

  onStrayError(body: Buffer): void {
    const fields = backend.reportFields(body)
    this.context.log.info(logTexts.serverSaid(fields.get('S') ?? 'ERROR', fields.get('M') ?? ''), this)
  }

  onParameter(name: string, value: string | undefined): void {
    if (value === undefined) return
    if (this.state === 'connecting') this.reported.set(name, value)
    else this.pool.onParameter(this, name, value, this.isChecked)
  }
}
