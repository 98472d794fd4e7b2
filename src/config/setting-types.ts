// The types of settings: how a text becomes a value, and what SHOW CONFIG says of it.

import { isUtf8Text } from '../protocol/byte-text.js'
import { InvalidValue } from './config-error.js'
import { Secret } from './secret.js'

export interface SettingType<T> {
  /** What may be written, in words for the documentation. */
  readonly name: string
  readonly unit?: string
  /** @throws InvalidValue */
  parse(text: string): T
  /** What SHOW CONFIG gives; without it, the text as written. */
  show?(value: T): string
}

/** PostgreSQL and Node.js agree on the names of the protocol versions; the order is the age. */
const tlsVersions = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'] as const
export type TlsVersion = (typeof tlsVersions)[number]

const largestInt = 2147483647

/** A whole number in C's notations: 10, 0x1f, 0777. */
export function integer(least = 0, most = largestInt, unit?: string): SettingType<number> {
  const name = least === 0 && most === largestInt ? 'int' : `int, ${least} to ${most}`
  return {
    name,
    ...(unit !== undefined && { unit }),
    parse(text) {
      const value = parseInteger(text)
      if (value === undefined) throw new InvalidValue('expected a whole number')
      if (value < least || value > most) throw new InvalidValue(`expected ${least} to ${most}`)
      return value
    },
    show: String,
  }
}

/** strtol(text, &end, 0), all of the text. */
function parseInteger(text: string): number | undefined {
  const [, sign, digits] = /^([+-]?)(0x[0-9a-f]+|0[0-7]*|[1-9][0-9]*)$/i.exec(text) ?? []
  if (digits === undefined) return undefined
  const octal = digits.startsWith('0') && /^[0-7]+$/.test(digits)
  const value = octal ? Number.parseInt(digits, 8) : Number(digits)
  return sign === '-' ? -value : value
}

/** pgbouncer's switches are ints: 0 is off, any other is on; the words on, yes and true are errors there. */
export const flag: SettingType<boolean> = {
  name: '0 or 1',
  parse(text) {
    const value = parseInteger(text)
    if (value === undefined) throw new InvalidValue('expected 0 or 1')
    return value !== 0
  },
  show: (value) => (value ? '1' : '0'),
}

/** What is done more often than this, s, is a mistake. */
const shortestPeriod = 0.01

/** Seconds, with a fraction where wanted. */
export const seconds: SettingType<number> = {
  name: 'time',
  unit: 'seconds',
  parse: (text) => parseSeconds(text, 0),
  show: String,
}

function parseSeconds(text: string, least: number): number {
  const value = /^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN
  if (!Number.isFinite(value)) throw new InvalidValue('expected a number of seconds')
  if (value < least) throw new InvalidValue(`expected ${least} or more seconds`)
  return value
}

/** Seconds between two of the same: never 0. */
export const period: SettingType<number> = {
  ...seconds,
  parse: (text) => parseSeconds(text, shortestPeriod),
}

export const text: SettingType<string> = {
  name: 'text',
  parse: (given) => given,
}

/** A text that may be unset; the empty text unsets it. */
export const optionalText: SettingType<string | undefined> = {
  name: 'text',
  parse: (given) => (given === '' ? undefined : given),
}

/** A text that may hold a password: SHOW CONFIG hides it. */
export const secretText: SettingType<Secret | undefined> = {
  name: 'text, hidden in SHOW CONFIG',
  parse: (given) => (given === '' ? undefined : new Secret(given)),
  show: String,
}

/**
 * For what goes to the system and not to PostgreSQL: paths and host names. Node.js writes no other than UTF-8 there.
 * @throws InvalidValue
 */
export function requireUtf8(given: string): string {
  if (!isUtf8Text(given)) throw new InvalidValue('not valid UTF-8')
  return given
}

/** Optional name of a database that is not the console. */
export const authDatabase: SettingType<string | undefined> = {
  ...optionalText,
  parse(given) {
    if (given === 'pgbouncer') throw new InvalidValue('cannot use the reserved "pgbouncer" database as an auth_dbname')
    return optionalText.parse(given)
  },
}

/** Words between commas, blanks around them dropped. */
export const list: SettingType<readonly string[]> = {
  name: 'comma list',
  parse: (given) => Object.freeze(words(given)),
}

/**
 * One of some words, in any case of letters.
 * @param refused words that pgbouncer knows and we do not, each with the reason
 */
export function oneOf<const W extends string>(
  choices: readonly W[],
  refused: Readonly<Record<string, string>> = {},
): SettingType<W> {
  return {
    name: choices.join(', '),
    parse(given) {
      const word = given.toLowerCase()
      const found = choices.find((choice) => choice === word)
      if (found !== undefined) return found
      throw new InvalidValue(Object.hasOwn(refused, word) ? refused[word]! : `expected one of ${choices.join(', ')}`)
    },
    show: (value) => value,
  }
}

/** Versions allowed, oldest first. Words are added from left to right; `!` takes away, from all of them if none is chosen yet. */
export const tlsProtocols: SettingType<readonly TlsVersion[]> = {
  name: 'list of tlsv1.0, tlsv1.1, tlsv1.2, tlsv1.3, all, secure, or one of these after !',
  parse(given) {
    let chosen: readonly TlsVersion[] = []
    for (const word of words(given.replaceAll(':', ','))) {
      const negated = word.startsWith('!')
      const named = versionsNamed(word.slice(negated ? 1 : 0).toLowerCase())
      const from = negated && chosen.length === 0 ? tlsVersions : chosen
      chosen = tlsVersions.filter((version) => (named.includes(version) ? !negated : from.includes(version)))
    }
    if (chosen.length === 0) throw new InvalidValue('no protocol version is left')
    return Object.freeze([...chosen])
  },
}

function versionsNamed(word: string): readonly TlsVersion[] {
  switch (word) {
    case 'all':
    case 'legacy':
    case 'tlsv1':
      return tlsVersions
    case 'secure':
    case 'default':
      return ['TLSv1.2', 'TLSv1.3']
    case 'tlsv1.0':
      return ['TLSv1']
    case 'tlsv1.1':
      return ['TLSv1.1']
    case 'tlsv1.2':
      return ['TLSv1.2']
    case 'tlsv1.3':
      return ['TLSv1.3']
    default:
      throw new InvalidValue('expected tlsv1.0 to tlsv1.3, all or secure')
  }
}

function words(given: string): string[] {
  return given
    .split(',')
    .map((word) => word.trim())
    .filter((word) => word !== '')
}
