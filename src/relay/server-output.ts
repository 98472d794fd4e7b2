// hot path
// What a server says, on its way to whom it is owed: passed on, left out or put in. A slow client stops the server.

import { Cutter } from '../io/cutter.js'
import type { Socket } from '../io/socket.js'
import { Frames } from '../protocol/framing.js'
import type { ClientRelay } from './client-relay.js'
import { ExchangeQueue } from './exchange.js'
import type { Note } from './notes.js'
import type { ServerRelay } from './server-relay.js'

export abstract class ServerOutput {
  readonly socket: Socket
  readonly owed: ExchangeQueue<ClientRelay, Note> = new ExchangeQueue<ClientRelay, Note>()
  /** The client that has this server, or null. */
  client: ClientRelay | null = null
  protected readonly frames: Frames = new Frames(0x7fffffff)
  protected readonly cutter: Cutter = new Cutter()

  constructor(socket: Socket) {
    this.socket = socket
  }

  /** Whose the bytes at hand are: the head's owner, or outside of any exchange the client that has this server. */
  protected recipient(): ClientRelay | null {
    return this.owed.length === 0 ? this.client : this.owed.owner
  }

  /** The message at `at` goes to nobody. */
  protected drop(at: number): void {
    const owner = this.recipient()
    if (!this.cutter.drop(owner === null ? null : owner.socket, at, this.frames.end)) this.waitFor(owner!)
  }

  /** What begins at `at` is looked at when `wanted` bytes of it are there. */
  protected hold(at: number, wanted: number): void {
    this.send(at)
    this.frames.hold(this.cutter.chunk, at, wanted)
  }

  protected collect(to: number): void {
    const owner = this.recipient()
    if (!this.cutter.collect(owner === null ? null : owner.socket, to)) this.waitFor(owner!)
  }

  protected add(bytes: Buffer): void {
    const owner = this.recipient()
    if (!this.cutter.add(owner === null ? null : owner.socket, bytes)) this.waitFor(owner!)
  }

  protected send(to: number): void {
    const owner = this.recipient()
    if (!this.cutter.send(owner === null ? null : owner.socket, to)) this.waitFor(owner!)
  }

  private waitFor(slow: ClientRelay): void {
    this.socket.pause()
    slow.blockedServer = this as unknown as ServerRelay
  }
}
