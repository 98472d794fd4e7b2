// What a client may ask for in its startup packet, beside user and database.

import type { Settings } from '../config/settings.js'
import { byteLength } from '../protocol/byte-text.js'
import { PgError } from '../protocol/errors.js'
import { isCarriable, type TrackedNames } from '../relay/parameters.js'

export interface ClientStartup {
  readonly user: string
  readonly database: string
  readonly replication: 'none' | 'logical' | 'physical'
  /** Values of tracked parameters, in the order asked for. */
  readonly parameters: readonly (readonly [name: string, value: string])[]
  /** For a replication connection: everything else, which goes to the server as it is. */
  readonly passedOn: Readonly<Record<string, string>>
  /** `_pq_.` options, none of which is known. */
  readonly protocolOptions: readonly string[]
}

/** NAMEDATALEN has no part in this: pgbouncer's own limit for user names, bytes. */
const longestUser = 127

/** @throws PgError for parameters that are neither known, nor tracked, nor ignored */
export function readClientStartup(
  given: ReadonlyMap<string, string>,
  settings: Settings,
  tracked: TrackedNames,
): ClientStartup {
  const user = given.get('user') ?? ''
  if (user === '') throw new PgError('no_username')
  if (byteLength(user) > longestUser) throw new PgError('username_too_long')
  const ignored = new Set(settings.ignore_startup_parameters.map((name) => name.toLowerCase()))
  const parameters: [string, string][] = []
  const protocolOptions: string[] = []
  const passedOn: Record<string, string> = {}
  const replication = replicationKind(given.get('replication') ?? '')
  for (const [name, value] of given) {
    const lower = name.toLowerCase()
    if (lower === 'user' || lower === 'database') continue
    if (name.startsWith('_pq_.')) protocolOptions.push(name)
    else if (replication !== 'none' && !ignored.has(lower)) passedOn[name] = value
    else if (lower === 'replication') continue
    else if (lower === 'options') parameters.push(...readOptions(value, tracked, ignored))
    else if (ignored.has(lower)) continue
    else if (tracked.has(lower)) parameters.push([lower, value])
    else throw new PgError('unsupported_startup_parameter', name)
  }
  for (const [name, value] of parameters) {
    // Of that, PostgreSQL takes whatever it is.
    if (name !== 'application_name' && !isCarriable(value)) throw new PgError('invalid_startup_parameter', name)
  }
  return { user, database: given.get('database') || user, replication, parameters, passedOn, protocolOptions }
}

/** What the log calls it: the values with which a client asks for it. */
export const replicationWords = { none: 'no', logical: 'database', physical: 'yes' } as const

/** As PostgreSQL reads it: the word database in just these letters, or a boolean, which may be cut short, for physical. */
function replicationKind(value: string): ClientStartup['replication'] {
  if (value === 'database') return 'logical'
  if (/^(?:t(?:r(?:ue?)?)?|y(?:es?)?|on|1)$/i.test(value)) return 'physical'
  if (/^(?:f(?:a(?:l(?:se?)?)?)?|no?|off?|0|)$/i.test(value)) return 'none'
  throw new PgError('invalid_startup_parameter', 'replication')
}

/** `options`: only `-c name=value` and `--name=value`, blanks and backslashes escaped by backslashes. */
function readOptions(text: string, tracked: TrackedNames, ignored: ReadonlySet<string>): [string, string][] {
  const found: [string, string][] = []
  const words = splitOptions(text)
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!
    const assignment = word === '-c' ? words[++i] : word.slice(2)
    const isOption = word.startsWith('-c') || word.startsWith('--')
    const equals = assignment?.indexOf('=') ?? -1
    if (!isOption || assignment === undefined || equals < 1) throw new PgError('unsupported_options')
    const name = assignment.slice(0, equals).toLowerCase().replaceAll('-', '_')
    if (ignored.has(name)) continue
    if (tracked.has(name)) found.push([name, assignment.slice(equals + 1)])
    else if (!ignored.has('options')) throw new PgError('unsupported_option_parameter', name)
  }
  return found
}

function splitOptions(text: string): string[] {
  const words = text.match(/(?:\\.|[^\s\\])+/gs) ?? []
  return words.map((word) => word.replaceAll(/\\(.)/gs, '$1'))
}
