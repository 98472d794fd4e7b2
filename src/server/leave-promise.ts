// The way out of a promise: what serves clients and servers throws as an event handler does, whoever has called for it.

import { Refusal } from '../protocol/errors.js'

/**
 * Runs `work` outside of any promise, before anything else happens on a connection. A fault in there is an uncaught exception,
 * which ends the process (process/last-resort.ts): as the rejection of whoever awaited something it would only be logged,
 * and the account of whose answer is whose might be cut through.
 */
export function leavePromise(work: () => void): void {
  queueMicrotask(work)
}

/**
 * Runs `work` now, for a caller that may be within a promise: what it refuses is the caller's to tell, but a fault is an
 * uncaught exception as well.
 * @throws Refusal
 */
export function withoutPromise<T>(work: () => T): T {
  try {
    return work()
  } catch (error) {
    if (!(error instanceof Refusal)) {
      leavePromise(() => {
        throw error
      })
    }
    throw error
  }
}
