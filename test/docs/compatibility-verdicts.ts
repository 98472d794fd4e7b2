// How each thing that pgbouncer has fares here, and the test that shows it: the data of docs/pgbouncer-compatibility.md.

import type { databaseKeys } from '../../src/config/databases.js'
import type { peerKeys } from '../../src/config/peers.js'
import type { SettingName } from '../../src/config/settings.js'
import type { userKeys } from '../../src/config/users.js'

/** `own`: not in pgbouncer at all. */
export type Verdict = 'same' | 'better' | 'differs' | 'absent' | 'own'

export interface Item {
  readonly verdict: Verdict
  /** Files under test/. Where an item has a name, at least one of them has it, too. */
  readonly tests: readonly string[]
  readonly note: string
}

type Items<Name extends string> = Readonly<Record<Name, Item>>

const item =
  (verdict: Verdict) =>
  (tests: string, note = ''): Item => ({ verdict, tests: tests.split(' ').map((name) => `${name}.test.ts`), note })

const same = item('same')
const better = item('better')
const differs = item('differs')
const absent = item('absent')
const own = item('own')

const noEffect = 'behaviour/limits-settings config/settings'
const tlsFiles = 'behaviour/tls-clients behaviour/tls-reload'
const serverTls = 'behaviour/tls-servers behaviour/tls-reload'
const ofUser = 'behaviour/limits config/entries'

