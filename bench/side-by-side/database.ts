// The one PostgreSQL that all are measured against: embedded, with pgbench's tables, letting everyone in.

import { prepareBinaries } from '../../src/demo/binaries.js'
import { EmbeddedPostgres } from '../../src/demo/embedded.js'
import { findFreePort, loopback } from '../../src/demo/port.js'
import { findServerUser } from '../../src/demo/server-user.js'
import { installedSource } from '../../src/demo/source.js'
import { Workspace } from '../../src/demo/workspace.js'
import { run } from './program.js'

/** Nothing reaches a disk, and nothing is done behind the scenes: what is measured is the way to PostgreSQL and back. */
const settings = {
  listen_addresses: loopback,
  unix_socket_directories: '',
  max_connections: 200,
  shared_buffers: '256MB',
  fsync: 'off',
  autovacuum: 'off',
  wal_level: 'minimal',
  max_wal_senders: 0,
}

/** pgbench's scale: rows of pgbench_accounts by 100,000; all of them fit into shared_buffers. */
const scale = 5
const initLimit = 60_000

export const databaseName = 'bench'
export const userName = 'bench'

export interface Database extends AsyncDisposable {
  readonly port: number
  readonly version: string
  /** Where poolers may write, owned by the user whom they run as. */
  readonly workspace: Workspace
}

export async function startDatabase(pgbench: string): Promise<Database> {
  const user = await findServerUser()
  const workspace = await Workspace.open({ user })
  try {
    const binaries = await prepareBinaries(installedSource(), { user, copyTo: workspace.file('binaries') })
    const port = await findFreePort()
    const server = new EmbeddedPostgres({
      name: 'primary',
      binaries,
      data: workspace.data('primary'),
      log: workspace.file('primary.log'),
      port,
      settings,
      hba: [`host all all ${loopback}/32 trust`],
    })
    await server.initialise([`CREATE ROLE ${userName} LOGIN`, `CREATE DATABASE ${databaseName} OWNER ${userName}`])
    await server.start()
    const close = async (): Promise<void> => {
      await server.stop('immediate')
      await workspace.close()
    }
    const where = ['-h', loopback, '-p', String(port), '-U', userName, databaseName]
    try {
      await run(pgbench, ['-i', '-I', 'dtGvp', '-q', '-s', String(scale), ...where], initLimit)
    } catch (error) {
      await close()
      throw error
    }
    return { port, version: binaries.version, workspace, [Symbol.asyncDispose]: close }
  } catch (error) {
    await workspace.close()
    throw error
  }
}
