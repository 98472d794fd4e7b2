// The pooler's side of the demo: pgbouncer.ini and its auth_file.

import { writeFile } from 'node:fs/promises'
import { loopback } from './port.js'
import { authFile, lookupQuery, type RoleSecret } from './roles.js'
import type { Workspace } from './workspace.js'

export interface PoolerPorts {
  readonly pooler: number
  readonly primary: number
  readonly standby: number
}

/**
 * Written anew at every start, since the servers' ports differ each time; its path.
 * @param hasRoles the entries follow the roles of both servers
 */
export async function writePoolerConfig(workspace: Workspace, ports: PoolerPorts, hasRoles: boolean): Promise<string> {
  const path = workspace.file('pgbouncer.ini')
  await writeFile(
    path,
    poolerConfig(hasRoles ? roleEntries(ports) : entries(ports), ports.pooler, authFilePath(workspace)),
    { mode: 0o600 },
  )
  return path
}

/** Of a new cluster: the secrets in it are those that its roles were made with. */
export async function writeAuthFile(workspace: Workspace, secrets: readonly RoleSecret[]): Promise<void> {
  await writeFile(authFilePath(workspace), authFile(secrets), { mode: 0o600 })
}

function authFilePath(workspace: Workspace): string {
  return workspace.file('userlist.txt')
}

function entries({ primary, standby }: PoolerPorts): string {
  return `pg_rw = host=${loopback} port=${primary} dbname=chensen
pg_ro = host=${loopback} port=${standby} dbname=chensen
chensen = host=${loopback} port=${primary}
; the name that libpq asks for in physical replication: pg_basebackup, pg_receivewal, standbys
replication = host=${loopback} port=${primary}`
}

function roleEntries({ primary, standby }: PoolerPorts): string {
  const hosts = `host=${loopback},${loopback} port=${primary},${standby} dbname=chensen`
  return `pg_rw = ${hosts} target_session_attrs=read-write
pg_ro = ${hosts} target_session_attrs=prefer-standby`
}

function poolerConfig(databases: string, port: number, userlist: string): string {
  return `; Written by the demo at every start: the servers' ports differ each time.

[databases]
${databases}

[pgbouncer]
listen_addr = ${loopback}
listen_port = ${port}
unix_socket_dir =

auth_type = md5
auth_file = ${userlist}
; users who are not in that file are looked up in PostgreSQL
auth_user = pgbouncer
auth_query = ${lookupQuery}
admin_users = postgres

pool_mode = transaction
default_pool_size = 30
max_client_conn = 500

ignore_startup_parameters = extra_float_digits
`
}