export const settingVerdicts: Items<SettingName> = {
  admin_users: same('behaviour/limits-settings behaviour/reload'),
  application_name_add_host: same('behaviour/parameters client/welcome'),
  auth_dbname: same('behaviour/auth-query config/load'),
  auth_failure_delay: own('behaviour/auth-methods'),
  auth_file: better(
    'behaviour/reload behaviour/auth-methods',
    'Read again at each reload, not only when its time has changed.',
  ),
  auth_hba_file: same('behaviour/auth-methods auth/hba'),
  auth_ident_file: same('behaviour/auth-methods auth/ident'),
  auth_ldap_options: same('behaviour/auth-methods auth/ldap', 'Hidden in SHOW CONFIG: a password may be in it.'),
  auth_query: better(
    'behaviour/auth-query',
    'A NULL password matches nothing, and a NULL name is no user; for one it does not know the exchange is played to its end.',
  ),
  auth_type: differs(
    'behaviour/login behaviour/auth-methods behaviour/limits',
    '`pam` is refused by name: Node.js cannot reach it.',
  ),
  auth_user: same('behaviour/auth-query'),
  autodb_idle_timeout: better('behaviour/limits', 'A database that is disabled is remembered, too.'),
  cancel_wait_timeout: same('behaviour/limits-settings'),
  client_idle_timeout: better(
    'behaviour/timeouts behaviour/limits',
    'Also in session mode, where pgbouncer overlooks clients that have a server.',
  ),
  client_login_timeout: same('behaviour/timeouts behaviour/tls-clients'),
  client_tls13_ciphers: same('behaviour/limits-settings io/tls'),
  client_tls_ca_file: same(tlsFiles),
  client_tls_cert_file: same(tlsFiles),
  client_tls_ciphers: same('behaviour/limits-settings io/tls'),
  client_tls_dheparams: absent(noEffect),
  client_tls_ecdhcurve: same('behaviour/limits-settings'),
  client_tls_key_file: same(tlsFiles),
  client_tls_protocols: same('behaviour/limits-settings config/load'),
  client_tls_sslmode: better('behaviour/tls-clients', 'With channel binding, and direct TLS only with ALPN.'),
  conffile: same('behaviour/reload'),
  default_pool_size: better('behaviour/limits behaviour/reload', 'Several servers of a pool log in at a time.'),
  disable_pqexec: better('admin/console relay/relay-flow', 'The console goes on by the extended protocol.'),
  dns_max_ttl: same(
    'behaviour/limits server/hosts',
    'Counts for every answer: the system does not tell the TTL of the DNS.',
  ),
  dns_nxdomain_ttl: same('behaviour/limits'),
  dns_zone_check_period: absent(noEffect),
  host_check_period: own('behaviour/roles'),
  host_check_timeout: own('behaviour/roles'),
  host_check_user: own('behaviour/roles'),
  idle_transaction_timeout: better('behaviour/timeouts', 'The server is rolled back and used again.'),
  ignore_startup_parameters: same(
    'client/startup-parameters behaviour/login',
    'Also what could be tracked is ignored, as in 1.26.',
  ),
  job_name: absent(noEffect),
  listen_addr: same('process/daemon config/load'),
  listen_backlog: same('behaviour/limits-settings'),
  listen_port: same('process/daemon behaviour/limits-settings'),
  log_connections: same('behaviour/reload'),
  log_disconnections: same('behaviour/reload'),
  log_format: own('observe/log'),
  log_pooler_errors: same('behaviour/reload admin/commands'),
  log_stats: same('behaviour/limits-settings'),
  logfile: same('observe/log-targets process/daemon'),
  login_notify_message: same('behaviour/reload client/welcome'),
  max_client_conn: better(
    'behaviour/limits behaviour/login',
    'Clients of the console do not count at all; in pgbouncer they are let in, but take the place of others.',
  ),
  max_db_client_connections: better('behaviour/login', 'Only clients that have proven who they are count.'),
  max_db_connections: better(
    'behaviour/limits',
    'Who waits for room is served as soon as there is some; min_pool_size takes none away.',
  ),
  max_packet_size: differs(
    'behaviour/limits-settings',
    'A limit for clients: rows of servers may be larger. Holds for clients that come after it has been changed.',
  ),
  max_prepared_statements: better(
    'behaviour/prepared-statements',
    "Names that are taken or unknown are PostgreSQL's own errors, and the client stays.",
  ),
  max_replica_lag: own('behaviour/roles'),
  max_user_client_connections: better(
    'behaviour/login behaviour/limits',
    'Only clients that have proven who they are count.',
  ),
  max_user_connections: same('behaviour/limits'),
  min_pool_size: same('behaviour/limits'),
  peer_id: same('behaviour/peers behaviour/peers-pgbouncer'),
  pidfile: same('process/pidfile process/daemon'),
  pkt_buf: absent(noEffect),
  pool_idle_timeout: same('behaviour/limits'),
  pool_mode: same('behaviour/pool-modes behaviour/reload'),
  query_timeout: better(
    'behaviour/timeouts',
    'A client that idles in a transaction runs no query, and is left to idle_transaction_timeout.',
  ),
  query_wait_notify: same('behaviour/timeouts'),
  query_wait_timeout: same('behaviour/timeouts behaviour/limits-databases'),
  reserve_pool_size: same('behaviour/limits behaviour/limits-databases'),
  reserve_pool_timeout: same('behaviour/limits'),
  resolv_conf: absent(noEffect),
  sbuf_loopcnt: absent(noEffect),
  scram_iterations: same('behaviour/limits-settings'),
  server_check_delay: same('behaviour/limits behaviour/server-check'),
  server_check_query: same('behaviour/limits'),
  server_connect_timeout: same('behaviour/server-login'),
  server_fast_close: same('behaviour/shutdown-pause'),
  server_idle_timeout: same('behaviour/limits'),
  server_lifetime: same('behaviour/limits'),
  server_login_retry: better(
    'behaviour/server-login behaviour/outage behaviour/hosts-down',
    'Logins are told at once, too; in pgbouncer they wait for a pool that has had no server yet. The pause is for each host.',
  ),
  server_reset_query: same('behaviour/pool-modes behaviour/session-state'),
  server_reset_query_always: same('behaviour/session-state behaviour/prepared-statements'),
  server_round_robin: same('behaviour/limits'),
  server_tls13_ciphers: same('behaviour/limits-settings io/tls'),
  server_tls_ca_file: same(serverTls),
  server_tls_cert_file: same(serverTls),
  server_tls_ciphers: same('behaviour/limits-settings io/tls'),
  server_tls_key_file: same(serverTls),
  server_tls_protocols: same('behaviour/limits-settings behaviour/tls-reload'),
  server_tls_sslmode: better(serverTls, 'With SNI and channel binding, and per database.'),
  server_tls_sslnegotiation: own('behaviour/tls-servers'),
  session_state: own('behaviour/session-state'),
  shutdown_timeout: own('behaviour/shutdown'),
  so_reuseport: same('behaviour/limits-settings process/restart', 'Refused by name before Node.js 22.12 and 23.1.'),
  stats_period: better(
    'behaviour/limits-settings',
    'A changed period holds from the next one on; in pgbouncer from a restart.',
  ),
  stats_users: same('behaviour/limits-settings'),
  suspend_timeout: same('behaviour/shutdown-pause'),
  syslog: same('observe/log-targets'),
  syslog_facility: same('observe/log-targets'),
  syslog_ident: same('observe/log-targets'),
  tcp_defer_accept: absent(noEffect),
  tcp_keepalive: same('behaviour/limits-settings'),
  tcp_keepcnt: absent(noEffect),
  tcp_keepidle: same('behaviour/limits-settings'),
  tcp_keepintvl: absent(noEffect),
  tcp_socket_buffer: absent(noEffect),
  tcp_user_timeout: absent(noEffect),
  track_extra_parameters: better(
    'behaviour/parameters relay/parameters',
    'Beside all that PostgreSQL reports, as in 1.26; but session_authorization.',
  ),
  transaction_timeout: same('behaviour/timeouts'),
  unix_socket_dir: same('behaviour/limits-settings io/listener'),
  unix_socket_group: same('behaviour/limits-settings'),
  unix_socket_mode: same('behaviour/limits-settings'),
  user: same('process/user process/daemon'),
  verbose: differs(
    'behaviour/verbose observe/log config/load',
    'Clients, servers, pools and what they do with whom; neither single packets nor secrets.',
  ),
}

