// SQL text cut into tokens as PostgreSQL's lexer does, as far as it takes to know what a statement is.
// https://www.postgresql.org/docs/current/sql-syntax-lexical.html

export interface Token {
  readonly kind: 'word' | 'quoted' | 'string' | 'number' | 'symbol'
  /** Words with their ASCII letters in lower case, quoted identifiers without their quotes, symbols as they are; strings with their quotes. */
  readonly text: string
  readonly start: number
  readonly end: number
}

/** The tokens of a text; undefined where a string, comment or identifier has no end. */
export function tokenize(text: string): Token[] | undefined {
  const tokens: Token[] = []
  let at = skipBlanks(text, 0)
  while (at >= 0 && at < text.length) {
    const token = readToken(text, at)
    if (token === undefined) return undefined
    tokens.push(token)
    at = skipBlanks(text, token.end)
  }
  return at < 0 ? undefined : tokens
}

/** The tokens of the one statement in a text, without the semicolon at its end; undefined where there are several, or none. */
export function singleStatement(text: string): readonly Token[] | undefined {
  const tokens = tokenize(text)
  if (tokens === undefined) return undefined
  const found = statements(tokens)
  return found.length === 1 ? found[0] : undefined
}

/**
 * The statements of a text, those without a token left out. A semicolon within parentheses or between BEGIN ATOMIC and its
 * END belongs to its statement only for PostgreSQL's parser: here it ends one, so such a statement comes in pieces.
 */
export function statements(tokens: readonly Token[]): readonly (readonly Token[])[] {
  const found: (readonly Token[])[] = []
  let from = 0
  for (let i = 0; i <= tokens.length; i++) {
    const token = tokens[i]
    if (token !== undefined && !(token.kind === 'symbol' && token.text === ';')) continue
    if (i > from) found.push(tokens.slice(from, i))
    from = i + 1
  }
  return found
}

/**
 * What a string token stands for, where that can be told from the text alone: plain and dollar-quoted strings. undefined:
 * the others, and plain ones with a backslash, whose meaning depends on standard_conforming_strings.
 */
export function stringValue({ kind, text }: Token): string | undefined {
  if (kind !== 'string') return undefined
  if (text.startsWith('$')) {
    const tag = text.indexOf('$', 1) + 1
    return text.slice(tag, -tag)
  }
  return text.startsWith("'") && !text.includes('\\') ? text.slice(1, -1).replaceAll("''", "'") : undefined
}

function readToken(text: string, start: number): Token | undefined {
  const code = text.charCodeAt(start)
  if (isIdentifierStart(code)) {
    const quote = quoteAfterPrefix(text, start, code)
    if (quote < 0) return wordToken(text, start)
    return text[quote] === '"'
      ? quotedToken(text, start, quote)
      : stringToken(text, start, quote, (code | 0x20) === 0x65)
  }
  if (isDigit(code)) return token('number', text, start, endOfWord(text, start, isNumberPart))
  switch (code) {
    case 0x27: // '
      return stringToken(text, start, start, false)
    case 0x22: // "
      return quotedToken(text, start, start)
    case 0x24: // $
      return dollarToken(text, start)
    default:
      return token('symbol', text, start, start + 1)
  }
}

function token(kind: Token['kind'], text: string, start: number, end: number): Token {
  return { kind, text: text.slice(start, end), start, end }
}

function wordToken(text: string, start: number): Token {
  const end = endOfWord(text, start, isIdentifierPart)
  return { kind: 'word', text: foldCase(text.slice(start, end)), start, end }
}

/** ASCII letters only, as PostgreSQL does where a character may have several bytes. */
export function foldCase(word: string): string {
  return word.replaceAll(/[A-Z]+/g, (letters) => letters.toLowerCase())
}

/** Where the quote stands in E'…', B'…', X'…', N'…', U&'…' and U&"…"; -1: an ordinary word begins here. */
function quoteAfterPrefix(text: string, start: number, code: number): number {
  switch (code | 0x20) {
    case 0x62: // b
    case 0x65: // e
    case 0x6e: // n
    case 0x78: // x
      return text[start + 1] === "'" ? start + 1 : -1
    case 0x75: // u
      return text[start + 1] === '&' && (text[start + 2] === "'" || text[start + 2] === '"') ? start + 2 : -1
    default:
      return -1
  }
}

