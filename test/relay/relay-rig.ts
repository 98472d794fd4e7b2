// Clients, servers and a pool in transaction mode around the two relays, without sockets, time or PostgreSQL.

import type { Clock } from '../../src/observe/clock.js'
import { Counters } from '../../src/observe/stats.js'
import { Idle } from '../../src/protocol/backend.js'
import type { Condition } from '../../src/protocol/errors.js'
import * as frontend from '../../src/protocol/frontend.js'
import { Ask } from '../../src/relay/ask.js'
import { ClientRelay } from '../../src/relay/client-relay.js'
import type { ClientEvents, ServerEvents } from '../../src/relay/events.js'
import { ParameterSet, trackedNames } from '../../src/relay/parameters.js'
import { ServerRelay } from '../../src/relay/server-relay.js'
import { ClientStatements } from '../../src/relay/statements/client-statements.js'
import { ServerStatements, StatementTable } from '../../src/relay/statements/prepared.js'
import { FakeBackend } from './fake-backend.js'
import { FakeSocket } from './fake-socket.js'

const clock: Clock = {
  now: () => 0,
  date: () => new Date(0),
  after: () => ({ cancel() {} }),
  every: () => ({ cancel() {} }),
}

const tracked = trackedNames([])

export class RigServer implements ServerEvents {
  readonly socket = new FakeSocket()
  readonly backend = new FakeBackend()
  readonly relay: ServerRelay
  /** Why it was given up, '' while it was not. */
  desync = ''
  strayErrors = 0

  constructor(table: StatementTable) {
    const parameters = new ParameterSet(tracked)
    this.relay = new ServerRelay(this.socket.asSocket, parameters, new ServerStatements(table), new Counters(), this)
    this.socket.owner = this.relay
    this.socket.resume()
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

  onGone(): void {}
  onParameter(): void {}

  onDesync(what: string): void {
    this.desync = what
  }

  onStrayError(): void {
    this.strayErrors++
  }
}

export class RigClient implements ClientEvents {
  readonly socket = new FakeSocket()
  readonly relay: ClientRelay
  /** What it was closed for: a condition, or `terminate`. */
  closed = ''
  releases = 0
  private readonly rig: Rig

  constructor(rig: Rig, table: StatementTable, preparedLimit: number) {
    this.rig = rig
    const parameters = new ParameterSet(tracked)
    this.relay = new ClientRelay(
      this.socket.asSocket,
      parameters,
      new ClientStatements(table, parameters),
      new Counters(),
      this,
      0x7fffffff,
      preparedLimit,
      clock,
    )
    this.socket.owner = this.relay
    this.socket.resume()
  }

  get server(): RigServer | undefined {
    return this.rig.servers.find((server) => server.relay === this.relay.server)
  }

  send(...messages: Buffer[]): void {
    this.socket.deliver(Buffer.concat(messages))
  }

  acquire(): boolean {
    return this.rig.acquire(this)
  }

  onAnswered(): void {}

  onQuiet(status: number): void {
    const server = this.server
    if (server === undefined) return
    if (status === Idle) this.rig.release(this, server)
  }

  onTerminate(): void {
    this.close('terminate')
  }

  onGone(): void {
    this.close('gone')
  }

  onViolation(condition: Condition): void {
    this.close(condition)
  }

  private close(reason: string): void {
    this.closed = reason
    this.rig.forget(this)
    this.relay.close()
    this.socket.end()
  }
}

export class Rig {
  readonly table = new StatementTable()
  servers: readonly RigServer[]
  readonly clients: RigClient[]
  /** Told of each release, before the server goes to anyone else. */
  onRelease: (server: RigServer) => void = () => {}
  private idle: RigServer[]
  private readonly waiting: RigClient[] = []

  constructor(options: { clients?: number; servers?: number; preparedLimit?: number } = {}) {
    const { clients = 1, servers = 1, preparedLimit = 100 } = options
    this.servers = Array.from({ length: servers }, () => new RigServer(this.table))
    this.clients = Array.from({ length: clients }, () => new RigClient(this, this.table, preparedLimit))
    this.idle = [...this.servers]
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
      moved = false
      for (const { socket } of [...this.clients, ...this.servers]) socket.drain()
      for (const server of this.servers) {
        moved ||= server.socket.writes.length > 0
        server.work()
        moved ||= server.backend.sent.length > 0
        server.answer()
      }
    }
  }

  acquire(client: RigClient): boolean {
    if (this.waiting.includes(client)) return false
    const server = this.idle.pop()
    if (server === undefined) {
      this.waiting.push(client)
      return false
    }
    this.link(client, server)
    return true
  }

  /** As for a CancelRequest that finds it waiting. */
  leaveQueue(client: RigClient): void {
    const index = this.waiting.indexOf(client)
    if (index < 0) throw new Error('it does not wait')
    this.waiting.splice(index, 1)
  }

  /** It has gone: the server that it was in the middle of something with is given up, for another. */
  forget(client: RigClient): void {
    const index = this.waiting.indexOf(client)
    if (index >= 0) this.waiting.splice(index, 1)
    const { server } = client
    if (server === undefined) return
    client.relay.server = null
    server.relay.client = null
    const next = new RigServer(this.table)
    next.socket.room = server.socket.room
    this.servers = this.servers.map((one) => (one === server ? next : one))
    this.free(next)
  }

  release(client: RigClient, server: RigServer): void {
    this.onRelease(server)
    client.releases++
    client.relay.server = null
    server.relay.client = null
    if (client.relay.blockedServer !== null) {
      client.relay.blockedServer.socket.resume()
      client.relay.blockedServer = null
    }
    if (!server.relay.statements.hasUnknown) return this.free(server)
    server.relay.statements.hasUnknown = false
    server.relay.ask(frontend.query('deallocate all'), new Ask(() => this.free(server)))
  }

  private free(server: RigServer): void {
    this.idle.push(server)
    this.serveWaiting()
  }

  private serveWaiting(): void {
    while (this.waiting.length > 0 && this.idle.length > 0) {
      const next = this.waiting.shift()!
      this.link(next, this.idle.pop()!)
      next.relay.resume()
    }
  }

  private link(client: RigClient, server: RigServer): void {
    client.relay.server = server.relay
    server.relay.client = client.relay
  }
}

/** What the client would get from a server of its own. */
export function direct(bytes: Buffer): Buffer {
  const backend = new FakeBackend()
  backend.receive(bytes)
  backend.work()
  return backend.taken()
}
