// hot path
// Chunks of one peer on their way to another: where messages begin and end in them, and what waits for its rest.

import { Cutter } from '../io/cutter.js'
import { Frames } from '../protocol/framing.js'

/** Each of the relays has its own ways to send: as one for both they would be told apart at every call, for 5 % of all time here. */
export abstract class Passage {
  protected readonly frames: Frames
  protected readonly cutter: Cutter = new Cutter()

  /** @param longest message with its length word, bytes */
  constructor(longest: number) {
    this.frames = new Frames(longest)
  }

  /** What comes before `to` goes on its way. */
  protected abstract send(to: number): void

  /** What begins at `at` is looked at when `wanted` bytes of it are there. */
  protected hold(at: number, wanted: number): void {
    this.send(at)
    this.frames.hold(this.cutter.chunk, at, wanted)
  }
}
