// Queries: parameters, the queue, prepared statements, servers that fail.

import { all, type Difference, each, inAnyOrder, without } from './difference.js'

export const queryDifferences: readonly Difference[] = [
  {
    scenes: /^pool_mode (transaction|statement)$/,
    answers: /^seen by the other$/,
    before: '1.24',
    why: 'what a client sets for itself is taken back before the next one, as far as the setting is reported',
  },
  {
    scenes: /^parameters/,
    answers: /^reported$/,
    why: 'parameters come in the order of the server',
    level: inAnyOrder,
  },
  {
    scenes: /^(servers that cannot be had|databases made up by)/,
    answers: /^(missing|denied|a name of 63)/,
    before: '1.22',
    why: "a server's own SQLSTATE is passed on",
    level: each((line) => line.replace(/^E FATAL \w{5}/, 'E FATAL')),
  },
  {
    scenes: /^servers that cannot be had$/,
    answers: /again$/,
    why: 'while server_login_retry lasts, logins are told of the failure at once, too',
  },
  {
    scenes: /^cancel while waiting$/,
    answers: all,
    why: 'a client that waits can be cancelled',
  },
  {
    scenes: /^prepared statements that are wrong$/,
    answers: all,
    why: 'names of prepared statements that are taken or unknown are errors of PostgreSQL, and the client stays',
  },
  {
    scenes: /^statement mode refuses$/,
    answers: all,
    why: 'what the server has answered before a transaction block is refused is passed on',
    level: without(/^([12]|C (?:BEGIN|START TRANSACTION))$/),
  },
]
