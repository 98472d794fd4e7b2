// The differences from pgbouncer that are wanted, by name. What is not on this list must be equal; what is must differ.

/** Of an answer: its lines, or one line for a text. */
type Lines = readonly string[]

export interface Difference {
  readonly scenes: RegExp
  readonly answers: RegExp
  readonly why: string
  /** Only of a pgbouncer older than this: it had not been added yet. */
  readonly before?: string
  /** Brings both sides into the form in which they are equal. Left out: the answer may be anything. */
  readonly level?: (lines: Lines) => Lines
}

const each =
  (change: (line: string) => string) =>
  (lines: Lines): Lines =>
    lines.map(change)

const without =
  (pattern: RegExp) =>
  (lines: Lines): Lines =>
    lines.filter((line) => !pattern.test(line))

const inAnyOrder = (lines: Lines): Lines => [...lines].sort()

const log = /log$/
const all = /./
/** The newest that the columns and messages of this list have been held against. */
const measure = '1.25'

const logDifferences: readonly Difference[] = [
  {
    scenes: all,
    answers: log,
    before: '1.24',
    why: 'the kind of replication is logged with a login',
    level: each((line) => line.replace(/ replication=none$/, '')),
  },
  {
    scenes: all,
    answers: log,
    why: 'lines about a client name the database and user that it asked for, known or not',
    level: each((line) => line.replace(/C-PTR: \S*?@/, 'C-PTR: WHO@')),
  },
  {
    scenes: all,
    answers: log,
    why: 'an error is logged once, as what the client is told; pgbouncer adds a line before it',
    level: without(
      /^ERROR (?:C-PTR: \S+ password authentication failed|(?!C-PTR|S-PTR))|^WARNING C-PTR: \S+ unsupported startup parameter/,
    ),
  },
  {
    scenes: all,
    answers: log,
    why: 'who gives a command is logged with it',
    level: each((line) => line.replace(/^LOG C-PTR: \S+ (.*command issued)$/, 'LOG $1')),
  },
  {
    scenes: /startup lines|client_login_timeout/,
    answers: log,
    why: 'what it is made of: Node.js, not libevent',
    level: each((line) => line.replace(/^(LOG process up: PgBouncer).*/, '$1').replace(/max expected fd use: \d+/, '')),
  },
  {
    scenes: all,
    answers: log,
    why: 'a login is logged before anything is looked up, a server is closed after its client, a database dropped last',
    level: inAnyOrder,
  },
  {
    scenes: /auth_type any/,
    answers: log,
    why: 'a login is logged under the name that the client gave, and also where there is no forced user',
    level: (lines) => without(/login attempt/)(lines),
  },
  {
    scenes: /^query_timeout$/,
    answers: log,
    why: 'the server of a client that is cut off is said to be closed on account of the client',
    level: without(/^LOG S-PTR: \S+ closing because/),
  },
  {
    scenes: /^idle_transaction_timeout$/,
    answers: log,
    why: 'the server of a client that idles in a transaction is rolled back and used again',
    level: without(/^LOG S-PTR: \S+ closing because/),
  },
  {
    scenes: /^probe$/,
    answers: log,
    why: 'who leaves in the middle of a packet is logged; who leaves without a byte is not',
    level: without(/client unexpected eof/),
  },
]

const loginDifferences: readonly Difference[] = [
  {
    scenes: /^auth_query$/,
    answers: /^unknown user/,
    why: 'for a user that auth_query does not know the exchange is played to its end: names cannot be probed',
  },
  {
    scenes: /^startup parameters$/,
    answers: /options/,
    before: '1.20',
    why: 'options are read',
  },
  {
    scenes: /^startup parameters$/,
    answers: /^no terminator$/,
    before: '1.24',
    why: 'a startup packet without its last byte is told so',
  },
  {
    scenes: /^rights$/,
    answers: /^an unknown user$/,
    why: 'who may not use the console is told so before anything else, known or not',
  },
]

const consoleDifferences: readonly Difference[] = [
  {
    scenes: /^columns$/,
    answers: all,
    before: measure,
    why: 'columns and tables that have been added since',
    level: without(
      /^(replication|prepared_statements|id|server_lifetime|load_balance_hosts|(max|current)_(user_)?(client_)?connections|reserve_pool(_size)?|pool_size|\w*(server_assignment|parse|bind|client_login)_count) |^E ERROR 08P01 invalid command 'SHOW (PEERS|PEER_POOLS|STATE)'|^(peer_id|host|port|key|value|cl_\w+|sv_\w+) |^C SHOW$/,
    ),
  },
  {
    scenes: all,
    answers: /version;?$/i,
    why: 'the version is 1.25.2, with our own behind it',
    level: each((line) => line.replace(/PgBouncer .*/, 'PgBouncer')),
  },
  {
    scenes: /^welcome$/,
    answers: all,
    why: 'the version is 1.25.2',
    level: without(/^server_version=/),
  },
  { scenes: /^commands$/, answers: /^;?$/, why: 'no command at all is an empty query' },
  {
    scenes: /^commands$/,
    answers: /^(BEGIN|COMMIT|SELECT 1)$/,
    why: 'what drivers send of their own accord is answered',
  },
  { scenes: /^commands$/, answers: /^ENABLE pgbouncer$/, before: '1.19', why: 'cannot enable, not disable' },
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
  { scenes: /^rows/, answers: /\.state$/, before: '1.19', why: 'a client without a server is idle' },
  {
    scenes: /^rows at rest$/,
    answers: /^CONFIG (\w+_tls_ciphers|server_check_query|server_tls_sslmode|verbose)$/,
    before: measure,
    why: 'defaults that have changed since',
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

const queryDifferences: readonly Difference[] = [
  {
    scenes: /^pool_mode (transaction|statement)$/,
    answers: /^seen by the other$/,
    why: 'what a client sets for itself is taken back before the next one, as far as the setting is reported',
  },
  {
    scenes: /^parameters/,
    answers: /^reported$/,
    why: 'parameters come in the order of the server',
    level: inAnyOrder,
  },
  {
    scenes: /^servers that cannot be had$/,
    answers: /^(missing|denied)/,
    before: '1.22',
    why: "a server's own SQLSTATE is passed on",
    level: each((line) => line.replace(/^E FATAL \w{5}/, 'E FATAL')),
  },
  {
    scenes: /^servers that cannot be had$/,
    answers: /again$/,
    before: '1.23',
    why: 'while server_login_retry lasts, clients are told of the failure at once',
  },
]

const reloadDifferences: readonly Difference[] = [
  {
    scenes: /^RELOAD: a mistake$/,
    answers: /^(answer|log)$/,
    before: '1.20',
    why: 'RELOAD of a file with a mistake is an error',
  },
]

export const differences: readonly Difference[] = [
  ...logDifferences,
  ...loginDifferences,
  ...consoleDifferences,
  ...queryDifferences,
  ...reloadDifferences,
]
