// Waiting for something to become true of clients and servers, as PAUSE, WAIT_CLOSE and a shutdown do.

import type { Clock } from '../observe/clock.js'

/** How often what becomes true without a connection ending is looked at, ms. */
const period = 100

export class Conditions {
  private readonly clock: Clock
  private readonly waiting = new Set<() => void>()

  constructor(clock: Clock) {
    this.clock = clock
  }

  /** Resolves when `isTrue` is, looked at whenever a connection ends; rejects with the signal's reason when that aborts. */
  until(isTrue: () => boolean, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const done = (): void => {
        this.waiting.delete(look)
        poll.cancel()
        signal?.removeEventListener('abort', aborted)
      }
      const look = (): void => {
        if (!isTrue()) return
        done()
        resolve()
      }
      const aborted = (): void => {
        done()
        reject(signal?.reason)
      }
      const poll = this.clock.every(period, look)
      this.waiting.add(look)
      signal?.addEventListener('abort', aborted)
      if (signal?.aborted) aborted()
      else look()
    })
  }

  /** A connection has ended. */
  look(): void {
    for (const look of [...this.waiting]) look()
  }
}
