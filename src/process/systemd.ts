// What systemd wants to know (Type=notify), and what it has told us of where our output goes.

import { spawn } from 'node:child_process'
import { fstatSync } from 'node:fs'
import type { Log } from '../observe/log.js'

/** Tells systemd one thing after another: assignments as of sd_notify(3), such as READY=1. Never rejects. */
export type Notify = (...states: string[]) => Promise<void>

/**
 * Node.js has no datagram sockets for NOTIFY_SOCKET, systemd-notify(1) has. As that is another process, the unit needs
 * NotifyAccess=all.
 */
export function createNotify(env: NodeJS.ProcessEnv, log: Log): Notify {
  if (!env.NOTIFY_SOCKET) return () => Promise.resolve()
  let earlier = Promise.resolve()
  return (...states) => {
    earlier = earlier.then(() => tell(states, env, log))
    return earlier
  }
}

function tell(states: readonly string[], env: NodeJS.ProcessEnv, log: Log): Promise<void> {
  return new Promise((resolve) => {
    const child = spawn('systemd-notify', states, { env, stdio: 'ignore', timeout: 10_000 })
    const done = (problem?: string): void => {
      if (problem !== undefined) log.warning(`could not notify systemd of ${states[0]}: ${problem}`)
      resolve()
    }
    child.once('error', (error) => done(error.message))
    child.once('exit', (code, signal) => done(code === 0 ? undefined : `systemd-notify ended with ${code ?? signal}`))
  })
}

/** For Type=notify-reload: when it began, by the clock that systemd compares with. */
export function reloading(): string[] {
  return ['RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`]
}

/** Standard error itself, not that of who started us: systemd.exec(5), JOURNAL_STREAM. */
export function stderrIsJournal(env: NodeJS.ProcessEnv): boolean {
  const [device, inode] = env.JOURNAL_STREAM?.split(':') ?? []
  if (device === undefined || inode === undefined) return false
  try {
    const { dev, ino } = fstatSync(2, { bigint: true })
    return String(dev) === device && String(ino) === inode
  } catch {
    return false
  }
}
