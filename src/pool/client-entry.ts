// A client on its way in: from its first packet to its welcome, or into the console.

import * as backend from '../protocol/backend.js'
import { ConnectionLost } from '../protocol/conversation.js'
import { PgError } from '../protocol/errors.js'
import type { StartupMessage } from '../protocol/frontend.js'
import { ClientRelay } from '../relay/client-relay.js'
import type { MessageReader } from '../relay/reader.js'
import { ClientStatements } from '../relay/statements/client-statements.js'
import { Attempt } from '../server/attempt.js'
import type { Context } from '../server/context.js'
import { leavePromise } from '../server/leave-promise.js'
import type { Waiter } from '../server/server-session.js'
import { logInClient } from './client-login.js'
import type { ClientSession } from './client-session.js'
import { negotiateStartup } from './client-startup.js'
import { agreeTerms } from './client-terms.js'
import { logInToConsole, openConsole } from './console-login.js'
import { Timeouts } from './database.js'
import type { Pool } from './pool.js'
import type { Registry } from './registry.js'
import { openReplication } from './replication.js'
import { type ClientStartup, readClientStartup, replicationWords } from './startup-parameters.js'
import { reportOf, setParameters, welcomeMessages } from './welcome.js'

/** The newest protocol is 3.2: longer cancel keys. */
const newestMinor = 2

export class ClientEntry {
  private readonly attempt = new Attempt()
  private readonly context: Context
  private readonly registry: Registry
  private readonly client: ClientSession
  private readonly reader: MessageReader

  constructor(context: Context, registry: Registry, client: ClientSession, reader: MessageReader) {
    this.context = context
    this.registry = registry
    this.client = client
    this.reader = reader
    this.attempt.onGivenUp((reason) => reader.fail(reason))
    reader.onLost = () => this.refuse(new ConnectionLost('connection lost')) // whatever else is waited for
  }

  /** Never rejects. */
  async run(): Promise<void> {
    try {
      const packet = await this.negotiate()
      if (packet === undefined) return
      const enter = await this.logIn(packet)
      leavePromise(() => this.orRefused(enter))
    } catch (error) {
      this.refuse(error)
    }
  }

  /** The client is gone, or has been sent away; without effect once it is welcome. */
  giveUp(reason: string): void {
    this.attempt.giveUp(new ConnectionLost(reason))
  }

  private async negotiate(): Promise<StartupMessage | undefined> {
    const { attempt, client, reader, registry } = this
    const { packet, arrival } = await attempt.wait(negotiateStartup(reader, client.origin, this.context, client))
    attempt.check()
    client.origin = arrival
    client.tls = arrival.tls
    if (packet.kind === 'startup') return packet
    client.phase = 'closed'
    registry.leave(client)
    await registry.cancels.request(packet, reader.socket, client)
    return undefined
  }

  /**
   * Has the client prove who it is.
   * @returns lets it in: to be called outside of any promise
   */
  private async logIn(packet: StartupMessage): Promise<() => void> {
    const { attempt, client, context, registry, reader } = this
    const { settings } = context.config
    attempt.check()
    const startup = readClientStartup(packet.parameters, settings, context.tracked)
    client.user = startup.user
    client.database = startup.database
    client.replication = startup.replication
    client.minor = Math.min(packet.minor, newestMinor)
    if (packet.minor > newestMinor || startup.protocolOptions.length > 0) {
      reader.write(backend.negotiateProtocolVersion(client.minor, startup.protocolOptions))
    }
    if (settings.log_connections) {
      const tls = client.tls === '' ? 'no' : client.tls
      context.log.info(
        `login attempt: db=${startup.database} user=${startup.user} tls=${tls} replication=${replicationWords[startup.replication]}`,
        client,
      )
    }
    if (startup.database === 'pgbouncer') {
      registry.consoles++
      for (const [name, value] of startup.parameters) client.parameters.set(name, value)
      const role = await attempt.wait(logInToConsole(registry, client, reader, attempt))
      return () => {
        attempt.succeed()
        client.phase = 'ready'
        client.console = openConsole(registry, client, reader, role)
      }
    }
    registry.checkArrival(client.id)
    const database = registry.databaseNamed(startup.database)
    const login = logInClient(
      reader,
      {
        user: startup.user,
        database,
        databaseName: startup.database,
        replication: startup.replication,
        origin: { ...client.origin, tls: client.tls !== '' },
        who: client,
        attempt,
      },
      registry.loginSources,
      context,
    )
    const credentials = await attempt.wait(login)
    if (database === undefined) {
      if (settings.log_connections) {
        context.log.info(`login failed: db=${startup.database} user=${startup.user}`, client)
      }
      throw new PgError('no_such_database', startup.database)
    }
    return () => {
      client.user = credentials.user // whom auth_query names; with auth_type any, whoever has come is the forced user
      const entered = registry.admit(database, client.user)
      client.entered = entered
      const pool =
        startup.replication === 'none'
          ? registry.poolFor(entered.database, credentials)
          : openReplication(registry, client, entered.database, credentials, startup)
      client.pool = pool
      client.timeouts = new Timeouts(context, entered.database, entered.user, pool)
      pool.clients.add(client)
      this.arrive(pool, startup)
    }
  }

