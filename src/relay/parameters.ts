// Tracked parameters of a client or a server, and the SETs that align a server with a client.

import { isUtf8Text } from '../protocol/byte-text.js'

/**
 * What PostgreSQL reports and clients can set, as in pgbouncer 1.26; `track_extra_parameters` adds to it. (Only superusers
 * can set session_authorization: that is left to session_state.)
 */
const alwaysTracked = [
  'client_encoding',
  'DateStyle',
  'TimeZone',
  'standard_conforming_strings',
  'application_name',
  'IntervalStyle',
  'default_transaction_read_only',
  'scram_iterations',
  'search_path',
]

/** Reported, and no client can set it: it tells what its server is, and may change while that runs. */
export const ofTheServer = 'in_hot_standby'

/** Tracked, and without a part in what the text of a statement means. */
const meaningless = 'application_name'

/** Longest value that is carried from server to server, characters: as long as a startup packet may be. */
export const longestValue = 10_000

/** Equal to no value. */
const unknown = '\0'

/** Returns whether the value may be carried: it is whole, and no longer than that. */
export function isCarriable(value: string): boolean {
  return value.length <= longestValue && isUtf8Text(value)
}

/** A value for a parameter, by its lower-case name; undefined: its default. */
type Change = readonly [name: string, value: string | undefined]

/** What a parameter was. */
interface Former {
  readonly value: string | undefined
  readonly isInherited: boolean
}

/** What a server is given so that a client's parameters hold there. */
export interface Alignment {
  readonly changes: readonly Change[]
  /** Statements that do it, each with its semicolon. */
  readonly sql: string
}

/** Names and values that a client has to be told. */
type Told = readonly (readonly [name: string, value: string])[]

const nothingToTell: Told = []

/** Which parameters are tracked: lower-case name -> the name as PostgreSQL writes it. */
export type TrackedNames = ReadonlyMap<string, string>

export function trackedNames(extra: readonly string[]): TrackedNames {
  return new Map([...alwaysTracked, ...extra].map((name) => [name.toLowerCase(), name]))
}

const none: readonly string[] = []

/** The values that one session has; `key` is equal for two sessions exactly when they need no SET between them. */
export class ParameterSet {
  private readonly names: TrackedNames
  private readonly values = new Map<string, string>()
  /** Of a server: what it was given and does not report, such as search_path before PostgreSQL 18. */
  private readonly silent = new Set<string>()
  /** Of a server with a connect_query: what it does not report, as that has left it. */
  private readonly presumed = new Map<string, string>()
  /** Those whose values can't be carried. */
  private readonly lost = new Set<string>()
  /** Those among them that somebody was told of. */
  private readonly told = new Set<string>()
  /** Of a client: those that it has never set. */
  private readonly inherited = new Set<string>()
  private version = 0
  /** The version of the defaults that it has followed up to. */
  private followed = -1
  /** The latest value of in_hot_standby: what a server is, what a client was told. */
  private standby: string | undefined
  /** Of a server: what it keeps texts in knows all characters. */
  private isUnicode = false
  /** Of a client: what it had before the transaction at hand, of what is another value since. */
  private former: Map<string, Former> | null = null
  private cachedKey: string | undefined
  private cachedReading: string | undefined

  constructor(names: TrackedNames) {
    this.names = names
  }

  get(name: string): string | undefined {
    return this.values.get(name.toLowerCase())
  }

  /** @returns whether the parameter is a tracked one */
  set(name: string, value: string): boolean {
    const key = name.toLowerCase()
    if (!this.names.has(key)) return false
    if (!isCarriable(value)) return this.lose(key)
    this.remember(key, value)
    this.silent.delete(key)
    this.lost.delete(key)
    this.inherited.delete(key)
    this.put(key, value)
    return true
  }

  /** A transaction begins, and may be taken back: see `revert`. */
  mark(): void {
    if (this.former === null) this.former = new Map()
    else if (this.former.size > 0) this.former.clear()
  }

  private remember(key: string, next: string): void {
    const { former, values } = this
    if (former === null || former.has(key)) return
    const value = values.get(key)
    if (value !== next) former.set(key, { value, isInherited: this.inherited.has(key) })
  }

