// Something a client can talk to that is not a pool: the admin console, seen from here.

import type { Socket, SocketOwner } from '../io/socket.js'
import type { CloseCounts } from '../observe/close-counts.js'
import type { LogPeer } from '../observe/log.js'
import type { PoolCounters } from '../observe/pool-counters.js'
import { Cut, Frames, Message } from '../protocol/framing.js'
import { Execute, Query, Terminate } from '../protocol/frontend.js'
import type { ClientPhase } from './client-session.js'
import type { ClientCloseReason } from './close-reason.js'

export type ConsoleRole = 'admin' | 'stats'

/** Takes whole messages and answers through what it was made with; nothing here throws. */
export interface Destination {
  /** `body` is a view, valid during the call. */
  receive(code: number, body: Buffer): void
  /** What was written has gone out. */
  drained(): void
  /** The client's CancelRequest. */
  cancel(): void
  /** The client has gone. */
  close(): void
}

/** Opens the console for a client that has logged in to it. */
export type OpenDestination = (role: ConsoleRole, client: ConsoleClient, who: LogPeer) => Destination

/** The console, for clients that ask for it. */
export interface ConsoleHost {
  readonly open: OpenDestination
  /** What it welcomes its clients with. */
  readonly parameters: ReadonlyMap<string, string>
  /** What its clients did. */
  readonly counters: PoolCounters
}

/** What a Destination may do with its client. */
export interface ConsoleClient {
  /** False: not all has gone out, `drained` will come. */
  write(bytes: Buffer): boolean
  pause(): void
  resume(): void
  end(): void
}

const nothing = Buffer.alloc(0)

/** Longest message to the console, bytes. */
const longestMessage = 1024 * 1024

/** Cuts a client's bytes into messages for a Destination. */
export class DestinationRelay implements SocketOwner, ClientPhase {
  readonly name = 'console'
  readonly isSpokenTo = false
  readonly socket: Socket
  private readonly frames = new Frames(longestMessage)
  private readonly destination: Destination
  private readonly counters: PoolCounters
  private readonly onClosed: (reason: ClientCloseReason) => void
  private closed = false

  constructor(
    socket: Socket,
    counters: PoolCounters,
    open: (client: ConsoleClient) => Destination,
    onClosed: (reason: ClientCloseReason) => void,
  ) {
    this.socket = socket
    this.counters = counters
    this.onClosed = onClosed
    this.destination = open({
      write: (bytes) => socket.write(bytes),
      pause: () => socket.pause(),
      resume: () => socket.resume(),
      end: () => this.end('client_close_request'),
    })
    socket.owner = this
    socket.outlastPeer()
  }

  onBytes(incoming: Buffer): void {
    const chunk = this.frames.join(incoming)
    if (chunk === null) return
    let at = 0
    while (at < chunk.length && !this.closed) {
      const found = this.frames.next(chunk, at)
      if (found === Cut || (found === Message && this.frames.end > chunk.length)) {
        this.frames.hold(chunk, at, found === Cut ? 5 : this.frames.end - at)
        return
      }
      if (found !== Message) return this.end('malformed_message')
      if (this.frames.code === Query || this.frames.code === Execute) {
        this.counters.queries++
        this.counters.xacts++ // as in pgbouncer, a command is a transaction
      }
      this.destination.receive(this.frames.code, chunk.subarray(at + 5, this.frames.end))
      at = this.frames.end
    }
  }

  onDrain(): void {
    this.destination.drained()
  }

  /** What it said before is answered first, as with Terminate. */
  onHalfClosed(): void {
    this.destination.receive(Terminate, nothing)
  }

  onGone(): void {
    this.finish('client_unexpected_eof')
  }

  cancelTarget(): 'console' {
    return 'console'
  }

  cancelWaiting(): void {
    this.destination.cancel()
  }

  get closes(): CloseCounts {
    return this.counters.clientCloses
  }

  /** Closes from our side. */
  end(reason: ClientCloseReason): void {
    if (this.closed) return
    this.finish(reason)
    this.socket.end()
  }

  private finish(reason: ClientCloseReason): void {
    if (this.closed) return
    this.closed = true
    this.destination.close()
    this.onClosed(reason)
  }
}
