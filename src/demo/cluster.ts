// A primary and a standby that streams from it: initialised, started, stopped.

import { join } from 'node:path'
import type { Binaries } from './binaries.js'
import { EmbeddedPostgres, type ServerPlan, type ServerSettings } from './embedded.js'
import { loopback } from './port.js'
import { writeFor } from './server-user.js'
import type { Workspace } from './workspace.js'

export interface ClusterPlan {
  readonly workspace: Workspace
  readonly binaries: Binaries
  readonly primaryPort: number
  readonly standbyPort: number
  /** Of both servers, over the cluster's own. */
  readonly settings: ServerSettings
  /** Whether commits on the primary wait for the standby. */
  readonly synchronous: boolean
  /** Lines of pg_hba.conf; the standby's own line is added. */
  readonly hba: readonly string[]
  /** What a new cluster begins with, run in template1 before it is first started. */
  readonly sql: readonly string[]
  /** Of the role `replicator`, which `sql` makes with LOGIN and REPLICATION. */
  readonly replicatorPassword: string
  /** Told of each step as it begins. */
  readonly progress?: (step: string) => void
  readonly signal?: AbortSignal | undefined
}

/** The standby's application_name, and its slot on the primary. */
const standbyName = 'standby1'

const createSlot = `SELECT pg_create_physical_replication_slot('${standbyName}', true)`

export class Cluster implements AsyncDisposable {
  readonly primary: EmbeddedPostgres
  readonly standby: EmbeddedPostgres
  readonly #workspace: Workspace
  /** The old primary, once it has come back as a standby. */
  #returned: EmbeddedPostgres | undefined

  private constructor(plan: ClusterPlan, archive: string) {
    this.#workspace = plan.workspace
    this.primary = new EmbeddedPostgres(primaryPlan(plan, archive))
    this.standby = new EmbeddedPostgres(standbyPlan(plan, archive))
  }

  /** Resolves when both take connections and the standby streams; where that fails, what was started is stopped. */
  static async start(plan: ClusterPlan): Promise<Cluster> {
    const cluster = new Cluster(plan, await plan.workspace.makeFolder('archive'))
    try {
      if (plan.workspace.isNew) await cluster.#initialise(plan)
      await cluster.#startBoth(plan)
      return cluster
    } catch (error) {
      await cluster.stop()
      throw error
    }
  }

  /** The primary first: its last words, a checkpoint, still reach the standby. Data that nobody keeps is not written. */
  async stop(): Promise<void> {
    const mode = this.#workspace.keep ? 'fast' : 'immediate'
    await this.primary.stop(mode)
    await this.standby.stop(mode)
    await this.#returned?.stop(mode)
  }

  /** The old primary, which has been stopped in good order, follows the standby that was promoted. */
  async returnAsStandby(signal?: AbortSignal): Promise<void> {
    const { plan } = this.primary
    const { synchronous_standby_names: _, ...settings } = plan.settings
    const follows = primaryConninfo(this.#workspace, { host: loopback, port: this.standby.plan.port }, 'standby2')
    await writeFor(plan.binaries.user, join(plan.data, 'standby.signal'), '')
    this.#returned = new EmbeddedPostgres({ ...plan, settings: { ...settings, primary_conninfo: follows } })
    await this.#returned.start(signal)
    await this.#returned.untilStreaming(signal)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  async #initialise({ workspace, binaries, sql, replicatorPassword, progress, signal }: ClusterPlan): Promise<void> {
    progress?.(`initialising PostgreSQL ${binaries.version}`)
    await this.primary.initialise([...sql, createSlot], signal)
    progress?.('copying the primary to make the standby')
    await this.primary.copyTo(this.standby, signal)
    await writePasswordFile(workspace, replicatorPassword)
    await workspace.complete()
  }

  async #startBoth({ primaryPort, standbyPort, progress, signal }: ClusterPlan): Promise<void> {
    progress?.(`starting the primary on port ${primaryPort}`)
    await this.primary.start(signal)
    progress?.(`starting the standby on port ${standbyPort}`)
    await this.standby.start(signal)
    await this.standby.untilStreaming(signal)
  }
}

function primaryPlan(plan: ClusterPlan, archive: string): ServerPlan {
  return {
    ...serverPlan(plan, 'primary'),
    port: plan.primaryPort,
    settings: {
      ...replicationSettings(plan.workspace, plan.binaries, archive),
      synchronous_standby_names: plan.synchronous ? standbyName : '',
      ...plan.settings,
    },
  }
}

function standbyPlan(plan: ClusterPlan, archive: string): ServerPlan {
  return {
    ...serverPlan(plan, 'standby'),
    port: plan.standbyPort,
    settings: {
      ...replicationSettings(plan.workspace, plan.binaries, archive),
      primary_conninfo: primaryConninfo(plan.workspace, { host: loopback, port: plan.primaryPort }, standbyName),
      primary_slot_name: standbyName,
      ...plan.settings,
    },
  }
}

function serverPlan({ workspace, binaries, hba }: ClusterPlan, name: 'primary' | 'standby') {
  return {
    name,
    binaries,
    data: workspace.data(name),
    log: workspace.file(`${name}.log`),
    hba: [`host replication replicator ${loopback}/32 scram-sha-256`, ...hba],
  }
}

/** Of a server that others stream from, or may have to: settings of all of them. */
export function replicationSettings(workspace: Workspace, binaries: Binaries, archive: string): ServerSettings {
  // For the shell, and `%` is archive_command's own. In two steps, so that a file in the archive is always a whole one.
  const folder = `'${archive.replaceAll("'", "'\\''").replaceAll('%', '%%')}'`
  return {
    listen_addresses: loopback,
    unix_socket_directories: '',
    fsync: workspace.keep ? 'on' : 'off',
    wal_level: 'replica',
    max_wal_senders: 10,
    max_replication_slots: 10,
    archive_mode: 'on',
    archive_command: `cp %p ${folder}/%f.part && mv ${folder}/%f.part ${folder}/%f`,
    hot_standby: 'on',
    wal_retrieve_retry_interval: '1s',
    ...(binaries.major >= 18 && { md5_password_warnings: 'off' }),
  }
}

/** Where a standby called `name` streams from. */
export function primaryConninfo(
  workspace: Workspace,
  { host, port }: { readonly host: string; readonly port: number },
  name: string,
): string {
  return (
    `host=${host} port=${port} user=replicator application_name=${name} ` +
    `passfile=${inConninfo(passwordFile(workspace))} sslmode=disable gssencmode=disable`
  )
}

/** What standbys log in with, outside their settings, which any superuser may read. */
export async function writePasswordFile(workspace: Workspace, replicatorPassword: string): Promise<void> {
  await writeFor(workspace.user, passwordFile(workspace), `*:*:*:replicator:${replicatorPassword}\n`)
}

/** A value in a connection string, where quote and backslash take a backslash before them. */
function inConninfo(text: string): string {
  return `'${text.replace(/[\\']/g, '\\$&')}'`
}

function passwordFile(workspace: Workspace): string {
  return workspace.file('standby.pgpass')
}
