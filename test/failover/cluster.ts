// A primary and two standbys of the drill's own: who is primary is what the drill has said last, and nothing moves by itself.

import { prepareBinaries } from '../../src/demo/binaries.js'
import { replicationSettings, writePasswordFile } from '../../src/demo/cluster.js'
import type { ServerSettings } from '../../src/demo/embedded.js'
import { findFreePort, loopback } from '../../src/demo/port.js'
import { findServerUser, writeFor } from '../../src/demo/server-user.js'
import { installedSource } from '../../src/demo/source.js'
import { Workspace } from '../../src/demo/workspace.js'
import { hba, makeTestRoles, type PostgresFacts } from '../harness/cluster.js'
import { eventually } from '../harness/pooler.js'
import { ours } from '../harness/tls.js'
import { Host, type Session } from './host.js'
import { LoopbackLink } from './link.js'
import { RoutedLink } from './routed-link.js'

export interface ClusterOptions {
  /** Links whose packets are dropped by a router, in place of a forwarder that stands still. */
  readonly routed?: boolean
}

/** A host that is primary from now on. */
export interface Reign {
  readonly host: Host
  /** When it was told to be, and when it took a write past every link (performance.now). */
  readonly since: number
  readonly writableAt: number
}

const names = ['a', 'b', 'c'] as const

/** The database of the drill, with the tables that writers and observers write into. */
export const database = 'app'

/** No unique index: what was executed twice is to be seen. */
const tables = [
  'CREATE TABLE tokens (token text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp())',
  'CREATE TABLE polls (at timestamptz NOT NULL DEFAULT clock_timestamp())',
  'GRANT ALL ON tokens, polls TO PUBLIC',
]

export class FailoverCluster implements AsyncDisposable {
  readonly hosts: readonly Host[]
  /** For the harness of all tests: roles, and a primary. */
  readonly facts: PostgresFacts
  readonly #workspace: Workspace
  readonly #reigns: Reign[]
  #isSynchronous = false

  private constructor(hosts: readonly Host[], facts: PostgresFacts, workspace: Workspace) {
    this.hosts = hosts
    this.#reigns = [{ host: hosts[0]!, since: 0, writableAt: 0 }]
    this.facts = facts
    this.#workspace = workspace
  }

  static async start({ routed = false }: ClusterOptions = {}): Promise<FailoverCluster> {
    const user = await findServerUser()
    const workspace = await Workspace.open({ user, servers: names })
    const binaries = await prepareBinaries(installedSource(), { user, copyTo: workspace.file('binaries') })
    const { sql, logins } = await makeTestRoles()
    const socketDir = await workspace.makeFolder('socket')
    await writePasswordFile(workspace, logins.replicator.password)
    const settings = {
      ...replicationSettings(workspace, binaries, workspace.path),
      unix_socket_directories: socketDir,
      archive_mode: 'off',
      autovacuum: 'off',
      wal_log_hints: 'on', // pg_rewind wants it
      wal_retrieve_retry_interval: '100ms',
      wal_sender_timeout: '3s',
      wal_receiver_timeout: '3s',
      timezone: 'UTC',
      ...(await serverTls(workspace)),
    }
    const ports: number[] = []
    for (const _ of [...names, ...names]) ports.push(await findFreePort(...ports))
    const hosts: Host[] = []
    for (const [index, name] of names.entries()) {
      const port = ports[index]!
      const at = ports[index + names.length]!
      const link = routed
        ? await RoutedLink.open(at, `${socketDir}/.s.PGSQL.${port}`)
        : await LoopbackLink.open({ host: loopback, port: at }, { host: loopback, port })
      const lines = ['local replication all scram-sha-256', ...hba]
      hosts.push(new Host({ name, workspace, binaries, port, link, settings, hba: lines }))
    }
    const [first, second] = hosts as [Host, Host]
    const facts: PostgresFacts = {
      version: binaries.major,
      primary: first.link.address,
      standby: second.link.address,
      socketDir,
      roles: logins,
      logs: { primary: workspace.file('a.log'), standby: workspace.file('b.log') },
    }
    const cluster = new FailoverCluster(hosts, facts, workspace)
    try {
      await first.initialise([...sql, `CREATE DATABASE ${database}`])
      await first.start()
      for (const statement of tables) await first.query(statement, database)
      await cluster.settle()
      return cluster
    } catch (error) {
      await cluster[Symbol.asyncDispose]()
      throw error
    }
  }

