// hot path
// A chunk on its way to a socket: passed on whole where nothing is to change, in pieces where something is left out or put in.

import { gather } from './gather.js'
import type { Socket } from './socket.js'

const nothing = Buffer.alloc(0)

/** Every method that sends returns false where the socket is blocked now; a null socket swallows. */
export class Cutter {
  /** The chunk in hand. */
  chunk: Buffer = nothing
  /** By which chunks are told apart: reads of one size come in the very same Buffer. */
  number = 0
  /** What of it comes before this has been dealt with. */
  from = 0
  // As far as one was looked for; -1: there is none any more.
  private semicolon = 0

  begin(chunk: Buffer): void {
    this.chunk = chunk
    this.number++
    this.semicolon = 0
    this.from = 0
  }

  /**
   * Where the next semicolon of the chunk stands, -1 where there is none: looked for once for all the messages in it.
   * @param start of the text of a message; that of the next one is never before it
   */
  nextSemicolon(start: number): number {
    if (this.semicolon >= 0 && this.semicolon < start) this.semicolon = this.chunk.indexOf(0x3b, start)
    return this.semicolon
  }

  /** Puts what has not been passed on, up to `to`, aside for the next `send`. */
  collect(socket: Socket | null, to: number): boolean {
    const from = this.from
    if (to <= from) return true
    this.from = to
    return socket === null || gather.add(socket, this.chunk.subarray(from, to))
  }

  /** Puts bytes of ours behind it. */
  add(socket: Socket | null, bytes: Buffer): boolean {
    return socket === null || gather.add(socket, bytes)
  }

  /** The chunk goes on at `end`; what lies between, nobody gets. */
  drop(socket: Socket | null, at: number, end: number): boolean {
    const free = this.collect(socket, at)
    this.from = end
    return free
  }

  /** Passes on all that comes before `to`. */
  send(socket: Socket | null, to: number): boolean {
    const end = to < this.chunk.length ? to : this.chunk.length
    const from = this.from
    if (end > from) this.from = end
    return socket === null || gather.send(socket, this.chunk, from, end)
  }
}
