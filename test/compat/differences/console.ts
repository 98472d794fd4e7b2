// The console: versions, commands and rows.

import { all, type Difference, each, without } from './difference.js'

export const consoleDifferences: readonly Difference[] = [
  {
    scenes: /^columns$/,
    answers: all,
    before: '1.26',
    why: 'columns and tables that have been added since',
    level: without(
      /^(replication|prepared_statements|id|server_lifetime|load_balance_hosts|(max|current)_(user_)?(client_)?connections|reserve_pool(_size)?|pool_size|\w*(server_assignment|parse|bind|client_login)_count) |^E ERROR 08P01 invalid command 'SHOW (PEERS|PEER_POOLS|STATE)'|^(peer_id|host|port|key|value|cl_\w+|sv_\w+) |^C SHOW$/,
    ),
  },
  {
    scenes: all,
    answers: /version;?$/i,
    why: 'the version is 1.26.1, with our own behind it',
    level: each((line) => line.replace(/PgBouncer .*/, 'PgBouncer')),
  },
  {
    scenes: /^(welcome|parameters follow the client)$/,
    answers: all,
    why: 'the version is 1.26.1, with our own behind it',
    level: without(/^(server_version|pgbouncer.version)=/),
  },
  {
    scenes: /^(welcome|parameters follow the client)$/,
    answers: all,
    before: '1.26',
    why: 'parameters of its own are reported, for drivers that adapt themselves',
    level: without(/^pgbouncer\./),
  },
  {
    scenes: all,
    answers: all,
    since: '1.26',
    why: 'SUSPEND is there, and texts name it beside PAUSE',
    level: (lines) =>
      without(/^D suspended\|no$/)(lines).map((line) =>
        line.replace(/\b(suspended\/paused|paused\/suspended)$/, 'paused'),
      ),
  },
  {
    scenes: /^(commands|rights|verbs)/,
    answers: /^(SUSPEND|RESUME)( again)?$/,
    since: '1.26',
    why: 'SUSPEND is there, though nothing follows it',
  },
  {
    scenes: /^SHOW HELP$/,
    answers: /^verbs$/,
    since: '1.26',
    why: 'SUSPEND is there: in the help, too',
    level: without(/^SUSPEND$/),
  },
  { scenes: /^(rights|verbs)/, answers: /^SHOW FDS$/, why: 'SHOW FDS is refused: it shows secrets' },
  {
    scenes: /^verbs/,
    answers: /^(KILL_CLIENT|SHOW (PEERS|PEER_POOLS|STATE))/,
    before: '1.24',
    why: 'commands that have been added since',
  },
  {
    scenes: /^verbs/,
    answers: /^SET extra_float_digits/,
    before: '1.26',
    why: 'what pgjdbc sets on each connection is ignored',
  },
  {
    scenes: /^packets that are broken$/,
    answers: /^an answer/,
    why: 'max_packet_size is a limit for clients, not for the rows of servers',
  },
  {
    scenes: /^the console by the extended protocol$/,
    answers: all,
    why: 'the console speaks the extended protocol, too',
  },
  {
    scenes: /^commands that are odd$/,
    answers: /comment|;;$|SELECT|KILL_CLIENT|SET (admin_users|unix_socket_dir|query_timeout = -1)/,
    why: 'comments, SELECTs of drivers and values without quotes are read; numbers are plain',
  },
  { scenes: /^commands$/, answers: /^;?$/, why: 'no command at all is an empty query' },
  {
    scenes: /^commands$/,
    answers: /^(BEGIN|COMMIT|SELECT 1)$/,
    why: 'what drivers send of their own accord is answered',
  },
  { scenes: /^commands$/, answers: /^ENABLE pgbouncer$/, before: '1.26', why: 'cannot enable, not disable' },
  { scenes: /^(commands|rights)$/, answers: /^KILL_CLIENT/, before: '1.24', why: 'KILL_CLIENT is there' },
  {
    scenes: /^commands$/,
    answers: /^SET listen_port/,
    why: 'SET of a setting that needs a restart is an error; pgbouncer keeps the old value and says nothing',
  },
  {
    scenes: /^PAUSE cancelled$/,
    answers: /^cancelled$/,
    why: 'a PAUSE that is cancelled ends with 57014; pgbouncer resumes, but leaves the command without an answer',
  },
  {
    scenes: /^rows/,
    answers: /^DATABASES.reserve_pool$/,
    before: '1.24',
    why: 'reserve_pool is called reserve_pool_size',
  },
  { scenes: /^rows/, answers: /\.state$/, before: '1.25', why: 'a client without a server is idle' },
  {
    scenes: /^rows at rest$/,
    answers: /^CONFIG (\w+_tls_ciphers|server_check_query|server_tls_sslmode)$/,
    before: '1.25',
    why: 'defaults that have changed since',
  },
  { scenes: /^rows at rest$/, answers: /^CONFIG verbose$/, why: 'the default of verbose is told' },
  {
    scenes: /^rows at rest$/,
    answers: /^CONFIG track_extra_parameters$/,
    since: '1.20',
    before: '1.26',
    why: 'all that PostgreSQL reports is tracked',
  },
  {
    scenes: /^rows/,
    answers: /^LISTS/,
    before: '1.20',
    why: 'peers are counted',
    level: without(/^peer/),
  },
  {
    scenes: /^rows/,
    answers: /^LISTS/,
    why: 'nothing is kept in reserve for clients and servers to come',
    level: without(/^free_/),
  },
]
