// Values of settings.

import { all, type Difference, each, without } from './difference.js'

export const settingDifferences: readonly Difference[] = [
  {
    scenes: /^SET of every setting$/,
    answers: /^(scram_iterations|stats_period)$/,
    why: 'what cannot be 0 is not',
    level: without(/^'0'/),
  },
  {
    scenes: /^SET of every setting$/,
    answers: all,
    why: 'numbers below 0 or too large, hexadecimal times and blanks before a number are errors',
    level: without(/^'(-1| 3|0x10|9{11})'/),
  },
  {
    scenes: /^SET of every setting$/,
    answers: all,
    why: 'a setting that is on or off is 1 or 0',
    level: each((line) =>
      line.replace(
        /^('(?:7|010)'): (C SET (?:\w*_add_host|log_\w+|server_fast_close|server_reset_query_always|server_round_robin|tcp_keepalive|tcp_defer_accept)=\S+) -> .*/,
        '$1: $2',
      ),
    ),
  },
]
