// Tracked parameters of a client or a server, and the SETs that align a server with a client.

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

/** Tracked, and without a part in what the text of a statement means. */
const meaningless = 'application_name'

/** Longest quoted value that is carried over (pgbouncer's limit), and for what is no mere word. */
const longestValue = 127
const longestList = 8192

/** Equal to no value. */
const unknown = '\0'

/** pgbouncer's equality does not look at case; but quoted names of schemas differ by it. */
const folded = (name: string, value: string): string => (name === 'search_path' ? value : value.toLowerCase())

/** Which parameters are tracked: lower-case name -> the name as PostgreSQL writes it. */
export type TrackedNames = ReadonlyMap<string, string>

export function trackedNames(extra: readonly string[]): TrackedNames {
  return new Map([...alwaysTracked, ...extra].map((name) => [name.toLowerCase(), name]))
}

/** The values that one session has; `key` is equal for two sessions exactly when they need no SET between them. */
export class ParameterSet {
  private readonly names: TrackedNames
  private readonly values = new Map<string, string>()
  /** Of a server: what it was given and does not report, such as search_path before PostgreSQL 18. */
  private readonly silent = new Set<string>()
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
    this.silent.delete(key)
    this.put(key, value)
    return true
  }

  private put(key: string, value: string | undefined): void {
    if (value === undefined) this.values.delete(key)
    else this.values.set(key, value)
    this.cachedKey = undefined
    if (key !== meaningless) this.cachedReading = undefined
  }

  /** Takes out what `reported` has not. */
  takeUnreported(reported: ParameterSet): [string, string][] {
    const taken = [...this.values].filter(([name]) => !reported.values.has(name))
    for (const [name] of taken) this.put(name, undefined)
    return taken
  }

  /** Takes over what `defaults` has and this set lacks. */
  fill(defaults: ParameterSet): void {
    for (const [name, value] of defaults.values) if (!this.values.has(name)) this.set(name, value)
  }

  get key(): string {
    if (this.cachedKey === undefined) {
      let key = ''
      for (const name of this.names.keys()) key += `${folded(name, this.values.get(name) ?? '')}\0`
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

  /** The statements that give `server` this set's values, or '' where nothing differs. */
  alignment(server: ParameterSet): string {
    let sets = ''
    for (const [name, value] of this.values) if (this.isToSet(name, value, server)) sets += this.setting(name, value)
    for (const name of server.silent) if (!this.values.has(name)) sets += `RESET ${this.names.get(name)};`
    return sets
  }

  /**
   * The server has carried out the `alignment` with it. What the server calls it now is what this set has, so that it need
   * not be set again: `ISO` is `ISO, MDY`, and `utf-8` is `UTF8`.
   */
  agree(server: ParameterSet): void {
    for (const [name, value] of this.values) {
      if (!this.isToSet(name, value, server)) continue
      const current = server.silent.has(name) ? undefined : server.values.get(name)
      if (current !== undefined) {
        this.put(name, current)
      } else {
        server.put(name, value)
        server.silent.add(name)
      }
    }
    for (const name of server.silent) {
      if (this.values.has(name)) continue
      server.put(name, undefined)
      server.silent.delete(name)
    }
  }

  /** The server may have forgotten what it does not report: whoever comes next sets it, or resets it. */
  doubt(): void {
    for (const name of this.silent) this.put(name, unknown)
  }

  private isToSet(name: string, value: string, server: ParameterSet): boolean {
    const current = server.values.get(name)
    if (current !== undefined && folded(name, current) === folded(name, value)) return false
    return quoteLiteral(value).length <= (name === 'search_path' ? longestList : longestValue)
  }

  private setting(name: string, value: string): string {
    // Quoted, a SET would take it for one name.
    if (name === 'search_path') return `SELECT pg_catalog.set_config('search_path',${quoteLiteral(value)},false);`
    return `SET ${this.names.get(name)}=${quoteLiteral(value)};`
  }

  entries(): IterableIterator<[string, string]> {
    return this.values.entries()
  }
}

/** A string literal that means the same whatever standard_conforming_strings says. */
export function quoteLiteral(text: string): string {
  const quoted = `'${text.replaceAll("'", "''").replaceAll('\\', '\\\\')}'`
  return text.includes('\\') ? `E${quoted}` : quoted
}