  get primary(): Host {
    return this.#reigns.at(-1)!.host
  }

  /** Who was primary, one after the other. */
  get reigns(): readonly Reign[] {
    return this.#reigns
  }

  get standbys(): readonly Host[] {
    return this.hosts.filter((host) => host !== this.primary)
  }

  /** Whether commits wait for one of the standbys, whoever is primary. */
  async setSynchronous(on: boolean): Promise<void> {
    this.#isSynchronous = on
    await this.#applySynchronous()
  }

  /**
   * Makes the standby the primary that has received most, and has the others that run follow it. First nobody receives
   * from the old one any more, which may live: a synchronous commit there would be confirmed by one that is not chosen.
   * Resolves when the new primary takes writes, with the time of that.
   */
  async promote(): Promise<number> {
    const able = this.standbys.filter((standby) => standby.isRunning && !standby.isFrozen)
    await Promise.all(able.map((standby) => standby.detach()))
    const host = await mostAdvanced(able)
    const since = performance.now()
    const taken = this.#writable(host)
    await host.promote()
    await eventually(async () => (await host.query('SELECT pg_is_in_recovery() AS is'))[0]?.is === false)
    const [writableAt] = await Promise.all([
      taken,
      this.#applySynchronous(host),
      ...able.filter((standby) => standby !== host).map((standby) => standby.follow(host)),
    ])
    this.#reigns.push({ host, since, writableAt })
    return writableAt
  }

  /** The time at which the primary has taken a write of ours, past every link. */
  untilWritable(): Promise<number> {
    return this.#writable(this.primary)
  }

  /** All is well again: links open, nobody frozen or late, every other host a standby of the primary that streams. */
  async settle(): Promise<void> {
    for (const host of this.hosts) {
      await host.link.restore()
      await host.thaw()
    }
    if (!this.primary.isRunning) await this.primary.start()
    await this.#applySynchronous()
    await Promise.all(this.standbys.map((standby) => this.#settleStandby(standby)))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const host of this.hosts) await host.stop('immediate')
    for (const host of this.hosts) await host.link[Symbol.asyncDispose]()
    await this.#workspace.close()
  }

  async #settleStandby(standby: Host): Promise<void> {
    if (!(await this.#streamsFromPrimary(standby))) await standby.cloneFrom(this.primary)
    await standby.resumeReplay()
    await standby.untilStreaming()
  }

  async #streamsFromPrimary(standby: Host): Promise<boolean> {
    if (!standby.isRunning) return false
    const rows = await this.primary.query(
      `SELECT FROM pg_stat_replication WHERE application_name = '${standby.name}' AND state = 'streaming'`,
    )
    return rows.length === 1
  }

  async #writable(primary: Host): Promise<number> {
    let session: Session | undefined
    let time = 0
    await eventually(async () => {
      try {
        session ??= await primary.session(database)
        await session.query('INSERT INTO polls DEFAULT VALUES')
        time = performance.now()
        return true
      } catch (error) {
        if ((error as { code?: string }).code !== '25006') session = undefined
        return false
      }
    })
    await session?.[Symbol.asyncDispose]()
    return time
  }

  async #applySynchronous(primary = this.primary): Promise<void> {
    await primary.set('synchronous_standby_names', this.#isSynchronous ? `ANY 1 (${names.join(', ')})` : '')
  }
}

async function mostAdvanced(standbys: readonly Host[]): Promise<Host> {
  const received = await Promise.all(standbys.map((standby) => standby.received()))
  const best = received.indexOf(received.reduce((most, next) => (next > most ? next : most)))
  return standbys[best]!
}

/** For clients that want it; the certificate is the tests' own authority's. */
async function serverTls(workspace: Workspace): Promise<ServerSettings> {
  const [cert, key] = [workspace.file('server.crt'), workspace.file('server.key')]
  await writeFor(workspace.user, cert, ours.cert)
  await writeFor(workspace.user, key, ours.key)
  return { ssl: 'on', ssl_cert_file: cert, ssl_key_file: key }
}
