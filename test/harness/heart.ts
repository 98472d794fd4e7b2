// The heart in memory: registry, pools, clients, janitor and cancels as they are, on sockets, servers and time of the test's own.

import { setImmediate } from 'node:timers/promises'
import { type AuthFiles, readAuthFiles } from '../../src/auth/auth-files.js'
import { Cancels } from '../../src/cancel/cancel.js'
import type { ClientSession } from '../../src/client/client-session.js'
import { Clients } from '../../src/client/clients.js'
import type { ConsoleHost, Destination } from '../../src/client/destination.js'
import { PooledClient } from '../../src/client/pooled-client.js'
import type { ConfigInput } from '../../src/config/input.js'
import { loadConfig, withSetting } from '../../src/config/load.js'
import type { SettingName } from '../../src/config/settings.js'
import { Janitor } from '../../src/control/janitor.js'
import { reconfigure } from '../../src/control/reconfigure.js'
import { type Log, silentLog } from '../../src/observe/log.js'
import { PoolCounters } from '../../src/observe/pool-counters.js'
import { AuthQuery } from '../../src/pool/auth-query.js'
import type { Pool } from '../../src/pool/pool.js'
import { Registry } from '../../src/pool/registry.js'
import { startupMessage } from '../../src/protocol/frontend.js'
import { type Context, newContext } from '../../src/server/context.js'
import { TlsFiles } from '../../src/server/tls-files.js'
import { linesOf, message, z } from '../protocol/wire.js'
import { FakeSocket } from '../relay/fake-socket.js'
import { arrival, RigServer } from '../relay/relay-rig.js'
import { ManualClock } from './manual-clock.js'

/** Users that may log in. */
const users = ['rig', 'other', 'third', 'console']

/** Settings of a test: transaction mode, one server, and nothing that servers are asked of their own accord. */
const calm: ConfigInput['pgbouncer'] = {
  auth_type: 'trust',
  pool_mode: 'transaction',
  default_pool_size: 1,
  server_check_query: '',
  stats_users: 'console',
}

/** Waits until nothing is left to be done: promises and what leaves them. */
export const turn = (): Promise<void> => setImmediate()

/** New connections wait in `connecting` until the test has them log in. */
class HeartRegistry extends Registry {
  readonly opened: RigServer[] = []

  override connect(pool: Pool): void {
    const server = new RigServer(this.context, pool)
    pool.connecting.add(server.session)
    pool.database.servers++
    pool.user.servers++
    this.opened.push(server)
  }
}

export class HeartClient {
  readonly socket = new FakeSocket()
  readonly session: ClientSession
  private known: PooledClient | undefined

  constructor(clients: Clients) {
    clients.accept(this.socket.asSocket, arrival)
    this.session = [...clients].at(-1)!
  }

  /** As a pool serves it, also when it has been closed. */
  get served(): PooledClient {
    const { phase } = this.session
    if (phase instanceof PooledClient) this.known = phase
    return this.known!
  }

  get isOpen(): boolean {
    return this.session.phase !== null
  }

  send(...messages: Buffer[]): void {
    this.socket.deliver(Buffer.concat(messages))
  }

  /** What it has been told since the last call, a line a message. */
  heard(): string[] {
    return linesOf(this.socket.taken())
  }

  /** The text of the error that it was told, or ''. */
  get error(): string {
    return /\|M(.*?)\|/.exec(this.heard().find((line) => line.startsWith('E ')) ?? '')?.[1] ?? ''
  }
}

export class Heart {
  readonly clock: ManualClock
  readonly context: Context
  readonly registry: HeartRegistry
  readonly clients: Clients
  readonly janitor: Janitor
  /** Commands of console clients, and their cancels. */
  readonly console: string[] = []
  readonly logged: readonly string[]

