// A configuration as an object, for use as a library: the same items as a file gives, told apart by key paths.

import { ConfigError, type Place } from './config-error.js'
import type { Conninfo } from './conninfo.js'
import type { databaseKeys } from './databases.js'
import type { EntryKey } from './entry-keys.js'
import type { peerKeys } from './peers.js'
import { Secret } from './secret.js'
import type { TlsVersion } from './setting-types.js'
import type { SettingName, Settings } from './settings.js'
import type { userKeys } from './users.js'

type TlsWord = 'all' | 'secure' | 'legacy' | 'default' | 'tlsv1' | 'tlsv1.0' | 'tlsv1.1' | 'tlsv1.2' | 'tlsv1.3'

/**
 * How a value may be written in an object: as itself, or as text; true and false mean 1 and 0, and the items of an array are
 * joined with commas. As text, only what cannot be told from another is left to be found when it is loaded.
 */
type Written<Value> = [Value] extends [boolean]
  ? boolean | 0 | 1 | '0' | '1'
  : [Value] extends [number]
    ? number | `${number}`
    : [Value] extends [readonly TlsVersion[]]
      ? TlsWords | readonly TlsWords[]
      : [Value] extends [readonly number[]]
        ? number | `${number}` | `${number},${string}` | readonly number[]
        : [Value] extends [readonly string[]]
          ? string | readonly string[]
          : [Value] extends [Secret | undefined]
            ? string | Secret
            : Value

type NegatableTlsWord = TlsWord | `!${TlsWord}`
type TlsWords = NegatableTlsWord | `${NegatableTlsWord}${',' | ':'}${string}`

type Pairs<Keys> = {
  readonly [K in keyof Keys]?: (Keys[K] extends EntryKey<never, infer Value> ? Written<Value> : never) | undefined
}

/** The sections of pgbouncer.ini. Entries are `key=value` texts (or URLs) as in the file, or objects with the same keys. */
export interface ConfigInput {
  readonly pgbouncer?: { readonly [N in SettingName]?: Written<Settings[N]> | undefined }
  readonly databases?: Readonly<Record<string, string | Pairs<typeof databaseKeys>>>
  readonly users?: Readonly<Record<string, string | Pairs<typeof userKeys>>>
  readonly peers?: Readonly<Record<string, string | Pairs<typeof peerKeys>>>
}

/** As from a file; but an entry may come as pairs, and the place may be a key path. */
export type ConfigItem =
  | { readonly kind: 'section'; readonly name: string; readonly place: Place }
  | {
      readonly kind: 'entry'
      readonly section: string
      readonly key: string
      readonly value: string
      readonly place: Place
    }
  | {
      readonly kind: 'pairs'
      readonly section: string
      readonly key: string
      readonly value: Conninfo
      readonly place: Place
    }

/** @throws ConfigError with the key path */
export function* itemsOf(input: ConfigInput): Generator<ConfigItem> {
  yield { kind: 'section', name: 'pgbouncer', place: { path: 'pgbouncer' } }
  for (const [section, entries] of Object.entries(objectAt(input, { path: 'config' }))) {
    if (section !== 'pgbouncer') yield { kind: 'section', name: section, place: { path: section } }
    for (const [key, value] of Object.entries(objectAt(entries, { path: section }))) {
      const place = { path: `${section}.${key}` }
      if (value === undefined) continue
      if (section === 'pgbouncer') yield { kind: 'entry', section, key, value: textOf(value, place), place }
      else if (typeof value === 'string') yield { kind: 'entry', section, key, value, place }
      else yield { kind: 'pairs', section, key, value: pairsOf(objectAt(value, place), place.path), place }
    }
  }
}

function pairsOf(entry: object, path: string): Conninfo {
  const pairs = new Map<string, string>()
  for (const [key, value] of Object.entries(entry)) {
    if (value === undefined) continue
    const place = { path: `${path}.${key}` }
    const text = textOf(value, place)
    if (text === '') throw new ConfigError(`${key} has an empty value`, place)
    pairs.set(key, text)
  }
  return pairs
}

function objectAt(value: unknown, place: Place): object {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Secret) {
    throw new ConfigError('expected an object', place)
  }
  return value
}

function textOf(value: unknown, place: Place): string {
  if (value instanceof Secret) return value.reveal()
  if (Array.isArray(value)) return value.map((item) => textOf(item, place)).join(',')
  if (typeof value === 'boolean') return value ? '1' : '0'
  if (typeof value !== 'string' && typeof value !== 'number') {
    throw new ConfigError('expected a text, a number, true or false', place)
  }
  if (/[\0\n\r]/.test(String(value))) throw new ConfigError('a value is one line', place)
  return String(value)
}