  /** What was set since `mark` is as it was. @returns what is another value now, by the names that PostgreSQL uses */
  revert(): Told {
    if (this.former === null || this.former.size === 0) return nothingToTell
    const told: [string, string][] = []
    for (const [key, { value, isInherited }] of this.former) {
      if (value === unknown) this.lost.add(key)
      else this.lost.delete(key)
      if (isInherited) this.inherited.add(key)
      this.put(key, value)
      if (value !== undefined && value !== unknown) told.push([this.names.get(key)!, value])
    }
    this.former.clear()
    return told
  }

  /**
   * A server has reported this, in the client_encoding that it has.
   * @param value undefined: too long to be read
   */
  report(name: string, value: string | undefined): boolean {
    const key = name.toLowerCase()
    if (key === ofTheServer) this.standby = value
    if (key === 'server_encoding') this.isUnicode = value === 'UTF8'
    if (!this.names.has(key)) return false
    const isRead = value !== undefined && (isAscii(value) || (this.values.get('client_encoding') ?? 'UTF8') === 'UTF8')
    return isRead ? this.set(key, value) : this.lose(key)
  }

  /** It has a value that nobody else can be given. */
  private lose(key: string): true {
    this.remember(key, unknown)
    this.silent.delete(key)
    this.inherited.delete(key)
    this.lost.add(key)
    this.put(key, unknown)
    return true
  }

  /** All of this set can be given to another server. */
  get isCarried(): boolean {
    return this.lost.size === 0
  }

  /** The names of those that can't, as PostgreSQL writes them; each once while that lasts. */
  takeNews(): readonly string[] {
    if (this.lost.size === 0) {
      if (this.told.size > 0) this.told.clear()
      return none // asked at each release
    }
    const news = [...this.lost].filter((key) => !this.told.has(key))
    for (const key of news) this.told.add(key)
    return news.map((key) => this.names.get(key)!)
  }

  private put(key: string, value: string | undefined): void {
    if (this.values.get(key) === value) return
    if (value === undefined) this.values.delete(key)
    else this.values.set(key, value)
    this.version++
    this.cachedKey = undefined
    if (key !== meaningless) this.cachedReading = undefined
  }

  /** Takes out what `reported` has not. */
  takeUnreported(reported: ParameterSet): [string, string][] {
    const taken = [...this.values].filter(([name]) => !reported.values.has(name))
    for (const [name] of taken) this.put(name, undefined)
    return taken
  }

  /** Takes the place of what it had: what `other` has. */
  become(other: ParameterSet): void {
    this.standby = other.standby
    for (const name of this.names.keys()) {
      const value = other.values.get(name)
      this.put(name, value === unknown ? undefined : value)
    }
  }

  /**
   * Has what `defaults` has wherever nothing else was set here, and follows it where it changes.
   * @returns what is another value now, by the names that PostgreSQL uses
   */
  follow(defaults: ParameterSet): Told {
    if (this.followed === defaults.version) return nothingToTell
    if (this.followed < 0) this.standby = defaults.standby
    this.followed = defaults.version
    const changed: [string, string][] = []
    for (const name of this.names.keys()) {
      const value = defaults.values.get(name)
      if (this.values.get(name) === value || (this.values.has(name) && !this.inherited.has(name))) continue
      this.put(name, value)
      this.inherited.add(name)
      if (value !== undefined) changed.push([this.names.get(name)!, value])
    }
    return changed
  }

  get key(): string {
    if (this.cachedKey === undefined) {
      let key = ''
      for (const name of this.names.keys()) key += `${this.values.get(name) ?? ''}\0`
      this.cachedKey = key
    }
    return this.cachedKey
  }

  /** Equal for two sessions to which the text of a statement means the same: dates, escapes, bytes beyond ASCII. */
  get reading(): string {
    if (this.cachedReading === undefined) {
      let reading = ''
      for (const name of this.names.keys()) if (name !== meaningless) reading += `${this.values.get(name) ?? ''}\0`
      this.cachedReading = reading
    }
    return this.cachedReading
  }

  /** Asks a server that has just logged in for what it does not report; '' where that is nothing. */
  get unreportedQuestion(): string {
    const names = [...this.names.keys()].filter((name) => !this.values.has(name))
    if (names.length === 0) return ''
    const list = names.map(quoteLiteral).join(',')
    return `SELECT n, pg_catalog.current_setting(n, true) FROM pg_catalog.unnest(ARRAY[${list}]::pg_catalog.text[]) AS n`
  }