  private constructor(context: Context, clock: ManualClock, files: AuthFiles, logged: readonly string[]) {
    this.logged = logged
    this.context = context
    this.clock = clock
    this.registry = new HeartRegistry(context, files, new Cancels(context))
    const destination: Destination = {
      receive: (_code, body) => void this.console.push(body.toString('latin1')),
      drained() {},
      cancel: () => void this.console.push('cancel'),
      close() {},
    }
    const host: ConsoleHost = { open: () => destination, parameters: new Map(), counters: new PoolCounters() }
    this.clients = new Clients(this.registry, new AuthQuery(this.registry), host)
    this.janitor = new Janitor(this.clients)
  }

  static async open(
    settings: ConfigInput['pgbouncer'] = {},
    others: Omit<ConfigInput, 'pgbouncer'> = {},
  ): Promise<Heart> {
    const config = await loadConfig({
      databases: { rig: 'host=127.0.0.1' },
      ...others,
      pgbouncer: { ...calm, ...settings },
    })
    const clock = new ManualClock()
    const logged: string[] = []
    const note = (text: string): void => void logged.push(text)
    const log: Log = { ...silentLog, info: note, warning: note, error: note }
    const context = newContext(config, await TlsFiles.read(config), log, clock)
    const files = await readAuthFiles(config.settings)
    const known = new Map(users.map((name) => [name, { kind: 'none' as const }]))
    return new Heart(context, clock, { ...files, users: known }, logged)
  }

  /** All servers that were ever opened, in order. */
  get servers(): readonly RigServer[] {
    return this.registry.opened
  }

  pool(database = 'rig', user = 'rig'): Pool {
    return this.registry.databases.get(database)!.pools.get(user)!
  }

  /** Opens servers that are idle in a pool, which is made where there is none. */
  idle(count: number, database = 'rig', user = 'rig'): RigServer[] {
    const known = this.registry.databases.findOrMake(database)!
    const pool = this.registry.joinPool(known, { user, stored: { kind: 'none' } })
    return Array.from({ length: count }, () => {
      this.registry.connect(pool)
      const server = this.servers.at(-1)!
      this.logIn(server)
      return server
    })
  }

  /** Changes a setting as SET does; connected clients hear of it as after a RELOAD. */
  set(name: SettingName, value: string): void {
    this.context.config = withSetting(this.context.config, name, value)
    reconfigure(this.registry, this.registry.files)
  }

  /** A client that sends its StartupMessage; whether it is let in is for the test to see. */
  async arrive(database = 'rig', user = 'rig', parameters: Record<string, string> = {}): Promise<HeartClient> {
    const client = new HeartClient(this.clients)
    client.send(startupMessage({ user, database, ...parameters }))
    await turn()
    return client
  }

  /** A client that has been welcomed. */
  async connect(database = 'rig', user = 'rig', parameters: Record<string, string> = {}): Promise<HeartClient> {
    const client = await this.arrive(database, user, parameters)
    this.settle()
    await turn()
    client.served.quietSince = this.clock.now()
    client.socket.taken()
    return client
  }

  /** A connection that is being opened has logged in. */
  logIn(server: RigServer | undefined): void {
    const { session } = server!
    const pool = [...this.registry.pools()].find(({ connecting }) => connecting.has(session))
    pool!.onConnected(session)
  }

  /** Connections that are being opened log in, and what is on its way arrives, until nothing moves any more. */
  settle(): void {
    for (let moved = true; moved; ) {
      moved = false
      for (const server of [...this.servers]) {
        const { session, socket, backend } = server
        if (session.state === 'closed') continue
        if (session.state === 'connecting') this.logIn(server)
        moved ||= socket.writes.length > 0
        server.work()
        moved ||= backend.sent.length > 0
        server.answer()
      }
    }
  }
}

/** What a client and a server still have of each other: four nulls when they have parted. */
export function linksOf({ served }: HeartClient, { session, relay }: RigServer): unknown[] {
  return [served.lease, session.holder, served.relay.server, relay.client]
}

/** What `linksOf` gives of two that have parted. */
export const parted: readonly unknown[] = [null, null, null, null]

/** What a server says to a statement that it refuses. */
export const refusal: Buffer = Buffer.concat([
  message('E', z('SERROR'), z('C22023'), z('Mno such thing'), Buffer.alloc(1)),
  message('Z', 'I'),
])
