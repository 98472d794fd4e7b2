// The built command as a process of its own, watched through what it writes.

import { type ChildProcess, spawn } from 'node:child_process'
import { chownSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
export const main: string = join(root, 'dist', 'process', 'main.js')

export const isRoot = process.getuid?.() === 0
/** Its number, and that of its group, on Linux. */
export const nobody = 65534
/** The pooler does not run as root. */
export const asUser: readonly string[] = isRoot ? ['-u', 'nobody'] : []

/** A folder where the pooler may write, whoever it runs as. */
export function makeFolder(): { readonly path: string; [Symbol.dispose](): void } {
  const path = mkdtempSync(join(tmpdir(), 'tsbouncer-process-'))
  if (isRoot) chownSync(path, nobody, nobody)
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}

export class Running {
  readonly child: ChildProcess
  /** Exit code, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals | null>
  stdout = ''
  stderr = ''
  #heard: () => void = () => {}

  constructor(child: ChildProcess) {
    this.child = child
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text
      this.#heard()
    })
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text
      this.#heard()
    })
    // A test that ran out of time leaves nothing running.
    const end = () => child.kill('SIGKILL')
    process.once('exit', end)
    this.ended = new Promise((resolve) => {
      child.once('close', (code, signal) => {
        process.off('exit', end)
        resolve(code ?? signal)
        this.#heard()
      })
    })
  }

  /** Waits until standard error has this text; rejects if the process ends without it. */
  async says(text: string): Promise<void> {
    while (!this.stderr.includes(text)) {
      if (this.child.exitCode !== null) throw new Error(`ended without saying "${text}":\n${this.stderr}`)
      await new Promise<void>((resolve) => {
        this.#heard = resolve
      })
    }
  }

  /** What it wrote to standard error, without time, zone and process. */
  lines(): string[] {
    return this.stderr
      .split('\n')
      .slice(0, -1)
      .map((line) => line.replace(/^\S+ \S+ \S+ \[\d+\] /, ''))
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill('SIGKILL')
    await this.ended
  }
}

/** @param node the Node.js that runs it */
export function run(words: readonly string[], env: NodeJS.ProcessEnv = {}, node: string = process.execPath): Running {
  return new Running(spawn(node, [main, ...words], { env: { ...process.env, ...env } }))
}

/**
 * As a service manager would run it: with listening sockets as its descriptors 3 and up, and its own number in LISTEN_PID,
 * which the shell knows before it becomes the program.
 * @param script of the shell; `"$0" "$@"` is the program
 */
export function runWithSockets(
  fds: readonly number[],
  words: readonly string[],
  env: NodeJS.ProcessEnv = {},
  script = 'test "$LISTEN_PID" || export LISTEN_PID=$$; exec "$0" "$@"',
): Running {
  return new Running(
    spawn('sh', ['-c', script, process.execPath, main, ...words], {
      env: { ...process.env, LISTEN_FDS: String(fds.length), ...env },
      stdio: ['ignore', 'pipe', 'pipe', ...fds],
    }),
  )
}
