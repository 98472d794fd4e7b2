// A server lent to somebody: the one place that links the two, and parts them again.

import type { LogPeer } from '../observe/log.js'
import type { PgError } from '../protocol/errors.js'
import type { ClientRelay } from '../relay/client-relay.js'
import type { ParameterSet } from '../relay/parameters.js'
import type { ServerCloseReason } from '../server/close-reason.js'
import type { Context } from '../server/context.js'
import type { Holder, ServerSession } from '../server/server-session.js'
import type { SettingSet } from '../session-state/settings.js'
import type { UsualParameters } from './usual-parameters.js'

/** What a borrower's servers are to have, before it uses them. */
export interface Wants {
  readonly who: LogPeer
  readonly parameters: ParameterSet
  readonly settings: SettingSet
  /** Some of its parameters are other than they were. */
  tell(changed: readonly (readonly [name: string, value: string])[]): void
}

/** Whoever waits for a server of a pool, and has it for a time: a client, or a query of the pooler's own. */
export interface Borrower extends Pick<Holder, 'ptr' | 'requestSince' | 'fail'> {
  /** Since when it waits, ms on the clock. */
  waitingSince: number
  /** What it has been lent; written by the Lease alone. */
  lease: Lease | null
  /** Null: it takes servers as they are. */
  readonly wants: Wants | null
  /** Is told of any failed attempt to connect, and does not wait for the next one. */
  readonly isImpatient: boolean
  /** What is sent to the server, and is owed its answers; undefined for a query of the pooler's own. */
  readonly relay: ClientRelay | undefined
  /** The server may be used from now on. */
  granted(lease: Lease, now: number): void
  /** Goes on with what it has to send. Called behind `granted`, where that comes later than `acquire`. */
  resume(): void
  /** There will be no server. */
  refused(error: PgError): void
  /** Returns whether it goes on without this server, which is lost, and which it still has. */
  mayOutlive(server: ServerSession): boolean
  /** That server is closed: it is told what is left of what it was owed. */
  outlive(server: ServerSession): void
  /**
   * The server is gone, in the middle of whatever it was doing.
   * @param isTold it has taken leave itself, or was cut off amid a message
   */
  serverLost(server: ServerSession, isTold: boolean): void
  /**
   * It has left its server, which may hold what belongs to its session.
   * @returns whether the server is still being asked about that; it is taken back when it has answered
   */
  leaves(server: ServerSession): boolean
}

/** A client of a pool, whether it wants a server or not. */
export interface Member {
  readonly isWaiting: boolean
  /** It has been welcomed. */
  readonly isReady: boolean
  /** Is told what is wrong, and closed. */
  fail(error: PgError): void
  /** The settings may have changed. */
  renewTerms(): void
}

/** A pool, as far as it lends servers. */
export interface Lender {
  readonly context: Context
  /** What servers have that nobody has given anything else. */
  readonly usual: UsualParameters
  readonly isReplication: boolean
  acquire(borrower: Borrower): boolean
  /** Nobody has the server any more, and it owes nothing. */
  takeBack(server: ServerSession, now?: number): void
  move(server: ServerSession, to: 'tested'): void
  /** Stops what a server is doing for a client that has left. */
  cancel(server: ServerSession): void
  demand(): void
}

export class Lease implements Holder {
  readonly server: ServerSession
  readonly borrower: Borrower
  /** `aligning`: the server is being given what the borrower wants, and is not to be used yet. */
  state: 'aligning' | 'held' | 'released' = 'aligning'
  private readonly pool: Lender

  /** The borrower has the server from now on, but may not use it before `hold`. */
  constructor(pool: Lender, server: ServerSession, borrower: Borrower) {
    this.pool = pool
    this.server = server
    this.borrower = borrower
    server.holder = this
    borrower.lease = this
  }

  get ptr(): string {
    return this.borrower.ptr
  }

  get requestSince(): number {
    return this.borrower.requestSince
  }

  fail(error: PgError): void {
    this.borrower.fail(error)
  }

  /** The server is as the borrower wants it. */
  hold(now: number): void {
    this.state = 'held'
    this.borrower.relay?.link(this.server.relay!)
    this.borrower.granted(this, now)
  }

  /** The borrower is done with the server, which owes nothing. */
  release(now?: number): void {
    this.end()
    this.pool.takeBack(this.server, now)
  }

  /** The borrower leaves in whatever state: mid-query, mid-message, mid-transaction. */
  abandon(): void {
    const { server, borrower, pool, state } = this
    const { relay } = borrower
    const isWhole = relay === undefined || relay.sentWhole
    if (relay !== undefined) server.relay!.owed.forget(relay)
    this.end()
    if (pool.isReplication) return // it ends with the pool, which is this client's alone
    if (state === 'aligning') return pool.move(server, 'tested') // taken back when its SETs are answered
    if (borrower.leaves(server) && isWhole) return
    if (isWhole && server.relay!.isQuiet) return pool.takeBack(server)
    pool.cancel(server)
    server.close('client_disconnect')
    pool.demand()
  }

  /** The server is gone, and is closed. Who had not begun to use it has another. */
  lost(reason: ServerCloseReason): void {
    const { server, borrower, pool, state } = this
    const isTold = borrower.relay !== undefined && server.relay!.hadLastWord(borrower.relay) // while they are linked
    // Of one that broke the protocol it is not known whose answers were passed on.
    const outlives = state === 'held' && reason !== 'out_of_sync' && borrower.mayOutlive(server)
    this.end()
    if (state === 'held' && !outlives) borrower.serverLost(server, isTold)
    server.close(reason)
    if (outlives) borrower.outlive(server)
    if (outlives || (state === 'aligning' && pool.acquire(borrower))) borrower.resume()
  }

  /** The server can't be given what the borrower wants. */
  refuse(error: PgError): void {
    this.end()
    this.borrower.refused(error)
  }

  private end(): void {
    this.borrower.relay?.unlink()
    this.borrower.lease = null
    this.server.holder = null
    this.state = 'released'
  }
}