function stringToken(text: string, start: number, quote: number, hasEscapes: boolean): Token | undefined {
  let at = quote + 1
  for (;;) {
    const end = text.indexOf("'", at)
    if (end < 0) return undefined
    if (hasEscapes && isEscaped(text, at, end)) at = end + 1
    else if (text[end + 1] === "'") at = end + 2
    else return token('string', text, start, end + 1)
  }
}

/** An odd number of backslashes before it? */
function isEscaped(text: string, from: number, at: number): boolean {
  let count = 0
  while (at - 1 - count >= from && text.charCodeAt(at - 1 - count) === 0x5c) count++
  return count % 2 === 1
}

function quotedToken(text: string, start: number, quote: number): Token | undefined {
  let at = quote + 1
  for (;;) {
    const end = text.indexOf('"', at)
    if (end < 0) return undefined
    if (text[end + 1] !== '"') {
      return { kind: 'quoted', text: text.slice(quote + 1, end).replaceAll('""', '"'), start, end: end + 1 }
    }
    at = end + 2
  }
}

/** $tag$…$tag$; a dollar sign before anything else, such as a parameter's number, is a symbol. */
function dollarToken(text: string, start: number): Token | undefined {
  let at = start + 1
  const first = text.charCodeAt(at)
  if (isIdentifierStart(first)) at = endOfWord(text, at, isTagPart)
  if (text[at] !== '$') return token('symbol', text, start, start + 1)
  const tag = text.slice(start, at + 1)
  const end = text.indexOf(tag, at + 1)
  return end < 0 ? undefined : token('string', text, start, end + tag.length)
}

/** Where the next token begins, or the end of the text; -1: a comment has no end. */
function skipBlanks(text: string, start: number): number {
  let at = start
  for (;;) {
    const code = text.charCodeAt(at)
    if (code === 0x20 || (code >= 0x09 && code <= 0x0d)) {
      at++
    } else if (code === 0x2d && text.charCodeAt(at + 1) === 0x2d) {
      at = endOfLine(text, at + 2)
    } else if (code === 0x2f && text.charCodeAt(at + 1) === 0x2a) {
      at = endOfComment(text, at + 2)
      if (at < 0) return -1
    } else {
      return at
    }
  }
}

function endOfLine(text: string, start: number): number {
  let at = start
  while (at < text.length && text.charCodeAt(at) !== 0x0a && text.charCodeAt(at) !== 0x0d) at++
  return at
}

/** Block comments nest. */
function endOfComment(text: string, start: number): number {
  let depth = 1
  for (let at = start; at < text.length - 1; at++) {
    const code = text.charCodeAt(at)
    const next = text.charCodeAt(at + 1)
    if (code === 0x2f && next === 0x2a) depth++
    else if (code === 0x2a && next === 0x2f) depth--
    else continue
    at++
    if (depth === 0) return at + 1
  }
  return -1
}

function endOfWord(text: string, start: number, isPart: (code: number) => boolean): number {
  let at = start + 1
  while (at < text.length && isPart(text.charCodeAt(at))) at++
  return at
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39
}

/** Letters, `_`, and whatever is not ASCII. */
function isIdentifierStart(code: number): boolean {
  return (code >= 0x61 && code <= 0x7a) || (code >= 0x41 && code <= 0x5a) || code === 0x5f || code >= 0x80
}

function isTagPart(code: number): boolean {
  return isIdentifierStart(code) || isDigit(code)
}

function isIdentifierPart(code: number): boolean {
  return isTagPart(code) || code === 0x24
}

/** `1.5`, `1e5`, `0x1F`, `1_000`; also `12abc`, which PostgreSQL refuses or takes for two tokens. */
function isNumberPart(code: number): boolean {
  return isTagPart(code) || code === 0x2e
}

/** The name as it may stand in a statement, whatever its characters are. */
export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}