  /** So it is on this server before any client: connect_query may have set it, and RESET would undo that. */
  presume(name: string, value: string): void {
    if (value !== '' && isCarriable(value)) this.presumed.set(name, value)
  }

  /** The client gets this server. @returns what it has to be told of it */
  hear(server: ParameterSet): Told {
    if (server.standby === undefined || this.standby === server.standby) return nothingToTell
    this.standby = server.standby
    return [[ofTheServer, server.standby]]
  }

  /** What `server` has to be given for this set to hold there; null where nothing differs. */
  alignment(server: ParameterSet): Alignment | null {
    const changes: Change[] = []
    for (const [name, value] of this.values) if (value !== server.values.get(name)) changes.push([name, value])
    for (const set of [server.silent, server.lost]) {
      for (const name of set) if (!this.values.has(name)) changes.push([name, undefined])
    }
    if (changes.length === 0) return null
    return { changes, sql: changes.map(([name, value]) => server.statement(name, value)).join('') }
  }

  /**
   * The server is being sent these. Until it has answered, nobody knows what it has of those that it does not report, and if
   * it fails, nobody ever will.
   */
  expect({ changes }: Alignment): void {
    for (const [name] of changes) if (!this.reports(name)) this.hold(name, unknown)
  }

  /** The server has carried these out, outside of a transaction. */
  confirm({ changes }: Alignment): void {
    for (const [name, value] of changes) if (!this.reports(name)) this.hold(name, value)
  }

  private reports(name: string): boolean {
    return this.values.has(name) && !this.silent.has(name)
  }

  private hold(name: string, value: string | undefined): void {
    this.put(name, value)
    if (value === undefined) this.silent.delete(name)
    else this.silent.add(name)
  }

  /**
   * The server has carried out the `alignment` with it. What the server calls it now is what this set has, so that it need
   * not be set again: `ISO` is `ISO, MDY`, and `utf-8` is `UTF8`.
   * @returns what it calls otherwise, by the names that PostgreSQL uses
   */
  agree(server: ParameterSet): Told {
    const changed: [string, string][] = []
    for (const [name, value] of this.values) {
      const current = server.values.get(name)
      if (current === undefined || current === unknown || !server.reports(name) || current === value) continue
      this.put(name, current)
      changed.push([this.names.get(name)!, current])
    }
    return changed
  }

  /** The server may have forgotten what it does not report: whoever comes next sets it, or resets it. */
  doubt(): void {
    for (const name of this.silent) this.put(name, unknown)
  }

  private statement(name: string, wanted: string | undefined): string {
    const value = wanted ?? this.presumed.get(name)
    if (value === undefined) return `RESET ${this.names.get(name)};`
    const literal = this.literal(value)
    // Quoted, a SET would take it for one name.
    if (name === 'search_path') return `SELECT pg_catalog.set_config('search_path',${literal},false);`
    return `SET ${this.names.get(name)}=${literal};`
  }

  /** A text as this server reads it in whatever client_encoding it has just then; what it can't be told so is in UTF-8. */
  literal(text: string): string {
    return this.isUnicode ? asciiLiteral(text) : quoteLiteral(text)
  }
}

/** A string literal that means the same whatever standard_conforming_strings says. */
export function quoteLiteral(text: string): string {
  const quoted = `'${text.replaceAll("'", "''").replaceAll('\\', '\\\\')}'`
  return text.includes('\\') ? `E${quoted}` : quoted
}

/** The same, whatever client_encoding says; the server must know all characters. */
function asciiLiteral(text: string): string {
  if (isAscii(text)) return quoteLiteral(text)
  const escaped = text.replaceAll("'", "''").replaceAll('\\', '\\\\')
  const code = (character: string): string => character.codePointAt(0)!.toString(16).padStart(8, '0')
  return `E'${escaped.replaceAll(/[^\0-\x7f]/gu, (character) => `\\U${code(character)}`)}'`
}

export function isAscii(text: string): boolean {
  return !/[^\0-\x7f]/.test(text)
}
