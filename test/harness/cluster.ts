// Embedded PostgreSQL for tests: a primary and a standby with a role for every way to log in.

import { access, constants } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { prepareBinaries } from '../../src/demo/binaries.js'
import { Cluster } from '../../src/demo/cluster.js'
import type { EmbeddedPostgres, ServerSettings } from '../../src/demo/embedded.js'
import { findFreePort, loopback } from '../../src/demo/port.js'
import { lookupStatements, makeSecret, type Role, roleStatement } from '../../src/demo/roles.js'
import { findServerUser } from '../../src/demo/server-user.js'
import { installedSource } from '../../src/demo/source.js'
import { Workspace } from '../../src/demo/workspace.js'

/**
 * Who may log in to the test servers. The line of pg_hba.conf decides what the server asks for: md5_user an md5
 * response, plain_user the password itself, trust_user nothing, all others SCRAM.
 */
const roles = {
  postgres: { name: 'postgres', password: 'postgres', stored: 'scram' },
  scram_user: { name: 'scram_user', password: 'scram secret', stored: 'scram' },
  md5_user: { name: 'md5_user', password: 'md5 secret', stored: 'md5' },
  plain_user: { name: 'plain_user', password: 'plain secret', stored: 'scram' },
  trust_user: { name: 'trust_user', password: 'unused', stored: 'scram' },
  /** Has a password, and had its time. */
  expired_user: { name: 'expired_user', password: 'expired', stored: 'scram', attributes: "VALID UNTIL '2001-01-01'" },
  /** The auth_user of auth_query: may call pgbouncer.get_auth in every database. */
  pgbouncer: { name: 'pgbouncer', password: 'pgbouncer', stored: 'scram' },
  /** For replication connections. */
  replicator: { name: 'replicator', password: 'replicator', stored: 'scram', attributes: 'REPLICATION' },
} as const satisfies Record<string, Role>

export type TestRole = keyof typeof roles

/** A role without a password, and one that may not log in although it has one. */
const otherRoles = ['CREATE ROLE nopassword_user LOGIN', "CREATE ROLE nologin_user NOLOGIN PASSWORD 'nologin'"]

/** Lines of pg_hba.conf by which they do. */
export const hba: readonly string[] = [
  'local all trust_user trust',
  'local all md5_user md5',
  'local all plain_user password',
  'local all all scram-sha-256',
  `host all trust_user ${loopback}/32 trust`,
  `host all md5_user ${loopback}/32 md5`,
  `host all plain_user ${loopback}/32 password`,
  `host all all ${loopback}/32 scram-sha-256`,
  `host replication all ${loopback}/32 scram-sha-256`,
]

export interface Address {
  readonly host: string
  readonly port: number
}

export interface Login {
  readonly user: string
  readonly password: string
  /** As in pg_authid, for an auth_file. */
  readonly secret: string
}

/** What tests need to know of the servers; plain data. */
export interface PostgresFacts {
  /** Of both servers, 18 for 18.4. */
  readonly version: number
  readonly primary: Address
  readonly standby: Address
  /** The folder of both servers' Unix sockets, `.s.PGSQL.<port>`. */
  readonly socketDir: string
  readonly roles: Readonly<Record<TestRole, Login>>
  readonly logs: { readonly primary: string; readonly standby: string }
  /** PostgreSQL's own client, where one is installed. */
  readonly psql?: string
}

/** The SQL that a new server begins with, and what its roles log in with. */
export async function makeTestRoles(): Promise<{ sql: readonly string[]; logins: Readonly<Record<TestRole, Login>> }> {
  const secrets = await Promise.all(Object.values(roles).map(makeSecret))
  const logins = secrets.map(({ role, secret }) => [role.name, { user: role.name, password: role.password, secret }])
  return {
    sql: [...secrets.map(roleStatement), ...otherRoles, ...lookupStatements],
    logins: Object.fromEntries(logins) as Record<TestRole, Login>,
  }
}

export interface TestCluster extends AsyncDisposable {
  readonly facts: PostgresFacts
  /** To be stopped and started by tests of failover. */
  readonly primary: EmbeddedPostgres
  readonly standby: EmbeddedPostgres
}

export interface TestClusterOptions {
  /** Whether commits wait for the standby. */
  readonly synchronous?: boolean
  readonly settings?: ServerSettings
  /** Lines of pg_hba.conf, before those that all test servers have. */
  readonly hba?: readonly string[]
}

/** A cluster of one's own takes about two seconds; most tests share the one of the run, `postgres()`. */
export async function startTestCluster(options: TestClusterOptions = {}): Promise<TestCluster> {
  const user = await findServerUser()
  const workspace = await Workspace.open({ user })
  try {
    const binaries = await prepareBinaries(installedSource(), { user, copyTo: workspace.file('binaries') })
    const primaryPort = await findFreePort()
    const standbyPort = await findFreePort(primaryPort)
    const { sql, logins } = await makeTestRoles()
    const socketDir = await workspace.makeFolder('socket')
    const cluster = await Cluster.start({
      workspace,
      binaries,
      primaryPort,
      standbyPort,
      synchronous: options.synchronous ?? false,
      hba: [...(options.hba ?? []), ...hba],
      sql,
      replicatorPassword: roles.replicator.password,
      settings: {
        unix_socket_directories: socketDir,
        max_connections: 300,
        password_encryption: 'scram-sha-256', // md5 was the default until 14
        wal_level: 'logical',
        archive_mode: 'off',
        full_page_writes: 'off',
        autovacuum: 'off',
        wal_retrieve_retry_interval: '100ms',
        timezone: 'UTC',
        ...options.settings,
      },
    })
    const psql = await findProgram('psql')
    return {
      primary: cluster.primary,
      standby: cluster.standby,
      facts: {
        version: Number.parseInt(binaries.version, 10),
        primary: { host: loopback, port: primaryPort },
        standby: { host: loopback, port: standbyPort },
        socketDir,
        roles: logins,
        logs: { primary: cluster.primary.plan.log, standby: cluster.standby.plan.log },
        ...(psql !== undefined && { psql }),
      },
      async [Symbol.asyncDispose]() {
        await cluster.stop()
        await workspace.close()
      },
    }
  } catch (error) {
    await workspace.close()
    throw error
  }
}

async function findProgram(name: string): Promise<string | undefined> {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const path = join(folder, name)
    const found = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    )
    if (found) return path
  }
  return undefined
}
