// What is wrong with a configuration, and where: FILE:LINE, or the key path of an object.

/** Where a text stands: a line of a file, or a key path such as `databases.pg_rw.port`. */
export type Place = { readonly file: string; readonly line: number } | { readonly path: string }

/** A configuration that cannot be used. `message` is `TEXT (WHERE): REASON`, in pgbouncer's words where it has some. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  /** The message without the place. */
  readonly text: string
  readonly file: string | undefined
  readonly line: number | undefined
  /** Key path, when the configuration was given as an object. */
  readonly path: string | undefined

  constructor(text: string, place?: Place, reason = '') {
    const where = place === undefined ? '' : ` (${describePlace(place)})`
    const why = reason === '' ? '' : `: ${reason}`
    super(`${text}${where}${why}`)
    this.text = `${text}${why}`
    this.file = place !== undefined && 'file' in place ? place.file : undefined
    this.line = place !== undefined && 'file' in place ? place.line : undefined
    this.path = place !== undefined && 'path' in place ? place.path : undefined
  }
}

/** A text that is not a value of its type; `message` says what was expected. Who catches it knows where the text stands. */
export class InvalidValue extends Error {
  override readonly name = 'InvalidValue'
}

export function describePlace(place: Place): string {
  return 'file' in place ? `${place.file}:${place.line}` : place.path
}

/** Runs `read`; what it finds invalid becomes a ConfigError with this text and place. */
export function located<T>(text: string, place: Place | undefined, read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (error instanceof InvalidValue) throw new ConfigError(text, place, error.message)
    throw error
  }
}

/** What the system said, without its code and call: `no such file or directory`. */
export function systemReason(error: unknown): string {
  const { message } = error as Error
  return message.replace(/^E\w+[:,] /, '').replace(/, \w+(?: '.*)?$/s, '')
}

const longest = 120

/** A foreign text for a message: control characters, and bytes that are not UTF-8, escaped, cut where it gets long. */
export function printable(text: string): string {
  const shown = text.length > longest ? `${text.slice(0, longest)}…` : text
  return shown.replace(/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/gu, escapeCharacter)
}

/** The same, in double quotes. */
export function quoted(text: string): string {
  return `"${printable(text)}"`
}

function escapeCharacter(character: string): string {
  const code = character.charCodeAt(0)
  // A lone surrogate stands for a byte that is not UTF-8.
  return code >= 0xd800 && code < 0xe000
    ? `\\x${(code & 0xff).toString(16)}`
    : `\\u${code.toString(16).padStart(4, '0')}`
}
