// A pooler as its users start it, pgbouncer's or ours: the same ini, the same clients, the same log.

import { execFileSync, spawn } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { findFreePort } from '../../src/demo/port.js'
import { eventually } from '../harness/pooler.js'
import { postgres } from '../harness/postgres.js'
import { Ended, query, RawClient } from '../harness/raw-client.js'
import { asUser, makeFolder, Running, run } from '../process/command.js'

export type Program = 'pgbouncer' | 'tsbouncer'

/** Sections of an ini; the values of [pgbouncer] go over the usual ones. */
export interface Ini {
  readonly pgbouncer?: Readonly<Record<string, string | number>>
  readonly databases?: Readonly<Record<string, string>>
  readonly users?: Readonly<Record<string, string>>
  /** Lines of auth_file. */
  readonly secrets?: Readonly<Record<string, string>>
}

export interface Login {
  readonly user?: string
  readonly password?: string
  readonly database?: string
  readonly parameters?: Readonly<Record<string, string>>
}

/** The pgbouncer to compare with: PGBOUNCER_BIN, or the one in the PATH. */
export const pgbouncer = process.env.PGBOUNCER_BIN ?? 'pgbouncer'

/** Its version, such as 1.18, or undefined where it is not installed. */
export function pgbouncerVersion(): string | undefined {
  try {
    return /PgBouncer (\d+\.\d+)/i.exec(execFileSync(pgbouncer, ['--version'], { encoding: 'utf8' }))?.[1]
  } catch {
    return undefined
  }
}

const defaultSecrets = { stats: 'stats', trust_user: '', plain: 'secret' }

export class RunningProgram implements AsyncDisposable {
  readonly port: number
  readonly folder: string
  readonly running: Running
  readonly #removeFolder: () => void
  #ini: Ini
  #marker: pg.Client | undefined
  #marks = 0
  #marked = 0

  private constructor(port: number, folder: ReturnType<typeof makeFolder>, ini: Ini, program: Program) {
    this.port = port
    this.folder = folder.path
    this.#removeFolder = () => folder[Symbol.dispose]()
    this.#ini = ini
    this.write(ini)
    const file = this.file('pooler.ini')
    this.running = program === 'pgbouncer' ? new Running(spawn(pgbouncer, [...asUser, file])) : run([...asUser, file])
  }

  static async start(program: Program, ini: Ini = {}): Promise<RunningProgram> {
    const started = new RunningProgram(await findFreePort(), makeFolder(), ini, program)
    try {
      await started.running.says('process up: ')
    } catch (error) {
      await started[Symbol.asyncDispose]()
      throw error
    }
    return started
  }

  file(name: string): string {
    return join(this.folder, name)
  }

  /** Writes the ini and auth_file; what is not given stays as it was. */
  write(ini: Ini, extraLines = ''): void {
    this.#ini = { ...this.#ini, ...ini }
    const { primary } = postgres()
    const { databases, users, pgbouncer } = this.#ini
    const secrets = { admin: 'admin', ...(this.#ini.secrets ?? defaultSecrets) }
    const inFolder = mapValues(pgbouncer ?? {}, (value) => String(value).replaceAll('DIR', this.folder))
    const settings = {
      listen_addr: '127.0.0.1',
      listen_port: this.port,
      unix_socket_dir: '',
      auth_type: 'trust',
      auth_file: this.file('userlist.txt'),
      admin_users: 'admin',
      stats_users: 'stats',
      pool_mode: 'transaction',
      server_tls_sslmode: 'disable',
      server_login_retry: 1,
      ...inFolder,
    }
    const server = `host=${primary.host} port=${primary.port}`
    const entries = databases ?? { app: 'dbname=postgres user=trust_user' }
    this.#writeFile(
      'pooler.ini',
      section(
        'databases',
        mapValues(entries, (entry) => (entry.includes('host=') ? entry : `${server} ${entry}`)),
      ) +
        section('users', users ?? {}) +
        section('pgbouncer', settings) +
        extraLines,
    )
    const lines = Object.entries(secrets).map(([name, secret]) => `"${name}" "${secret}"\n`)
    this.#writeFile('userlist.txt', lines.join(''))
  }

  #writeFile(name: string, text: string): void {
    writeFileSync(this.file(name), text)
    chmodSync(this.file(name), 0o644) // where we are root, it runs as another user
  }

