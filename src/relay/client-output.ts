// hot path
// What a client sends, on its way to its server: passed on, left out, or kept until there is somebody to take it.

import type { Socket } from '../io/socket.js'
import { Backlog } from './backlog.js'
import type { BlockedSource, ServerSide } from './pair.js'
import { Passage } from './passage.js'

export abstract class ClientOutput extends Passage implements BlockedSource {
  readonly socket: Socket
  server: ServerSide | null = null
  protected readonly backlog: Backlog = new Backlog()
  /** The message at hand goes to nobody, and neither does what is still to come of it. */
  protected dropsRest = false

  /** @param maxPacketSize of a message with its length word, bytes (`max_packet_size`) */
  constructor(socket: Socket, maxPacketSize: number) {
    super(maxPacketSize)
    this.socket = socket
  }

  /** The server has been sent whole messages only. */
  get isBetweenMessages(): boolean {
    return this.frames.bodyLeft === 0
  }

  /** The chunk waits from `at` on. */
  protected keep(chunk: Buffer, at: number): void {
    if (at >= chunk.length) return
    this.backlog.add(chunk, at)
    if (this.backlog.isFull) this.socket.pause()
  }

  /** The message at `at` goes to nobody. */
  protected skip(at: number): void {
    this.dropsRest = true
    this.drop(at)
  }

  /** What comes before `to` is set aside to be sent to the server. */
  collect(to: number): void {
    const { server } = this
    if (!this.cutter.collect(server === null ? null : server.socket, to)) this.block(server!)
  }

  /** And these bytes behind it. */
  add(bytes: Buffer): void {
    const { server } = this
    if (!this.cutter.add(server === null ? null : server.socket, bytes)) this.block(server!)
  }

  /** What comes before `to` goes on its way. */
  protected send(to: number): void {
    const { server } = this
    if (!this.cutter.send(server === null ? null : server.socket, to)) this.block(server!)
  }

  private drop(at: number): void {
    const { server } = this
    if (!this.cutter.drop(server === null ? null : server.socket, at, this.frames.end)) this.block(server!)
  }

  /** The server does not take more for now. */
  private block(slow: ServerSide): void {
    this.socket.pause()
    // Late COPY data of a client that has no part in this server any more.
    if (slow.blockedSource !== null && slow.blockedSource !== this) slow.blockedSource.onServerDrain()
    slow.blockedSource = this
  }

  abstract onServerDrain(): void

  protected isBlockedBy(server: ServerSide): boolean {
    return server.blockedSource === this
  }
}
