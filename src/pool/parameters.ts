// Tracked parameters of a client or a server, and the SETs that align a server with a client.

/** Always tracked, as in pgbouncer; `track_extra_parameters` adds to them. Keys are lower case. */
const alwaysTracked = ['client_encoding', 'DateStyle', 'TimeZone', 'standard_conforming_strings', 'application_name']

/** Tracked, and without a part in what the text of a statement means. */
const meaningless = 'application_name'

/** Longest quoted value that is carried over (pgbouncer's limit). */
const longestValue = 127

/** Which parameters are tracked: lower-case name -> the name as PostgreSQL writes it. */
export type TrackedNames = ReadonlyMap<string, string>

export function trackedNames(extra: readonly string[]): TrackedNames {
  return new Map([...alwaysTracked, ...extra].map((name) => [name.toLowerCase(), name]))
}

/** The values that one session has; `key` is equal for two sessions exactly when they need no SET between them. */
export class ParameterSet {
  private readonly names: TrackedNames
  private readonly values = new Map<string, string>()
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
    this.values.set(key, value)
    this.cachedKey = undefined
    if (key !== meaningless) this.cachedReading = undefined
    return true
  }

  /** Takes over what `defaults` has and this set lacks. */
  fill(defaults: ParameterSet): void {
    for (const [name, value] of defaults.values) if (!this.values.has(name)) this.set(name, value)
  }

  get key(): string {
    if (this.cachedKey === undefined) {
      let key = ''
      for (const name of this.names.keys()) key += `${this.values.get(name)?.toLowerCase() ?? ''}\0`
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

  /** The SETs that give `server` this set's values, or '' where nothing differs. */
  alignment(server: ParameterSet): string {
    let sets = ''
    for (const [name, value] of this.values) {
      const current = server.values.get(name)
      if (current === undefined || current.toLowerCase() === value.toLowerCase()) continue
      const quoted = name === 'search_path' ? value : quoteLiteral(value)
      if (quoted.length <= longestValue) sets += `SET ${this.names.get(name)}=${quoted};`
    }
    return sets
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
