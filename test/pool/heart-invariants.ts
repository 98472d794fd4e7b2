// What has to hold of the heart, whatever is done with it: who has what is the same from both ends, and what is counted is there.

import { inspect } from 'node:util'
import { ClientEntry } from '../../src/client/entry.js'
import { PooledClient } from '../../src/client/pooled-client.js'
import type { Seat } from '../../src/client/seat.js'
import type { User } from '../../src/pool/database.js'
import type { Lease } from '../../src/pool/lease.js'
import type { Pool } from '../../src/pool/pool.js'
import type { PoolQuery } from '../../src/pool/pool-query.js'
import { Dues } from '../../src/relay/outstanding.js'
import type { ServerSession } from '../../src/server/server-session.js'
import type { ServerState } from '../../src/server/server-states.js'
import type { Heart, HeartClient } from '../harness/heart.js'
import type { RigServer } from '../relay/relay-rig.js'

export class HeartInvariants {
  readonly heart: Heart
  /** Whoever has come, and may have gone. */
  protected readonly entered: HeartClient[] = []
  protected readonly queries: PoolQuery[] = []
  /** The beginning of a message that has yet to come. */
  protected readonly unread = new Map<HeartClient, Buffer>()

  constructor(heart: Heart) {
    this.heart = heart
  }

  protected get open(): HeartClient[] {
    return this.entered.filter(({ isOpen }) => isOpen)
  }

  protected get up(): RigServer[] {
    return this.heart.servers.filter(({ session }) => session.state !== 'closed')
  }

  protected get pools(): Pool[] {
    return [...this.heart.registry.pools()]
  }

  /** After each step. */
  check(): void {
    for (const pool of this.pools) this.checkLists(pool)
    for (const server of this.heart.servers) this.checkServer(server)
    for (const { session } of this.entered) {
      if (session.phase instanceof PooledClient) checkClient(session.phase)
    }
    this.checkCounts()
    this.checkAnswers()
  }

  private checkLists(pool: Pool): void {
    const where = `${pool.database.name}/${pool.user.name}`
    const lists: [ServerState, Iterable<ServerSession>][] = [
      ['idle', pool.idle],
      ['connecting', pool.connecting],
      ['used', pool.used],
      ['tested', pool.tested],
      ['active', pool.active],
    ]
    const seen = new Set<ServerSession>()
    for (const [state, servers] of lists) {
      for (const server of servers) {
        same(`the state and pool of a server in ${state} of ${where}`, [server.state, server.pool], [state, pool])
        same(`in two lists of ${where}`, seen.has(server), false)
        seen.add(server)
      }
    }
    const all = this.up.filter(({ session }) => session.pool === pool)
    for (const { session } of all) same(`a server in ${where}`, seen.has(session), true)
    same(`sizes of ${where}`, [pool.size, seen.size], [all.length, all.length])
    for (const [place, server] of [...pool.active].entries()) same(`a place in ${where}`, server.place, place)
    if (!pool.isPaused && pool.waiting.size > 0) same(`idle while others wait in ${where}`, pool.idle.length, 0)
    for (const borrower of pool.waiting) {
      same(`the lease of who waits in ${where}`, borrower.lease, null)
      if (!(borrower instanceof PooledClient)) continue
      const isOpen = [...this.heart.clients].some(({ phase }) => phase === borrower)
      same(`who waits in ${where}`, [isOpen, borrower.pool], [true, pool])
    }
  }

  private checkServer({ session, relay, socket }: RigServer): void {
    const { holder, state } = session
    if (holder !== null) {
      const lease = holder as Lease
      const { borrower } = lease
      same('the two ends of a lease', [borrower.lease, lease.server], [lease, session])
      same('a lease that is over', lease.state === 'released', false)
      // A query of the pooler's own hears of the end from its answer.
      same('the state of who is lent', state === 'active' || borrower.relay === undefined, true)
      if (relay.client !== null) same('the relay of the borrower', borrower.relay, relay.client)
    }
    if (holder === null || state === 'closed') same('the client of who is not lent', relay.client, null)
    if (state === 'closed') return same('the socket of a server that is closed', socket.ended, true)
    if (state === 'active' && holder === null) {
      same("nobody's, but neither asked nor cancelled", session.cancels > 0 || relay.owed.length > 0, true)
    }
    if (state === 'idle' || state === 'used') same('owed while idle', relay.owed.length, 0)
    this.checkDues(relay.owed, [relay.owed.own, (holder as Lease | null)?.borrower.relay?.dues])
  }

  /** `others`: who may be owed nothing. */
  private checkDues(owed: RigServer['relay']['owed'], others: readonly (Dues | undefined)[]): void {
    const counts = new Map<Dues, Dues>()
    for (const dues of others) if (dues !== undefined) counts.set(dues, new Dues())
    const { accounts, first, mask } = owed as unknown as { accounts: Dues[]; first: number; mask: number }
    for (let i = 0; i < owed.length; i++) {
      const account = accounts[(first + i) & mask]!
      const count = counts.get(account) ?? new Dues()
      count.count(owed.kindAt(i), 1)
      counts.set(account, count)
    }
    for (const [account, count] of counts) same('dues', Object.values(account), Object.values(count))
  }

