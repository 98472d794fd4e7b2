// What signals mean to a running pooler: pgbouncer's meanings, and its words in the log.

import type { Clock } from '../observe/clock.js'
import type { Log } from '../observe/log.js'
import * as logTexts from '../observe/log-texts.js'
import type { Pooler } from '../pooler.js'
import { type Notify, reloading } from './systemd.js'

/** `process`, or what stands for it in a test. */
export interface SignalSource {
  on(signal: NodeJS.Signals, handler: () => void): unknown
  off(signal: NodeJS.Signals, handler: () => void): unknown
}

export interface SignalOptions {
  readonly pooler: Pooler
  readonly log: Log
  readonly clock: Clock
  readonly notify: Notify
  readonly source: SignalSource
}

/** How long a fast exit waits for what it closes; a socket file not yet removed is found stale by the next start. */
const fastExitMs = 1000

const drains = {
  SIGTERM: { mode: 'wait_for_clients', awaited: 'all clients disconnect' },
  SIGINT: { mode: 'wait_for_servers', awaited: 'all servers connections to be released' },
} as const

/** In force from its making until it is disposed of. */
export class Signals {
  /** Resolves with the exit code when a signal wants an end that waits for nobody. */
  readonly exit: Promise<number>

  readonly #options: SignalOptions
  readonly #handlers: readonly (readonly [NodeJS.Signals, () => void])[]
  readonly #exitNow: (code: number) => void
  #pause: AbortController | undefined

  /** The service manager has heard all that it was told; an end in good order waits for that. */
  told: Promise<void> = Promise.resolve()

  constructor(options: SignalOptions) {
    this.#options = options
    let exitNow: (code: number) => void = () => {}
    this.exit = new Promise((resolve) => {
      exitNow = resolve
    })
    this.#exitNow = exitNow
    this.#handlers = [
      ['SIGTERM', () => this.#shutdown('SIGTERM')],
      ['SIGINT', () => this.#shutdown('SIGINT')],
      ['SIGQUIT', () => this.#fastExit('got SIGQUIT, fast exit')],
      ['SIGHUP', () => void this.#reload()],
      ['SIGUSR1', () => void this.#pauseAll()],
      ['SIGUSR2', () => this.#resumeAll()],
    ]
    for (const [signal, handler] of this.#handlers) options.source.on(signal, handler)
  }

  [Symbol.dispose](): void {
    for (const [signal, handler] of this.#handlers) this.#options.source.off(signal, handler)
    this.#pause?.abort()
  }

  #shutdown(signal: keyof typeof drains): void {
    const { pooler, log, notify } = this.#options
    if (pooler.isShuttingDown) {
      this.#fastExit(`got ${signal} while shutting down, fast exit`)
      return
    }
    const { mode, awaited } = drains[signal]
    log.info(`got ${signal}, shutting down, waiting for ${awaited}`)
    this.told = notify('STOPPING=1')
    if (pooler.admin.state().suspended) {
      log.fatal('suspend was in progress, going down immediately')
      this.#exitNow(1)
      return
    }
    pooler.shutdown(mode).catch((error: unknown) => this.#failed(error))
  }

  #fastExit(text: string): void {
    const { pooler, log, clock } = this.#options
    log.info(text)
    clock.after(fastExitMs, () => this.#exitNow(0))
    pooler
      .shutdown('now')
      .catch((error: unknown) => this.#failed(error))
      .finally(() => this.#exitNow(0))
  }

  async #reload(): Promise<void> {
    const { pooler, log, notify } = this.#options
    log.info('got SIGHUP, re-reading config')
    // Whatever becomes of the configuration: the log file has most likely been rotated.
    log.reopen()
    void notify(...reloading())
    try {
      await pooler.reload()
    } catch (error) {
      log.error((error as Error).message)
      log.warning(logTexts.configNotLoaded)
    }
    void notify('READY=1')
  }

  async #pauseAll(): Promise<void> {
    const { pooler, log } = this.#options
    const { paused, suspended } = pooler.admin.state()
    if (this.#pause !== undefined || paused || suspended) {
      log.info('got SIGUSR1, but already paused/suspended')
      return
    }
    log.info('got SIGUSR1, pausing all activity')
    const pause = new AbortController()
    this.#pause = pause
    try {
      await pooler.admin.pause(undefined, pause.signal)
    } catch (error) {
      if (!pause.signal.aborted) this.#failed(error)
    } finally {
      if (this.#pause === pause) this.#pause = undefined
    }
  }

  #resumeAll(): void {
    const { pooler, log } = this.#options
    const { paused, suspended } = pooler.admin.state()
    if (pooler.isShuttingDown) {
      log.info('got SIGUSR2 while shutting down, ignoring')
    } else if (paused || suspended || this.#pause !== undefined) {
      log.info(`got SIGUSR2, continuing from ${suspended ? 'SUSPEND' : 'PAUSE'}`)
      pooler.admin.resume(undefined)
      this.#pause?.abort()
      this.#pause = undefined
    } else {
      log.info('got SIGUSR2, but not paused/suspended')
    }
  }

  #failed(error: unknown): void {
    this.#options.log.error((error as Error).message)
  }
}