export const databaseVerdicts: Items<keyof typeof databaseKeys> = {
  host: same('behaviour/limits-databases behaviour/limits config/entries'),
  port: better('behaviour/limits config/entries', 'A list of hosts may have a list of ports.'),
  dbname: same('behaviour/limits-databases behaviour/reload'),
  user: better(
    'behaviour/limits-databases behaviour/reload',
    'Taken away by a reload, clients that come then use their own.',
  ),
  password: same('behaviour/limits-databases'),
  auth_user: same('behaviour/auth-query config/entries'),
  auth_query: same('behaviour/auth-query config/entries'),
  auth_dbname: same('behaviour/auth-query config/entries'),
  pool_size: same('behaviour/limits'),
  min_pool_size: same('behaviour/limits'),
  reserve_pool_size: same('behaviour/limits-databases'),
  reserve_pool: same('config/entries'),
  max_db_connections: same('behaviour/limits'),
  max_db_client_connections: same('behaviour/login'),
  pool_mode: same('behaviour/pool-modes'),
  session_state: own('config/entries behaviour/session-state'),
  target_session_attrs: own('behaviour/roles'),
  max_replica_lag: own('behaviour/roles'),
  server_lost: own('config/entries behaviour/lost-transactions'),
  load_balance_hosts: same('behaviour/limits'),
  server_lifetime: same('behaviour/limits', 'Fractions of a second are read, too.'),
  query_wait_timeout: same('behaviour/limits-databases', 'Fractions of a second are read, too.'),
  connect_query: same('behaviour/limits-databases'),
  sslmode: own('behaviour/tls-servers'),
  sslnegotiation: own('behaviour/tls-servers'),
  sslrootcert: own('behaviour/tls-servers'),
  sslcert: own('behaviour/tls-servers config/entries'),
  sslkey: own('behaviour/tls-servers config/entries'),
  client_encoding: same('behaviour/limits-databases'),
  datestyle: same('behaviour/limits-databases'),
  timezone: same('behaviour/limits-databases'),
  application_name: same('behaviour/limits-databases'),
}