  /** Waits for the pool's first server, whose parameters the client is welcomed with. */
  private arrive(pool: Pool, startup: ClientStartup): void {
    if (pool.usual.isKnown) return this.agree(pool, startup)
    const waiter: Waiter = {
      waitingSince: this.context.clock.now(),
      wantsAlignment: false,
      onServer: () => this.orRefused(() => this.agree(pool, startup)),
      onRefused: (error) => this.client.fail(error),
    }
    this.client.waitingSince = waiter.waitingSince
    this.attempt.onGivenUp(() => pool.arriving.delete(waiter))
    pool.arrive(waiter)
  }

  /** Gives the client its parameters, for which a server may be asked. */
  private agree(pool: Pool, startup: ClientStartup): void {
    this.client.waitingSince = this.context.clock.now()
    const addsHost = this.context.config.settings.application_name_add_host && !pool.isReplication
    setParameters(this.client, startup, pool, addsHost, (refusal) =>
      this.orRefused(() => {
        if (refusal !== undefined) throw refusal
        this.welcome(pool)
      }),
    )
  }

  private welcome(pool: Pool): void {
    const { client, context, reader, registry } = this
    const { settings } = context.config
    this.attempt.succeed()
    registry.cancels.register(client, client.minor)
    reader.write(welcomeMessages(reportOf(pool), client.parameters, client.cancelKey, settings.login_notify_message))
    client.phase = 'ready'
    client.quietSince = context.clock.now()
    pool.counters.clientLogins++
    const relay = new ClientRelay(
      reader.socket,
      client.parameters,
      new ClientStatements(context.statements, client.parameters),
      pool.counters,
      client,
      settings.max_packet_size,
      0,
      context.clock,
    )
    relay.leavesAtOnce = pool.isReplication
    agreeTerms(client, relay, pool)
    client.relay = relay
    reader.socket.owner = relay
    if (registry.isSuspended) relay.suspend()
    if (pool.isReplication) client.acquire() // its own, whatever it is going to say
    if (reader.rest.length > 0) relay.onBytes(reader.rest)
    if (client.stays && !registry.isSuspended) reader.socket.resume()
  }

  /** Lets the client in, unless it has left; what is refused to it, it is told. */
  private orRefused(enter: () => void): void {
    if (this.attempt.isOver) return
    try {
      enter()
    } catch (error) {
      if (!(error instanceof PgError)) throw error
      this.client.fail(error)
    }
  }

  private refuse(error: unknown): void {
    const { client } = this
    if (error instanceof PgError) return client.fail(error)
    if (error instanceof ConnectionLost) {
      if (client.user === '(nouser)' && this.reader.rest.length === 0) return client.close('')
      return client.close('client unexpected eof')
    }
    this.context.log.error(`login failed: ${(error as Error).message}`, client)
    client.fail(new PgError('config_error'))
  }
}