  /** Logged in. */
  connect({ user = 'trust_user', password = '', database = 'app', parameters = {} }: Login = {}): Promise<RawClient> {
    return RawClient.connect({ port: this.port, password, parameters: { user, database, ...parameters } })
  }

  console(user = 'admin'): Promise<RawClient> {
    return this.connect({ user, database: 'pgbouncer', password: user })
  }

  /** How a login ends: `in`, or the error told, or `closed`. */
  async login(login: Login): Promise<string> {
    try {
      const client = login.parameters === undefined ? await this.#driver(login) : await this.connect(login)
      await client.end()
      return 'in'
    } catch (error) {
      if (error instanceof Ended) return error.message
      const { severity, code, message } = error as pg.DatabaseError
      return severity === undefined ? message : `E ${severity} ${code} ${message}`
    }
  }

  /** Knows every way to log in, which the clients that speak bytes do not. */
  async #driver({ user = 'trust_user', password = '', database = 'app' }: Login): Promise<pg.Client> {
    const client = new pg.Client({ host: '127.0.0.1', port: this.port, user, password, database })
    client.on('error', () => {})
    await client.connect()
    return client
  }

  /** The rows of a console command as objects; asks as the administrator over a connection of its own. */
  async rows(sql: string): Promise<Record<string, string>[]> {
    await using client = await this.console()
    const lines = await client.ask(query(sql))
    if (!lines[0]?.startsWith('T ')) throw new Error(`${sql}: ${lines.join('; ')}`)
    const columns = lines[0].slice(2).split('|')
    return lines
      .filter((line) => line.startsWith('D '))
      .map((line) =>
        Object.fromEntries(
          line
            .slice(2)
            .split('|')
            .map((cell, at) => [columns[at], cell]),
        ),
      )
  }

  /** Waits until a row of a SHOW is as wanted. */
  async until(sql: string, isTrue: (row: Record<string, string>) => boolean): Promise<void> {
    await eventually(async () => (await this.rows(sql)).some(isTrue))
  }

  /** Lines logged since the last call, as far as they do not differ from run to run. */
  async newLog(): Promise<string[]> {
    // A command that is told in the log, so that all before it has been written.
    this.#marker ??= await this.#driver({ user: 'admin', password: 'admin', database: 'pgbouncer' })
    const mark = `mark_${++this.#marks}`
    await this.#marker.query(`ENABLE ${mark}`).catch(() => {})
    await this.running.says(`pooler error: no such database: ${mark}`)
    const lines = this.running.lines()
    const fresh = lines.slice(this.#marked).filter((line) => !line.includes(mark))
    this.#marked = lines.length
    return fresh.map((line) => this.neutral(line))
  }

  /** RELOAD, successfully. */
  async reload(): Promise<void> {
    const admin = await this.#driver({ user: 'admin', password: 'admin', database: 'pgbouncer' })
    await admin.query('RELOAD')
    await admin.end()
  }

  /** Waits for a line in the log. */
  logs(text: string): Promise<void> {
    return this.running.says(text)
  }

  /** A text without what differs from run to run: ports, pointers, folders, ages. */
  neutral(text: string): string {
    return text
      .replaceAll(this.folder, 'DIR')
      .replaceAll(`:${this.port}`, ':PORT')
      .replaceAll(`:${postgres().primary.port}`, ':SERVER')
      .replace(/0x[0-9a-f]{4,}/g, 'PTR')
      .replace(/127\.0\.0\.1:\d+/g, '127.0.0.1:N')
      .replace(/\(age=\d+s\)/, '(age=N)')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#marker?.connection.stream.destroy()
    await this.running[Symbol.asyncDispose]()
    this.#removeFolder()
  }
}

function section(name: string, entries: Readonly<Record<string, string | number>>): string {
  const lines = Object.entries(entries).map(([key, value]) => `${key} = ${value}\n`)
  return `[${name}]\n${lines.join('')}`
}

function mapValues<V>(entries: Readonly<Record<string, V>>, change: (value: V) => string): Record<string, string> {
  return Object.fromEntries(Object.entries(entries).map(([key, value]) => [key, change(value)]))
}
