// THE table of the [pgbouncer] settings: type, default, reloadable or not, one line of meaning, and how far it is acted on.

import { authType, facility, poolMode, sessionState, sslMode, sslNegotiation } from './choices.js'
import {
  authDatabase,
  flag,
  integer,
  list,
  oneOf,
  optionalText,
  period,
  type SettingType,
  seconds,
  secretText,
  text,
  tlsProtocols,
} from './setting-types.js'

/** `warned`: set to another value it has no effect, and loading says so. `refused`: loading fails. */
export type Support =
  | { readonly kind: 'full' }
  | { readonly kind: 'warned' | 'refused'; readonly reason: string; readonly except?: readonly string[] }

export interface Setting<T> {
  readonly type: SettingType<T>
  /** Default as written in a file; null is unset. */
  readonly fallback: string | null
  /** Applied by RELOAD and SET; otherwise a restart is needed. */
  readonly reloadable: boolean
  readonly meaning: string
  readonly support: Support
}

const fully: Support = Object.freeze({ kind: 'full' })

function live<T>(type: SettingType<T>, fallback: string | null, meaning: string, support = fully): Setting<T> {
  return Object.freeze({ type, fallback, reloadable: true, meaning, support })
}

function boot<T>(type: SettingType<T>, fallback: string | null, meaning: string, support = fully): Setting<T> {
  return Object.freeze({ type, fallback, reloadable: false, meaning, support })
}

/** @param except values for which no word is needed, because they ask for what happens anyway */
function warned(reason: string, except: readonly string[] = []): Support {
  return Object.freeze({ kind: 'warned', reason, except })
}

const bytes = integer(0, 2147483647, 'bytes')
const count = integer()
const wholeSeconds = integer(0, 2147483647, 'seconds')
const noSocketOption = 'Node.js has no access to this socket option; the system value stays'

