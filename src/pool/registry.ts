// All pools by key, the databases and users they belong to, the clients, and the limits above them.

import { learnt } from '../auth/credentials.js'
import type { StoredSecret } from '../auth/secrets.js'
import type { Credentials } from '../auth/server-login.js'
import { Cancels } from '../cancel/cancel.js'
import { autoDatabase } from '../config/load.js'
import type { Socket } from '../io/socket.js'
import type { LogPeer } from '../observe/log.js'
import { Counters } from '../observe/stats.js'
import { Idle } from '../protocol/backend.js'
import { PgError } from '../protocol/errors.js'
import type { ConnectFailed } from '../server/connect-failed.js'
import type { Context } from '../server/context.js'
import { ServerSession } from '../server/server-session.js'
import type { AuthFiles } from './auth-files.js'
import { AuthQuery } from './auth-query.js'
import type { LoginSources } from './client-login.js'
import { ClientSession } from './client-session.js'
import type { Arrival } from './client-startup.js'
import { Database, Limits, User } from './database.js'
import type { ConsoleClient, ConsoleRole, Destination } from './destination.js'
import { FailedLogins } from './failed-logins.js'
import { Pool, type PoolOwner } from './pool.js'
import { Room } from './room.js'
import { traceArrival, traceConnect } from './trace.js'

/** Databases that `*` made up for look-ups alone, and that are remembered at a time. */
const mostNamed = 100

/** Opens the console for a client that has logged in to it. */
export type OpenDestination = (role: ConsoleRole, client: ConsoleClient, who: LogPeer) => Destination

export class Registry implements PoolOwner {
  readonly context: Context
  readonly databases = new Map<string, Database>()
  readonly users = new Map<string, User>()
  readonly clients = new Set<ClientSession>()
  readonly cancels: Cancels
  readonly openDestination: OpenDestination
  /** What the console welcomes its clients with. */
  readonly consoleParameters: ReadonlyMap<string, string>
  files: AuthFiles
  /** What the console's clients did. */
  readonly consoleCounters = new Counters()
  /** How many of the clients are the console's. */
  consoles = 0
  /** The pooler is on its way down. */
  isClosing = false
  /** SUSPEND: nothing is read from anybody, and who comes has to wait. */
  isSuspended = false
  private readonly authQuery: AuthQuery
  private readonly failures: FailedLogins
  private readonly watchers = new Set<() => void>()
  private refusedFrom = Number.POSITIVE_INFINITY
  private readonly parked: (() => void)[] = []
  /** Databases that `*` made up, and that nobody has been let into yet; who is anybody may name them. */
  private readonly named = new Set<Database>()
  private readonly room = new Room(() => this.pools())

  constructor(
    context: Context,
    files: AuthFiles,
    openDestination: OpenDestination,
    consoleParameters: ReadonlyMap<string, string>,
  ) {
    this.consoleParameters = consoleParameters
    this.context = context
    this.files = files
    this.openDestination = openDestination
    this.cancels = new Cancels(context)
    this.authQuery = new AuthQuery(this)
    this.failures = new FailedLogins(context.clock, () => context.config.settings.auth_failure_delay)
    for (const config of context.config.databases.values()) {
      this.databases.set(config.name, new Database(config, false, context.clock.now()))
    }
  }

  get loginSources(): LoginSources {
    const lookUp: LoginSources['lookUp'] = (...login) => this.authQuery.find(...login)
    return { files: this.files, lookUp, failures: this.failures }
  }

  /** Takes a new connection. */
  accept(socket: Socket, arrival: Arrival): void {
    if (this.isSuspended) return void this.parked.push(() => this.accept(socket, arrival))
    const client = new ClientSession(this.context, this, socket, arrival)
    traceArrival(this.context, client, arrival)
    this.clients.add(client)
    void client.run()
  }

  /** The end of SUSPEND. */
  wake(): void {
    this.isSuspended = false
    for (const client of this.clients) if (client.console === undefined) client.relay?.endSuspension()
    this.takeParked()
  }

  /** Whoever came while it was suspended. */
  takeParked(): void {
    for (const take of this.parked.splice(0)) take()
  }

  leave(client: ClientSession): void {
    if (this.clients.delete(client) && client.database === 'pgbouncer') this.consoles--
    this.tellWatchers()
  }

  /** Refuses the login of this client and of later ones; earlier ones go on. */
  refuseFrom(id: number): void {
    this.refusedFrom = Math.min(this.refusedFrom, id)
  }

  /** @throws PgError where no more clients may come in */
  checkArrival(id: number): void {
    if (id >= this.refusedFrom) throw new PgError('pooler_shutting_down')
    if (this.clients.size - this.consoles > this.context.config.settings.max_client_conn)
      throw new PgError('too_many_clients')
  }

