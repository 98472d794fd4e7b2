// auth_hba_file: which authentication method applies to which client; the first matching rule decides.
// https://www.pgbouncer.org/config.html#hba-file-format, https://www.postgresql.org/docs/current/auth-pg-hba-conf.html

import { dirname, isAbsolute, join } from 'node:path'
import { InvalidValue } from '../config/config-error.js'
import {
  type Address,
  contains,
  hasHostBits,
  type Network,
  parseAddress,
  prefixMask,
  unmapAddress,
  unmapNetwork,
} from './address.js'
import type { IdentMap } from './ident.js'
import { type LdapOptions, parseLdapOptions } from './ldap-options.js'
import { BadLine, LineTokens, parseLines } from './line-tokens.js'

export type HbaMethod =
  | { readonly name: 'trust' | 'reject' | 'md5' | 'password' | 'scram-sha-256' }
  /** Without a map, the names must be the same: see identAllows. */
  | { readonly name: 'peer' | 'cert'; readonly map: IdentMap | undefined }
  | { readonly name: 'ldap'; readonly options: LdapOptions }

type NameKeyword = 'all' | 'sameuser' | 'replication'

interface Names {
  readonly keywords: ReadonlySet<NameKeyword>
  readonly listed: ReadonlySet<string>
}

type RecordType = 'local' | 'host' | 'hostssl' | 'hostnossl'
const recordTypes: readonly RecordType[] = ['local', 'host', 'hostssl', 'hostnossl']

export interface HbaRule {
  /** In the file, from 1. */
  readonly line: number
  readonly type: RecordType
  readonly databases: Names
  readonly users: Names
  /** Not looked at for `local`. */
  readonly network: Network | 'all'
  readonly method: HbaMethod
}

export interface HbaFile {
  readonly rules: readonly HbaRule[]
  /** For the log. */
  readonly warnings: readonly string[]
}

export interface HbaSource {
  /** The name of the file: for the warnings, and what the names of `@file` are relative to. */
  readonly file: string
  /** What auth_ident_file defines, for `map=`. */
  readonly maps: ReadonlyMap<string, IdentMap>
  /** Reads an `@file`; may throw, which makes the line a bad one. */
  readonly read: (file: string) => string
}

/** Reads an HBA file. A line that can't be read is warned about in pgbouncer's words and skipped. */
export function parseHba(text: string, source: HbaSource): HbaFile {
  const rules: HbaRule[] = []
  const warnings = parseLines(text, 'hba', source.file, (tokens, line, warn) => {
    const type = recordTypes.find((keyword) => tokens.takeKeyword(keyword))
    if (type === undefined) throw new BadLine('unknown type')
    const databases = parseNames(tokens, 'database', source)
    const users = parseNames(tokens, 'user', source)
    const network = type === 'local' ? 'all' : parseNetwork(tokens, warn)
    const method = parseMethod(tokens, source.maps, warn)
    if (tokens.current.kind !== 'end') throw new BadLine('unsupported parameters')
    rules.push({ line, type, databases, users, network, method })
  })
  return { rules, warnings }
}

type NameField = 'database' | 'user'

/** Name by name as they stand in the file, those of an `@file` in its place. */
class NameList implements Names {
  readonly keywords = new Set<NameKeyword>()
  readonly listed = new Set<string>()
  readonly #field: NameField

  constructor(field: NameField) {
    this.#field = field
  }

  add(tokens: LineTokens, source: HbaSource, depth = 0): void {
    do {
      const token = tokens.take()
      if (token.kind === 'string') this.listed.add(token.text)
      else if (token.kind !== 'word') throw new BadLine(`did not find ${this.#field} name`)
      else if (token.text.startsWith('@')) this.#addFile(token.text.slice(1), source, depth + 1)
      else this.#addWord(token.text)
    } while (tokens.takeComma())
  }

  /** The keywords other than `all` mean something in the database field only, as in PostgreSQL. */
  #addWord(word: string): void {
    if (word.startsWith('+')) throw new BadLine('+groupname is not supported')
    if (word === 'all') this.keywords.add(word)
    else if (this.#field === 'user') this.listed.add(word)
    else if (word === 'sameuser' || word === 'replication') this.keywords.add(word)
    else if (word === 'samerole' || word === 'samegroup') throw new BadLine(`${word} is not supported`)
    else this.listed.add(word)
  }

  /** Names separated by commas, blanks or lines, as in PostgreSQL. */
  #addFile(name: string, source: HbaSource, depth: number): void {
    if (depth > deepestFile) throw new BadLine(`@${name} is nested too deeply`)
    const file = isAbsolute(name) ? name : join(dirname(source.file), name)
    for (const line of readLines(file, source)) {
      const tokens = new LineTokens(line)
      while (tokens.current.kind !== 'end') this.add(tokens, { ...source, file }, depth)
    }
  }
}

/** As deep as `%include` goes: a file that names itself must have an end. */
const deepestFile = 10

function readLines(file: string, source: HbaSource): string[] {
  try {
    return source.read(file).split('\n')
  } catch (error) {
    throw new BadLine(`could not open file ${file}: ${error instanceof Error ? error.message : 'unreadable'}`)
  }
}

