// hot path
// Chunks of one peer on their way to another: passed on, put aside, added to, left out, or held until more is there.

import { Cutter } from '../io/cutter.js'
import type { Socket } from '../io/socket.js'
import { Frames } from '../protocol/framing.js'

export abstract class Passage {
  protected readonly frames: Frames
  protected readonly cutter: Cutter = new Cutter()

  /** @param longest message with its length word, bytes */
  constructor(longest: number) {
    this.frames = new Frames(longest)
  }

  /** Whose the bytes at hand are; null: nobody's. */
  protected abstract destination(): Socket | null

  /** The destination does not take more for now. */
  protected abstract block(): void

  /** What comes before `to` is set aside to be sent. */
  collect(to: number): void {
    if (!this.cutter.collect(this.destination(), to)) this.block()
  }

  /** And these bytes behind it. */
  add(bytes: Buffer): void {
    if (!this.cutter.add(this.destination(), bytes)) this.block()
  }

  /** What comes before `to` goes on its way. */
  protected send(to: number): void {
    if (!this.cutter.send(this.destination(), to)) this.block()
  }

  /** The message at `at` goes to nobody. */
  protected drop(at: number): void {
    if (!this.cutter.drop(this.destination(), at, this.frames.end)) this.block()
  }

  /** What begins at `at` is looked at when `wanted` bytes of it are there. */
  protected hold(at: number, wanted: number): void {
    this.send(at)
    this.frames.hold(this.cutter.chunk, at, wanted)
  }
}
