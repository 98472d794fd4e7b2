// The composition root: Config -> pools -> console -> listeners; start, reload, stop.

import { Socket as NetSocket } from 'node:net'
import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import { AdminConsole, consoleParameters } from './admin/console.js'
import { rowsOf, type Table } from './admin/table.js'
import { type ShowName, type ShowRow, tableNamed } from './admin/tables.js'
import { readAuthFiles } from './auth/auth-files.js'
import { Cancels } from './cancel/cancel.js'
import { type Arrival, arrivalOf, listenOptions } from './client/arrivals.js'
import { Clients } from './client/clients.js'
import type { ConsoleClient, ConsoleRole } from './client/destination.js'
import type { ConfigInput } from './config/input.js'
import { type Config, type LoadOptions, loadConfig } from './config/load.js'
import { PoolAdministration } from './control/administration.js'
import { Janitor } from './control/janitor.js'
import { Reloader } from './control/reload.js'
import { closeEverything, type Ending, shutDown } from './control/shutdown.js'
import { Statistics } from './control/statistics.js'
import type { Administration, HostStatus, ShutdownMode } from './control/status.js'
import { InProcessClient } from './io/in-process.js'
import { Listener } from './io/listener.js'
import { Socket } from './io/socket.js'
import { type Clock, systemClock } from './observe/clock.js'
import { type Log, type LogPeer, silentLog } from './observe/log.js'
import { PoolCounters } from './observe/pool-counters.js'
import { versionText } from './observe/version.js'
import { AuthQuery } from './pool/auth-query.js'
import { Registry } from './pool/registry.js'
import { Roles } from './pool/roles.js'
import { type Context, newContext } from './server/context.js'
import { leavePromise } from './server/leave-promise.js'
import { TlsFiles } from './server/tls-files.js'

export interface PoolerOptions {
  /** Path of a pgbouncer.ini, the settings as an object, or a Config that was loaded before. */
  readonly config: string | ConfigInput | Config
  /** How the configuration is loaded, now and at each reload: what -v and -u say. */
  readonly load?: LoadOptions
  /** Default: nothing is logged. */
  readonly log?: Log
  readonly clock?: Clock
}

export interface Pooler extends AsyncDisposable {
  /**
   * Loads the configuration and opens what `listen_addr` and `unix_socket_dir` say.
   * @param fds file descriptors of sockets that somebody else opened for us, such as systemd: they take the place of both
   * @returns where it listens: `127.0.0.1:6432`, `unix:/tmp/.s.PGSQL.6432`
   * @throws ConfigError, or an Error that names the setting, with the system's code for an address in use
   */
  listen(fds?: readonly number[]): Promise<readonly string[]>
  /** Loads the configuration without listening: for `accept` and `connect` alone. */
  start(): Promise<void>
  /**
   * Serves a connection that was accepted elsewhere; nothing of it may have been read. A TLSSocket counts as encrypted, and
   * the certificate of its client as your server has checked it.
   * @throws Error for a TLSSocket whose handshake is not over: wait for `secureConnection`
   */
  accept(socket: Duplex): void
  /**
   * A connection to this pooler within the process: a net.Socket to whoever looks. A `pg.Client` takes it as its `stream`,
   * postgres.js as its `socket`. As an open socket does, it keeps the process alive until it is closed or `unref` is called.
   */
  connect(): NetSocket
  /**
   * Reads the configuration again. Rejects with ConfigError, and then nothing has changed.
   * @returns what is to be told: settings that are changed, but need a restart
   */
  reload(): Promise<readonly string[]>
  /** The rows of a SHOW command, such as `pools`. */
  show<Name extends ShowName>(name: Name): Promise<readonly ShowRow<Name>[]>
  /** Hosts of databases with `target_session_attrs`, and what is known of them. */
  hosts(): readonly HostStatus[]
  /** The port of the first TCP listener; undefined while not listening. */
  readonly port: number | undefined
  readonly admin: Administration
  /** A shutdown has begun, by whomever. */
  readonly isShuttingDown: boolean
  /** Resolves when it is down. */
  shutdown(mode: ShutdownMode): Promise<void>
  /** Closes everything now. */
  close(): Promise<void>
  /** Resolves when it is down, for whatever reason. */
  readonly stopped: Promise<void>
}

/** A pooler that does nothing yet: `listen` or `start` brings it up. */
export function createPooler(options: PoolerOptions): Pooler {
  return new OwnPooler(options)
}

interface Running {
  readonly context: Context
  readonly clients: Clients
  readonly janitor: Janitor
  readonly statistics: Statistics
  readonly admin: PoolAdministration
  readonly reloader: Reloader
}

class OwnPooler implements Pooler {
  readonly stopped: Promise<void>
  private readonly options: PoolerOptions
  private readonly log: Log
  private running: Running | undefined
  private listeners: Listener[] = []
  private resolveStopped!: () => void
  private isStopped = false
  private started: Promise<void> | undefined

  constructor(options: PoolerOptions) {
    this.options = options
    this.log = options.log ?? silentLog
    this.stopped = new Promise((resolve) => {
      this.resolveStopped = resolve
    })
  }

  get port(): number | undefined {
    return this.listeners.find((listener) => listener.kind === 'tcp')?.port
  }

  get isShuttingDown(): boolean {
    return this.isStopped || this.running?.clients.isClosing === true
  }

  get admin(): Administration {
    return this.up().admin
  }

  async start(): Promise<void> {
    this.refuseClosed()
    this.started ??= this.bringUp()
    await this.started
  }

