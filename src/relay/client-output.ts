// hot path
// What a client sends, on its way to its server: passed on, left out, or kept until there is somebody to take it.

import { Cutter } from '../io/cutter.js'
import type { Socket } from '../io/socket.js'
import { Frames } from '../protocol/framing.js'
import { Backlog } from './backlog.js'
import type { ClientRelay } from './client-relay.js'
import type { ServerRelay } from './server-relay.js'

export abstract class ClientOutput {
  readonly socket: Socket
  server: ServerRelay | null = null
  protected readonly frames: Frames
  protected readonly cutter: Cutter = new Cutter()
  protected readonly backlog: Backlog = new Backlog()
  /** The message at hand goes to nobody, and neither does what is still to come of it. */
  protected dropsRest = false

  /** @param maxPacketSize of a message with its length word, bytes (`max_packet_size`) */
  constructor(socket: Socket, maxPacketSize: number) {
    this.socket = socket
    this.frames = new Frames(maxPacketSize)
  }

  /** Has the server been sent whole messages only? */
  get isBetweenMessages(): boolean {
    return this.frames.bodyLeft === 0
  }

  /** The chunk waits from `at` on. */
  protected keep(chunk: Buffer, at: number): void {
    if (at >= chunk.length) return
    this.backlog.add(chunk, at)
    if (this.backlog.isFull) this.socket.pause()
  }

  /** What begins at `at` is looked at when `wanted` bytes of it are there. */
  protected hold(at: number, wanted: number): void {
    this.send(at)
    this.frames.hold(this.cutter.chunk, at, wanted)
  }

  /** The message at `at` goes to nobody. */
  protected skip(at: number): void {
    const server = this.server
    this.dropsRest = true
    if (!this.cutter.drop(server === null ? null : server.socket, at, this.frames.end)) this.waitFor(server!)
  }

  protected send(to: number): void {
    const server = this.server
    if (!this.cutter.send(server === null ? null : server.socket, to)) this.waitFor(server!)
  }

  /** The server does not take more for now. */
  waitFor(slow: ServerRelay): void {
    const self = this as unknown as ClientRelay
    this.socket.pause()
    // Late COPY data of a client that has no part in this server any more.
    if (slow.blockedSource !== null && slow.blockedSource !== self) slow.blockedSource.onServerDrain()
    slow.blockedSource = self
  }

  protected isBlockedBy(server: ServerRelay): boolean {
    return server.blockedSource === (this as unknown as ClientRelay)
  }
}
