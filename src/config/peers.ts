// The entries of [peers]: the other poolers behind the same address, to which a CancelRequest may have to be passed on.

import { ConfigError, type Place } from './config-error.js'
import type { Conninfo } from './conninfo.js'
import { hostIn } from './databases.js'
import { type Draft, type EntryGrammar, key, numberKey, readEntry, size, wholeNumber } from './entry-keys.js'

export interface PeerConfig {
  /** Its peer_id. The entry with our own is there, too: files are shared among peers. */
  readonly id: number
  /** Host name, address, `/dir` or `@name`. */
  readonly host: string
  readonly port: number
  /** Cancel requests at a time; undefined: default_pool_size. */
  readonly poolSize?: number | undefined
}

type PeerDraft = Draft<PeerConfig>

export const peerKeys = {
  host: key('Host name, address, socket folder (`/dir`) or abstract socket (`@name`). Required.', (peer, text) => {
    peer.host = hostIn(text)
  }),
  port: numberKey('Port, 6432 if unset.', (peer, text) => {
    peer.port = wholeNumber(text, 1, 65535)
  }),
  pool_size: numberKey('Cancel requests on their way at a time; unset: `default_pool_size`.', (peer, text) => {
    peer.poolSize = size(text)
  }),
} satisfies EntryGrammar<PeerDraft>['keys']

const grammar: EntryGrammar<PeerDraft> = {
  keys: peerKeys,
  syntaxError: 'syntax error in connection string',
  unrecognized: 'unrecognized connection parameter',
}

/** @throws ConfigError */
export function readPeer(name: string, given: string | Conninfo, place: Place): PeerConfig {
  const id = /^\d{1,5}$/.test(name) ? Number(name) : 0
  if (id < 1 || id > 65535) throw new ConfigError('ids of peers must be a number from 1 to 65535', place)
  const draft: PeerDraft = { id, host: '', port: 6432 }
  readEntry(draft, given, grammar, place)
  if (draft.host === '') throw new ConfigError(`host was not provided for peer ${id}`, place)
  return Object.freeze(draft)
}
