// The keys that a line of [databases], [users] or [peers] may have: tables of what each does to the entry it belongs to.

import { ConfigError, InvalidValue, located, type Place } from './config-error.js'
import { type Conninfo, parseConninfo, shownKey } from './conninfo.js'
import { suggestion } from './nearest.js'
import type { Secret } from './secret.js'
import { type SettingType, seconds } from './setting-types.js'

/** `Draft` is an entry being built; `Value` is what the key may have in an object, for the compiler alone. */
export interface EntryKey<Draft, Value = unknown> {
  readonly value?: Value
  /** One line for the documentation. */
  readonly meaning: string
  /** @throws InvalidValue */
  readonly set: (draft: Draft, text: string) => void
}

type EntryKeys<Draft> = Readonly<Record<string, EntryKey<Draft>>>

/** An interface while it is being filled. */
export type Draft<T> = { -readonly [K in keyof T]: T[K] }

/** One kind of entry, and pgbouncer's words for its mistakes. */
export interface EntryGrammar<D> {
  readonly keys: EntryKeys<D>
  readonly syntaxError: string
  readonly unrecognized: string
  /** Keys that people bring along from elsewhere, with what to do instead. */
  readonly hints?: Readonly<Record<string, string>>
}

const keyOf =
  <Value>() =>
  <D>(meaning: string, set: EntryKey<D>['set']): EntryKey<D, Value> => ({ meaning, set })

export const key = keyOf<string>()
export const secretKey = keyOf<string | Secret>()
export const listKey = keyOf<readonly string[]>()
export const numberKey = keyOf<number>()
export const numbersKey = keyOf<readonly number[]>()

/** The value is one of the words that a setting of the same name may have. */
export function wordKey<D, Word extends string>(
  meaning: string,
  type: SettingType<Word>,
  set: (draft: D, word: Word) => void,
): EntryKey<D, Word> {
  return { meaning, set: (draft, text) => set(draft, type.parse(text)) }
}

/**
 * Applies a line, or the pairs of an object, to a draft.
 * @throws ConfigError that shows no value: in a line with a slip any of them may be part of a password.
 */
export function readEntry<D>(draft: D, given: string | Conninfo, grammar: EntryGrammar<D>, place: Place): void {
  const pairs = typeof given === 'string' ? located(grammar.syntaxError, place, () => parseConninfo(given)) : given
  for (const [name, text] of pairs) {
    const where = 'path' in place ? { path: `${place.path}.${name}` } : place
    if (!Object.hasOwn(grammar.keys, name)) throw unrecognized(name, grammar, where)
    located(`invalid value for ${name} in configuration`, where, () => grammar.keys[name]!.set(draft, text))
  }
}

function unrecognized<D>(name: string, grammar: EntryGrammar<D>, place: Place): ConfigError {
  const hints = grammar.hints ?? {}
  const hint = Object.hasOwn(hints, name) ? hints[name]! : suggestion(name, Object.keys(grammar.keys))
  return new ConfigError(`${grammar.unrecognized}: ${shownKey(name)}`, place, hint)
}

/** A whole number in decimal. pgbouncer takes what atoi() makes of the text, so `20x` is 20 and `x` is 0 there. */
export function wholeNumber(text: string, least: number, most: number): number {
  const value = decimal(text)
  if (!(value >= least && value <= most)) throw new InvalidValue(`expected a whole number from ${least} to ${most}`)
  return value
}

/** A size, where any negative number leaves it to the next level (`pool_size = -1`). */
export function size(text: string): number | undefined {
  const value = decimal(text)
  if (!(value <= 2147483647)) throw new InvalidValue('expected a whole number up to 2147483647')
  return value < 0 ? undefined : value
}

function decimal(text: string): number {
  return /^[+-]?\d{1,15}$/.test(text) ? Number(text) : Number.NaN
}

/** A limit, where 0 and negative numbers leave it to the next level. */
export function limit(text: string): number | undefined {
  return size(text) || undefined
}

/** Seconds, where -1 leaves it to the next level and 0 means never. pgbouncer takes whole seconds only. */
export function secondsOrInherit(text: string): number | undefined {
  return text === '-1' ? undefined : seconds.parse(text)
}

/** Seconds, where 0 and -1 leave it to the next level. */
export function positiveSeconds(text: string): number | undefined {
  return secondsOrInherit(text) || undefined
}