export const userVerdicts: Items<keyof typeof userKeys> = {
  pool_mode: same('behaviour/pool-modes'),
  session_state: own('config/entries'),
  pool_size: same('behaviour/limits'),
  reserve_pool_size: same('behaviour/limits-databases'),
  max_user_connections: same('behaviour/limits'),
  max_user_client_connections: same(`behaviour/login ${ofUser}`),
  query_timeout: better(
    `behaviour/timeouts ${ofUser}`,
    "The client's own user counts first, then a forced one; also while the query waits.",
  ),
  query_wait_timeout: same('behaviour/limits-databases'),
  idle_transaction_timeout: same(`behaviour/timeouts ${ofUser}`),
  transaction_timeout: same(`behaviour/timeouts ${ofUser}`),
  client_idle_timeout: same('behaviour/limits'),
}

export const peerVerdicts: Items<keyof typeof peerKeys> = {
  host: same('behaviour/peers config/entries'),
  port: same('behaviour/peers config/entries'),
  pool_size: same('behaviour/peers config/entries'),
}

/** By what follows SHOW. */
export const showVerdicts: Items<string> = {
  ACTIVE_SOCKETS: same('admin/show admin/docs'),
  CLIENTS: better('admin/show', '`wait` is the time in the queue only; in pgbouncer it goes on while the query runs.'),
  CLOSES: own('admin/show behaviour/closes'),
  HOSTS: own('admin/show behaviour/roles'),
  CONFIG: better('admin/show', 'Settings that may hold secrets are hidden.'),
  DATABASES: better('admin/show', '`paused` also while everything is paused.'),
  DNS_HOSTS: same('admin/show server/hosts'),
  DNS_ZONES: absent('admin/show', 'Always empty.'),
  FDS: absent(
    'admin/commands',
    'Refused: it shows passwords and cancel keys, and serves `-R` only. Not in pgbouncer 1.26 either.',
  ),
  HELP: same('admin/commands'),
  LISTS: same('admin/show', 'Nothing is kept in reserve: `free_clients` and `free_servers` are 0.'),
  MEM: differs('admin/show', 'What takes memory here: other rows.'),
  PEERS: same('admin/show behaviour/peers-pgbouncer'),
  PEER_POOLS: same('admin/show behaviour/peers-pgbouncer'),
  POOLS: same('admin/show behaviour/limits'),
  SERVERS: same('admin/show behaviour/limits'),
  SOCKETS: same('admin/show', 'Positions in packet buffers are 0: there are no such buffers.'),
  STATE: same('admin/show'),
  STATS: same('admin/show behaviour/limits-settings'),
  STATS_AVERAGES: same('admin/show'),
  STATS_TOTALS: same('admin/show'),
  TOTALS: same('admin/show'),
  USERS: same('admin/show behaviour/limits'),
  VERSION: differs('admin/show', '`PgBouncer 1.26.1 (tsbouncer X.Y.Z)`: tools choose columns by it.'),
  "PostgreSQL's parameters": better('admin/console admin/drivers', 'More of them, so that drivers get on.'),
}

/** By verb. */
export const commandVerdicts: Items<string> = {
  SHOW: better('admin/extended admin/drivers', 'By the extended protocol, too.'),
  SELECT: same('admin/commands'),
  SET: better(
    'behaviour/reload admin/grammar',
    'A setting that needs a restart is refused; the detail says what is wrong.',
  ),
  RELOAD: better(
    'behaviour/reload admin/commands',
    'All or nothing, with file and line; settings that need a restart are named.',
  ),
  PAUSE: better('behaviour/shutdown-pause admin/console', 'Cancelled, it ends with 57014.'),
  RESUME: better('behaviour/shutdown-pause', 'One RESUME ends a KILL of everything.'),
  DISABLE: same('behaviour/shutdown-pause'),
  ENABLE: same('behaviour/shutdown-pause'),
  KILL: better('behaviour/shutdown-pause', 'One RESUME ends a KILL of everything.'),
  'BAN HOST': own('behaviour/roles'),
  'UNBAN HOST': own('behaviour/roles'),
  'WAIT PRIMARY': own('behaviour/roles'),
  KILL_CLIENT: same('behaviour/shutdown-pause'),
  RECONNECT: same('behaviour/shutdown-pause'),
  WAIT_CLOSE: same('behaviour/shutdown-pause'),
  SUSPEND: differs(
    'behaviour/shutdown-pause',
    'New connections are taken, and wait; there is no `-R` to follow it. Not in pgbouncer 1.26 any more.',
  ),
  SHUTDOWN: better('behaviour/shutdown', 'Nobody waits for clients of the console; shutdown_timeout.'),
}

