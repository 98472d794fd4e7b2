// The value of a [databases], [users] or [peers] line: pgbouncer's key=value grammar, or a PostgreSQL URL.

import { parse as parseUrl } from 'pg-connection-string'
import { bytesOf, textOf } from '../protocol/byte-text.js'
import { InvalidValue } from './config-error.js'

/** Keys and values in the order written; a repeated key keeps the last value and place. */
export type Conninfo = ReadonlyMap<string, string>

/**
 * Reads `key=value key='quoted ''value'''`, where only the space separates, or a `postgres://` URL that such pairs may follow.
 * Messages never show a value: it may be a password.
 * @throws InvalidValue
 */
export function parseConninfo(text: string): Conninfo {
  const url = /^ *(postgres(?:ql)?:\/\/[^ ]*)/.exec(text)
  const pairs = url === null ? new Map<string, string>() : pairsOfUrl(url[1]!)
  return readPairs(text, url === null ? 0 : url[0].length, pairs)
}

function readPairs(text: string, start: number, pairs: Map<string, string>): Conninfo {
  let at = skipSpaces(text, start)
  while (at < text.length) {
    const keyStart = at
    while (at < text.length && text[at] !== '=' && text[at] !== ' ') at++
    const key = text.slice(keyStart, at)
    at = skipSpaces(text, at)
    if (text[at] !== '=' || key === '') throw new InvalidValue("expected 'key=value'")
    at = skipSpaces(text, at + 1)

    let value: string
    if (text[at] === "'") [value, at] = readQuoted(text, at + 1)
    else {
      const end = text.indexOf(' ', at)
      value = end < 0 ? text.slice(at) : text.slice(at, end)
      at = end < 0 ? text.length : end
    }
    if (value === '') throw new InvalidValue(`${shownKey(key)} has an empty value`)
    put(pairs, key, value)
    // Whatever follows a closing quote is skipped, as pgbouncer does: files with `'x',` or `'x';` exist.
    at = skipSpaces(text, at + 1)
  }
  return pairs
}

/** The text up to the closing quote, '' standing for one; and where that quote's successor is. */
function readQuoted(text: string, start: number): [value: string, end: number] {
  let value = ''
  let from = start
  while (true) {
    const close = text.indexOf("'", from)
    if (close < 0) throw new InvalidValue('unterminated quote')
    value += text.slice(from, close)
    if (text[close + 1] !== "'") return [value, close + 1]
    value += "'"
    from = close + 2
  }
}

/** Each host costs a parse of its own. */
const mostHosts = 100

/**
 * `postgres://user:password@host:port,host:port/dbname?key=value`, percent-encoded as in libpq. The parameters are the
 * keys of the key=value form. pg-connection-string sees neither them (it would read the certificates that they name)
 * nor more than one host at a time (it knows no lists).
 */
function pairsOfUrl(url: string): Map<string, string> {
  const question = url.indexOf('?')
  const base = question < 0 ? url : url.slice(0, question)
  if (base.includes('#')) throw new InvalidValue("'#' in a URL is written %23")
  const [, scheme, authority = '', path = ''] = /^(\w+:\/\/)([^/]*)(?:\/(.*))?$/.exec(base) ?? []
  const hostStart = authority.lastIndexOf('@') + 1
  const hosts = authority.slice(hostStart).split(',')
  if (hosts.length > mostHosts) throw new InvalidValue(`a URL of more than ${mostHosts} hosts`)

  const parsed = hosts.map((host) => {
    try {
      return parseUrl(`${scheme}${host}/`)
    } catch {
      throw new InvalidValue('not a valid PostgreSQL URL')
    }
  })
  const pairs = new Map<string, string>()
  if (hosts.length > 1 || hosts[0] !== '') pairs.set('host', parsed.map((one) => one.host).join(','))
  if (parsed.some((one) => one.port)) pairs.set('port', parsed.map((one) => one.port || '5432').join(','))
  const [, user = '', password = ''] = /^([^:]*):?(.*)@$/s.exec(authority.slice(0, hostStart)) ?? []
  if (user !== '') pairs.set('user', decode(user))
  if (password !== '') pairs.set('password', decode(password))
  if (path !== '') pairs.set('dbname', decode(path))

  for (const parameter of question < 0 ? [] : url.slice(question + 1).split('&')) {
    if (parameter === '') continue
    const equals = parameter.indexOf('=')
    const key = decode(parameter.slice(0, equals))
    if (equals < 1) throw new InvalidValue("expected 'key=value' after the '?' of the URL")
    const value = decode(parameter.slice(equals + 1))
    if (value === '') throw new InvalidValue(`${shownKey(key)} has an empty value`)
    put(pairs, key, value)
  }
  return pairs
}

function put(pairs: Map<string, string>, key: string, value: string): void {
  pairs.delete(key)
  pairs.set(key, value)
}

/** As libpq decodes it: to bytes, which need not be UTF-8, but no zero among them. */
function decode(text: string): string {
  if (/%(?![0-9a-f]{2})|%00/i.test(text)) throw new InvalidValue('the URL has a wrong percent-encoding')
  const parts = text.split(/((?:%[0-9a-f]{2})+)/i)
  return textOf(
    Buffer.concat(
      parts.map((part, at) => (at % 2 === 0 ? bytesOf(part) : Buffer.from(part.replaceAll('%', ''), 'hex'))),
    ),
  )
}

/** A key as far as a message may show it: what does not look like one may be the rest of a password. */
export function shownKey(key: string): string {
  return /^[a-z][a-z0-9_]{0,62}$/i.test(key) ? key : 'a key'
}

function skipSpaces(text: string, at: number): number {
  while (text[at] === ' ') at++
  return at
}
