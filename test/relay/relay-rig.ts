// Clients, servers and a pool in transaction mode, as they are but for sockets, logins, time and PostgreSQL.

import type { Arrival } from '../../src/client/arrivals.js'
import { ClientSession } from '../../src/client/client-session.js'
import { PooledClient } from '../../src/client/pooled-client.js'
import { Seat } from '../../src/client/seat.js'
import { loadConfig } from '../../src/config/load.js'
import type { Clock } from '../../src/observe/clock.js'
import { silentLog } from '../../src/observe/log.js'
import { Database, User } from '../../src/pool/database.js'
import type { Databases } from '../../src/pool/databases.js'
import { Limits } from '../../src/pool/limits.js'
import { Pool, type PoolOwner, type RefusedClient } from '../../src/pool/pool.js'
import type { Condition } from '../../src/protocol/errors.js'
import type { ClientRelay } from '../../src/relay/client-relay.js'
import { ServerRelay } from '../../src/relay/server-relay.js'
import { ServerStatements } from '../../src/relay/statements/server-statements.js'
import type { StatementTable } from '../../src/relay/statements/statement-table.js'
import { type Context, newContext } from '../../src/server/context.js'
import { ServerSession } from '../../src/server/server-session.js'
import type { ServerState } from '../../src/server/server-states.js'
import { TlsFiles } from '../../src/server/tls-files.js'
import { FakeBackend } from './fake-backend.js'
import { FakeSocket } from './fake-socket.js'

const clock: Clock = {
  now: () => 0,
  date: () => new Date(0),
  after: () => ({ cancel() {} }),
  every: () => ({ cancel() {} }),
}

const config = await loadConfig({
  databases: { rig: 'host=127.0.0.1', lasting: 'host=127.0.0.1 server_lost=error' },
})
const tls = await TlsFiles.read(config)
const login = { user: 'rig', stored: { kind: 'none' } as const }

/** What servers and clients have that have set nothing. */
const usual = [['application_name', 'rig']] as const

function contextOf(preparedLimit: number, servers: number): Context {
  const settings = {
    ...config.settings,
    pool_mode: 'transaction' as const,
    max_prepared_statements: preparedLimit,
    default_pool_size: servers,
    max_packet_size: 0x7fffffff,
  }
  return newContext({ ...config, settings }, tls, silentLog, clock)
}

/** Remembers what becomes of it. */
class RecordedServer extends ServerSession {
  desync = ''
  strayErrors = 0

  override onDesync(what: string): void {
    this.desync = what
    super.onDesync(what)
  }

  override onStrayError(body: Buffer): void {
    this.strayErrors++
    super.onStrayError(body)
  }
}

export class RigServer {
  readonly socket = new FakeSocket()
  readonly backend = new FakeBackend()
  readonly session: RecordedServer
  readonly relay: ServerRelay

  constructor(context: Context, pool: Pool) {
    const session = new RecordedServer(context, pool)
    this.session = session
    for (const [name, value] of usual) session.parameters.set(name, value)
    const statements = new ServerStatements(context.statements)
    this.relay = new ServerRelay(this.socket.asSocket, session.parameters, statements, pool.counters, session)
    session.relay = this.relay
    this.socket.owner = this.relay
    this.socket.resume()
  }

  /** Why it was given up, '' while it was not. */
  get desync(): string {
    return this.session.desync
  }

  get strayErrors(): number {
    return this.session.strayErrors
  }

  /** What was written goes to the backend, which deals with all of it. */
  work(): void {
    this.backend.receive(this.socket.taken())
    this.backend.work()
  }

  /** The next bytes of the backend reach the relay; all of them where `size` is not given. */
  answer(size?: number): void {
    this.socket.deliver(this.backend.taken(size))
  }
}

export const arrival: Arrival = {
  kind: 'unix',
  address: '',
  port: 6432,
  localAddress: '',
  localPort: 6432,
  description: 'unix:6432',
  tls: '',
  certificateName: undefined,
  isCertified: false,
  isOwnUser: false,
  channelBinding: undefined,
}

/** Remembers what becomes of it. */
class RecordedClient extends PooledClient {
  closed = ''

  override onTerminate(): void {
    this.closed = 'terminate'
    super.onTerminate()
  }

  override onGone(): void {
    this.closed = 'gone'
    super.onGone()
  }

  override onViolation(condition: Condition, detail: string): void {
    this.closed = condition
    super.onViolation(condition, detail)
  }
}

export class RigClient {
  readonly socket = new FakeSocket()
  readonly served: RecordedClient
  readonly relay: ClientRelay
  private readonly rig: Rig