/** In the order of SHOW CONFIG. Settings of our own, which pgbouncer does not know, stand where their names belong. */
export const settings = {
  admin_users: live(list, '', 'Users who may run every command on the console.'),
  application_name_add_host: live(flag, '0', 'At login, append " - host:port" of the client to its application_name.'),
  auth_dbname: live(
    authDatabase,
    null,
    'Entry of [databases] where auth_query runs. Unset: the database that the client asks for.',
  ),
  auth_failure_delay: live(
    seconds,
    '2',
    'Longest delay before a client is told that its password is wrong. The delay begins short, and each failure of the same user from the same address doubles it. 0: no delay. (Not in pgbouncer.)',
  ),
  auth_file: live(optionalText, null, 'File of user names and secrets (userlist.txt).'),
  auth_hba_file: live(text, '', 'File of HBA rules. Used if auth_type = hba.'),
  auth_ident_file: live(optionalText, null, 'File of user name maps. Used if auth_type = hba.'),
  auth_ldap_options: live(
    secretText,
    null,
    'LDAP server and search, in the syntax of pg_hba.conf. Used if auth_type = ldap.',
  ),
  auth_query: live(
    text,
    'SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END FROM pg_authid WHERE rolname=$1 AND rolcanlogin',
    'Query for the secret of a user who is not in auth_file. $1 is the user name. The row has name and secret.',
  ),
  auth_type: live(
    authType,
    'md5',
    'How clients prove who they are. With md5, users who have a SCRAM secret use SCRAM.',
  ),
  auth_user: live(optionalText, null, 'User who runs auth_query. The password of this user comes from auth_file.'),
  autodb_idle_timeout: live(
    seconds,
    '3600',
    'Forget a database made from the entry * if nobody has used it for this long. 0: never.',
  ),
  cancel_wait_timeout: live(seconds, '10', 'Drop a cancel request that has waited this long. 0: never.'),
  client_idle_timeout: live(
    seconds,
    '0',
    'Close clients that have been idle this long outside a transaction. 0: never.',
  ),
  client_login_timeout: live(seconds, '60', 'Close clients that take longer than this to log in. 0: never.'),
  client_tls13_ciphers: live(
    optionalText,
    null,
    'TLS 1.3 cipher suites for clients, separated by colons. Unset: the default of OpenSSL.',
  ),
  client_tls_ca_file: live(text, '', 'CA certificates (PEM) to check client certificates against.'),
  client_tls_cert_file: live(text, '', 'Certificate (PEM) shown to clients.'),
  client_tls_ciphers: live(
    text,
    'default',
    'Ciphers for TLS 1.2 and older: an OpenSSL list, or default, secure, fast, normal, all.',
  ),
  client_tls_dheparams: live(
    oneOf(['auto', 'none', 'legacy']),
    'auto',
    'Parameters for the DHE key exchange.',
    warned('ECDHE is used, which needs no parameters'),
  ),
  client_tls_ecdhcurve: live(text, 'auto', 'Curve for the ECDHE key exchange: a name, auto, or none.'),
  client_tls_key_file: live(text, '', 'Private key (PEM) of client_tls_cert_file.'),
  client_tls_protocols: live(tlsProtocols, 'secure', 'TLS versions that clients may use. secure: 1.2 and 1.3.'),
  client_tls_sslmode: live(
    sslMode,
    'disable',
    'TLS with clients. disable: never; allow, prefer: if the client asks; require: always; verify-ca, verify-full: always, with a client certificate.',
  ),
  conffile: live(optionalText, null, 'File that the next reload reads. Unset: the file given at start.'),
  default_pool_size: live(
    count,
    '20',
    'Most servers for each pool. Each pair of database and user has a pool. 0: no limit.',
  ),
  disable_pqexec: boot(flag, '0', 'Refuse simple queries, because they may contain several statements.'),
  dns_max_ttl: live(seconds, '15', 'How long to cache an answer of the DNS.'),
  dns_nxdomain_ttl: live(seconds, '15', 'How long to cache a failed look-up.'),
  dns_zone_check_period: live(
    seconds,
    '0',
    'How often to check whether a DNS zone has changed. 0: never.',
    warned('the serial number of zones is not watched; lower dns_max_ttl instead'),
  ),
  host_check_period: live(
    period,
    '1',
    'How often each host of an entry with target_session_attrs is asked for its role. (Not in pgbouncer.)',
  ),
  host_check_timeout: live(
    seconds,
    '0',
    'A host is down if it does not answer for this long. 0: host_check_period. (Not in pgbouncer.)',
  ),
  host_check_user: live(
    optionalText,
    null,
    'User who asks hosts for their role, with the password in auth_file. Unset: auth_user, the user of the entry, or that of a pool, so that maybe nothing is known before a client has logged in. (Not in pgbouncer.)',
  ),
  idle_transaction_timeout: live(
    seconds,
    '0',
    'Close clients that have been idle this long within a transaction. 0: never.',
  ),
  ignore_startup_parameters: live(list, '', 'Startup parameters to ignore. Clients that send them are not refused.'),
  job_name: boot(
    text,
    'pgbouncer',
    'Name of the Windows service; also called service_name.',
    warned('no Windows service is registered'),
  ),
  listen_addr: boot(list, '', 'TCP addresses to listen on. *: all; empty: none.'),
  listen_backlog: boot(count, '128', 'Length of the queue of connections not yet accepted, for listen(2).'),
  listen_port: boot(integer(0, 65535), '6432', 'TCP port. The name of the Unix socket ends with it, too.'),
  log_connections: live(flag, '1', 'Log logins and new server connections.'),
  log_disconnections: live(flag, '1', 'Log why connections are closed.'),
  log_format: boot(
    oneOf(['text', 'json']),
    'text',
    'Format of log lines. text: as in pgbouncer; json: one JSON object per line. (Not in pgbouncer.)',
  ),
  log_pooler_errors: live(flag, '1', 'Log the errors that the pooler sends to clients.'),
  log_stats: live(flag, '1', 'Log a line of statistics every stats_period.'),
  logfile: live(text, '', 'File to log to, besides standard error. A reload opens it again.'),
  login_notify_message: live(text, '', 'Notice sent to every client that logs in.'),
  max_client_conn: live(count, '100', 'Most clients in all. Clients of the console do not count.'),
  max_db_client_connections: live(count, '0', 'Most clients for each database. 0: no limit.'),
  max_db_connections: live(count, '0', 'Most servers for each database, for all users together. 0: no limit.'),
  max_packet_size: live(
    integer(1, 4294967295, 'bytes'),
    '2147483647',
    'Largest message that a client may send. A client that sends a larger one is cut off.',
  ),
  max_prepared_statements: live(
    count,
    '200',
    'Most prepared statements kept on each server in transaction and statement mode. 0: off.',
  ),
  max_replica_lag: live(
    seconds,
    '0',
    'A standby that is further behind than this is not read from. 0: never too far. (Not in pgbouncer.)',
  ),
  max_user_client_connections: live(count, '0', 'Most clients for each user. 0: no limit.'),
  max_user_connections: live(count, '0', 'Most servers for each user, for all databases together. 0: no limit.'),
  min_pool_size: live(count, '0', 'Servers to keep open in each pool that has clients or a forced user.'),
  peer_id: live(integer(0, 16383), '0', 'Number of this pooler among its [peers]. 0: no peering.'),
  pidfile: boot(text, '', 'File for the process id. Required with -d.'),
  pkt_buf: boot(
    bytes,
    '4096',
    'Size of the buffers for input and output.',
    warned('all sockets share one read buffer of a fixed size'),
  ),
  pool_mode: live(
    poolMode,
    'session',
    'When a server goes back to its pool. session: when the client leaves; transaction: after each transaction; statement: after each statement.',
  ),
  pool_idle_timeout: live(
    seconds,
    '0',
    'Drop pools that have been empty this long, together with their totals. 0: never.',
  ),
  query_timeout: live(seconds, '0', 'Close clients whose query has run or waited this long. 0: never.'),
  query_wait_notify: live(
    wholeSeconds,
    '5',
    'Send a notice to a client that has waited this long for a server. 0: never.',
  ),
  query_wait_timeout: live(seconds, '120', 'Close clients that have waited this long for a server. 0: never.'),
  reserve_pool_size: live(
    count,
    '0',
    'Extra servers for a pool. The pool uses them if clients have waited for reserve_pool_timeout. 0: none.',
  ),
  reserve_pool_timeout: live(
    seconds,
    '5',
    'How long a client waits before the pool uses its reserve. 0: the pool never uses it.',
  ),
  resolv_conf: boot(
    text,
    '',
    'File to use instead of /etc/resolv.conf.',
    warned('names are resolved by the system, with its own configuration'),
  ),
  sbuf_loopcnt: live(
    count,
    '5',
    'How often to read from one socket before the next socket. 0: no limit.',
    warned('Node.js decides how often a socket is read in one turn'),
  ),
  scram_iterations: live(integer(1), '4096', 'Iterations for SCRAM secrets made from plaintext passwords.'),
  server_check_delay: live(
    seconds,
    '30',
    'Check a server before use if it was released longer ago than this. 0: check before each use.',
  ),
  server_check_query: live(
    text,
    '<empty>',
    'Query that checks an idle server. <empty>: the empty query; nothing: no check.',
  ),
  server_connect_timeout: live(
    seconds,
    '15',
    'Give up if connecting and logging in to a server takes longer than this. 0: never.',
  ),
  server_fast_close: live(
    flag,
    '0',
    'In session mode, if a server is to be closed, close it at the end of the transaction.',
  ),
  server_idle_timeout: live(seconds, '600', 'Close servers that have been idle this long. 0: never.'),
  server_lifetime: live(seconds, '3600', 'Close free servers that are older than this. 0: use each server once.'),
  server_login_retry: live(
    seconds,
    '15',
    'Pause after a failed connect, for each host. If there is no other host, clients get the error at once.',
  ),
  server_reset_query: live(
    text,
    'DISCARD ALL',
    'Query to run on a server that goes back to the pool, in session mode.',
  ),
  server_reset_query_always: live(flag, '0', 'Run server_reset_query in every mode.'),
  server_round_robin: live(flag, '0', 'Use the server that has been idle longest, not the one released last.'),
  server_tls13_ciphers: live(
    optionalText,
    null,
    'TLS 1.3 cipher suites for servers, separated by colons. Unset: the default of OpenSSL.',
  ),
  server_tls_ca_file: live(text, '', 'CA certificates (PEM) to check server certificates against.'),
  server_tls_cert_file: live(text, '', 'Certificate (PEM) shown to servers.'),
  server_tls_ciphers: live(
    text,
    'default',
    'Ciphers for TLS 1.2 and older: an OpenSSL list, or default, secure, fast, normal, all.',
  ),
  server_tls_key_file: live(text, '', 'Private key (PEM) of server_tls_cert_file.'),
  server_tls_protocols: live(tlsProtocols, 'secure', 'TLS versions to use with servers. secure: 1.2 and 1.3.'),
  server_tls_sslmode: live(
    sslMode,
    'prefer',
    'TLS with servers. disable: never; allow, prefer: if the server has it; require: always; verify-ca, verify-full: always, and check the certificate.',
  ),
  server_tls_sslnegotiation: live(
    sslNegotiation,
    'postgres',
    'How TLS with servers begins. postgres: ask first; direct: begin at once, which saves a round trip, from PostgreSQL 17. (Not in pgbouncer.)',
  ),
  session_state: live(
    sessionState,
    'allow',
    'What to do about SET, LISTEN and other session state in transaction and statement mode. allow: let it leak; warn: send a notice; track: keep it with its client. (Not in pgbouncer.)',
  ),
  shutdown_timeout: live(
    seconds,
    '0',
    'If a shutdown has waited this long for clients or servers, close what is left. 0: never. (Not in pgbouncer.)',
  ),
  so_reuseport: boot(flag, '0', 'Let several processes listen on the same address and port.'),
  stats_period: live(
    integer(1, 2147483647, 'seconds'),
    '60',
    'How often to compute averages and, with log_stats, to log them.',
  ),
  stats_users: live(list, '', 'Users who may run SHOW on the console.'),
  suspend_timeout: live(
    seconds,
    '10',
    'On SUSPEND, close connections that need longer than this to finish their requests.',
  ),
  syslog: live(flag, '0', 'Log to syslog.'),
  syslog_facility: live(facility, 'daemon', 'Facility for syslog.'),
  syslog_ident: live(text, 'pgbouncer', 'Name for syslog.'),
  tcp_defer_accept: live(
    wholeSeconds,
    '1',
    'Accept a connection when its first bytes have arrived, or after this long.',
    warned(noSocketOption, ['0']),
  ),
  tcp_keepalive: live(flag, '1', 'Use TCP keepalive.'),
  tcp_keepcnt: live(
    count,
    '0',
    'Number of lost keepalive probes that ends a connection. 0: as the system.',
    warned(noSocketOption),
  ),
  tcp_keepidle: live(wholeSeconds, '0', 'Idle time before the first keepalive probe. 0: as the system.'),
  tcp_keepintvl: live(wholeSeconds, '0', 'Time between keepalive probes. 0: as the system.', warned(noSocketOption)),
  tcp_socket_buffer: live(
    bytes,
    '0',
    'Size of the socket buffers in the kernel. 0: as the system.',
    warned(noSocketOption),
  ),
  tcp_user_timeout: live(
    integer(0, 2147483647, 'milliseconds'),
    '0',
    'Close a connection if sent data stays unacknowledged this long. 0: as the system.',
    warned(noSocketOption),
  ),
  track_extra_parameters: boot(
    list,
    '',
    'Parameters to carry along with each client, besides those that PostgreSQL reports.',
  ),
  transaction_timeout: live(seconds, '0', 'Close clients whose transaction has lasted this long. 0: never.'),
  unix_socket_dir: boot(
    text,
    '/tmp',
    'Folder of the Unix sockets of the pooler and of servers. @ begins an abstract name; empty: none.',
  ),
  unix_socket_group: boot(text, '', 'Group of the Unix socket.'),
  unix_socket_mode: boot(integer(0, 0o7777), '0777', 'Permissions of the Unix socket.'),
  user: boot(optionalText, null, 'User to run as, if started as root.'),
  verbose: live(count, '0', 'More detail in the log, from 0 to 3. The flag -v does the same.'),
} satisfies Record<string, Setting<unknown>>

export type SettingName = keyof typeof settings

/** The values, by the names of the table. */
export type Settings = { readonly [N in SettingName]: ReturnType<(typeof settings)[N]['type']['parse']> }

export const settingNames = Object.freeze(Object.keys(settings) as SettingName[])

/** The setting that a key of a file means, if any. */
export function settingNamed(key: string): SettingName | undefined {
  if (key === 'service_name') return 'job_name'
  return Object.hasOwn(settings, key) ? (key as SettingName) : undefined
}
