// Errors that nobody has caught: what they cost must be in proportion to what they may have broken.

import type { Log } from '../observe/log.js'

/** The part of `process` that is needed, so that a test can stand in. */
export interface ErrorSource {
  on(event: 'uncaughtException' | 'unhandledRejection', handler: (error: unknown) => void): unknown
  off(event: 'uncaughtException' | 'unhandledRejection', handler: (error: unknown) => void): unknown
}

/**
 * A rejection is the end of one flow, such as a login or a command of the console; no byte of a query is carried by
 * promises. It is logged, and all others go on. So it is with an error of a socket or pipe that has no listener: whatever
 * the network does to one peer must not end the others.
 * Any other exception has cut through the middle of something, perhaps through the account of which answer is whose. To
 * give one client the rows of another would be worse than to end, so the process ends: FATAL, exit code 1.
 * @param exit ends the process
 * @returns undoes it
 */
export function catchTheRest(log: Log, source: ErrorSource, exit: (code: number) => void): () => void {
  const onRejection = (error: unknown): void => log.error(`unhandled rejection: ${stackOf(error)}`)
  const onException = (error: unknown): void => {
    if (isSocketError(error)) {
      log.error(`unhandled socket error: ${stackOf(error)}`)
      return
    }
    log.fatal(`uncaught exception: ${stackOf(error)}`)
    exit(1)
  }
  source.on('unhandledRejection', onRejection)
  source.on('uncaughtException', onException)
  return () => {
    source.off('unhandledRejection', onRejection)
    source.off('uncaughtException', onException)
  }
}

export function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}

const socketCalls = ['read', 'write', 'writev', 'shutdown', 'connect', 'accept', 'getaddrinfo']

/** Reported by libuv from outside of any of our functions. */
function isSocketError(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const { syscall, code } = error as NodeJS.ErrnoException
  return code !== undefined && syscall !== undefined && socketCalls.includes(syscall)
}
