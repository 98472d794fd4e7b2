// Roles with known passwords: their SQL, their lines in the pooler's auth_file, and the function that auth_query calls.

import { md5Secret, scramSecret } from './secrets.js'

export interface Role {
  readonly name: string
  readonly password: string
  /** The form that PostgreSQL stores. */
  readonly stored: 'scram' | 'md5'
  /** More words of CREATE ROLE: `SUPERUSER`, `VALID UNTIL '...'`. */
  readonly attributes?: string
  /** What the pooler's auth_file says; left out, the role is known to PostgreSQL only. */
  readonly inAuthFile?: 'plain' | 'secret'
}

/** What a role logs in with, once made. */
export interface RoleSecret {
  readonly role: Role
  /** As in pg_authid.rolpassword. */
  readonly secret: string
}

export async function makeSecret(role: Role): Promise<RoleSecret> {
  const { name, password, stored } = role
  return { role, secret: stored === 'md5' ? md5Secret(name, password) : await scramSecret(password) }
}

/** The SQL that makes it; `postgres` is there already, from initdb. */
export function roleStatement({ role, secret }: RoleSecret): string {
  const verb = role.name === 'postgres' ? 'ALTER' : 'CREATE'
  return `${verb} ROLE ${role.name} LOGIN PASSWORD '${secret}' ${role.attributes ?? ''}`
}

export function authFile(secrets: readonly RoleSecret[]): string {
  const lines = secrets.flatMap(({ role, secret }) => {
    if (role.inAuthFile === undefined) return []
    return [`"${role.name}" "${role.inAuthFile === 'plain' ? role.password : secret}"\n`]
  })
  return lines.join('')
}

/**
 * The lookup function, for `auth_query = SELECT usename, passwd FROM pgbouncer.get_auth($1)`; the role `pgbouncer`, the
 * only one that may call it, has to exist. It runs as its owner, so its search_path is its own and not its caller's. A
 * role whose password has expired has none, and one that may not log in is not there.
 */
export const lookupStatements: readonly string[] = [
  'CREATE SCHEMA pgbouncer',
  'GRANT USAGE ON SCHEMA pgbouncer TO pgbouncer',
  `CREATE FUNCTION pgbouncer.get_auth(wanted text, OUT usename name, OUT passwd text) RETURNS SETOF record
     LANGUAGE sql STABLE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
     AS $$
       SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END
       FROM pg_authid WHERE rolname = wanted AND rolcanlogin
     $$`,
  'REVOKE ALL ON FUNCTION pgbouncer.get_auth(text) FROM PUBLIC',
  'GRANT EXECUTE ON FUNCTION pgbouncer.get_auth(text) TO pgbouncer',
]

export const lookupQuery = 'SELECT usename, passwd FROM pgbouncer.get_auth($1)'
