// One embedded PostgreSQL server: its data folder initialised or copied, its configuration written, started and stopped.

import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { appendFile, open, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Binaries } from './binaries.js'
import { DemoError } from './demo-error.js'
import { childOptions, lastLines, runProgram } from './program.js'
import { writeFor } from './server-user.js'

/** Lines of postgresql.conf. */
export type ServerSettings = Readonly<Record<string, string | number | boolean>>

export interface ServerPlan {
  /** For people: `primary`. */
  readonly name: string
  readonly binaries: Binaries
  /** The data folder; with PostgreSQL's own permissions, and owned by `binaries.user`. */
  readonly data: string
  /** The file that the server's log is added to. */
  readonly log: string
  readonly port: number
  readonly settings: ServerSettings
  /** Lines of pg_hba.conf. */
  readonly hba: readonly string[]
}

/** A backup that a session of a running server has open: pg_backup_start and pg_backup_stop. */
export interface OpenBackup {
  /** Ends it, and gives the text of the copy's file backup_label. */
  end(): Promise<string>
}

/** How a server may be stopped: clients are thrown out and all is written, or as in a crash. */
export type StopMode = 'fast' | 'immediate'

const signals = { fast: 'SIGINT', immediate: 'SIGQUIT' } as const

/** Milliseconds: a start may have to recover after a crash, a fast stop has a checkpoint to write. */
const startLimit = 120_000
const stopLimit = 20_000
const pollEvery = 10

/** Bytes of a log that are looked at, at most. */
const logRead = 256 * 1024

/** Our own file of settings, which initdb's postgresql.conf includes. */
const settingsFile = 'tsbouncer.conf'

// What belongs to the process, to the primary alone, or comes by streaming is left out, as pg_basebackup does. What ALTER
// SYSTEM has set there is the primary's too.
const copyRunning = `
set -e
rm -rf "$2"
mkdir -m 700 "$2"
cd "$1"
for entry in *; do
  case $entry in
    pg_wal | pg_replslot | postmaster.* | *.signal | postgresql.auto.conf | backup_label*) ;;
    *) cp -Rp "$entry" "$2/" ;;
  esac
done
mkdir -m 700 "$2/pg_wal" "$2/pg_wal/archive_status" "$2/pg_wal/summaries" "$2/pg_replslot"
: >"$2/postgresql.auto.conf"
: >"$2/standby.signal"
`

export class EmbeddedPostgres {
  readonly plan: ServerPlan
  #child: ChildProcess | undefined
  #exited: Promise<string> = Promise.resolve('not started')
  /** Where this start's lines begin in the log. */
  #logStart = 0

  constructor(plan: ServerPlan) {
    this.plan = plan
  }

  /** initdb, then `sql` in database template1, so that databases made later, also in `sql` itself, have what it made. */
  async initialise(sql: readonly string[], signal?: AbortSignal): Promise<void> {
    const { binaries, data } = this.plan
    const { user } = binaries
    const args = ['-D', data, '-U', 'postgres', '--no-sync', '--locale=C', '--encoding=UTF8', '--auth=reject']
    if (binaries.major >= 14) args.push('--no-instructions')
    await runProgram(binaries.initdb, args, { user, signal })
    await appendFile(join(data, 'postgresql.conf'), `\ninclude '${settingsFile}'\n`)
    await this.#configure()

    // The single-user mode needs no running server, no client program and no password. -j: a statement ends at `;` and
    // an empty line. Nothing is sent anywhere yet, so nothing must be waited for.
    const offline = ['--single', '-j', '-F', '-D', data, '-c', 'exit_on_error=on', '-c', 'synchronous_standby_names=']
    const input = sql.map((statement) => `${statement};\n\n`).join('')
    await runProgram(binaries.postgres, [...offline, 'template1'], { user, signal, input })
  }

  /** Makes `standby`, whose data folder does not exist yet, from this server, which must not be running. */
  async copyTo(standby: EmbeddedPostgres, signal?: AbortSignal): Promise<void> {
    const copy = standby.plan.data
    // Slots belong to the primary alone, as with pg_basebackup.
    const command = 'cp -Rp "$1" "$2" && rm -rf "$2"/pg_replslot/* && : >"$2/standby.signal"'
    const { user } = this.plan.binaries
    await runProgram('/bin/sh', ['-c', command, 'sh', this.plan.data, copy], { user, signal })
  }

  /**
   * Replaces the data of `standby`, which must not be running, by this server's, which runs and has `backup` open. The
   * WAL since then comes by streaming, so a slot has to keep it.
   */
  async copyRunningTo(standby: EmbeddedPostgres, backup: OpenBackup, signal?: AbortSignal): Promise<void> {
    const { user } = this.plan.binaries
    const copy = standby.plan.data
    await runProgram('/bin/sh', ['-c', copyRunning, 'sh', this.plan.data, copy], { user, signal })
    await writeFor(user, join(copy, 'backup_label'), await backup.end())
  }

