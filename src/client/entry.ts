// A client on its way in: from its first packet to its welcome, or into the console.

import type { Credentials } from '../auth/server-login.js'
import type { Socket } from '../io/socket.js'
import type { CloseCounts } from '../observe/close-counts.js'
import * as logTexts from '../observe/log-texts.js'
import type { Database } from '../pool/database.js'
import type { Arriving } from '../pool/launch.js'
import type { Member } from '../pool/lease.js'
import type { Pool } from '../pool/pool.js'
import type { Registry } from '../pool/registry.js'
import * as backend from '../protocol/backend.js'
import { ConnectionLost } from '../protocol/conversation.js'
import { PgError } from '../protocol/errors.js'
import type { CancelRequest, StartupMessage } from '../protocol/frontend.js'
import { MessageReader } from '../relay/message-reader.js'
import { Attempt } from '../server/attempt.js'
import type { Context } from '../server/context.js'
import { leavePromise } from '../server/leave-promise.js'
import type { ClientPhase, ClientSession } from './client-session.js'
import type { ClientCloseReason } from './close-reason.js'
import { logInToConsole, openConsole } from './console-login.js'
import type { ConsoleHost } from './destination.js'
import { type LoginSources, logInClient } from './login.js'
import { PooledClient } from './pooled-client.js'
import { Seat } from './seat.js'
import { negotiateStartup } from './startup.js'
import { type ClientStartup, readClientStartup, replicationWords } from './startup-parameters.js'
import { traceLogin } from './trace.js'
import { reportOf, setParameters, welcomeMessages } from './welcome.js'

/** The newest protocol is 3.2: longer cancel keys. */
const newestMinor = 2

/** What clients come in by. */
export interface Entrance {
  readonly context: Context
  readonly registry: Registry
  readonly console: ConsoleHost
  readonly loginSources: LoginSources
  /** SUSPEND: nothing is read from anybody. */
  readonly isSuspended: boolean
  /** @throws PgError where no more clients may come in */
  checkArrival(id: number): void
  /** A client has asked for the console: it does not count to `max_client_conn`. */
  countConsole(): void
}

export class ClientEntry implements ClientPhase, Member {
  readonly name = 'login'
  readonly isSpokenTo = false
  readonly isWaiting = false
  readonly isReady = false
  /** Where it has a place already, while its parameters are asked for. */
  seat: Seat | undefined
  /** Since when it waits for them, ms on the clock. */
  waitingSince = 0
  private readonly attempt = new Attempt()
  private readonly context: Context
  private readonly entrance: Entrance
  private readonly client: ClientSession
  private readonly reader: MessageReader

  constructor(entrance: Entrance, client: ClientSession, socket: Socket) {
    this.context = entrance.context
    this.entrance = entrance
    this.client = client
    this.reader = new MessageReader(socket)
    client.phase = this
    this.attempt.onGivenUp((reason) => this.reader.fail(reason))
    this.reader.onLost = () => this.refuse(new ConnectionLost('connection lost')) // whatever else is waited for
  }

  get socket(): Socket {
    return this.reader.socket
  }

  /** From the first packet to the welcome. Never rejects. */
  async run(): Promise<void> {
    try {
      const packet = await this.negotiate()
      if (packet.kind === 'cancel') return await this.requestCancel(packet)
      const enter = await this.logIn(packet)
      leavePromise(() => this.orRefused(enter))
    } catch (error) {
      this.refuse(error)
    }
  }

  fail(error: PgError): void {
    this.client.fail(error)
  }

  /** Its settings count when it is welcome. */
  renewTerms(): void {}

  cancelTarget(): undefined {}

  cancelWaiting(): void {}

  get closes(): CloseCounts | undefined {
    return this.seat?.pool.counters.clientCloses
  }

  end(reason: ClientCloseReason): void {
    this.attempt.giveUp(new ConnectionLost(reason))
    this.leaveSeat()
  }

  private leaveSeat(): void {
    this.seat?.pool.clients.delete(this)
    this.seat?.leave()
    this.seat = undefined
  }

  private async negotiate(): Promise<StartupMessage | CancelRequest> {
    const { attempt, client, reader } = this
    const { packet, arrival } = await attempt.wait(negotiateStartup(reader, client.origin, this.context, client))
    attempt.check()
    client.origin = arrival
    return packet
  }

  private async requestCancel(packet: CancelRequest): Promise<void> {
    this.client.dismiss()
    await this.entrance.registry.cancels.request(packet, this.reader.socket, this.client)
  }

