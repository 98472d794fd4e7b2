// Logins: who is told what, and when.

import { type Difference, each } from './difference.js'

export const loginDifferences: readonly Difference[] = [
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
    before: '1.25',
    why: 'a startup packet without its last byte is told so',
  },
  {
    scenes: /^startup packets$/,
    answers: /^(no terminator|bytes behind the terminator|half a pair|nothing behind the version)/,
    before: '1.25',
    why: 'a startup packet that does not end where it should is refused',
  },
  {
    scenes: /^startup parameters$/,
    answers: /^unknown/,
    before: '1.26',
    why: 'all that PostgreSQL reports is tracked: search_path may be given at login',
  },
  {
    scenes: /^rights$|^login to the console$/,
    answers: /^(an unknown user|pgbouncer)$/,
    why: 'who may not use the console is told so before anything else, known or not',
  },
  {
    scenes: /^startup packets$/,
    answers: /^(a query|a parse) first|^HTTP/,
    why: 'a first packet that can be none is refused at once, and told so',
  },
  {
    scenes: /^startup packets$/,
    answers: /^a database of (64|200) bytes/,
    why: 'names are told and logged as they were given, not cut',
    level: each((line) => line.replace(/d{60,}/, 'd')),
  },
  { scenes: /^protocol versions$/, answers: /^4\.0$/, why: 'a protocol that is not known is named' },
  {
    scenes: /^the handshake of /,
    answers: /^(a query instead|a (wrong )?length|a password without its end)/,
    why: 'a message that is wrong in a login is refused at once, and told so',
  },
  {
    scenes: /^options$/,
    answers: /^<( |--extra-float|-c ?=)/,
    why: 'options are read as PostgreSQL reads them: blanks, and dashes for underscores',
  },
  {
    scenes: /^replication$/,
    answers: /^maybe/,
    why: 'replication is what PostgreSQL takes for it; anything else is refused',
  },
  {
    scenes: /^replication$/,
    answers: /^(database|true|on|yes|1)$/,
    why: 'why a server refuses a replication connection is told',
  },
]
