// Time that stands still until a test moves it.

import type { Clock, Timer } from '../../src/observe/clock.js'

interface Due {
  at: number
  readonly every: number | undefined
  readonly run: () => void
}

export class ManualClock implements Clock {
  #now = 1_000_000
  readonly #due = new Set<Due>()

  now(): number {
    return this.#now
  }

  date(): Date {
    return new Date(Date.UTC(2026, 0, 1) + this.#now)
  }

  after(ms: number, run: () => void): Timer {
    return this.#start({ at: this.#now + ms, every: undefined, run })
  }

  every(ms: number, run: () => void): Timer {
    return this.#start({ at: this.#now + ms, every: ms, run })
  }

  /** Lets time pass: what falls due meanwhile runs in its order. */
  advance(seconds: number): void {
    const end = this.#now + seconds * 1000
    for (;;) {
      const [next] = [...this.#due].filter((due) => due.at <= end).sort((one, other) => one.at - other.at)
      if (next === undefined) break
      this.#now = Math.max(this.#now, next.at)
      if (next.every === undefined) this.#due.delete(next)
      else next.at += next.every
      next.run()
    }
    this.#now = end
  }

  #start(due: Due): Timer {
    this.#due.add(due)
    return { cancel: () => this.#due.delete(due) }
  }
}
