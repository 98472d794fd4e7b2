// Runs one of PostgreSQL's programs, or a small one of the system's, to its end.

import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { basename } from 'node:path'
import { DemoError } from './demo-error.js'
import type { ServerUser } from './server-user.js'

const outputKept = 64 * 1024

/** How long a program that was asked to end may take before it is killed, milliseconds. */
const patience = 5_000

export interface Run {
  /** Whom to run as; undefined is ourselves. */
  readonly user?: ServerUser | undefined
  /** Ends the program, and waits until it has ended. */
  readonly signal?: AbortSignal | undefined
  /** Where to run it, with the environment as it is; without it, in a folder that everyone may enter, less what libpq reads. */
  readonly cwd?: string
  /** Given to its standard input; secrets come in here, since arguments can be read by everyone. */
  readonly input?: string
}

/**
 * Options common to all our children. Each has a session of its own: a Ctrl-C of the terminal then reaches us alone, and
 * we end them in their order. The folder to start in is one that everyone may enter.
 */
export function childOptions(user: ServerUser | undefined): SpawnOptions {
  return { ...(user && { uid: user.uid, gid: user.gid }), cwd: '/', detached: true, env: childEnvironment() }
}

// libpq, inside the standby, listens to PG*; LC_ALL decides the language of messages, which are searched.
function childEnvironment(): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('PG'))
  return { ...Object.fromEntries(inherited), LC_ALL: 'C' }
}

/** Its standard output. Rejects with a DemoError that ends in the program's own words, or with the signal's reason. */
export function runProgram(file: string, args: readonly string[], run: Run = {}): Promise<string> {
  const { signal, input = '' } = run
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted()
    const child = spawnOrSay(file, args, run)
    let killer: NodeJS.Timeout | undefined
    const interrupt = (): void => {
      signalGroup(child.pid, 'SIGTERM')
      killer = setTimeout(() => signalGroup(child.pid, 'SIGKILL'), patience)
    }
    signal?.addEventListener('abort', interrupt, { once: true })

    let output = ''
    let errors = ''
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-outputKept)
    })
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      errors = (errors + text).slice(-outputKept)
    })
    child.stdin?.on('error', () => {}) // it ended without reading all of its input: its exit code says the rest
    child.stdin?.end(input)

    let failure: Error | undefined
    child.on('error', (error) => {
      failure = error
    })
    // Not 'exit': this waits for its own children too, which hold the same pipes and may still be writing files.
    child.on('close', (code, killedBy) => {
      clearTimeout(killer)
      signal?.removeEventListener('abort', interrupt)
      if (signal?.aborted) reject(signal.reason)
      else if (failure !== undefined) reject(new DemoError(cannotRun(file, run.user, failure)))
      else if (code === 0) resolve(output)
      else reject(new DemoError(`${basename(file)} failed (${killedBy ?? `exit code ${code}`})\n${lastLines(errors)}`))
    })
  })
}

/** Some errors, EPERM for one, are thrown rather than emitted. */
function spawnOrSay(file: string, args: readonly string[], { user, cwd }: Run): ChildProcess {
  try {
    return spawn(file, args, {
      ...childOptions(user),
      ...(cwd !== undefined && { cwd, env: process.env }),
      stdio: ['pipe', 'pipe', 'pipe'],
    })
  } catch (error) {
    throw new DemoError(cannotRun(file, user, error as Error))
  }
}

function signalGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, signal)
  } catch {
    // it has ended meanwhile
  }
}

function cannotRun(file: string, user: ServerUser | undefined, error: Error): string {
  const who = user === undefined ? '' : ` as user ${user.name}`
  const code = 'code' in error ? String(error.code) : error.message
  const hint =
    code === 'EPERM' && user !== undefined
      ? ' (root may not change its user here: run this as an ordinary user)'
      : code === 'ENOENT'
        ? ' (the file, or the C library that it was built for, is not there)'
        : ''
  return `cannot run ${file}${who}: ${code}${hint}`
}

/** The end of a log, indented, for an error message. */
export function lastLines(text: string): string {
  const lines = text.trimEnd().split('\n').slice(-12)
  return lines.map((line) => `  ${line}`).join('\n')
}
