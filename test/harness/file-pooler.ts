// A pooler in this process whose configuration is in files that a test changes.

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { createPooler, type Pooler } from '../../src/pooler.js'
import { postgres } from './postgres.js'

type Lines = Readonly<Record<string, string | number>>

/** Sections of the ini, and lines of auth_file. */
export interface Files {
  readonly pgbouncer?: Lines
  readonly databases?: Lines
  readonly users?: Lines
  readonly peers?: Lines
  readonly secrets?: Lines
}

export class FilePooler implements AsyncDisposable {
  readonly pooler: Pooler
  readonly logged: string[] = []
  readonly #folder: string
  #files: Files = {}

  private constructor(folder: string) {
    this.#folder = folder
    const to = (level: string) => (text: string) => void this.logged.push(`${level} ${text}`)
    this.pooler = createPooler({
      config: this.file('pooler.ini'),
      log: {
        fatal: to('FATAL'),
        error: to('ERROR'),
        warning: to('WARNING'),
        info: to('LOG'),
        debug() {},
        noise() {},
        verbose: 0,
        reopen() {},
        close() {},
      },
    })
  }

  static async start(files: Files = {}): Promise<FilePooler> {
    const started = new FilePooler(await mkdtemp(join(tmpdir(), 'tsbouncer-reload-')))
    await started.write(files)
    await started.pooler.listen()
    return started
  }

  get port(): number {
    return this.pooler.port ?? 0
  }

  file(name: string): string {
    return join(this.#folder, name)
  }

  /** What is not given stays as it was. */
  async write(files: Files): Promise<void> {
    this.#files = { ...this.#files, ...files }
    const { host, port } = postgres().primary
    const { databases = { app: 'dbname=postgres user=trust_user' }, users = {}, peers = {}, pgbouncer } = this.#files
    const { secrets = { plain: 'secret', postgres: 'postgres', trust_user: '' } } = this.#files
    const all = {
      listen_addr: '127.0.0.1',
      listen_port: 0,
      unix_socket_dir: '',
      auth_type: 'md5',
      auth_file: this.file('userlist.txt'),
      admin_users: 'postgres',
      pool_mode: 'transaction',
      server_tls_sslmode: 'disable',
      ...pgbouncer,
    }
    const located = Object.fromEntries(
      Object.entries(databases).map(([name, text]) => [name, `host=${host} port=${port} ${text}`]),
    )
    const ini = Object.entries({ databases: located, users, peers, pgbouncer: all }).map(
      ([name, lines]) =>
        `[${name}]\n${Object.entries(lines)
          .map(([key, value]) => `${key} = ${value}\n`)
          .join('')}`,
    )
    await writeFile(this.file('pooler.ini'), ini.join(''))
    const list = Object.entries(secrets).map(([name, secret]) => `"${name}" "${secret}"\n`)
    await writeFile(this.file('userlist.txt'), list.join(''))
  }

  /** Writes, and reloads. */
  async change(files: Files): Promise<readonly string[]> {
    await this.write(files)
    return this.pooler.reload()
  }

  /** A client of user `plain`, logged in with a password. */
  async connect(database = 'app', password = 'secret'): Promise<pg.Client> {
    const client = new pg.Client({ host: '127.0.0.1', port: this.port, user: 'plain', password, database })
    client.on('error', () => {})
    await client.connect()
    return client
  }

  async value(key: string): Promise<unknown> {
    return (await this.pooler.show('config')).find((row) => row.key === key)?.value
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pooler.close()
    await rm(this.#folder, { recursive: true, force: true })
  }
}