  /** The database of this name; `*` makes one up. */
  databaseNamed(name: string): Database | undefined {
    const known = this.databases.get(name)
    if (known !== undefined) return known
    const config = autoDatabase(this.context.config, name)
    if (config === undefined) return undefined
    return new Database(config, true, this.context.clock.now())
  }

  user(name: string): User {
    let user = this.users.get(name)
    if (user === undefined) {
      user = new User(name, this.context.config.users.get(name))
      this.users.set(name, user)
    }
    return user
  }

  /**
   * Lets a client, whose user is proven, into a database.
   * @throws PgError disabled, or limits reached
   */
  admit(asked: Database, userName: string): { database: Database; user: User } {
    const database = this.registered(asked)
    this.named.delete(database)
    if (database.disabled) throw new PgError('database_disabled', database.name)
    const user = this.user(userName)
    const limits = new Limits(this.context, database, user)
    if (limits.maxDbClients > 0 && database.clients >= limits.maxDbClients) throw new PgError('too_many_db_clients')
    const most = user.config?.maxUserClientConnections ?? this.context.config.settings.max_user_client_connections
    if (most > 0 && user.clients >= most) throw new PgError('too_many_user_clients')
    database.clients++
    user.clients++
    return { database, user }
  }

  /** One that `*` makes up, remembered from now on. */
  autoDatabaseNamed(name: string): Database | undefined {
    const made = this.databaseNamed(name)
    return made && this.registered(made)
  }

  /** The database as everyone knows it: one that `*` made up is remembered when somebody first connects to it. */
  private registered(database: Database): Database {
    const known = this.databases.get(database.name)
    if (known !== undefined) return known
    // It may have gone from the configuration while the client logged in.
    if (!database.isAuto || this.databaseNamed(database.name) === undefined) throw new PgError('database_removed')
    this.databases.set(database.name, database)
    this.context.log.info(`registered new auto-database: ${database.name}`)
    return database
  }

  depart(entered: { database: Database; user: User }): void {
    entered.database.clients--
    entered.user.clients--
    this.noteEmpty(entered.database)
  }

  /** The pool for clients of a database who log in to servers with these credentials, or as the database's forced user. */
  poolFor(database: Database, credentials: Credentials): Pool {
    const forced = database.config.user
    return this.pool(
      database,
      database.pools,
      forced === undefined ? credentials : this.forcedCredentials(database, forced),
    )
  }

  /** The pool for the pooler's own look-ups. */
  authPool(asked: Database, user: string): Pool {
    const stored = this.files.users.get(user) ?? { kind: 'none' as const }
    const isNew = !this.databases.has(asked.name)
    const database = this.registered(asked)
    if (isNew) this.rememberNamed(database)
    return this.pool(database, database.specialPools, { user, stored })
  }

  private rememberNamed(database: Database): void {
    this.named.add(database)
    if (this.named.size <= mostNamed) return
    for (const oldest of this.named) {
      if (!oldest.isUnused) continue
      this.forgetDatabase(oldest)
      return
    }
  }

  /** Has nobody been let into it yet? Then it is not remembered for long. */
  isOnlyNamed(database: Database): boolean {
    return this.named.has(database)
  }

  forcedCredentials(database: Database, user: string): Credentials {
    const stored: StoredSecret = this.files.users.get(user) ?? { kind: 'none' }
    return { user, stored, password: database.config.password }
  }

  private pool(database: Database, pools: Map<string, Pool>, credentials: Credentials): Pool {
    const known = pools.get(credentials.user)
    if (known !== undefined) {
      known.credentials = learnt(known.credentials, credentials)
      return known
    }
    const user = this.user(credentials.user)
    const pool = new Pool(this.context, this, database, user, new Limits(this.context, database, user), credentials)
    pools.set(credentials.user, pool)
    return pool
  }

  /** All pools, those of one database, clients' and the pooler's own. */
  *pools(only?: Database): Generator<Pool> {
    for (const database of only === undefined ? this.databases.values() : [only]) {
      yield* database.pools.values()
      yield* database.specialPools.values()
      yield* database.replicationPools
    }
  }

  // What a pool may do beyond itself.

  cancel(server: ServerSession): void {
    void this.cancels.stop(server)
  }

  makeRoom(pool: Pool, mayEvict = true): boolean {
    return this.room.make(pool, mayEvict)
  }

  onServerIdle(): void {
    this.room.freed()
  }

  connect(pool: Pool): void {
    const server = new ServerSession(this.context, pool)
    pool.connecting.add(server)
    pool.database.servers++
    pool.user.servers++
    traceConnect(pool, server)
    server.connect((failure) => {
      if (failure !== undefined) this.onConnectFailed(pool, server, failure)
      else if (server.state !== 'closed') this.onConnected(pool, server)
    })
  }

  private onConnected(pool: Pool, server: ServerSession): void {
    pool.database.hosts.connected(server.host!, server.target!, pool.user.name)
    pool.onConnected(server)
  }

