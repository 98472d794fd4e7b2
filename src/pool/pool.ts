// hot path
// One (database, user): its servers by state, the clients that wait, who gets which.

import type { Credentials } from '../auth/server-login.js'
import { PoolCounters } from '../observe/pool-counters.js'
import { ofTheServer } from '../relay/parameters.js'
import type { ServerCloseReason } from '../server/close-reason.js'
import type { Context } from '../server/context.js'
import type { ServerOwner, ServerSession, ServerStartup } from '../server/server-session.js'
import { mayMove, type ServerState } from '../server/server-states.js'
import type { Reach } from '../server/topology/target.js'
import { align } from './align.js'
import type { Database, User } from './database.js'
import { type Arriving, Launcher, type LaunchingPool } from './launch.js'
import { type Borrower, Lease, type Lender, type Member } from './lease.js'
import type { Limits } from './limits.js'
import { Recycler, type ServerPool } from './recycle.js'
import { ServerList } from './server-list.js'
import { UsualParameters } from './usual-parameters.js'

const ordinary: ServerStartup = { replication: 'none', parameters: {} }

/** A client whose statement was refused as a write, and what is to become of that. */
export interface RefusedClient {
  decide(mayRunAgain: boolean): void
}

/** What a pool may do beyond itself: the limits that span pools, and new connections. */
export interface PoolOwner {
  /** Stops what a server is doing for a client that has left. */
  cancel(server: ServerSession): void
  /** Returns whether this pool may have one more server, within the limits above it. An idle server elsewhere may be closed to make room. */
  makeRoom(pool: Pool, mayEvict: boolean): boolean
  /** A server has nothing to do; who waits for room may have it closed. */
  onServerIdle(): void
  connect(pool: Pool): void
  /** A server left the pool, for whatever reason. */
  onServerClosed(pool: Pool): void
  /**
   * A server has refused the one statement of a client as a write (25006), with nothing but a BEGIN before it, and nothing of
   * that is told yet. Returns whether it is run again, by whatever server the client gets next: this one has to be seen to be in
   * recovery, and not to be given to it again. `later`: the client's `decide` is called when that is known.
   */
  mayRunAgain(server: ServerSession, client: RefusedClient): boolean | 'later'
}

export class Pool implements ServerOwner, Lender, LaunchingPool, ServerPool {
  readonly database: Database<Pool>
  user: User
  limits: Limits
  readonly counters: PoolCounters
  readonly context: Context
  readonly startup: ServerStartup
  /** For look-ups of the pooler's own any host does that is well. */
  reach: Reach = 'role'
  /** What its servers log in with; the latest client login knows best. */
  credentials: Credentials
  /** What clients have that set nothing themselves. */
  readonly usual: UsualParameters
  /** Least recently used first. */
  readonly idle: ServerSession[] = []
  readonly connecting = new Set<ServerSession>()
  /** Idle for longer than server_check_delay: checked before they are used. */
  readonly used = new Set<ServerSession>()
  readonly tested = new Set<ServerSession>()
  readonly active = new ServerList()
  readonly waiting = new Set<Borrower>()
  readonly clients = new Set<Member>()
  /** Clients that wait for the first server, to be welcomed. */
  readonly arriving = new Set<Arriving>()
  /** When a server was last closed for its age, ms on the clock. */
  private lastLifetimeClose = Number.NEGATIVE_INFINITY
  /** Since when it has had neither clients nor servers; infinite while it has. */
  emptySince = Number.POSITIVE_INFINITY
  private readonly owner: PoolOwner
  private readonly recycler: Recycler
  readonly launcher: Launcher

  constructor(
    context: Context,
    owner: PoolOwner,
    database: Database<Pool>,
    user: User,
    limits: Limits,
    login: Credentials,
    counters: PoolCounters = new PoolCounters(),
    startup: ServerStartup = ordinary,
  ) {
    this.counters = counters
    this.startup = startup
    this.context = context
    this.owner = owner
    this.database = database
    this.user = user
    this.limits = limits
    this.credentials = login
    this.usual = new UsualParameters(context.tracked)
    this.recycler = new Recycler(this)
    this.launcher = new Launcher(this)
  }

  /** Servers in any state. */
  get size(): number {
    return this.idle.length + this.connecting.size + this.used.size + this.tested.size + this.active.size
  }

