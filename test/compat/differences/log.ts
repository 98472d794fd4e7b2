// The log: what is told in other words, in another order, or by one of both only.

import { all, type Difference, each, inAnyOrder, log, without } from './difference.js'

export const logDifferences: readonly Difference[] = [
  {
    scenes: all,
    answers: log,
    before: '1.23',
    why: 'the kind of replication is logged with a login',
    level: each((line) => line.replace(/ replication=(no|yes|database)$/, '')),
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
      /^ERROR (?:C-PTR: \S+ password authentication failed|(?!C-PTR|S-PTR|invalid value|syntax error))|^WARNING C-PTR: \S+ unsupported startup parameter/,
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
    scenes: /^(query|transaction)_timeout$/,
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
    scenes: /^a server that ends$/,
    answers: /^(told|log)$/,
    sometimes: true,
    why: 'a server that says itself why it ends is quoted, and no more is told',
    level: without(/(E FATAL 08P01|pooler error:) server conn crashed\?$/),
  },
  {
    scenes: /^databases made up by/,
    answers: log,
    why: 'that a database is made up is no matter of the client that asks for it first',
    level: (lines) =>
      inAnyOrder(
        lines.map((line) =>
          line.replace(/C-PTR: \S+ (?=registered)/, '').replace('auto-database: db=', 'auto-database: '),
        ),
      ),
  },
  {
    scenes: /^RECONNECT and WAIT_CLOSE$/,
    answers: /^(reasons|servers)$/,
    why: 'servers that nobody uses are closed at once',
    level: without(/^idle 1$|close_needed/),
  },
  {
    scenes: /^cancel$/,
    answers: log,
    why: 'connections that carry a cancel to a server are not logged',
    level: without(/^LOG (S-PTR: |started sending)/),
  },
  {
    scenes: /^startup packets$/,
    answers: log,
    why: 'a login that is refused for its packet is not logged as a login as well',
    level: without(/login failed: /),
  },
  {
    scenes: /^RELOAD: a mistake$/,
    answers: log,
    why: 'the log says what was expected',
    level: each((line) => line.replace(/(\(\S+:\d+\)): expected .*$/, '$1')),
  },
  {
    scenes: /^servers that do not answer$/,
    answers: log,
    why: 'why a server cannot be reached is logged in other words',
    level: without(/^WARNING (S-PTR|sbuf_connect|DNS lookup)/),
  },
  {
    scenes: /^the line of statistics$/,
    answers: log,
    before: '1.26',
    why: 'what has been counted since is in the line of statistics',
    level: each((line) => line.replace(/, N (client parses|server parses|binds|client logins)\/s/g, '')),
  },
  {
    scenes: /^probe$/,
    answers: log,
    why: 'who leaves in the middle of a packet is logged; who leaves without a byte is not',
    level: without(/client unexpected eof/),
  },
]
