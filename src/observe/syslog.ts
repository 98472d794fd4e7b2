// Syslog through logger(1): Node.js has no datagram sockets for /dev/log, so a child of ours, fed line by line, has one.

import { type ChildProcess, spawn } from 'node:child_process'
import type { Socket } from 'node:net'
import type { Clock } from './clock.js'

export type Facility = 'user' | 'daemon' | 'auth' | 'authpriv' | `local${0 | 1 | 2 | 3 | 4 | 5 | 6 | 7}`

/** RFC 5424, section 6.2.1. */
const facilities: Readonly<Record<string, number>> = {
  user: 1,
  daemon: 3,
  auth: 4,
  authpriv: 10,
  ...Object.fromEntries(Array.from({ length: 8 }, (_, number) => [`local${number}`, 16 + number])),
}

export function facilityCode(name: Facility): number {
  return facilities[name] ?? 3
}

/** How much may wait for a syslog that does not take it. */
const mostWaiting = 1024 * 1024
const retryMs = 30_000
/** logger(1) cuts at 1 KiB otherwise. */
const longestMessage = '8192'

export class Syslog {
  readonly #args: readonly string[]
  readonly #clock: Clock
  readonly #complain: (text: string) => void
  #logger: ChildProcess | undefined
  #notBefore = Number.NEGATIVE_INFINITY
  #failing = false

  /** @param complain told once when syslog cannot be reached */
  constructor(ident: string, { pid, clock }: { pid: number; clock: Clock }, complain: (text: string) => void) {
    this.#args = ['--prio-prefix', '--socket-errors=on', '--size', longestMessage, `--id=${pid}`, `--tag=${ident}`]
    this.#clock = clock
    this.#complain = complain
  }

  /** Lines that each begin with `<PRIORITY>`. Drops what syslog does not take. */
  write(lines: string): void {
    this.#logger ??= this.#start()
    const stdin = this.#logger?.stdin
    if (stdin && stdin.writableLength < mostWaiting) stdin.write(lines)
  }

  close(): void {
    this.#logger?.stdin?.end()
    this.#logger = undefined
    this.#notBefore = Number.POSITIVE_INFINITY
  }

  #start(): ChildProcess | undefined {
    if (this.#clock.now() < this.#notBefore) return undefined
    this.#notBefore = this.#clock.now() + retryMs
    // In a process group of its own: Ctrl-C is for us, and our last lines are still to come.
    const logger: ChildProcess = spawn('logger', this.#args, { stdio: ['pipe', 'ignore', 'pipe'], detached: true })
    let problem = ''
    // Without file descriptors to spare there are no streams; 'error' tells.
    logger.stderr?.setEncoding('utf8').on('data', (text: string) => {
      problem = (problem + text).slice(0, 500)
    })
    logger.stdin?.on('error', () => {}) // 'close' tells
    logger.once('error', (error) => this.#lost(logger, error.message))
    logger.once('close', () => this.#lost(logger, problem.trim() || 'logger has ended'))
    // None of this keeps a process alive that is done.
    for (const part of [logger, logger.stdin, logger.stderr] as (Pick<Socket, 'unref'> | null)[]) part?.unref()
    return logger
  }

  #lost(logger: ChildProcess, reason: string): void {
    if (this.#logger !== logger) return
    this.#logger = undefined
    if (this.#failing) return
    this.#failing = true
    this.#complain(`could not log to syslog: ${reason}`)
  }
}
