// -d: the pooler goes on in a process of its own, and who started it comes back when it is ready, or has failed.

import { spawn } from 'node:child_process'
import { writeSync } from 'node:fs'
import { firstDescriptor } from './socket-activation.js'

const mark = 'TSBOUNCER_BACKGROUND'
/** Ends what the child has to say to the one who started it. */
const ready = '\0'

/** Returns whether we are that process. Asked once: the processes that we start are not. */
export function takeBackgroundMark(env: NodeJS.ProcessEnv): boolean {
  const marked = env[mark] === '1'
  delete env[mark]
  return marked
}

/**
 * Starts this very command once more, in a session of its own and with its standard error as our pipe. What comes through
 * is written to our standard error.
 * @returns exit code: 0 when it is ready
 */
export function startInBackground(): Promise<number> {
  const child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe', ...passedDescriptors(process.env)],
    env: { ...process.env, [mark]: '1' },
  })
  return new Promise((resolve) => {
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      const end = text.indexOf(ready)
      process.stderr.write(end === -1 ? text : text.slice(0, end))
      if (end !== -1) resolve(0)
    })
    child.once('error', (error) => {
      process.stderr.write(`could not start in background: ${error.message}\n`)
      resolve(1)
    })
    child.once('close', (code) => resolve(code ?? 1))
  })
}

/** Sockets of a service manager, which are handed on. What is wrong with them is for the child to say. */
function passedDescriptors({ LISTEN_PID, LISTEN_FDS }: NodeJS.ProcessEnv): number[] {
  const count = LISTEN_PID === String(process.pid) && /^\d{1,3}$/.test(LISTEN_FDS ?? '') ? Number(LISTEN_FDS) : 0
  return Array.from({ length: count }, (_, index) => firstDescriptor + index)
}

/** In the background: says that clients are welcome. */
export function reportReady(): void {
  try {
    writeSync(2, ready)
  } catch {} // nobody waits for it any more
}
