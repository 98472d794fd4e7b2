// All clients: how they come in, how many may, and what holds for all of them.

import type { Cancels } from '../cancel/cancel.js'
import type { Socket } from '../io/socket.js'
import type { AuthQuery } from '../pool/auth-query.js'
import type { Registry } from '../pool/registry.js'
import { PgError } from '../protocol/errors.js'
import type { Context } from '../server/context.js'
import type { Arrival } from './arrivals.js'
import { ClientSession } from './client-session.js'
import type { ConsoleHost } from './destination.js'
import { ClientEntry, type Entrance } from './entry.js'
import { FailedLogins } from './failed-logins.js'
import type { LoginSources } from './login.js'
import { PooledClient } from './pooled-client.js'
import { traceArrival } from './trace.js'

export class Clients implements Entrance {
  readonly context: Context
  readonly registry: Registry
  readonly cancels: Cancels
  /** Where those go who ask for the database `pgbouncer`. */
  readonly console: ConsoleHost
  /** The pooler is on its way down. */
  isClosing = false
  /** SUSPEND: nothing is read from anybody, and who comes has to wait. */
  isSuspended = false
  private readonly all = new Set<ClientSession>()
  private readonly authQuery: AuthQuery
  private readonly failures: FailedLogins
  /** How many of them are the console's. */
  private consoles = 0
  private refusedFrom = Number.POSITIVE_INFINITY
  private readonly parked: (() => void)[] = []

  constructor(registry: Registry, authQuery: AuthQuery, console: ConsoleHost) {
    const { context, cancels } = registry
    this.context = context
    this.registry = registry
    this.cancels = cancels
    this.console = console
    this.authQuery = authQuery
    this.failures = new FailedLogins(context.clock, () => context.config.settings.auth_failure_delay)
  }

  [Symbol.iterator](): IterableIterator<ClientSession> {
    return this.all.values()
  }

  get size(): number {
    return this.all.size
  }

  /** All but those of the console, for whom nobody waits. */
  consoleApart(): ClientSession[] {
    return [...this.all].filter((client) => !client.isConsole)
  }

  get loginSources(): LoginSources {
    const lookUp: LoginSources['lookUp'] = (...login) => this.authQuery.find(...login)
    return { files: this.registry.files, lookUp, failures: this.failures }
  }

  /** Takes a new connection. */
  accept(socket: Socket, arrival: Arrival): void {
    if (this.isSuspended) return void this.parked.push(() => this.accept(socket, arrival))
    const client = new ClientSession(this.context, arrival, (left) => this.leave(left))
    const entry = new ClientEntry(this, client, socket)
    traceArrival(this.context, client)
    this.all.add(client)
    void entry.run()
  }

  /** Reads nothing more from anybody but the console. */
  suspend(): void {
    this.isSuspended = true
    for (const { phase } of this.all) if (phase instanceof PooledClient) phase.relay.suspend()
  }

  /** The end of SUSPEND. */
  wake(): void {
    this.isSuspended = false
    for (const { phase } of this.all) if (phase instanceof PooledClient) phase.relay.endSuspension()
    this.takeParked()
  }

  /** Whoever came while it was suspended. */
  takeParked(): void {
    for (const take of this.parked.splice(0)) take()
  }

  private leave(client: ClientSession): void {
    this.cancels.forget(client)
    if (this.all.delete(client) && client.database === 'pgbouncer') this.consoles--
    this.registry.conditions.look()
  }

  /** Refuses the login of this client and of later ones; earlier ones go on. */
  refuseFrom(id: number): void {
    this.refusedFrom = Math.min(this.refusedFrom, id)
  }

  /** A client has asked for the console: it does not count to `max_client_conn`. */
  countConsole(): void {
    this.consoles++
  }

  /** @throws PgError where no more clients may come in (`max_client_conn`, a shutdown) */
  checkArrival(id: number): void {
    if (id >= this.refusedFrom) throw new PgError('pooler_shutting_down')
    if (this.all.size - this.consoles > this.context.config.settings.max_client_conn)
      throw new PgError('too_many_clients')
  }
}