  constructor(rig: Rig, seat: Seat) {
    this.rig = rig
    const client = new ClientSession(rig.context, arrival, () => {})
    for (const [name, value] of usual) client.parameters.set(name, value)
    const served = new RecordedClient(rig.context, client, seat, this.socket.asSocket)
    client.phase = served
    seat.pool.clients.add(served)
    this.served = served
    this.relay = served.relay
    this.socket.owner = served.relay
    this.socket.resume()
  }

  /** What it was closed for: a condition, `terminate`, or `gone`. */
  get closed(): string {
    return this.served.closed
  }

  get server(): RigServer | undefined {
    return this.rig.servers.find(({ relay }) => relay === this.relay.server)
  }

  send(...messages: Buffer[]): void {
    this.socket.deliver(Buffer.concat(messages))
  }
}

export class Rig implements PoolOwner {
  readonly pool: Pool
  readonly context: Context
  servers: readonly RigServer[] = []
  readonly clients: RigClient[]
  /** Told of each server that is free again, before it goes to anyone else. */
  onRelease: (server: RigServer) => void = () => {}
  /** What a server refuses as a write is run again. */
  runsAgain: boolean | 'later' = false
  decide: (may: boolean) => void = () => {}
  /** How many times a server was free again. */
  releases = 0

  constructor(
    options: { clients?: number; servers?: number; preparedLimit?: number; database?: 'rig' | 'lasting' } = {},
  ) {
    const { clients = 1, servers = 1, preparedLimit = 100, database: name = 'rig' } = options
    const context = contextOf(preparedLimit, servers)
    const database = new Database<Pool>(config.databases.get(name)!, false, 0)
    const user = new User('rig', undefined)
    this.context = context
    this.pool = new RigPool(this, database, user)
    this.servers = Array.from({ length: servers }, () => this.opened())
    const databases = { depart() {} } as unknown as Databases
    const seat = new Seat(databases, { database, user }, this.pool)
    this.clients = Array.from({ length: clients }, () => new RigClient(this, seat))
  }

  get table(): StatementTable {
    return this.context.statements
  }

  get client(): RigClient {
    return this.clients[0]!
  }

  get server(): RigServer {
    return this.servers[0]!
  }

  /** Everything that is on its way arrives, until nothing moves any more. */
  settle(): void {
    let moved = true
    while (moved) {
      moved = this.replaceClosed()
      for (const { socket } of [...this.clients, ...this.servers]) {
        moved ||= socket.blocked // whoever waited for it may have more to say, also without a server
        socket.drain()
      }
      for (const server of this.servers) {
        moved ||= server.socket.writes.length > 0
        server.work()
        moved ||= server.backend.sent.length > 0
        server.answer()
      }
    }
  }

  /** New servers for those that were given up. Returns whether there were any. */
  replaceClosed(): boolean {
    if (this.servers.every(({ session }) => session.state !== 'closed')) return false
    this.servers = this.servers.map((server) => {
      if (server.session.state !== 'closed') return server
      const next = this.opened()
      next.socket.room = server.socket.room
      return next
    })
    return true
  }

  /** As for a CancelRequest that finds it waiting. */
  leaveQueue(client: RigClient): void {
    if (!this.pool.waiting.delete(client.served)) throw new Error('it does not wait')
  }

  private opened(): RigServer {
    const server = new RigServer(this.context, this.pool)
    this.pool.connecting.add(server.session)
    this.pool.onConnected(server.session)
    return server
  }

  // What the pool may do beyond itself.

  mayRunAgain(server: ServerSession, client: RefusedClient): boolean | 'later' {
    if (this.runsAgain !== false) server.retire('pause')
    if (this.runsAgain === 'later') this.decide = (may) => client.decide(may)
    return this.runsAgain
  }

  makeRoom(): boolean {
    return false // see `replaceClosed`
  }

  connect(): void {}
  cancel(): void {}
  onServerIdle(): void {}
  onServerClosed(): void {}
}

class RigPool extends Pool {
  private readonly rig: Rig

  constructor(rig: Rig, database: Database<Pool>, user: User) {
    super(rig.context, rig, database, user, new Limits(rig.context, database, user), login)
    this.rig = rig
  }

  override move(session: ServerSession, to: ServerState): void {
    const server = to === 'idle' && this.rig.servers.find((one) => one.session === session)
    if (server) {
      this.rig.releases++
      this.rig.onRelease(server)
    }
    super.move(session, to)
  }
}

/** What the client would get from a server of its own. */
export function direct(bytes: Buffer): Buffer {
  const backend = new FakeBackend()
  backend.receive(bytes)
  backend.work()
  return backend.taken()
}
