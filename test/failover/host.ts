// A host of the drill: one PostgreSQL behind its link, with all that may happen to such a machine.

import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import type { Binaries } from '../../src/demo/binaries.js'
import { primaryConninfo } from '../../src/demo/cluster.js'
import { EmbeddedPostgres, type ServerPlan, type ServerSettings, type StopMode } from '../../src/demo/embedded.js'
import { loopback } from '../../src/demo/port.js'
import { writeFor } from '../../src/demo/server-user.js'
import type { Workspace } from '../../src/demo/workspace.js'
import type { Address } from '../harness/cluster.js'
import { eventually } from '../harness/pooler.js'
import type { Link } from './link.js'

export interface HostPlan {
  readonly name: string
  readonly workspace: Workspace
  readonly binaries: Binaries
  /** PostgreSQL's own, past the link. */
  readonly port: number
  readonly link: Link
  readonly settings: ServerSettings
  readonly hba: readonly string[]
}

export type Row = Readonly<Record<string, unknown>>

/** A connection past the link. */
export interface Session extends AsyncDisposable {
  query(sql: string): Promise<Row[]>
}

export class Host {
  readonly name: string
  /** Past the link: for those who look on. */
  readonly direct: Address
  readonly link: Link
  readonly #plan: HostPlan
  #server: EmbeddedPostgres
  #isFrozen = false

  constructor(plan: HostPlan) {
    this.name = plan.name
    this.direct = { host: loopback, port: plan.port }
    this.link = plan.link
    this.#plan = plan
    this.#server = new EmbeddedPostgres(this.#serverPlan({}))
  }

  get isRunning(): boolean {
    return this.#server.isRunning
  }

  get isFrozen(): boolean {
    return this.#isFrozen
  }

  initialise(sql: readonly string[]): Promise<void> {
    return this.#server.initialise(sql)
  }

  /** As it was before: an old primary comes back as a primary. */
  start(): Promise<void> {
    return this.#server.start()
  }

  /** Again, as a standby: only what has ended in good order can follow without being copied. */
  async startAsStandby(primary: Host): Promise<void> {
    await writeFor(this.#plan.binaries.user, join(this.#data, 'standby.signal'), '')
    await writeFor(this.#plan.binaries.user, join(this.#data, 'postgresql.auto.conf'), '')
    await this.#startFollowing(primary)
  }

  /** From nothing, as a copy of a primary that runs. */
  async cloneFrom(primary: Host): Promise<void> {
    await this.kill()
    await primary.reserveSlot(this.name)
    await using session = await primary.session('postgres')
    await session.query("SELECT pg_backup_start('clone', true)")
    const end = async (): Promise<string> => {
      const [row] = await session.query('SELECT labelfile FROM pg_backup_stop(false)')
      return String(row?.labelfile)
    }
    await primary.#server.copyRunningTo(this.#server, { end })
    await this.#startFollowing(primary)
  }

  async stop(mode: StopMode): Promise<void> {
    await this.thaw()
    await this.#server.stop(mode)
  }

  /** kill -9 of the postmaster and all of its children; nothing is written any more. */
  async kill(): Promise<void> {
    if (!this.isRunning) return
    const ended = this.#server.ended()
    await this.#signalAll('SIGKILL')
    await ended
    this.#isFrozen = false
  }

  /** The processes stand still, the kernel goes on: connections are accepted, and no byte is answered. */
  async freeze(): Promise<void> {
    await this.#signalAll('SIGSTOP')
    this.#isFrozen = true
  }

  async thaw(): Promise<void> {
    if (this.#isFrozen) await this.#signalAll('SIGCONT')
    this.#isFrozen = false
  }

  promote(): Promise<void> {
    return this.#server.promote()
  }

  /** Of a standby that runs: it receives from nobody any more. */
  async detach(): Promise<void> {
    await this.set('primary_conninfo', '')
    await eventually(async () => (await this.query('SELECT FROM pg_stat_wal_receiver')).length === 0)
  }

  /** Of a standby that runs: from now on it streams from another primary. */
  async follow(primary: Host): Promise<void> {
    await primary.reserveSlot(this.name)
    await this.set('primary_conninfo', this.#conninfo(primary))
  }

  async untilStreaming(): Promise<void> {
    await using session = await this.session('postgres')
    await eventually(async () => {
      const rows = await session.query("SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming'")
      return rows.length === 1
    })
  }

  /** A late standby: what it receives is not shown. */
  async pauseReplay(): Promise<void> {
    await this.query('SELECT pg_wal_replay_pause()')
  }

  async resumeReplay(): Promise<void> {
    await this.query('SELECT pg_wal_replay_resume()')
  }

  /** The bytes of WAL that it has, as far as it can show or replay them. */
  async received(): Promise<bigint> {
    const [row] = await this.query(
      "SELECT greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0'::pg_lsn AS bytes",
    )
    return BigInt(String(row?.bytes))
  }

  async reserveSlot(name: string): Promise<void> {
    await this.query(
      `SELECT pg_create_physical_replication_slot('${name}', true)
       WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = '${name}')`,
    )
  }

  async set(setting: string, value: string): Promise<void> {
    await this.query(`ALTER SYSTEM SET ${setting} = '${value.replaceAll("'", "''")}'`)
    await this.query('SELECT pg_reload_conf()')
  }

  /** Asks it past the link, over a connection of its own. */
  async query(sql: string, database = 'postgres'): Promise<Row[]> {
    await using session = await this.session(database)
    return await session.query(sql)
  }

  async session(database: string): Promise<Session> {
    const login = { user: 'postgres', password: 'postgres', database }
    const client = new pg.Client({ ...this.direct, ...login })
    client.on('error', () => {})
    await client.connect()
    return {
      query: async (sql: string): Promise<Row[]> => (await client.query<Row>(sql)).rows,
      // Where the host is gone this never resolves.
      [Symbol.asyncDispose]: async () => void client.end(),
    }
  }

  get #data(): string {
    return this.#plan.workspace.data(this.name)
  }

  #conninfo(primary: Host): string {
    return primaryConninfo(this.#plan.workspace, primary.link.address, this.name)
  }

  async #startFollowing(primary: Host): Promise<void> {
    await primary.reserveSlot(this.name)
    this.#server = new EmbeddedPostgres(this.#serverPlan({ primary_conninfo: this.#conninfo(primary) }))
    await this.#server.start()
  }

  #serverPlan(more: ServerSettings): ServerPlan {
    const { name, workspace, binaries, port, settings, hba } = this.#plan
    return {
      name,
      binaries,
      port,
      hba,
      data: workspace.data(name),
      log: workspace.file(`${name}.log`),
      settings: { ...settings, primary_slot_name: name, ...more },
    }
  }

  async #signalAll(signal: NodeJS.Signals): Promise<void> {
    const postmaster = this.#server.pid
    if (postmaster === undefined || !this.isRunning) return
    // It first: while it stands still or is gone, it makes no more children.
    process.kill(postmaster, signal === 'SIGKILL' ? 'SIGSTOP' : signal)
    for (const child of await childrenOf(postmaster)) signalIfThere(child, signal)
    if (signal === 'SIGKILL') process.kill(postmaster, signal)
  }
}

async function childrenOf(parent: number): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const parents = await Promise.all(
    // Behind the name, which stands in parentheses and may have any character, are the state and the parent: proc(5).
    pids.map(async (pid) => {
      const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
      return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
    }),
  )
  return pids.map(Number).filter((_, index) => parents[index] === parent)
}

function signalIfThere(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
