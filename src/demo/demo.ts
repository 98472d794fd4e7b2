// tsbouncer demo: an embedded PostgreSQL primary and standby with the pooler in front, until it is interrupted.

import { type Binaries, prepareBinaries } from './binaries.js'
import { Cluster } from './cluster.js'
import { DemoError } from './demo-error.js'
import { type DemoLoad, showFailover } from './failover.js'
import { type PoolerPorts, writeAuthFile, writePoolerConfig } from './pooler-files.js'
import { findFreePort, loopback, requireFreePort } from './port.js'
import { lookupStatements, makeSecret, type Role, roleStatement } from './roles.js'
import { randomPassword } from './secrets.js'
import { findServerUser } from './server-user.js'
import { findSource } from './source.js'
import { Workspace } from './workspace.js'

export interface DemoOptions {
  /** The pooler's, on 127.0.0.1. */
  readonly port: number
  /** A folder for everything: made if absent, used again if it is of an earlier demo, and kept. */
  readonly data?: string | undefined
  /** Keeps the temporary folder that is used without `data`. */
  readonly keep?: boolean | undefined
  /** Where given: shows what clients see of a switchover, and ends. Puts load on the pooler that listens on this port. */
  readonly failover?: ((port: number) => Promise<DemoLoad>) | undefined
  /** Takes one line for people. */
  readonly print: (line: string) => void
  /** Resolves when the pooler listens. */
  readonly startPooler: (configPath: string) => Promise<DemoPooler>
  /** Ends the demo, also while it is still coming up. */
  readonly signal: AbortSignal
}

export interface DemoPooler {
  stop(): Promise<void>
}

/** The demo's people. The roles of the machinery, `pgbouncer` and `replicator`, have passwords that nobody knows. */
const people: readonly Role[] = [
  { name: 'postgres', password: 'postgres', stored: 'scram', inAuthFile: 'plain' },
  { name: 'sam', password: 'sam', stored: 'scram', inAuthFile: 'secret' },
  { name: 'clm', password: 'clm', stored: 'md5', inAuthFile: 'secret' },
  { name: 'chensen', password: 'chensen', stored: 'scram' },
]

/**
 * Resolves when `signal` has been aborted and all of it has been stopped. Rejects, with everything stopped, with a
 * DemoError for what its user can understand: a port in use, no PostgreSQL for this platform, a server that fails.
 */
export async function runDemo(options: DemoOptions): Promise<void> {
  const { signal, print } = options
  try {
    await requireFreePort(options.port)
    const user = await findServerUser()
    await using workspace = await Workspace.open({ folder: options.data, keep: options.keep === true, user })
    await runIn(workspace, options)
    if (workspace.isKept) print(`The data is kept in ${workspace.path}`)
  } catch (error) {
    if (!signal.aborted || error !== signal.reason) throw error
  }
  print('Stopped')
}

async function runIn(workspace: Workspace, options: DemoOptions): Promise<void> {
  const { port, print, signal, startPooler } = options
  const who = workspace.user === undefined ? '' : ` as user ${workspace.user.name}`
  print(`Bringing up PostgreSQL${who} in ${workspace.path}`)
  const wanted = { user: workspace.user, copyTo: workspace.file('binaries'), signal }
  const binaries = await prepareBinaries(await findSource(print, signal), wanted)
  const primary = await findFreePort(port)
  const ports = { pooler: port, primary, standby: await findFreePort(port, primary) }
  await using cluster = await startCluster(workspace, binaries, ports, options)

  signal.throwIfAborted()
  print(`  starting the pooler on port ${port}`)
  const pooler = await startPooler(await writePoolerConfig(workspace, ports, options.failover !== undefined))
  try {
    signal.throwIfAborted()
    if (options.failover !== undefined) {
      await showFailover(cluster, await options.failover(port), print, signal)
    } else {
      for (const line of instructions(workspace, ports)) print(line)
      await untilOver(cluster, options)
    }
    print('Stopping')
  } finally {
    await pooler.stop()
  }
}

async function startCluster(
  workspace: Workspace,
  binaries: Binaries,
  ports: PoolerPorts,
  { print, signal }: DemoOptions,
): Promise<Cluster> {
  const replicatorPassword = randomPassword()
  const machinery: readonly Role[] = [
    { name: 'pgbouncer', password: randomPassword(), stored: 'scram', inAuthFile: 'plain' },
    { name: 'replicator', password: replicatorPassword, stored: 'scram', attributes: 'REPLICATION' },
  ]
  const secrets = await Promise.all([...people, ...machinery].map(makeSecret))
  if (workspace.isNew) await writeAuthFile(workspace, secrets)
  return Cluster.start({
    workspace,
    binaries,
    primaryPort: ports.primary,
    standbyPort: ports.standby,
    settings: { max_connections: 200, wal_level: 'logical' },
    synchronous: true,
    hba: [
      // The one whose stored secret is an md5 hash.
      `host all clm ${loopback}/32 md5`,
      `host all all ${loopback}/32 scram-sha-256`,
      `host replication postgres ${loopback}/32 scram-sha-256`,
    ],
    // The lookup function comes before the database, which takes it over from template1.
    sql: [...secrets.map(roleStatement), ...lookupStatements, 'CREATE DATABASE chensen OWNER chensen'],
    replicatorPassword,
    progress: (step) => print(`  ${step}`),
    signal,
  })
}

/** One server may end, that can be interesting to watch; with both gone there is nothing left to show. */
async function untilOver({ primary, standby }: Cluster, { print, signal }: DemoOptions): Promise<void> {
  const endings = [primary, standby].map(async (server) => {
    const how = await server.ended()
    if (!signal.aborted) print(`The ${server.plan.name} has gone: ${how}`)
  })
  await Promise.race([aborted(signal), Promise.all(endings)])
  if (!signal.aborted) throw new DemoError('both PostgreSQL servers have gone')
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

function instructions(workspace: Workspace, ports: PoolerPorts): readonly string[] {
  const url = (user: string, database: string): string =>
    `postgres://${user}:${user}@${loopback}:${ports.pooler}/${database}`
  const script =
    `const c = new (require('pg').Client)('${url('sam', 'pg_rw')}'); c.connect()` +
    `.then(() => c.query('select current_user, version()')).then((r) => console.table(r.rows)).finally(() => c.end())`
  return [
    '',
    `Ready: the pooler listens on ${loopback}:${ports.pooler}. In another terminal:`,
    '',
    `  psql ${url('postgres', 'pg_rw')}                        the primary`,
    `  psql ${url('postgres', 'pg_ro')}                        the standby, read only`,
    `  psql ${url('postgres', 'pgbouncer')} -c 'show pools'    the pooler itself`,
    `  pg_basebackup -d ${url('postgres', '')} -D copy         a copy of the primary`,
    '',
    'or, in a folder with the npm package pg, such as a clone of this project:',
    '',
    `  node -e "${script}"`,
    '',
    'Users: postgres (admin), sam (a SCRAM secret in the auth_file), clm (an md5 hash there) and chensen (known to',
    'PostgreSQL only); the password of each is its name.',
    `The pooler's configuration is ${workspace.file('pgbouncer.ini')},`,
    `PostgreSQL's logs are ${workspace.file('primary.log')} and standby.log beside it.`,
    '',
    'Ctrl-C stops all of it.',
  ]
}