  /**
   * Has the client prove who it is.
   * @returns lets it in: to be called outside of any promise
   */
  private async logIn(packet: StartupMessage): Promise<() => void> {
    const { attempt, client, context, entrance } = this
    attempt.check()
    const startup = readClientStartup(packet.parameters, context.config.settings, context.tracked)
    this.introduce(packet, startup)
    if (startup.database === 'pgbouncer') {
      entrance.countConsole()
      for (const [name, value] of startup.parameters) client.parameters.set(name, value)
      const role = await attempt.wait(logInToConsole(entrance, client, this.reader, attempt))
      return () => {
        attempt.succeed()
        openConsole(entrance, client, this.reader, role)
      }
    }
    entrance.checkArrival(client.id)
    const database = entrance.registry.databases.find(startup.database)
    const credentials = await attempt.wait(this.prove(startup, database))
    if (database === undefined) {
      if (context.config.settings.log_connections) {
        context.log.info(logTexts.loginFailed(startup.database, startup.user), client)
      }
      throw new PgError('no_such_database', startup.database)
    }
    return () => {
      client.user = credentials.user // whom auth_query names; with auth_type any, whoever has come is the forced user
      const seat = Seat.take(entrance.registry, database, credentials, startup, client.address)
      this.seat = seat
      seat.pool.clients.add(this)
      this.arrive(seat, startup)
    }
  }

  /** It has said who it wants to be. */
  private introduce(packet: StartupMessage, startup: ClientStartup): void {
    const { client, context, reader } = this
    client.user = startup.user
    client.database = startup.database
    client.replication = startup.replication
    client.minor = Math.min(packet.minor, newestMinor)
    if (packet.minor > newestMinor || startup.protocolOptions.length > 0) {
      reader.write(backend.negotiateProtocolVersion(client.minor, startup.protocolOptions))
    }
    if (!context.config.settings.log_connections) return
    const replication = replicationWords[startup.replication]
    context.log.info(logTexts.loginAttempt(startup.database, startup.user, client.origin.tls, replication), client)
  }

  private prove(startup: ClientStartup, database: Database<Pool> | undefined): Promise<Credentials> {
    const { attempt, client, context, entrance } = this
    const request = {
      user: startup.user,
      database,
      databaseName: startup.database,
      replication: startup.replication,
      origin: client.origin,
      who: client,
      attempt,
    }
    return logInClient(this.reader, request, entrance.loginSources, context)
  }

  /** Waits for the pool's first server, whose parameters the client is welcomed with. */
  private arrive(seat: Seat, startup: ClientStartup): void {
    const { pool } = seat
    if (pool.usual.isKnown) return this.agree(seat, startup)
    const arriving: Arriving = {
      waitingSince: this.context.clock.now(),
      known: () => this.orRefused(() => this.agree(seat, startup)),
      refused: (error) => this.client.fail(error),
    }
    this.waitingSince = arriving.waitingSince
    this.attempt.onGivenUp(() => pool.arriving.delete(arriving))
    pool.awaitParameters(arriving)
  }

  /** Gives the client its parameters, for which a server may be asked. */
  private agree(seat: Seat, startup: ClientStartup): void {
    this.waitingSince = this.context.clock.now()
    setParameters(this.client.parameters, startup, seat.pool, this.client.address, (refusal) =>
      this.orRefused(() => {
        if (refusal !== undefined) throw refusal
        this.welcome(seat)
      }),
    )
  }

  private welcome(seat: Seat): void {
    const { client, context, entrance, reader } = this
    const { pool } = seat
    const { login_notify_message: notice } = context.config.settings
    this.attempt.succeed()
    entrance.registry.cancels.register(client, client.minor)
    reader.write(welcomeMessages(reportOf(pool), client.parameters, client.cancelKey, notice))
    pool.counters.clientLogins++
    traceLogin(client)
    const served = new PooledClient(context, client, seat, reader.socket)
    pool.clients.delete(this)
    pool.clients.add(served)
    client.phase = served
    reader.socket.owner = served.relay
    if (entrance.isSuspended) served.relay.suspend()
    if (pool.isReplication) served.acquire() // its own, whatever it is going to say
    if (reader.rest.length > 0) served.relay.onBytes(reader.rest)
    if (client.phase !== null && !entrance.isSuspended) reader.socket.resume()
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
      if (client.user === '(nouser)' && this.reader.rest.length === 0) return client.close('silent')
      return client.close('client_unexpected_eof')
    }
    this.context.log.error(`login failed: ${(error as Error).message}`, client)
    client.fail(new PgError('config_error'))
  }
}
