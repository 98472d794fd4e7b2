// What is measured: PostgreSQL without a pooler, pgbouncer, tsbouncer, with the same settings for both poolers.

import { join } from 'node:path'
import { findFreePort, loopback } from '../../src/demo/port.js'
import { writeFor } from '../../src/demo/server-user.js'
import { type Database, databaseName, userName } from './database.js'
import { run, Server } from './program.js'

export interface Target extends AsyncDisposable {
  readonly name: string
  readonly port: number
  /** The pooler's process; undefined where there is none in between. */
  readonly pid: number | undefined
  /** Can named prepared statements be used in transaction mode? */
  readonly prepares: boolean
}

export interface PoolerOptions {
  readonly database: Database
  readonly poolSize: number
  readonly maxClients: number
}

export function direct({ port }: Database): Target {
  return { name: 'direct', port, pid: undefined, prepares: true, async [Symbol.asyncDispose]() {} }
}

export async function startPgbouncer(program: string, options: PoolerOptions): Promise<Target> {
  const version = /[\d.]+/.exec(await run(program, ['--version'], 5000))?.[0] ?? ''
  const target = await startPooler(`pgbouncer ${version}`, [program], options)
  return { ...target, prepares: isAtLeast(version, [1, 21]) }
}

/**
 * @param dist folder of the compiled tsbouncer
 * @param nodeOptions such as --cpu-prof
 */
export function startTsbouncer(
  name: string,
  dist: string,
  nodeOptions: readonly string[],
  options: PoolerOptions,
): Promise<Target> {
  return startPooler(name, [process.execPath, ...nodeOptions, join(dist, 'process', 'main.js')], options)
}

async function startPooler(name: string, command: readonly string[], options: PoolerOptions): Promise<Target> {
  const { database, poolSize, maxClients } = options
  const { workspace } = database
  const port = await findFreePort(database.port)
  const folder = await workspace.makeFolder(`pooler-${port}`)
  const path = (file: string): string => join(folder, file)
  const config = [
    '[databases]',
    `${databaseName} = host=${loopback} port=${database.port} dbname=${databaseName}`,
    '[pgbouncer]',
    `listen_addr = ${loopback}`,
    `listen_port = ${port}`,
    'unix_socket_dir =',
    'auth_type = trust',
    `auth_file = ${path('userlist.txt')}`,
    `logfile = ${path('pooler.log')}`,
    'pool_mode = transaction',
    'server_tls_sslmode = disable',
    `default_pool_size = ${poolSize}`,
    `max_client_conn = ${maxClients}`,
    ...(workspace.user === undefined ? [] : [`user = ${workspace.user.name}`]),
  ]
  await writeFor(workspace.user, path('userlist.txt'), `"${userName}" ""\n`)
  await writeFor(workspace.user, path('pooler.ini'), `${config.join('\n')}\n`)
  const [program, ...args] = command
  const server = await Server.start(program ?? '', [...args, '-q', path('pooler.ini')], port)
  return { name, port, pid: server.pid, prepares: true, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
}

function isAtLeast(version: string, least: readonly [number, number]): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return major > least[0] || (major === least[0] && minor >= least[1])
}