  /** Makes this standby, which runs, a primary; it becomes one soon after. As `pg_ctl promote` does it. */
  async promote(): Promise<void> {
    await writeFile(join(this.plan.data, 'promote'), '') // never read; it may be gone before we could give it to them
    this.#child?.kill('SIGUSR1')
  }

  /** Resolves when it takes connections. Rejects with a DemoError that shows its log, or with the signal's reason. */
  async start(signal?: AbortSignal): Promise<void> {
    const { binaries, data, log, name } = this.plan
    signal?.throwIfAborted()
    if (this.isRunning) return
    await this.#configure()
    this.#logStart = (await stat(log).catch(() => undefined))?.size ?? 0
    const output = openSync(log, 'a')
    try {
      const stdio = ['ignore', output, output] as const
      this.#child = spawn(binaries.postgres, ['-D', data], { ...childOptions(binaries.user), stdio: [...stdio] })
    } finally {
      closeSync(output)
    }
    this.#exited = whenExited(this.#child)
    try {
      // The server's own word, in the last line of its pid file: what pg_ctl waits for too.
      await this.#until(
        'takes connections',
        async () => {
          const lines = (await readFile(join(data, 'postmaster.pid'), 'utf8').catch(() => '')).split('\n')
          return Number(lines[0]) === this.pid && lines[7]?.trim() === 'ready'
        },
        signal,
      )
    } catch (error) {
      await this.stop('immediate')
      if (error instanceof DemoError) throw new DemoError(`the ${name} did not start: ${error.message}`)
      throw error
    }
  }

  /** Resolves when this standby has begun to receive from its primary. */
  async untilStreaming(signal?: AbortSignal): Promise<void> {
    const seen = async (): Promise<boolean> =>
      (await readLog(this.plan.log, this.#logStart)).includes('started streaming WAL from primary')
    await this.#until('streams from its primary', seen, signal)
  }

  async stop(mode: StopMode = 'fast'): Promise<void> {
    const child = this.#child
    for (const signal of [signals[mode], 'SIGQUIT', 'SIGKILL'] as const) {
      if (child === undefined || !isRunning(child)) return
      child.kill(signal)
      await Promise.race([this.#exited, sleep(stopLimit, undefined, { ref: false })])
    }
  }

  get isRunning(): boolean {
    return this.#child !== undefined && isRunning(this.#child)
  }

  get pid(): number | undefined {
    return this.#child?.pid
  }

  /** Resolves, with the end of its log, when the server that was started last has ended for whatever reason. */
  async ended(): Promise<string> {
    const how = await this.#exited
    return `${how}\n${lastLines(await readLog(this.plan.log, this.#logStart))}`
  }

  async #configure(): Promise<void> {
    const { binaries, data, name, port, settings, hba } = this.plan
    const all: ServerSettings = { cluster_name: name, port, ...settings }
    const lines = Object.entries(all).map(([setting, value]) => `${setting} = ${quoted(String(value))}\n`)
    await writeFor(binaries.user, join(data, settingsFile), `# Written at every start.\n${lines.join('')}`)
    await writeFor(binaries.user, join(data, 'pg_hba.conf'), `# Written at every start.\n${hba.join('\n')}\n`)
  }

  /** Rejects when the server ends, or time is up. */
  async #until(what: string, isTrue: () => Promise<boolean>, signal: AbortSignal | undefined): Promise<void> {
    const deadline = performance.now() + startLimit
    while (!(await isTrue())) {
      if (!this.isRunning) throw new DemoError(await this.ended())
      if (performance.now() > deadline) {
        const log = lastLines(await readLog(this.plan.log, this.#logStart))
        throw new DemoError(`the ${this.plan.name} never ${what}\n${log}`)
      }
      await sleep(pollEvery, undefined, signal && { signal }).catch(() => signal?.throwIfAborted())
    }
  }
}

/** A value in postgresql.conf, where both the quote and the backslash are special. */
export function quoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`
}

function isRunning(child: ChildProcess): boolean {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null
}

function whenExited(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once('exit', (code, signal) => resolve(`it ended with ${signal ?? `exit code ${code}`}`))
    child.once('error', (error) => resolve(error.message))
  })
}

/** From a byte on, or the last part of that. */
async function readLog(path: string, from: number): Promise<string> {
  const file = await open(path).catch(() => undefined)
  if (file === undefined) return ''
  try {
    const { size } = await file.stat()
    const position = Math.max(from, size - logRead)
    const { buffer, bytesRead } = await file.read(Buffer.alloc(Math.max(0, size - position)), { position })
    return buffer.toString('utf8', 0, bytesRead)
  } finally {
    await file.close()
  }
}
