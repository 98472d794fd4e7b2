// One client, from its first packet to its end: who it is, and in which of its phases.

import type { Cancellable } from '../cancel/cancel.js'
import type { Socket } from '../io/socket.js'
import type { CloseCounts } from '../observe/close-counts.js'
import type { LogPeer } from '../observe/log.js'
import * as logTexts from '../observe/log-texts.js'
import { clientCloses, type TracedClient } from '../observe/trace.js'
import * as backend from '../protocol/backend.js'
import type { PgError } from '../protocol/errors.js'
import { ParameterSet } from '../relay/parameters.js'
import { type Context, pointer } from '../server/context.js'
import type { ServerSession } from '../server/server-session.js'
import type { Arrival } from './arrivals.js'
import { type ClientCloseReason, clientCloseText } from './close-reason.js'
import type { ClientStartup } from './startup-parameters.js'

/** What is done with a client: it is let in (`ClientEntry`), served by a pool (`PooledClient`), or by the console. */
export interface ClientPhase {
  readonly name: 'login' | 'pool' | 'console'
  readonly socket: Socket
  /** It is amid what a server has said, so that no error of ours may stand there. */
  readonly isSpokenTo: boolean
  /** What a CancelRequest of this client should stop. */
  cancelTarget(): ServerSession | 'waiting' | 'console' | undefined
  /** Ends what the client waits for with an ERROR; the client stays. */
  cancelWaiting(): void
  /** The client leaves, or is sent away: what it has is given back. Its socket is closed behind it. */
  end(reason: ClientCloseReason): void
  /** Where its end is counted; undefined: with those that no pool has. */
  readonly closes: CloseCounts | undefined
}

export class ClientSession implements Cancellable, LogPeer {
  readonly id: number
  /** Null: it has been closed. */
  phase: ClientPhase | null = null
  database = '(nodb)'
  user = '(nouser)'
  /** Where it is connected from and to, and how that is protected. */
  origin: Arrival
  replication: ClientStartup['replication'] = 'none'
  /** PID and secret for CancelRequest. */
  cancelKey: Buffer = Buffer.alloc(8)
  /** Protocol version, 3.minor. */
  minor = 0
  readonly parameters: ParameterSet
  /** ms on the clock */
  readonly connectedAt: number
  readonly connectedDate: Date
  private readonly context: Context
  private readonly onClosed: (client: ClientSession) => void

  /** @param onClosed called once, when it has no phase any more */
  constructor(context: Context, origin: Arrival, onClosed: (client: ClientSession) => void) {
    this.id = context.nextId++
    this.context = context
    this.origin = origin
    this.onClosed = onClosed
    this.parameters = new ParameterSet(context.tracked)
    this.connectedAt = context.clock.now()
    this.connectedDate = context.clock.date()
  }

  get ptr(): string {
    return pointer(this.id)
  }

  get address(): string {
    return this.origin.description
  }

  get logPrefix(): string {
    return `C-${this.ptr}: ${this.database}/${this.user}@${this.address}`
  }

  /** What is told of it to whoever traces. */
  get traced(): TracedClient {
    const { ptr, address, database, user, parameters } = this
    return { client: ptr, address, database, user, applicationName: parameters.get('application_name') ?? '' }
  }

  get isConsole(): boolean {
    return this.phase?.name === 'console'
  }

  cancelTarget(): ServerSession | 'waiting' | 'console' | undefined {
    return this.phase?.cancelTarget()
  }

  cancelWaiting(): void {
    this.phase?.cancelWaiting()
  }

  /**
   * Tells the client what is wrong and closes it.
   * @param isTold it has had the server's own last words, which no others may follow
   */
  fail(error: PgError, isTold: boolean = this.phase?.isSpokenTo === true): void {
    if (this.phase === null) return
    const { log, config } = this.context
    if (!isTold) this.phase.socket.write(backend.errorResponse(error))
    this.close(error.condition, error.message)
    if (config.settings.log_pooler_errors) log.warning(logTexts.poolerError(error.message), this)
  }

  /**
   * Ends the session.
   * @param text for the log; empty: it is not logged
   */
  close(reason: ClientCloseReason, text: string = clientCloseText(reason)): void {
    const { phase } = this
    if (phase === null) return
    this.phase = null
    const { log, config, clock, closes } = this.context
    const counts = phase.closes ?? closes
    counts.add(reason)
    if (text !== '' && config.settings.log_disconnections) {
      log.info(logTexts.closing(text, clock.now() - this.connectedAt), this)
    }
    phase.end(reason)
    phase.socket.end()
    this.onClosed(this)
    if (clientCloses.hasSubscribers) {
      clientCloses.publish({ ...this.traced, reason, ageMs: clock.now() - this.connectedAt })
    }
  }

  /** What came is not a client, but a CancelRequest: its connection is left as it is. */
  dismiss(): void {
    this.phase = null
    this.onClosed(this)
  }
}