  private checkCounts(): void {
    const { registry, clients } = this.heart
    const phases = this.open.map(({ session }) => session.phase)
    const seated = phases.filter((phase) => phase instanceof PooledClient || phase instanceof ClientEntry)
    const seats = seated.flatMap(({ seat }) => seat ?? [])
    const sum = (of: (pool: Pool) => number): number => this.pools.reduce((total, pool) => total + of(pool), 0)
    same('clients', clients.size, phases.length)
    same(
      'clients of all pools',
      sum((pool) => pool.clients.size),
      seats.length,
    )
    for (const phase of seated) {
      if (phase.seat !== undefined) same('a client of its pool', phase.seat.pool.clients.has(phase), true)
    }
    for (const database of registry.databases) {
      const isOf = (seat: Seat): boolean => enteredOf(seat).database === database
      const isFor = ({ session }: RigServer): boolean => session.pool.database === database
      same(`clients of ${database.name}`, database.clients, seats.filter(isOf).length)
      same(`servers of ${database.name}`, database.servers, this.up.filter(isFor).length)
    }
    for (const user of registry.databases.users.values()) {
      const isOf = (seat: Seat): boolean => enteredOf(seat).user === user
      const isFor = ({ session }: RigServer): boolean => session.pool.user === user
      same(`clients of ${user.name}`, user.clients, seats.filter(isOf).length)
      same(`servers of ${user.name}`, user.servers, this.up.filter(isFor).length)
    }
    const isArriving = (phase: unknown): boolean =>
      phase instanceof ClientEntry && phase.seat?.pool.usual.isKnown === false
    same(
      'clients that arrive',
      sum((pool) => pool.arriving.size),
      phases.filter(isArriving).length,
    )
  }

  /** Rows name whom they are for, and nothing stands amid a message. */
  private checkAnswers(): void {
    for (const [index, client] of this.entered.entries()) {
      if (client.socket.writes.length === 0) continue
      const bytes = Buffer.concat([this.unread.get(client) ?? Buffer.alloc(0), client.socket.taken()])
      let at = 0
      for (let end = 0; at + 5 <= bytes.length; at = end) {
        end = at + 1 + bytes.readInt32BE(at + 1)
        if (end > bytes.length) break
        const [code, body] = [bytes.toString('latin1', at, at + 1), bytes.toString('latin1', at + 5, end)]
        same(`${code} for c${index} is known`, 'RSKZTDCEINGHdcA123nstV'.includes(code), true)
        if (code === 'A') same('a notification', body.endsWith('channel\0payload\0'), true)
        for (const [tag] of body.matchAll(/\b(?:c\d+|own) \d+\b/g)) same('whose row', tag.split(' ')[0], `c${index}`)
      }
      const rest = bytes.subarray(at)
      same('an error amid a message', rest.includes('FATAL\0'), false)
      this.unread.set(client, rest)
    }
  }

  /** All that was lent is back. */
  checkEnd(): void {
    const { registry, clients, context } = this.heart
    this.check()
    same('clients', clients.size, 0)
    same('queries', this.queries.filter(({ lease }) => lease !== null).length, 0)
    for (const pool of this.pools) {
      const { waiting, arriving, active, tested, connecting, database, user } = pool
      const left = { waiting, arriving, clients: pool.clients, active, tested, connecting }
      for (const [name, list] of Object.entries(left)) same(`${name} of ${database.name}/${user.name}`, list.size, 0)
      for (const server of pool.servers()) server.close('pause')
    }
    same('servers', this.up.length, 0)
    same('statements', [context.statements.count, context.statements.bytes], [0, 0])
    same('cancel keys', (registry.cancels as unknown as { byKey: Map<string, unknown> }).byKey.size, 0)
  }
}

function checkClient(client: PooledClient): void {
  const { lease, relay, isWaiting } = client
  if (lease === null) return same('what a client without a server has', [relay.server, relay.dues.length], [null, 0])
  same('a client with a server', [isWaiting, lease.borrower, lease.server.holder], [false, client, lease])
  const isHeld = lease.state === 'held'
  same('linked', [relay.server === lease.server.relay, lease.server.relay?.client === relay], [isHeld, isHeld])
}

const enteredOf = (seat: Seat): { database: unknown; user: User } =>
  (seat as unknown as { entered: { database: unknown; user: User } }).entered

/** As `expect`, for what is looked at a million times. */
function same(what: string, found: unknown, wanted: unknown): void {
  if (found === wanted) return
  if (Array.isArray(found) && Array.isArray(wanted) && found.every((one, at) => one === wanted[at])) return
  throw new Error(`${what}: ${inspect(found, { depth: 0 })}, not ${inspect(wanted, { depth: 0 })}`)
}
