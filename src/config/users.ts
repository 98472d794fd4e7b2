// The entries of [users]: sizes, limits and timeouts of one user, which beat those of the database and the global ones.

import { byteLength } from '../protocol/byte-text.js'
import { type PoolMode, poolMode, type SessionStateMode, sessionState } from './choices.js'
import { ConfigError, type Place, quoted } from './config-error.js'
import type { Conninfo } from './conninfo.js'
import {
  type Draft,
  type EntryGrammar,
  limit,
  numberKey,
  positiveSeconds,
  readEntry,
  secondsOrInherit,
  size,
  wordKey,
} from './entry-keys.js'

/** What is undefined is left to the database's entry or to the global setting. Timeouts are seconds. */
export interface UserConfig {
  readonly name: string
  readonly poolMode?: PoolMode | undefined
  readonly sessionState?: SessionStateMode | undefined
  readonly poolSize?: number | undefined
  readonly reservePoolSize?: number | undefined
  readonly maxUserConnections?: number | undefined
  readonly maxUserClientConnections?: number | undefined
  readonly queryTimeout?: number | undefined
  /** 0 is never. */
  readonly queryWaitTimeout?: number | undefined
  readonly idleTransactionTimeout?: number | undefined
  readonly transactionTimeout?: number | undefined
  readonly clientIdleTimeout?: number | undefined
}

type UserDraft = Draft<UserConfig>

/** MAX_USERNAME of pgbouncer, less one: bytes. */
const longestName = 127

export const userKeys = {
  pool_mode: wordKey('Instead of the `pool_mode` of the database.', poolMode, (user, word) => {
    user.poolMode = word
  }),
  session_state: wordKey('Instead of the `session_state` of the database.', sessionState, (user, word) => {
    user.sessionState = word
  }),
  pool_size: numberKey(
    'Servers for each pool of this user; unset or negative: the `pool_size` of the database.',
    (user, text) => {
      user.poolSize = size(text)
    },
  ),
  reserve_pool_size: numberKey('Instead of the `reserve_pool_size` of the database.', (user, text) => {
    user.reservePoolSize = size(text)
  }),
  max_user_connections: numberKey(
    'Servers of all pools of this user; 0: the global `max_user_connections`.',
    (user, text) => {
      user.maxUserConnections = limit(text)
    },
  ),
  max_user_client_connections: numberKey(
    'Clients of this user; 0: the global `max_user_client_connections`.',
    (user, text) => {
      user.maxUserClientConnections = limit(text)
    },
  ),
  query_timeout: numberKey('Seconds; 0: the global `query_timeout`.', (user, text) => {
    user.queryTimeout = positiveSeconds(text)
  }),
  query_wait_timeout: numberKey('Seconds, 0 for never; -1: the `query_wait_timeout` of the database.', (user, text) => {
    user.queryWaitTimeout = secondsOrInherit(text)
  }),
  idle_transaction_timeout: numberKey('Seconds; 0: the global `idle_transaction_timeout`.', (user, text) => {
    user.idleTransactionTimeout = positiveSeconds(text)
  }),
  transaction_timeout: numberKey('Seconds; 0: the global `transaction_timeout`.', (user, text) => {
    user.transactionTimeout = positiveSeconds(text)
  }),
  client_idle_timeout: numberKey('Seconds; 0: the global `client_idle_timeout`.', (user, text) => {
    user.clientIdleTimeout = positiveSeconds(text)
  }),
} satisfies EntryGrammar<UserDraft>['keys']

const grammar: EntryGrammar<UserDraft> = {
  keys: userKeys,
  syntaxError: 'syntax error in user settings',
  unrecognized: 'unrecognized user parameter',
  hints: { default_pool_size: 'here it is pool_size' },
}

/** @throws ConfigError */
export function readUser(name: string, given: string | Conninfo, place: Place): UserConfig {
  if (byteLength(name) > longestName) {
    throw new ConfigError(`too long user name: ${quoted(name)}`, place, `at most ${longestName} bytes`)
  }
  const draft: UserDraft = { name }
  readEntry(draft, given, grammar, place)
  return Object.freeze(draft)
}
