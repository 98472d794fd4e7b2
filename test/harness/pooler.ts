// A pooler in this process, in front of the test servers, with the connections that a test makes to it.

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import type { ShowName } from '../../src/admin/tables.js'
import type { ConfigInput } from '../../src/config/input.js'
import type { Secret } from '../../src/config/secret.js'
import type { SettingName } from '../../src/config/settings.js'
import type { Clock } from '../../src/observe/clock.js'
import type { Log, LogPeer } from '../../src/observe/log.js'
import type { LogSettings } from '../../src/observe/log-targets.js'
import { createPooler, type Pooler } from '../../src/pooler.js'
import type { Address } from './cluster.js'
import { postgres, query } from './postgres.js'
import { Ended, RawClient, type RawLogin } from './raw-client.js'

/** A row of any SHOW. */
export type Row = Readonly<Record<string, unknown>>

type Value = string | number | boolean | readonly (string | number)[] | Secret | undefined

/** Any value, as a file may have it: also what the compiler would refuse, and what is wrong. */
export type Settings = { readonly [N in SettingName]?: Value }

type Entries = Readonly<Record<string, string | object>>

/** As for the library, with any values. */
export interface AnyConfig {
  readonly pgbouncer?: Settings
  readonly databases?: Entries
  readonly users?: Entries
  readonly peers?: Entries
}

export interface PoolerOptions extends Omit<AnyConfig, 'pgbouncer'> {
  readonly clock?: Clock
  /** Whose the server is; default: the primary. */
  readonly server?: Address
  /** Lines of auth_file: secrets by user name. Default: all test roles with their passwords. */
  readonly secrets?: Readonly<Record<string, string>>
}

export interface ConnectOptions {
  readonly user?: string
  readonly password?: string
  readonly database?: string
  /** More startup parameters. */
  readonly parameters?: Readonly<Record<string, string>>
  /** More options of the `pg` client, such as `ssl`. */
  readonly driver?: pg.ClientConfig
}

/** How long a fact may be waited for, ms: far more than it takes. */
const patience = 40_000

/** Remembers its lines: `WARNING C-0x5500: db/user@host text`. */
class MemoryLog implements Log {
  readonly lines: string[] = []
  verbose = 0

  fatal(text: string, who?: LogPeer): void {
    this.#add('FATAL', text, who)
  }

  error(text: string, who?: LogPeer): void {
    this.#add('ERROR', text, who)
  }

  warning(text: string, who?: LogPeer): void {
    this.#add('WARNING', text, who)
  }

  info(text: string, who?: LogPeer): void {
    this.#add('LOG', text, who)
  }

  debug(text: string, who?: LogPeer): void {
    if (this.verbose >= 1) this.#add('DEBUG', text, who)
  }

  noise(text: string, who?: LogPeer): void {
    if (this.verbose >= 2) this.#add('NOISE', text, who)
  }

  reopen(settings?: LogSettings): void {
    if (settings !== undefined) this.verbose = settings.verbose
  }

  close(): void {}

  #add(level: string, text: string, who: LogPeer | undefined): void {
    this.lines.push(`${level} ${who === undefined ? '' : `${who.logPrefix} `}${text}`)
  }
}

/** A `pg` client that says how its connection ended. */
export type TestClient = pg.Client & AsyncDisposable & { readonly lost: Promise<Error> }

export class TestPooler implements AsyncDisposable {
  readonly pooler: Pooler
  readonly port: number
  readonly #log: MemoryLog
  readonly #folder: string
  readonly #clients: pg.Client[] = []
  readonly #raws: RawClient[] = []

  constructor(pooler: Pooler, log: MemoryLog, folder: string) {
    this.pooler = pooler
    this.port = pooler.port ?? 0
    this.#log = log
    this.#folder = folder
  }

  /** What it has logged so far. */
  get logged(): readonly string[] {
    return this.#log.lines
  }

  /** A `pg` client, connected; the superuser in database `postgres` unless told otherwise. */
  async connect(options: ConnectOptions = {}): Promise<TestClient> {
    const { user = 'postgres', password = passwordOf(user), database = 'postgres', parameters, driver } = options
    const address = { host: '127.0.0.1', port: this.port }
    const client = new pg.Client({ ...address, user, password, database, ...parameters, ...driver })
    const lost = new Promise<Error>((resolve) => client.on('error', resolve))
    this.#clients.push(client)
    await client.connect()
    return Object.assign(client, { lost, [Symbol.asyncDispose]: () => client.end() })
  }

