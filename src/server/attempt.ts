// Something that takes its time on somebody's behalf, such as a login or a connection: it owns what it opens until it is over.

import type { Clock, Timer } from '../observe/clock.js'

/**
 * Whoever wants it may leave at any moment, and then nothing of it may stay: `wait` rejects at once, and what it has opened
 * (`onGivenUp`) is closed, also what it opens only afterwards.
 */
export class Attempt {
  /** Undefined while there are none, and when it is over: whoever keeps the Attempt keeps little. */
  private ends: Set<(reason: Error) => void> | undefined
  private timer: Timer | undefined
  private reason: Error | undefined
  private isDone = false

  /** It has succeeded, or was given up. */
  get isOver(): boolean {
    return this.isDone || this.reason !== undefined
  }

  /** Gives it up when it takes longer than `ms`; 0: as long as it takes. */
  limit(clock: Clock, ms: number, reason: () => Error): void {
    if (ms > 0 && !this.isOver) this.timer = clock.after(ms, () => this.giveUp(reason()))
  }

  /** Nobody wants it any more. The first reason counts; without effect once it has succeeded. */
  giveUp(reason: Error): void {
    if (this.isOver) return
    this.reason = reason
    this.timer?.cancel()
    const ends = [...(this.ends ?? [])]
    this.ends = undefined
    for (const end of ends) end(reason)
  }

  /**
   * What it has opened belongs to somebody else from now on.
   * @throws what it was given up for
   */
  succeed(): void {
    this.check()
    this.isDone = true
    this.timer?.cancel()
    this.ends = undefined
  }

  /** @throws what it was given up for */
  check(): void {
    if (this.reason !== undefined) throw this.reason
  }

  /**
   * `end` is called when it is given up; at once, if it has been.
   * @returns takes that back
   */
  onGivenUp(end: (reason: Error) => void): () => void {
    if (this.reason !== undefined) end(this.reason)
    else if (!this.isDone) {
      this.ends ??= new Set()
      this.ends.add(end)
    }
    return () => this.ends?.delete(end)
  }

  /** Settles as `work` does, or rejects as soon as the attempt is given up; how the work ends is of no interest then. */
  wait<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const forget = this.onGivenUp(reject)
      work.then(resolve, reject).finally(forget)
    })
  }
}
