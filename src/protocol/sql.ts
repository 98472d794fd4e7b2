// SQL text cut into tokens as PostgreSQL's lexer does, as far as it takes to know what a statement is.
// https://www.postgresql.org/docs/current/sql-syntax-lexical.html

export interface Token {
  readonly kind: 'word' | 'quoted' | 'string' | 'number' | 'symbol'
  /** Words folded to lower case, quoted identifiers without their quotes, symbols as they are; strings with their quotes. */
  readonly text: string
  readonly start: number
  readonly end: number
}

const space = /\s+/y
const lineComment = /--[^\n\r]*/y
const word = /[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*/y
const number = /\d[\w.]*/y
const quotedIdentifier = /"(?:[^"]|"")*"/y
const plainString = /'(?:[^']|'')*'/y
const escapeString = /[eE]'(?:[^'\\]|''|\\[\s\S])*'/y
const prefixedString = /(?:[bBxXnN]|[uU]&)'(?:[^']|'')*'/y
const dollarTag = /\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/y

/** The tokens of a text; undefined where a string, comment or identifier has no end. Stops after `most` tokens. */
export function tokenize(text: string, most = Number.POSITIVE_INFINITY): Token[] | undefined {
  const tokens: Token[] = []
  let at = 0
  const match = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at
    return pattern.exec(text)?.[0]
  }
  const push = (kind: Token['kind'], raw: string, shown = raw): void => {
    tokens.push({ kind, text: shown, start: at, end: at + raw.length })
    at += raw.length
  }
  while (at < text.length && tokens.length < most) {
    const blank = match(space) ?? match(lineComment)
    if (blank !== undefined) {
      at += blank.length
      continue
    }
    if (text.startsWith('/*', at)) {
      const end = commentEnd(text, at)
      if (end === undefined) return undefined
      at = end
      continue
    }
    const string = match(escapeString) ?? match(prefixedString) ?? match(plainString)
    if (string !== undefined) {
      push('string', string)
      continue
    }
    const identifier = match(quotedIdentifier)
    if (identifier !== undefined) {
      push('quoted', identifier, identifier.slice(1, -1).replaceAll('""', '"'))
      continue
    }
    const name = match(word)
    if (name !== undefined) {
      push('word', name, name.toLowerCase())
      continue
    }
    const digits = match(number)
    if (digits !== undefined) {
      push('number', digits)
      continue
    }
    const tag = match(dollarTag)
    if (tag !== undefined) {
      const end = text.indexOf(tag, at + tag.length)
      if (end < 0) return undefined
      push('string', text.slice(at, end + tag.length))
      continue
    }
    const symbol = text[at]!
    if (symbol === "'" || symbol === '"') return undefined
    push('symbol', symbol)
  }
  return tokens
}

/** Block comments nest. */
function commentEnd(text: string, start: number): number | undefined {
  let depth = 0
  for (let at = start; at < text.length - 1; ) {
    const two = text.slice(at, at + 2)
    if (two === '/*') depth++
    if (two === '*/') depth--
    at += two === '/*' || two === '*/' ? 2 : 1
    if (depth === 0) return at
  }
  return undefined
}

/** The tokens of the one statement in a text, without the semicolon at its end; undefined where there are several, or none. */
export function singleStatement(text: string): readonly Token[] | undefined {
  const tokens = tokenize(text)
  if (tokens === undefined) return undefined
  while (tokens.at(-1)?.text === ';' && tokens.at(-1)?.kind === 'symbol') tokens.pop()
  if (tokens.length === 0 || tokens.some((token) => token.kind === 'symbol' && token.text === ';')) return undefined
  return tokens
}