  /** Servers that count to `pool_size`: those of replication clients as well. */
  get counted(): number {
    if (this.isReplication || this.database.replicationPools.size === 0) return this.size
    return this.size + this.database.replicationServers(this.user)
  }

  /** Of a replication client: one server, which is never given to anyone else. */
  get isReplication(): boolean {
    return this.startup.replication !== 'none'
  }

  /** In every state, closed ones apart. */
  servers(): ServerSession[] {
    return [...this.active, ...this.idle, ...this.used, ...this.tested, ...this.connecting]
  }

  get isPaused(): boolean {
    return this.database.paused || this.context.isPaused
  }

  /** The forced user of the database is another from now on. */
  changeUser(user: User, limits: Limits): void {
    this.user.servers -= this.size
    user.servers += this.size
    this.user = user
    this.limits = limits
  }

  /** The one place where a server changes state and list. */
  move(server: ServerSession, to: ServerState): void {
    const from = server.state
    if (!mayMove(from, to)) throw new Error(`server can't go from ${from} to ${to}`)
    if (from === 'idle') this.takeOut(server)
    else this.listOf(from)?.delete(server)
    server.state = to
    if (to === 'idle') this.idle.push(server)
    else this.listOf(to)?.add(server)
    if (to === 'tested') server.idleSince = this.context.clock.now() // the janitor sees to it that this has an end
    if (to === 'closed') this.owner.onServerClosed(this)
  }

  private listOf(state: ServerState): Set<ServerSession> | ServerList | undefined {
    switch (state) {
      case 'connecting':
        return this.connecting
      case 'used':
        return this.used
      case 'tested':
        return this.tested
      case 'active':
        return this.active
      default:
        return undefined
    }
  }

  private takeOut(server: ServerSession): void {
    if (this.idle[this.idle.length - 1] === server) this.idle.pop()
    else this.idle.splice(this.idle.indexOf(server), 1)
  }

  /** Lends `borrower` a server now, or puts it in the queue. Returns whether it may use one now. */
  acquire(borrower: Borrower): boolean {
    borrower.waitingSince = this.context.clock.now()
    if (this.checksEach) while (this.idle.length > 0) this.move(this.idle[0]!, 'used') // since before that was set
    if (!this.isPaused) {
      const server = this.waiting.size === 0 ? this.takeIdle() : null
      if (server !== null) return this.grant(borrower, server, borrower.waitingSince)
      const refusal = this.launcher.refusalOf(borrower)
      if (refusal !== undefined) {
        borrower.refused(refusal)
        return false
      }
    }
    this.waiting.add(borrower)
    this.demand()
    return false
  }

  /** Waits for the first server of the pool, for its parameters; fails at once where connecting has been failing. */
  awaitParameters(arriving: Arriving): void {
    const { refusal } = this.launcher
    if (refusal !== undefined) return arriving.refused(refusal)
    this.arriving.add(arriving)
    this.demand()
  }

  private takeIdle(): ServerSession | null {
    while (this.idle.length > 0) {
      const server = this.context.config.settings.server_round_robin ? this.idle[0]! : this.idle[this.idle.length - 1]!
      if (!server.closeNeeded) return server
      server.closeRetired()
    }
    return null
  }

  /** A free server for a question of the pooler's own, given back by `serve`; null where there is none, or somebody waits. */
  lend(): ServerSession | null {
    if (this.isPaused || this.isReplication || this.waiting.size > 0) return null
    const server = this.takeIdle() ?? this.used.values().next().value
    if (server === undefined) return null
    this.move(server, 'tested')
    return server
  }

  /** Returns whether the borrower may use the server at once; else it is being aligned, and `granted` comes later. */
  private grant(borrower: Borrower, server: ServerSession, now: number): boolean {
    this.move(server, 'active')
    const { counters } = this
    const waited = now - borrower.waitingSince
    counters.serverAssignments++
    counters.waitTime += 1000 * waited
    counters.waitTimes.observe(waited)
    const lease = new Lease(this, server, borrower)
    if (borrower.wants !== null && !align(this, lease, borrower.wants)) return false
    lease.hold(now)
    return true
  }

  /** Each use of a server is preceded by a check. */
  private get checksEach(): boolean {
    const { server_check_delay: delay, server_check_query: query } = this.context.config.settings
    return delay === 0 && query !== '' && !this.isReplication
  }

