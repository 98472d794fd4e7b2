import { EventEmitter } from 'node:events'
import { expect, test, vi } from 'vitest'
import { systemClock } from '../../src/observe/clock.js'
import type { Pooler } from '../../src/pooler.js'
import { Signals } from '../../src/process/signals.js'
import { RecordingLog } from './recording-log.js'

/** Stands for a pooler: remembers what is asked of it, and does it when told. */
class FakePooler {
  readonly asked: string[] = []
  paused = false
  suspended = false
  isShuttingDown = false
  reloading: Promise<void> = Promise.resolve()
  #finishShutdown: () => void = () => {}

  readonly admin = {
    state: () => ({ active: !this.paused, paused: this.paused, suspended: this.suspended }),
    pause: async (database: undefined, signal: AbortSignal): Promise<void> => {
      this.asked.push(`pause ${database}`)
      this.paused = true
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
    },
    resume: (database: undefined): void => {
      this.asked.push(`resume ${database}`)
      this.paused = false
      this.suspended = false
    },
  }

  reload(): Promise<void> {
    this.asked.push('reload')
    return this.reloading
  }

  shutdown(mode: string): Promise<void> {
    this.asked.push(`shutdown ${mode}`)
    this.isShuttingDown = true
    return new Promise((resolve) => {
      this.#finishShutdown = resolve
    })
  }

  finishShutdown(): void {
    this.#finishShutdown()
  }
}

function setUp() {
  const pooler = new FakePooler()
  const log = new RecordingLog()
  const source = new EventEmitter()
  const notified: string[] = []
  const notify = async (...states: string[]) => {
    notified.push(states.join(' ').replace(/\d{3,}$/, 'N'))
  }
  let timeUp = () => {}
  const clock = {
    ...systemClock,
    after(_ms: number, run: () => void) {
      timeUp = run
      return { cancel() {} }
    },
  }
  const signals = new Signals({ pooler: pooler as unknown as Pooler, log, clock, notify, source })
  const send = (signal: NodeJS.Signals) => source.emit(signal)
  return { pooler, log, source, notified, signals, send, letTimePass: () => timeUp() }
}

test('SIGTERM waits for the clients', () => {
  const { pooler, log, notified, send } = setUp()
  send('SIGTERM')
  expect(pooler.asked).toEqual(['shutdown wait_for_clients'])
  expect(log.lines).toEqual(['info got SIGTERM, shutting down, waiting for all clients disconnect'])
  expect(notified).toEqual(['STOPPING=1'])
})

test('SIGINT waits for the servers', () => {
  const { pooler, log, notified, send } = setUp()
  send('SIGINT')
  expect(pooler.asked).toEqual(['shutdown wait_for_servers'])
  expect(log.lines).toEqual(['info got SIGINT, shutting down, waiting for all servers connections to be released'])
  expect(notified).toEqual(['STOPPING=1'])
})

test.each(['SIGTERM', 'SIGINT'] as const)('a second one, here %s, waits for nobody', async (second) => {
  const { pooler, log, signals, send } = setUp()
  send('SIGTERM')
  send(second)
  expect(pooler.asked).toEqual(['shutdown wait_for_clients', 'shutdown now'])
  expect(log.lines.at(-1)).toBe(`info got ${second} while shutting down, fast exit`)
  pooler.finishShutdown()
  expect(await signals.exit).toBe(0)
})

test.each(['SIGTERM', 'SIGINT'] as const)('after a SHUTDOWN on the console, %s waits for nobody', (signal) => {
  const { pooler, log, notified, send } = setUp()
  pooler.isShuttingDown = true
  send(signal)
  expect(pooler.asked).toEqual(['shutdown now'])
  expect(log.lines).toEqual([`info got ${signal} while shutting down, fast exit`])
  expect(notified).toEqual([])
})

test('SIGQUIT waits for nobody', async () => {
  const { pooler, log, signals, send } = setUp()
  send('SIGQUIT')
  expect(pooler.asked).toEqual(['shutdown now'])
  expect(log.lines).toEqual(['info got SIGQUIT, fast exit'])
  pooler.finishShutdown()
  expect(await signals.exit).toBe(0)
})

test('a fast exit is one even if the pooler hangs', async () => {
  const { signals, send, letTimePass } = setUp()
  send('SIGQUIT')
  letTimePass()
  expect(await signals.exit).toBe(0)
})

test('SIGTERM during SUSPEND ends at once, with 1', async () => {
  const { pooler, log, signals, send } = setUp()
  pooler.suspended = true
  send('SIGTERM')
  expect(await signals.exit).toBe(1)
  expect(log.lines.at(-1)).toBe('fatal suspend was in progress, going down immediately')
})

test('SIGHUP opens the log anew, reloads, and tells systemd', async () => {
  const { pooler, log, notified, send } = setUp()
  send('SIGHUP')
  await vi.waitFor(() => expect(notified).toEqual(['RELOADING=1 MONOTONIC_USEC=N', 'READY=1']), 30_000)
  expect(pooler.asked).toEqual(['reload'])
  expect(log.reopened).toBe(1)
  expect(log.lines).toEqual(['info got SIGHUP, re-reading config'])
})

test('a reload that fails is logged, and all goes on', async () => {
  const { pooler, log, notified, send } = setUp()
  pooler.reloading = Promise.reject(new Error('syntax error in configuration (a.ini:3)'))
  send('SIGHUP')
  await vi.waitFor(() => expect(notified).toHaveLength(2), 30_000)
  expect(log.reopened).toBe(1)
  expect(log.lines.slice(1)).toEqual([
    'error syntax error in configuration (a.ini:3)',
    'warning config file loading failed',
  ])
})

test('SIGUSR1 pauses, SIGUSR2 resumes, and each says so where it has nothing to do', async () => {
  const { pooler, log, send } = setUp()
  send('SIGUSR2')
  send('SIGUSR1')
  send('SIGUSR1')
  send('SIGUSR2')
  send('SIGUSR2')
  await Promise.resolve()
  send('SIGUSR1')
  expect(pooler.asked).toEqual(['pause undefined', 'resume undefined', 'pause undefined'])
  expect(log.lines).toEqual([
    'info got SIGUSR2, but not paused/suspended',
    'info got SIGUSR1, pausing all activity',
    'info got SIGUSR1, but already paused/suspended',
    'info got SIGUSR2, continuing from PAUSE',
    'info got SIGUSR2, but not paused/suspended',
    'info got SIGUSR1, pausing all activity',
  ])
})

test('SIGUSR2 continues from SUSPEND, too', () => {
  const { pooler, log, send } = setUp()
  pooler.suspended = true
  send('SIGUSR2')
  expect(pooler.asked).toEqual(['resume undefined'])
  expect(log.lines).toEqual(['info got SIGUSR2, continuing from SUSPEND'])
})

test('SIGUSR2 does not undo a shutdown', () => {
  const { pooler, log, send } = setUp()
  send('SIGINT')
  pooler.paused = true
  send('SIGUSR2')
  expect(pooler.asked).toEqual(['shutdown wait_for_servers'])
  expect(log.lines.at(-1)).toBe('info got SIGUSR2 while shutting down, ignoring')
})

test('once disposed of, signals are no longer taken', () => {
  const { source, signals } = setUp()
  expect(source.eventNames()).toHaveLength(6)
  signals[Symbol.dispose]()
  expect(source.eventNames()).toHaveLength(0)
})