  /** A client that speaks bytes, logged in. */
  async raw(options: ConnectOptions = {}): Promise<RawClient> {
    const client = await RawClient.connect(this.login(options))
    this.#raws.push(client)
    return client
  }

  login({
    user = 'postgres',
    password = passwordOf(user),
    database = 'postgres',
    parameters,
  }: ConnectOptions): RawLogin {
    return { port: this.port, password, parameters: { user, database, ...parameters } }
  }

  /** The line of the error that a login ends with. */
  async refusal(options: ConnectOptions): Promise<string> {
    try {
      await this.raw(options)
    } catch (error) {
      if (error instanceof Ended) return error.message
      throw error
    }
    throw new Error('the login was let in')
  }

  /** @param name `SHOW POOLS`, or `pools` */
  show(name: string): Promise<readonly Row[]> {
    return this.pooler.show(name.replace(/^show\s+/i, '') as ShowName)
  }

  /** Resolves with the first row of a SHOW for which `isTrue`, as soon as there is one. */
  async until(name: string, isTrue: (row: Row) => boolean): Promise<Row> {
    let rows: readonly Row[] = []
    await this.settles(async () => {
      rows = await this.show(name)
      return rows.some(isTrue)
    }).catch(() => {
      throw new Error(`never true of any row of ${name}: ${isTrue}\n${JSON.stringify(rows, undefined, 1)}`)
    })
    return rows.find(isTrue)!
  }

  /** Resolves when no client is connected any more, not even one that has not logged in yet. */
  async untilEmpty(): Promise<void> {
    await this.settles(async () => {
      const items = new Map((await this.show('lists')).map((row) => [row.list, row.items]))
      return items.get('used_clients') === 0 && items.get('login_clients') === 0
    })
  }

  /** Resolves when something is true; it is looked at again and again. */
  async settles(isTrue: () => boolean | Promise<boolean>): Promise<void> {
    await eventually(isTrue)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const raw of this.#raws) raw.stream.destroy()
    await this.pooler.close()
    // Those that the test has ended are ended already; to `end` them again never resolves.
    for (const client of this.#clients) client.connection?.stream.destroy()
    await rm(this.#folder, { recursive: true, force: true })
  }
}

/**
 * Resolves when something is true; it is looked at again and again.
 * @param seen what was found in its place, for the error
 */
export async function eventually(isTrue: () => boolean | Promise<boolean>, seen = (): string => ''): Promise<void> {
  const deadline = performance.now() + patience
  while (!(await isTrue())) {
    if (performance.now() > deadline) throw new Error(`this has not become true: ${isTrue}\n${seen()}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

/** Until a query of this database is in pg_sleep: a cancel is not too early for it. */
export async function untilItSleeps(database: string): Promise<void> {
  const text = "select 1 from pg_stat_activity where datname = $1 and wait_event = 'PgSleep'"
  await eventually(async () => (await query(text, { values: [database] })).length === 1)
}

/** On a free port; transaction mode, and everybody is trusted, unless settings say otherwise. Any database name will do. */
export async function startPooler(settings: Settings = {}, options: PoolerOptions = {}): Promise<TestPooler> {
  const folder = await mkdtemp(join(tmpdir(), 'tsbouncer-test-'))
  const authFile = join(folder, 'userlist.txt')
  await writeFile(authFile, userList(options.secrets ?? allPasswords()), { mode: 0o600 })
  const log = new MemoryLog()
  const { host, port } = options.server ?? postgres().primary
  const config: AnyConfig = {
    pgbouncer: {
      listen_addr: '127.0.0.1',
      listen_port: 0,
      unix_socket_dir: '',
      auth_type: 'trust',
      auth_file: authFile,
      admin_users: 'postgres',
      pool_mode: 'transaction',
      server_tls_sslmode: 'disable',
      ...settings,
    },
    databases: options.databases ?? { '*': { host, port } },
    users: options.users ?? {},
    peers: options.peers ?? {},
  }
  const pooler = createPooler({
    config: config as ConfigInput,
    log,
    ...(options.clock !== undefined && { clock: options.clock }),
  })
  try {
    await pooler.listen()
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    throw error
  }
  return new TestPooler(pooler, log, folder)
}

function passwordOf(user: string): string {
  return Object.values(postgres().roles).find((role) => role.user === user)?.password ?? ''
}

function allPasswords(): Record<string, string> {
  return Object.fromEntries(Object.values(postgres().roles).map(({ user, password }) => [user, password]))
}

function userList(secrets: Readonly<Record<string, string>>): string {
  return Object.entries(secrets)
    .map(([user, secret]) => `"${user}" "${secret.replaceAll('"', '""')}"\n`)
    .join('')
}
