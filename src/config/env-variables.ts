// The variables of a container's environment: which of them are settings, and which only look like it.

import { ConfigError } from './config-error.js'
import { databaseKeys } from './databases.js'
import { nearest } from './nearest.js'
import { type SettingName, settingNamed, settingNames } from './settings.js'

/** As `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>

/** Settings that the image edoburu/pgbouncer takes by their own names; every setting has its PGBOUNCER_ name besides. */
const plainNames: ReadonlySet<string> = new Set(
  `admin_users application_name_add_host auth_dbname auth_file auth_hba_file auth_query auth_type auth_user
  autodb_idle_timeout client_idle_timeout client_login_timeout client_tls_ca_file client_tls_cert_file
  client_tls_ciphers client_tls_dheparams client_tls_ecdhcurve client_tls_key_file client_tls_protocols
  client_tls_sslmode default_pool_size disable_pqexec dns_max_ttl dns_nxdomain_ttl idle_transaction_timeout
  ignore_startup_parameters listen_addr listen_backlog listen_port log_connections log_disconnections
  log_pooler_errors log_stats logfile max_client_conn max_db_connections max_packet_size max_prepared_statements
  max_user_connections min_pool_size pkt_buf pool_mode query_timeout query_wait_timeout reserve_pool_size
  reserve_pool_timeout sbuf_loopcnt server_check_delay server_check_query server_connect_timeout server_idle_timeout
  server_lifetime server_login_retry server_reset_query server_reset_query_always server_round_robin
  server_tls_ca_file server_tls_cert_file server_tls_ciphers server_tls_key_file server_tls_protocols
  server_tls_sslmode stats_period stats_users suspend_timeout tcp_defer_accept tcp_keepalive tcp_keepcnt tcp_keepidle
  tcp_keepintvl tcp_user_timeout unix_socket_dir verbose`.split(/\s+/),
)

/** Variables that other images know, with what to write instead. */
const foreign: Readonly<Record<string, string>> = {
  PGBOUNCER_DATABASE: 'DATABASES or DB_NAME',
  PGBOUNCER_PORT: 'PGBOUNCER_LISTEN_PORT',
  DATABASES_RAW: 'DATABASES, one entry a line',
}

/**
 * What Kubernetes tells a container of a Service named `pgbouncer`, `db` or `databases`.
 * https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
 */
const serviceName = /_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$/
const serviceValue = /^(tcp|udp|sctp):\/\//

function isServiceLink(name: string, value: string): boolean {
  return serviceName.test(name) || serviceValue.test(value)
}

/**
 * The value of a variable; undefined where it is unset, empty, or about a Service of Kubernetes.
 * @throws ConfigError for more than a line: the rest of it would be lines of the configuration
 */
export function variable(env: Environment, name: string): string | undefined {
  const value = env[name]
  if (value === undefined || value === '' || isServiceLink(name, value)) return undefined
  if (/[\0\n\r]/.test(value)) throw new ConfigError('a value is one line', { path: name })
  requireReadable(value, name)
  return value
}

/**
 * Node.js makes U+FFFD of what is not UTF-8 in the environment, so which bytes these were cannot be known.
 * @throws ConfigError
 */
export function requireReadable(value: string, name: string): void {
  if (value.includes('\ufffd')) throw new ConfigError('not valid UTF-8', { path: name })
}

/** @param plain whether settings have their own names too; the PGBOUNCER_ name goes first */
export function settingVariable(env: Environment, name: SettingName, plain: boolean): string | undefined {
  const upper = name.toUpperCase()
  const prefixed = variable(env, `PGBOUNCER_${upper}`)
  if (prefixed !== undefined || !plain || !plainNames.has(name)) return prefixed
  return variable(env, upper)
}

/** The variables that ask for something in the configuration, in the order of their names. */
export function variablesInForce(env: Environment): string[] {
  const servers = ['DATABASES', 'DATABASES_HOST', 'DATABASE_URL', 'DATABASE_URLS', 'DB_HOST', 'DB_NAME', 'DB_PORT']
  const isOurs = (name: string): boolean =>
    servers.includes(name) || name.startsWith('PGBOUNCER_') || plainNames.has(name.toLowerCase())
  return Object.keys(env)
    .filter((name) => name === name.toUpperCase() && isOurs(name) && variable(env, name) !== undefined)
    .sort()
}

/** @throws ConfigError that names every PGBOUNCER_ and DATABASES_ variable which is none, and what may have been meant */
export function refuseUnknown(env: Environment): void {
  const unknown: string[] = []
  for (const [name, value] of Object.entries(env)) {
    if (value === undefined || isServiceLink(name, value)) continue
    const [, prefix, rest] = /^(PGBOUNCER_|DATABASES_)(.+)$/.exec(name) ?? []
    if (prefix === undefined || rest === undefined || isKnown(prefix, rest)) continue
    const meant = foreign[name] ?? nearestName(prefix, rest)
    unknown.push(`unknown variable ${name}${meant === undefined ? '' : `: did you mean ${meant}?`}`)
  }
  if (unknown.length > 0) throw new ConfigError(unknown.sort().join('\n'))
}

function isKnown(prefix: string, rest: string): boolean {
  if (rest !== rest.toUpperCase()) return false
  const name = rest.toLowerCase()
  if (prefix === 'PGBOUNCER_') return settingNamed(name) !== undefined
  return name === 'client_side_dbname' || Object.hasOwn(databaseKeys, name)
}

function nearestName(prefix: string, rest: string): string | undefined {
  const names = prefix === 'PGBOUNCER_' ? settingNames : ['client_side_dbname', ...Object.keys(databaseKeys)]
  const found = nearest(rest, names)
  return found && `${prefix}${found.toUpperCase()}`
}
