// A pool with clients and servers that have no sockets: all that a transaction costs but for the kernel's part of it.

import type { Arrival } from '../../src/client/arrivals.js'
import { ClientSession } from '../../src/client/client-session.js'
import { PooledClient } from '../../src/client/pooled-client.js'
import { Seat } from '../../src/client/seat.js'
import { type Config, loadConfig } from '../../src/config/load.js'
import type { Socket } from '../../src/io/socket.js'
import { systemClock } from '../../src/observe/clock.js'
import { silentLog } from '../../src/observe/log.js'
import { Database, User } from '../../src/pool/database.js'
import type { Databases, Entered } from '../../src/pool/databases.js'
import { Limits } from '../../src/pool/limits.js'
import { Pool } from '../../src/pool/pool.js'
import { ServerRelay } from '../../src/relay/server-relay.js'
import { ServerStatements } from '../../src/relay/statements/server-statements.js'
import { type Context, newContext } from '../../src/server/context.js'
import { ServerSession } from '../../src/server/server-session.js'
import { TlsFiles } from '../../src/server/tls-files.js'
import type { Conversation } from './messages.js'

/** Takes everything at once, and remembers how much. */
class Sink {
  owner: unknown
  readonly blocked = false
  written = 0

  write(view: Buffer): boolean {
    this.written += view.length
    return true
  }

  outlastPeer(): void {}

  pause(): void {}
  resume(): void {}
}

const parameters = {
  client_encoding: 'UTF8',
  DateStyle: 'ISO, MDY',
  TimeZone: 'Etc/UTC',
  standard_conforming_strings: 'on',
  application_name: 'pgbench',
}

export class PoolFixture {
  readonly #context: Context
  readonly #pool: Pool
  readonly #entered: Entered
  readonly #clients: { readonly served: PooledClient; readonly sink: Sink }[] = []
  #turn = 0

  private constructor(config: Config, tls: TlsFiles) {
    this.#context = newContext(config, tls, silentLog, systemClock)
    const databaseConfig = config.databases.get('bench')
    if (databaseConfig === undefined) throw new Error('no database')
    const database = new Database<Pool>(databaseConfig, false, 0)
    const user = new User('sam', undefined)
    this.#entered = { database, user }
    const nothing = { onServerIdle() {}, connect() {}, onServerClosed() {}, cancel() {} }
    const owner = { makeRoom: () => false, mayRunAgain: () => false, ...nothing }
    const login = { user: 'sam', stored: { kind: 'none' } as const }
    this.#pool = new Pool(this.#context, owner, database, user, new Limits(this.#context, database, user), login)
  }

  /** @param entry of [databases] */
  static async make(clients: number, servers: number, entry = 'host=127.0.0.1'): Promise<PoolFixture> {
    const config = await loadConfig({
      pgbouncer: { pool_mode: 'transaction', max_prepared_statements: 200 },
      databases: { bench: entry },
    })
    const fixture = new PoolFixture(config, await TlsFiles.read(config))
    for (let i = 0; i < servers; i++) fixture.#addServer()
    for (let i = 0; i < clients; i++) fixture.#addClient()
    return fixture
  }

  /** The next client has this conversation, on a server that it is given for it and gives back. */
  transact({ request, answer }: Conversation): void {
    const client = this.#clients[this.#turn++ % this.#clients.length]
    client?.served.relay.onBytes(request)
    const server = client?.served.server?.relay
    if (!server) throw new Error('the client has been given no server')
    for (const chunk of answer) server.onBytes(chunk)
    if (client.served.server !== null) throw new Error('the client has kept its server')
  }

  /** Bytes that clients have been sent so far. */
  get received(): number {
    return this.#clients.reduce((sum, { sink }) => sum + sink.written, 0)
  }

  #addServer(): void {
    const session = new ServerSession(this.#context, this.#pool)
    for (const [name, value] of Object.entries(parameters)) session.parameters.set(name, value)
    const statements = new ServerStatements(this.#context.statements)
    const relay = new ServerRelay(asSocket(new Sink()), session.parameters, statements, this.#pool.counters, session)
    session.relay = relay
    this.#pool.connecting.add(session)
    this.#pool.onConnected(session)
  }

  #addClient(): void {
    const sink = new Sink()
    const client = new ClientSession(this.#context, arrival, () => {})
    for (const [name, value] of Object.entries(parameters)) client.parameters.set(name, value)
    const databases = undefined as unknown as Databases // asked for nothing between login and leaving
    const seat = new Seat(databases, this.#entered, this.#pool)
    const served = new PooledClient(this.#context, client, seat, asSocket(sink))
    client.phase = served
    this.#pool.clients.add(served)
    this.#clients.push({ served, sink })
  }
}

const asSocket = (sink: Sink): Socket => sink as unknown as Socket

const arrival: Arrival = {
  kind: 'tcp',
  address: '127.0.0.1',
  port: 50_000,
  localAddress: '127.0.0.1',
  localPort: 6432,
  description: '127.0.0.1:50000',
  tls: '',
  certificateName: undefined,
  isCertified: false,
  isOwnUser: false,
  channelBinding: undefined,
}