/** What has no table in the code. */
export const otherVerdicts: Items<string> = {
  'SIGHUP, SIGUSR1, SIGUSR2': same('process/signals process/daemon'),
  'SIGTERM, SIGINT, SIGQUIT': better(
    'process/signals process/daemon behaviour/shutdown',
    'As pgbouncer 1.23 and later; nobody waits for clients of the console; shutdown_timeout bounds the waiting.',
  ),
  '-d, -q, -v, -u, -V, -h': same('process/cli process/background process/daemon'),
  '-R': absent(
    'process/cli',
    'Refused, as by pgbouncer 1.26. so_reuseport lets a new pooler start beside the old one.',
  ),
  'systemd: Type=notify': same('process/systemd'),
  'systemd: socket activation': better(
    'process/socket-activation',
    'Variables that make no sense end the start; sockets are let go as a shutdown begins.',
  ),
  'ini: sections, comments, %include': better(
    'config/ini config/load',
    'Names in double quotes, URLs, suggestions for unknown names.',
  ),
  auth_file: better('auth/userlist', 'A warning names the line where reading has ended.'),
  'HBA and ident files': differs(
    'auth/hba auth/ident behaviour/unix-socket',
    "Method `peer` lets in the pooler's own user, by a socket that is closed to all others: Node.js has no peer credentials.",
  ),
  'a reload with a mistake': better(
    'behaviour/reload',
    'Nothing changes. pgbouncer keeps what stood before the mistake.',
  ),
  'a database that is gone from the file': same('behaviour/reload'),
  'a secret that is gone from auth_file': same('behaviour/reload'),
  'startup packets, options, protocol versions': better(
    'behaviour/login behaviour/security client/startup-parameters',
    'What is wrong is told at once; options are read as PostgreSQL reads them.',
  ),
  'parameters carried from server to server': better(
    'behaviour/parameters behaviour/left-parameters behaviour/startup-values behaviour/usual-parameters relay/parameters',
    'Each is set once only, and told as PostgreSQL spells it; none is left to the next client; the newest server counts.',
  ),
  'parameters of its own, told at login': same(
    'client/welcome admin/console',
    '`pgbouncer.version` and others, as in 1.26.',
  ),
  CancelRequests: better('behaviour/cancel behaviour/security-users', 'Also for a client that waits.'),
  'numbers in files and in SET': differs(
    'config/setting-types config/entries',
    'Whole words within their range; pgbouncer cuts, wraps or ignores what is wrong.',
  ),
  'an auth file that cannot be read': differs('behaviour/reload process/daemon', 'Ends the start, or the reload.'),
  'the environments of both Docker images': better(
    'config/env process/docker-entrypoint docs/container',
    'Secrets are hidden, and names that are none are errors.',
  ),
  'the security history of pgbouncer': better(
    'behaviour/security behaviour/security-users behaviour/security-servers auth/scram-hostile',
    'Each weakness that became known is a test.',
  ),
  'log lines': same(
    'observe/log behaviour/reload',
    "Of a client's lines, the prefix names database and user as asked for.",
  ),
  'probes that connect and leave': same('behaviour/reload'),
  'messages and SQLSTATEs': same('docs/errors', 'See [errors](errors.md).'),
  'replication connections': better(
    'behaviour/replication behaviour/replication-tools behaviour/replication-standby',
    'See [differences](differences.md#replication-and-peers).',
  ),
}