  /** A server has been used, and is clean: it is free, or to be checked first. */
  putBack(server: ServerSession, now: number = this.context.clock.now()): void {
    if (!this.checksEach || server.closeNeeded || this.isPaused) return this.serve(server, now)
    server.idleSince = now
    this.move(server, 'used')
    this.demand()
    if (this.used.has(server)) this.owner.onServerIdle()
  }

  /** A server is free: the first in the queue gets it, or it becomes idle. */
  serve(server: ServerSession, now: number = this.context.clock.now()): void {
    if (server.state !== 'active' && server.state !== 'tested') return
    if (this.isPaused) server.retire('pause')
    if (server.closeNeeded) {
      server.closeRetired()
      this.demand()
      return
    }
    server.idleSince = now
    this.move(server, 'idle')
    this.serveWaiting()
    if (this.idle[this.idle.length - 1] !== server) return // somebody has it
    if (this.checksEach) this.move(server, 'used')
    this.owner.onServerIdle()
  }

  /** Gives idle servers to those who wait, in order. */
  serveWaiting(): void {
    while (this.waiting.size > 0 && !this.isPaused) {
      const server = this.takeIdle()
      if (server === null) {
        this.demand()
        return
      }
      const next: Borrower = this.waiting.values().next().value!
      this.waiting.delete(next)
      if (this.grant(next, server, this.context.clock.now())) next.resume()
    }
  }

  makeRoom(mayEvict: boolean): boolean {
    return this.owner.makeRoom(this, mayEvict)
  }

  connect(): void {
    this.owner.connect(this)
  }

  mayRunAgain(server: ServerSession, client: RefusedClient): boolean | 'later' {
    return this.owner.mayRunAgain(server, client)
  }

  cancel(server: ServerSession): void {
    this.owner.cancel(server)
  }

  check(server: ServerSession): void {
    this.recycler.check(server)
  }

  /** Starts what is needed for those who wait. */
  demand(): void {
    this.launcher.demand()
  }

  /** Since when nobody has used it: see `emptySince`. */
  noteEmpty(): void {
    const isUsed = this.counted > 0 || this.clients.size > 0 || this.waiting.size > 0
    if (isUsed) this.emptySince = Number.POSITIVE_INFINITY
    else if (this.emptySince === Number.POSITIVE_INFINITY) this.emptySince = this.context.clock.now()
  }

  /**
   * Returns whether it is time to close a server for its age (`server_lifetime`): then the caller must. Closes are spaced, so
   * that a pool is not renewed all at once.
   */
  expire(server: ServerSession, now: number = this.context.clock.now()): boolean {
    const lifetime = this.limits.serverLifetime
    if (now - server.connectedAt < lifetime) return false
    if (now - this.lastLifetimeClose < lifetime / this.limits.poolSize) return false
    this.lastLifetimeClose = now
    return true
  }

  /** A new server has logged in. */
  onConnected(server: ServerSession): void {
    this.launcher.succeeded()
    this.counters.connectTimes.observe(this.context.clock.now() - server.connectedAt)
    this.usual.learnFrom(server)
    this.move(server, 'tested')
    const arrived = [...this.arriving]
    this.arriving.clear()
    this.serve(server)
    for (const client of arrived) client.known()
  }

  /** Nobody has the server any more, and it owes nothing. */
  takeBack(server: ServerSession, now: number = this.context.clock.now()): void {
    if (server.state === 'closed') return this.demand() // whoever had it closed it
    if (server.cancels > 0) return // the last CancelRequest has it taken back
    this.recycler.recycle(server, now)
  }

  /** The last CancelRequest for the server has been delivered. */
  onCancelled(server: ServerSession): void {
    // One that owes something is taken back when it has answered.
    if (server.state === 'active' && server.holder === null && server.relay?.owed.length === 0)
      this.recycler.recycle(server)
  }

  onParameter(server: ServerSession, name: string, value: string, isChecked: boolean): void {
    if (name === ofTheServer && server.roleHost !== undefined) this.context.topology.suspect(server.roleHost)
    this.usual.learn(server, name, value, isChecked)
  }

  onServerClosing(server: ServerSession, reason: ServerCloseReason): void {
    this.counters.serverCloses.add(reason)
    this.move(server, 'closed')
  }

  onServerLost(server: ServerSession, reason: ServerCloseReason): void {
    if (server.roleHost !== undefined && reason === 'server_crashed') this.context.topology.suspect(server.roleHost)
    if (server.holder === null) server.close(reason)
    else server.holder.lost(reason)
    this.demand()
  }
}