  private async bringUp(): Promise<void> {
    const { config: source } = this.options
    const config = isLoaded(source) ? source : await loadConfig(source, this.options.load)
    if (!isLoaded(source)) for (const warning of config.warnings) this.log.warning(warning)
    const files = await readAuthFiles(config.settings)
    for (const warning of files.warnings) this.log.warning(warning)
    const tls = await TlsFiles.read(config)
    for (const warning of tls.warnings) this.log.warning(warning)
    this.refuseClosed()
    const clock = this.options.clock ?? systemClock
    const context = newContext(config, tls, this.log, clock, (name, addresses) =>
      leavePromise(() => this.running?.clients.registry.retireAddresses(name, addresses)),
    )
    const registry = new Registry(context, files, new Cancels(context))
    const clients = new Clients(registry, new AuthQuery(registry), {
      open: (role, client, who) => this.openConsole(role, client, who),
      parameters: consoleParameters(versionText),
      counters: new PoolCounters(),
    })
    const statistics = new Statistics(clients)
    const janitor = new Janitor(clients)
    const reloader = new Reloader(registry, this.options.load, () => this.refuseClosed())
    const admin = new PoolAdministration(clients, statistics, {
      version: versionText,
      reload: () => reloader.reloadLogged(),
      set: (key, value) => reloader.set(key, value),
      shutdown: (mode) => this.shutdown(mode),
    })
    this.running = { context, clients, janitor, statistics, admin, reloader }
    context.topology.start(new Roles(registry))
    janitor.start()
    statistics.start()
  }

  private openConsole(role: ConsoleRole, client: ConsoleClient, who: LogPeer): AdminConsole {
    return new AdminConsole({
      ...client,
      administration: this.up().admin,
      role,
      log: {
        debug: (text) => this.log.debug(text, who),
        info: (text) => this.log.info(text, who),
        warning: (text) => this.log.warning(text, who),
        error: (text) => this.log.error(text, who),
      },
    })
  }

  async listen(fds: readonly number[] = []): Promise<readonly string[]> {
    await this.start()
    const { settings } = this.up().context.config
    try {
      for (const options of listenOptions(settings, fds)) {
        const listener = await Listener.open(options, (...accepted) => this.welcome(...accepted))
        this.listeners.push(listener)
        if (this.isStopped) listener.close() // it was closed while this one was being opened
        this.refuseClosed()
      }
    } catch (error) {
      await this.close()
      throw error
    }
    return this.listeners.map((listener) => listener.description)
  }

  accept(stream: Duplex): void {
    this.up()
    if (stream instanceof TLSSocket && !stream.getCipher()) {
      throw new Error('the TLS handshake is not over: accept the socket on secureConnection')
    }
    const socket =
      stream instanceof NetSocket && !(stream instanceof TLSSocket) && stream.isPaused()
        ? Socket.accepted(stream, nobody)
        : Socket.over(stream, nobody)
    this.take(socket, arrivalOf(stream, stream instanceof NetSocket && stream.remoteAddress ? 'tcp' : 'unix', false))
  }

  connect(): NetSocket {
    this.up()
    const client = new InProcessClient()
    this.take(Socket.over(client.far, nobody), arrivalOf(client.far, 'unix', false))
    return client
  }

  /** Once closed, it says so and ends the connection: nobody is to wait for one that does not come back. */
  private take(socket: Socket, arrival: Arrival): void {
    const { clients } = this.up()
    clients.accept(socket, arrival)
    if (this.isStopped) closeEverything(clients)
  }

  private welcome(socket: NetSocket, kind: 'tcp' | 'unix', isOwnUser: boolean): void {
    const { clients, context } = this.up()
    const { tcp_keepalive: keepAlive, tcp_keepidle: keepIdle, listen_port: port } = context.config.settings
    if (kind === 'tcp') socket.setKeepAlive(keepAlive, keepIdle * 1000)
    const arrival = arrivalOf(socket, kind, isOwnUser, port)
    clients.accept(Socket.accepted(socket, nobody), arrival)
  }

  async reload(): Promise<readonly string[]> {
    return this.up().reloader.reload()
  }

  async show<Name extends ShowName>(name: Name): Promise<readonly ShowRow<Name>[]> {
    const table = tableNamed(name) as Table<string, ShowRow<Name>> | undefined
    if (table === undefined) throw new Error(`there is no SHOW ${String(name).toUpperCase()}`)
    return rowsOf(table, this.up().admin)
  }

  hosts(): readonly HostStatus[] {
    return this.up().admin.hosts()
  }

  async shutdown(mode: ShutdownMode): Promise<void> {
    if (mode === 'now') return this.close()
    const ending: Ending = {
      isOver: () => this.isStopped,
      closeListeners: () => this.closeListeners(),
      close: () => this.close(),
    }
    await shutDown(this.up().clients, mode, ending)
  }

  /** The Unix socket stays for the console, unless it is another's: there, who comes is to wait for our successor. */
  private closeListeners(): void {
    for (const listener of this.listeners) if (listener.kind === 'tcp' || listener.isInherited) listener.close()
  }

  async close(): Promise<void> {
    if (this.isStopped) return this.stopped
    this.isStopped = true
    for (const listener of this.listeners) listener.close()
    try {
      this.running?.context.topology.stop()
      this.running?.janitor.stop()
      this.running?.statistics.stop()
      if (this.running !== undefined) closeEverything(this.running.clients)
    } finally {
      this.resolveStopped()
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  private refuseClosed(): void {
    if (this.isStopped) throw new Error('the pooler has been closed')
  }

  private up(): Running {
    if (this.running === undefined) throw new Error('the pooler has not been started: call listen() or start() first')
    return this.running
  }
}

/** Whoever owns a socket until its session does. */
const nobody = { onBytes() {}, onDrain() {}, onGone() {} }

function isLoaded(source: PoolerOptions['config']): source is Config {
  return typeof source === 'object' && 'raw' in source
}
