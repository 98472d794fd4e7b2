// hot path
// The one statement that a client has sent, behind nothing or a plain BEGIN, kept for the case that it is not carried out.

import type { Cutter } from '../io/cutter.js'
import { Idle, InTransaction } from '../protocol/backend.js'
import { Parse } from '../protocol/frontend.js'

/** Longest exchange that is kept, bytes. */
const longest = 16 * 1024

/** Where they are kept while they are under way: a client has one only for so long. */
const rooms: Buffer[] = []

/** Rooms that nobody needs just now, of which more are let go: 16 MiB. */
const mostSpare = 1024

export class KeptExchange {
  private room: Buffer | null = null
  private length = 0
  // Where in the chunk it begins; -1: none that is kept.
  private from = -1
  private number = 0
  // What comes next is its second run, and there is no third.
  private isSecond = false
  /** The BEGIN that all of the block so far consists of, before the statement at hand; null: it has none. */
  opening: Buffer | null = null
  // It is the exchange at hand.
  private isOpening = false
  private latest: Buffer | null = null

  /** An exchange begins at `at` of the chunk in hand, with this transaction status. */
  begin(cutter: Cutter, at: number, status: number): void {
    this.giveUp()
    this.opening = this.isOpening && status === InTransaction ? this.latest : null
    this.isOpening = false
    this.from = !this.isSecond && (status === Idle || this.opening !== null) ? at : -1
    this.number = cutter.number
    this.isSecond = false
  }

  /** The same of a Query that is a plain BEGIN. */
  keepBegin(cutter: Cutter, at: number, end: number): void {
    this.keep(cutter, end)
    if (this.room === null || this.opening !== null) return
    const { chunk } = cutter
    if (this.latest === null || this.latest.compare(chunk, at, end) !== 0)
      this.latest = Buffer.from(chunk.subarray(at, end))
    this.isOpening = true
  }

  /** It ends at `end`, and is one statement: keeps it, where nothing stands behind it. */
  keep(cutter: Cutter, end: number): void {
    const { from } = this
    const { chunk } = cutter
    this.giveUp()
    if (from < 0 || this.number !== cutter.number || end !== chunk.length || end - from > longest) return
    if (makesName(chunk, from, end)) return
    this.room = rooms.pop() ?? Buffer.allocUnsafeSlow(longest)
    this.length = end - from
    chunk.copy(this.room, 0, from, end)
  }

  /** Returns whether it is there, and nothing was sent behind it. */
  isOnly(cutter: Cutter): boolean {
    return this.room !== null && this.number === cutter.number
  }

  /** Returns whether what is kept is a plain BEGIN. */
  get isBegin(): boolean {
    return this.room !== null && this.isOpening
  }

  /** The exchange, to be run once more; null: there is none. */
  take(): Buffer | null {
    const { room } = this
    if (room === null) return null
    const bytes = Buffer.from(room.subarray(0, this.length))
    this.giveUp()
    this.isSecond = true
    return bytes
  }

  giveUp(): void {
    if (this.room !== null && rooms.length < mostSpare) rooms.push(this.room)
    this.room = null
    this.from = -1
  }
}

/** Returns whether there is a Parse with a name in it, which could not be carried out twice. */
function makesName(chunk: Buffer, from: number, end: number): boolean {
  for (let at = from; at < end; at += 1 + chunk.readInt32BE(at + 1)) {
    if (chunk[at] === Parse && chunk[at + 5] !== 0) return true
  }
  return false
}
