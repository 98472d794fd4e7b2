// The tokens of a line of an HBA or ident file: words, "quoted strings", commas; `#` begins a comment.

export type Token =
  | { readonly kind: 'word' | 'string'; readonly text: string }
  | { readonly kind: 'comma' | 'end' | 'unclosed'; readonly text: '' }

const space = /[ \t\n\v\f\r]*/y
const word = /[^ \t\n\v\f\r][^ \t\n\v\f\r,#"]*/y
const string = /"([^"]*(?:""[^"]*)*)"(?!")/y

/** Looks one token ahead, as pgbouncer's parser does. */
export class LineTokens {
  readonly #line: string
  #at = 0
  #current: Token

  constructor(line: string) {
    this.#line = line
    this.#current = this.#read()
  }

  get current(): Token {
    return this.#current
  }

  /** Steps over the current token and gives it. */
  take(): Token {
    const token = this.#current
    if (token.kind !== 'end') this.#current = this.#read()
    return token
  }

  /** Returns whether the current token is this unquoted word, which is stepped over then. */
  takeKeyword(keyword: string): boolean {
    return this.#takeIf(this.#current.kind === 'word' && this.#current.text === keyword)
  }

  takeComma(): boolean {
    return this.#takeIf(this.#current.kind === 'comma')
  }

  /** All after the current token, as it is written. */
  takeRest(): string {
    const rest = this.#line.slice(this.#at).trim()
    this.#at = this.#line.length
    this.#current = this.#read()
    return rest
  }

  #takeIf(condition: boolean): boolean {
    if (condition) this.take()
    return condition
  }

  #read(): Token {
    this.#match(space)
    const next = this.#line[this.#at]
    if (next === undefined || next === '#') return { kind: 'end', text: '' }
    if (next === ',') {
      this.#at++
      return { kind: 'comma', text: '' }
    }
    if (next !== '"') return { kind: 'word', text: this.#match(word)?.[0] ?? '' }
    const quoted = this.#match(string)
    if (quoted === null) return { kind: 'unclosed', text: '' }
    return { kind: 'string', text: (quoted[1] ?? '').replaceAll('""', '"') }
  }

  #match(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.#at
    const match = pattern.exec(this.#line)
    this.#at += match?.[0].length ?? 0
    return match
  }
}

/** A line that can't be used; its message, if there is one, says more than that. */
export class BadLine extends Error {
  override readonly name = 'BadLine'
}

/**
 * Parses line by line; a line that `parse` throws BadLine for becomes warnings in pgbouncer's words.
 * @param what `hba` or `ident`
 */
export function parseLines(
  text: string,
  what: 'hba' | 'ident',
  file: string,
  parse: (tokens: LineTokens, line: number, warn: (text: string) => void) => void,
): string[] {
  const warnings: string[] = []
  for (const [i, content] of text.split('\n').entries()) {
    const tokens = new LineTokens(content)
    if (tokens.current.kind === 'end') continue
    const warn = (warning: string) => warnings.push(`${what} line ${i + 1}: ${warning}`)
    try {
      parse(tokens, i + 1, warn)
    } catch (error) {
      if (!(error instanceof BadLine)) throw error
      if (error.message !== '') warn(error.message)
      warnings.push(`could not parse ${what} config line ${i + 1} (${file}:${i + 1})`)
    }
  }
  return warnings
}
