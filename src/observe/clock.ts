// Time as the rest sees it: passed in by constructor, so that tests can hold it still.

import { performance } from 'node:perf_hooks' // the global of that name is looked up through a getter, each time

/** A timer that was started; `cancel` is idempotent. */
export interface Timer {
  cancel(): void
}

export interface Clock {
  /** Monotonic milliseconds with a fraction (microsecond resolution), for ages and durations. */
  now(): number
  /** Wall clock, for what people read. */
  date(): Date
  /** Runs once after `ms`, at most 24 days; does not keep the process alive. */
  after(ms: number, run: () => void): Timer
  /** Runs every `ms`; does not keep the process alive. */
  every(ms: number, run: () => void): Timer
}

/** What people read for the moment `ms` milliseconds after `date`. */
export function dateAfter(date: Date, ms: number): Date {
  return new Date(date.getTime() + ms)
}

/** A timer of Node.js takes no more, ms; one that is to run later than that would run at once. */
const longestTimer = 2 ** 31 - 1

export const systemClock: Clock = {
  now: () => performance.now(),
  date: () => new Date(),
  after(ms, run) {
    const timer = setTimeout(run, Math.min(ms, longestTimer)).unref()
    return { cancel: () => clearTimeout(timer) }
  },
  every(ms, run) {
    const timer = setInterval(run, ms).unref()
    return { cancel: () => clearInterval(timer) }
  },
}
