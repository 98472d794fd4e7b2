// DATABASE_URL, as the image edoburu/pgbouncer reads it: parts told apart by their signs, without need for any encoding.

import { ConfigError } from './config-error.js'
import { Secret } from './secret.js'

/** A server that a container's environment names, and what to log in to it with. */
export interface DatabaseServer {
  readonly host: string
  readonly port?: string | undefined
  readonly user: string | undefined
  readonly password: Secret | undefined
  /** Name of the database; undefined: any. */
  readonly name: string | undefined
  /** More keys of the entry in [databases]. */
  readonly pairs: readonly (readonly [key: string, value: string])[]
}

/**
 * Reads `scheme://user:password@host:port/name?key=value`, all but the host may be left out. Signs in a password need no
 * encoding: it goes from the first colon to the last `@`. Where there is percent-encoding it is decoded.
 * @param variable where it stands, for messages, which never show the URL: it has a password
 * @throws ConfigError
 */
export function urlServer(url: string, variable: string): DatabaseServer {
  const rest = url.replace(/^[a-z][a-z0-9+.-]*:\/\//i, '')
  const [, login, address = '', path, query = ''] = /^(?:(.*)@)?([^/?]*)(?:\/([^?]*))?(?:\?(.*))?$/.exec(rest) ?? []
  const [, host, port] = /^(\[[^\]\s]+\]|[^:[\]\s]+)(?::(\d*))?$/.exec(address) ?? []
  if (host === undefined) throw new ConfigError('expected scheme://user:password@host:port/name', { path: variable })
  const colon = login?.indexOf(':') ?? -1
  const user = colon < 0 ? login : login?.slice(0, colon)
  const password = colon < 0 ? '' : (login?.slice(colon + 1) ?? '')
  return {
    host,
    port: port || undefined,
    user: user ? decode(user, variable) : undefined,
    password: password === '' ? undefined : new Secret(decode(password, variable)),
    name: path ? decode(path, variable) : undefined,
    pairs: query.split('&').flatMap((pair) => pairOf(pair, variable)),
  }
}

function pairOf(text: string, variable: string): [string, string][] {
  if (text === '') return []
  const equals = text.indexOf('=')
  const key = decode(text.slice(0, Math.max(equals, 0)), variable)
  const value = decode(text.slice(equals + 1), variable)
  if (!/^\w+$/.test(key) || value === '') {
    throw new ConfigError("expected key=value after the '?'", { path: variable })
  }
  return [[key, value]]
}

function decode(text: string, variable: string): string {
  let decoded = text
  try {
    decoded = decodeURIComponent(text)
  } catch {} // a percent sign that stands for itself
  if (/[\0\n\r]/.test(decoded)) throw new ConfigError('a value is one line', { path: variable })
  return decoded
}