  private onConnectFailed(pool: Pool, server: ServerSession, failure: ConnectFailed): void {
    if (server.state === 'closed') return // closed on purpose while it was connecting
    if (failure.error !== undefined) {
      this.context.log.warning(`server login failed: FATAL ${failure.message}`, server)
    }
    if (failure.reason !== undefined) this.context.log.warning(`${failure.message}: ${failure.reason}`, server)
    const { database, user } = pool
    // A server that has said no may have done so to this user alone.
    const refused = failure.error === undefined ? undefined : user.name
    if (server.host !== undefined)
      database.hosts.failed(database.config, server.host, server.target, refused, this.context)
    pool.launcher.failed(failure.error, failure.message)
    server.close(failure.message)
    if (database.hosts.hasOther(database.config, user.name, this.context)) pool.demand()
  }

  onServerClosed(pool: Pool): void {
    pool.database.servers--
    pool.user.servers--
    this.noteEmpty(pool.database)
    this.room.freed()
    this.tellWatchers()
  }

  /** Resolves when `isTrue` is, looked at whenever a connection ends; rejects when the signal aborts. */
  until(isTrue: () => boolean, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const done = (): void => {
        this.watchers.delete(look)
        poll.cancel()
        signal?.removeEventListener('abort', aborted)
      }
      const look = (): void => {
        if (!isTrue()) return
        done()
        resolve()
      }
      const aborted = (): void => {
        done()
        reject(signal?.reason)
      }
      const poll = this.context.clock.every(100, look) // what becomes true without a connection ending
      this.watchers.add(look)
      signal?.addEventListener('abort', aborted)
      if (signal?.aborted) aborted()
      else look()
    })
  }

  private tellWatchers(): void {
    for (const look of [...this.watchers]) look()
  }

  /** Closes all clients and servers of a database. */
  dropConnections(database: Database, error: PgError): void {
    // Who waits is not given what the others leave; look-ups for those who are not let in yet end, too.
    for (const pool of this.pools(database)) pool.launcher.refuseWaiting(error)
    for (const client of [...this.clients]) if (client.entered?.database === database) client.fail(error)
    for (const pool of this.pools(database)) {
      for (const server of pool.servers()) server.close(error.message)
    }
  }

  /**
   * Closes servers at once where nobody uses them, the others when they are released.
   */
  retireServers(database: Database | undefined, reason: string): void {
    for (const pool of this.pools(database)) {
      for (const server of pool.servers()) {
        this.retire(pool, server, reason)
      }
      pool.demand()
    }
  }

  /** The servers at addresses that a host name does not have any more. */
  retireAddresses(name: string, addresses: readonly string[]): void {
    for (const pool of this.pools()) {
      for (const server of pool.servers()) {
        const { target } = server
        if (target?.kind !== 'tcp' || target.name !== name || !addresses.includes(target.address)) continue
        this.retire(pool, server, 'server DNS address changed')
      }
    }
  }

  private retire(pool: Pool, server: ServerSession, reason: string): void {
    server.retire(reason)
    if (server.state === 'idle' || server.state === 'used' || server.state === 'connecting') server.close(reason)
    else if (this.mustNotWait(pool, server)) server.client?.fail(new PgError('database_changed'))
  }

  /** Replication may never end; with `server_fast_close` neither are sessions waited for, once their transaction is over. */
  private mustNotWait(pool: Pool, { relay }: ServerSession): boolean {
    if (pool.isReplication) return true
    if (!this.context.config.settings.server_fast_close || pool.limits.poolMode !== 'session') return false
    return relay?.isQuiet === true && relay.status === Idle
  }

  private noteEmpty(database: Database): void {
    if (database.clients === 0 && database.servers === 0) database.emptySince = this.context.clock.now()
  }

  /** Drops a pool that nobody uses (`pool_idle_timeout`); its totals go with it. */
  forgetPool(pool: Pool): void {
    for (const pools of [pool.database.pools, pool.database.specialPools]) {
      for (const [name, known] of pools) if (known === pool) pools.delete(name)
    }
  }

  /** Drops a database that is not configured any more, or that `*` made up and nobody uses. */
  forgetDatabase(database: Database): void {
    this.context.log.warning(
      `dropping database '${database.name}' as it does not exist anymore or inactive auto-database`,
    )
    this.databases.delete(database.name)
    this.named.delete(database)
  }

  /** `min_pool_size` holds before anybody comes where a forced user makes the pool known. */
  prepareMinimum(): void {
    for (const database of this.databases.values()) {
      const forced = database.config.user
      const least = database.config.minPoolSize ?? this.context.config.settings.min_pool_size
      if (forced !== undefined && least > 0) this.poolFor(database, { user: forced, stored: { kind: 'none' } })
    }
  }
}