function parseNames(tokens: LineTokens, field: NameField, source: HbaSource): Names {
  const names = new NameList(field)
  names.add(tokens, source)
  return names
}

function parseNetwork(tokens: LineTokens, warn: (text: string) => void): Network | 'all' {
  if (tokens.takeKeyword('all')) return 'all'
  const token = tokens.take()
  if (token.kind !== 'word') throw new BadLine(`did not find address - '${token.text}'`)
  const [text = '', bits] = token.text.split(/\/(.*)/s)
  const address = parseAddress(text)
  if (address === undefined) throw new BadLine(`failed to parse address - ${text}`)
  const mask = bits === undefined ? parseMask(tokens, address) : parseBits(bits, address)
  const network = { address, mask }
  if (hasHostBits(network)) warn(`address ${text} does not match its mask: the rule matches no client`)
  return unmapNetwork(network)
}

function parseBits(bits: string, address: Address): Address {
  const mask = /^\d{1,3}$/.test(bits) ? prefixMask(address.length, Number(bits)) : undefined
  if (mask === undefined) throw new BadLine('invalid mask')
  return mask
}

function parseMask(tokens: LineTokens, address: Address): Address {
  const token = tokens.take()
  if (token.kind !== 'word') throw new BadLine('did not find mask')
  const mask = parseAddress(token.text)
  if (mask?.length !== address.length) throw new BadLine(`failed to parse mask: ${token.text}`)
  return mask
}

/** Node.js does not tell who is at the other end of a Unix socket. */
const peerWarning =
  "method peer lets in the pooler's own user only, by a Unix socket that is closed to all others (see docs/operations.md)"

function parseMethod(tokens: LineTokens, maps: ReadonlyMap<string, IdentMap>, warn: (text: string) => void): HbaMethod {
  const { kind, text: name } = tokens.current
  if (kind === 'word' && name === 'ldap') return parseLdap(tokens.takeRest(), warn)
  tokens.take()
  if (kind !== 'word') throw new BadLine(`unsupported method: buf=${name}`)
  switch (name) {
    case 'peer':
      warn(peerWarning)
      return { name, map: parseMap(tokens, maps) }
    case 'cert':
      return { name, map: parseMap(tokens, maps) }
    case 'trust':
    case 'reject':
    case 'md5':
    case 'password':
    case 'scram-sha-256': {
      const map = parseMap(tokens, maps)
      if (map !== undefined) warn(`map=${map.name} has no effect with method ${name}`)
      return { name }
    }
    default:
      throw new BadLine(`unsupported method: buf=${name}`)
  }
}

/** A line with wrong options is not skipped: another, weaker one may stand below it. */
function parseLdap(text: string, warn: (text: string) => void): HbaMethod {
  try {
    return { name: 'ldap', options: parseLdapOptions(text) }
  } catch (error) {
    if (!(error instanceof InvalidValue)) throw error
    warn(`method ldap refuses everybody: ${error.message}`)
    return { name: 'reject' }
  }
}

function parseMap(tokens: LineTokens, maps: ReadonlyMap<string, IdentMap>): IdentMap | undefined {
  if (tokens.current.kind !== 'word') return undefined
  const option = tokens.take().text
  if (!option.startsWith('map=')) {
    throw new BadLine(`Ident map ${option} is malformed. It is not in map=value format.`)
  }
  const name = option.slice('map='.length)
  const map = maps.get(name)
  if (map === undefined) throw new BadLine(`Ident map ${name} is not found in ident config file`)
  return map
}

export interface HbaClient {
  /** Said outright: a socket that has lost its remote address must not pass for a local one. */
  readonly peer:
    | { readonly kind: 'unix' }
    /** `address`: as Node's remoteAddress; with or without zone, IPv4 possibly as `::ffff:a.b.c.d`. */
    | { readonly kind: 'tcp'; readonly address: string; readonly tls: boolean }
  readonly database: string
  readonly user: string
  /** Physical replication; a logical one is to a database and matches as others do. */
  readonly replication: boolean
}

/** The first rule for the client; undefined where there is none, which means that it may not log in. */
export function matchHba(rules: readonly HbaRule[], client: HbaClient): HbaRule | undefined {
  const address = client.peer.kind === 'tcp' ? parseAddress(client.peer.address.replace(/%.*/s, '')) : undefined
  const unmapped = address && unmapAddress(address)
  return rules.find(
    (rule) =>
      matchesPeer(rule, client.peer, unmapped) &&
      matchesDatabase(rule.databases, client) &&
      (rule.users.keywords.has('all') || rule.users.listed.has(client.user)),
  )
}

function matchesPeer(rule: HbaRule, peer: HbaClient['peer'], address: Address | undefined): boolean {
  if (peer.kind === 'unix') return rule.type === 'local'
  if (rule.type === 'local' || address === undefined) return false
  if (rule.type === 'hostssl' && !peer.tls) return false
  if (rule.type === 'hostnossl' && peer.tls) return false
  return rule.network === 'all' || contains(rule.network, address)
}

function matchesDatabase({ keywords, listed }: Names, { database, user, replication }: HbaClient): boolean {
  if (replication) return keywords.has('replication')
  return keywords.has('all') || (keywords.has('sameuser') && database === user) || listed.has(database)
}
