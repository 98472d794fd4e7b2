// The entries of [databases]: where a database that clients ask for really is, and its own sizes and limits.

import { isIPv6 } from 'node:net'
import { byteLength } from '../protocol/byte-text.js'
import {
  type LoadBalanceHosts,
  loadBalanceHosts,
  mustEncrypt,
  type PoolMode,
  poolMode,
  type ServerLost,
  type SessionStateMode,
  type SslMode,
  type SslNegotiation,
  serverLost,
  sessionState,
  sslMode,
  sslNegotiation,
  type TargetSessionAttrs,
  targetSessionAttrs,
} from './choices.js'
import { ConfigError, InvalidValue, type Place, quoted } from './config-error.js'
import type { Conninfo } from './conninfo.js'
import {
  type Draft,
  type EntryGrammar,
  key,
  limit,
  listKey,
  numberKey,
  numbersKey,
  positiveSeconds,
  readEntry,
  secondsOrInherit,
  secretKey,
  size,
  wholeNumber,
  wordKey,
} from './entry-keys.js'
import { Secret } from './secret.js'
import { authDatabase, requireUtf8, seconds } from './setting-types.js'

/** One database as clients see it. What is undefined is left to the user's entry or to the global setting. */
export interface DatabaseConfig {
  readonly name: string
  /** Host names, addresses, socket folders (`/dir`) and abstract names (`@name`); none means unix_socket_dir. */
  readonly hosts: readonly string[]
  /** One for all hosts, or one for each. */
  readonly ports: readonly number[]
  /** Its name on the server. */
  readonly dbname: string
  /** Forced user: every client shares its pool. */
  readonly user?: string | undefined
  readonly password?: Secret | undefined
  readonly authUser?: string | undefined
  readonly authQuery?: string | undefined
  readonly authDbname?: string | undefined
  /** Servers for each pool of this database; 0 is unlimited. */
  readonly poolSize?: number | undefined
  readonly minPoolSize?: number | undefined
  readonly reservePoolSize?: number | undefined
  readonly maxDbConnections?: number | undefined
  readonly maxDbClientConnections?: number | undefined
  readonly poolMode?: PoolMode | undefined
  readonly sessionState?: SessionStateMode | undefined
  readonly serverLost?: ServerLost | undefined
  readonly loadBalanceHosts: LoadBalanceHosts
  /** Seconds. */
  readonly serverLifetime?: number | undefined
  /** Seconds; 0 is never. */
  readonly queryWaitTimeout?: number | undefined
  /** Run once on each new server connection. */
  readonly connectQuery?: string | undefined
  /** Put into the startup packet to the server: client_encoding, datestyle, timezone, application_name. */
  readonly startupParameters: Readonly<Record<string, string>>
  /** Which of the hosts its servers may be on, by their role; `any`: on each of them, as pgbouncer has it. */
  readonly targetSessionAttrs: TargetSessionAttrs
  /** Seconds that a standby may be behind; 0: any time. */
  readonly maxReplicaLag?: number | undefined
  /** How its servers are connected to; what is undefined is left to the global server_tls_* settings. */
  readonly tls: DatabaseTls
  /** Where it is configured. */
  readonly place: Place
}

/** libpq's parameters of these names. */
export interface DatabaseTls {
  readonly sslmode?: SslMode | undefined
  readonly sslnegotiation?: SslNegotiation | undefined
  /** Files (PEM); `system` as root: the authorities that Node.js knows. */
  readonly sslrootcert?: string | undefined
  readonly sslcert?: string | undefined
  readonly sslkey?: string | undefined
}

/** What becomes of clients whose server is lost: pgbouncer's way, unless the entry says so, or its hosts have roles. */
export function serverLostOf({ serverLost, targetSessionAttrs }: DatabaseConfig): ServerLost {
  return serverLost ?? (targetSessionAttrs === 'any' ? 'disconnect' : 'error')
}

/** The entry `*`: for databases without an entry, under their own name if it gives no dbname. */
export interface DatabaseTemplate extends Omit<DatabaseConfig, 'dbname'> {
  readonly dbname?: string | undefined
}

type DatabaseDraft = Omit<Draft<DatabaseTemplate>, 'startupParameters' | 'tls'> & {
  startupParameters: Record<string, string>
  tls: Draft<DatabaseTls>
}

/** NAMEDATALEN of PostgreSQL, less one: bytes. */
const longestName = 63

export const databaseKeys = {
  host: listKey(
    'Host name, IPv4 or IPv6 address, socket folder (`/dir`), abstract socket (`@name`), or a list of these between commas. Unset: the Unix socket in `unix_socket_dir`.',
    (db, text) => {
      db.hosts = text.split(',').map(hostIn)
    },
  ),
  port: numbersKey('Port, 5432 if unset; or a list, one for each host.', (db, text) => {
    db.ports = text.split(',').map((port) => wholeNumber(port.trim(), 1, 65535))
  }),
  dbname: key('Name of the database on the server; unset: the same name.', (db, text) => {
    db.dbname = text
  }),
  user: key(
    'User for all servers of this database: all clients share one pool. Unset: the user of the client.',
    (db, text) => {
      db.user = text
    },
  ),
  password: secretKey('Password of `user`; unset: that of the auth_file.', (db, text) => {
    db.password = new Secret(text)
  }),
  auth_user: key('Instead of the global `auth_user`.', (db, text) => {
    db.authUser = text
  }),
  auth_query: key('Instead of the global `auth_query`, in single quotes.', (db, text) => {
    db.authQuery = text
  }),
  auth_dbname: key('Instead of the global `auth_dbname`.', (db, text) => {
    db.authDbname = authDatabase.parse(text)
  }),
  pool_size: numberKey(
    'Servers for each pool of this database; unset or negative: `default_pool_size`.',
    (db, text) => {
      db.poolSize = size(text)
    },
  ),
  min_pool_size: numberKey('Instead of the global `min_pool_size`.', (db, text) => {
    db.minPoolSize = size(text)
  }),
  reserve_pool_size: numberKey('Instead of the global `reserve_pool_size`.', (db, text) => {
    db.reservePoolSize = size(text)
  }),
  reserve_pool: numberKey('Older name of `reserve_pool_size`.', (db, text) => {
    db.reservePoolSize = size(text)
  }),
  max_db_connections: numberKey(
    'Servers of all pools of this database; 0: the global `max_db_connections`.',
    (db, text) => {
      db.maxDbConnections = limit(text)
    },
  ),
  max_db_client_connections: numberKey(
    'Clients of this database; 0: the global `max_db_client_connections`.',
    (db, text) => {
      db.maxDbClientConnections = limit(text)
    },
  ),
  pool_mode: wordKey('Instead of the global `pool_mode`.', poolMode, (db, word) => {
    db.poolMode = word
  }),
  session_state: wordKey('Instead of the global `session_state`.', sessionState, (db, word) => {
    db.sessionState = word
  }),
  server_lost: wordKey(
    '`disconnect`: a client whose server is lost is closed, as by pgbouncer. `error`: it is told an error and stays, in transaction and statement mode; see [lost servers](protocol.md#lost-servers). Unset: `error` with `target_session_attrs`, else `disconnect`. (Not in pgbouncer.)',
    serverLost,
    (db, word) => {
      db.serverLost = word
    },
  ),
  load_balance_hosts: wordKey(
    '`round-robin` (unset): each new server connection goes to the next host. `disable`: to the same, until it fails. `random`, or `least-connections`: to the host where this database has the fewest servers. (The last two are not in pgbouncer.)',
    loadBalanceHosts,
    (db, word) => {
      db.loadBalanceHosts = word
    },
  ),
  target_session_attrs: wordKey(
    'Which hosts servers may be on, and stay on when roles change: `primary`, `read-write`, `standby`, `read-only`, `prefer-standby`. `any` (unset): each host, whatever it is. (Not in pgbouncer.)',
    targetSessionAttrs,
    (db, word) => {
      db.targetSessionAttrs = word
    },
  ),
  max_replica_lag: numberKey('Instead of the global `max_replica_lag`. (Not in pgbouncer.)', (db, text) => {
    db.maxReplicaLag = seconds.parse(text)
  }),
  server_lifetime: numberKey('Seconds; 0: the global `server_lifetime`.', (db, text) => {
    db.serverLifetime = positiveSeconds(text)
  }),
  query_wait_timeout: numberKey('Seconds, 0 for never; -1: the global `query_wait_timeout`.', (db, text) => {
    db.queryWaitTimeout = secondsOrInherit(text)
  }),
  connect_query: key(
    'Query run on each new server connection before its first use; its errors are logged only.',
    (db, text) => {
      db.connectQuery = text
    },
  ),
  sslmode: wordKey('Instead of the global `server_tls_sslmode`.', sslMode, (db, word) => {
    db.tls.sslmode = word
  }),
  sslnegotiation: wordKey('Instead of the global `server_tls_sslnegotiation`.', sslNegotiation, (db, word) => {
    db.tls.sslnegotiation = word
  }),
  sslrootcert: key(
    'Instead of the global `server_tls_ca_file`; `system`: the authorities that Node.js knows.',
    (db, text) => {
      db.tls.sslrootcert = requireUtf8(text)
    },
  ),
  sslcert: key('Instead of the global `server_tls_cert_file`; together with `sslkey`.', (db, text) => {
    db.tls.sslcert = requireUtf8(text)
  }),
  sslkey: key('Instead of the global `server_tls_key_file`; together with `sslcert`.', (db, text) => {
    db.tls.sslkey = requireUtf8(text)
  }),
  client_encoding: startupParameter('client_encoding'),
  datestyle: startupParameter('datestyle'),
  timezone: startupParameter('timezone'),
  application_name: startupParameter('application_name'),
} satisfies EntryGrammar<DatabaseDraft>['keys']

const grammar: EntryGrammar<DatabaseDraft> = {
  keys: databaseKeys,
  syntaxError: 'syntax error in connection string',
  unrecognized: 'unrecognized connection parameter',
  hints: {
    channel_binding: 'it is used wherever the server offers it',
    default_pool_size: 'here it is pool_size',
    connect_timeout: 'server_connect_timeout bounds connecting and logging in',
    gssencmode: 'GSSAPI is not supported; use TLS',
    sslpassword: 'the file of sslkey must not be encrypted',
  },
}

/** @throws ConfigError */
export function readTemplate(name: string, given: string | Conninfo, place: Place): DatabaseTemplate {
  const draft: DatabaseDraft = {
    name,
    hosts: [],
    ports: [5432],
    loadBalanceHosts: 'round-robin',
    targetSessionAttrs: 'any',
    startupParameters: {},
    tls: {},
    place: Object.freeze({ ...place }),
  }
  readEntry(draft, given, grammar, place)
  if (draft.ports.length > 1 && draft.ports.length !== draft.hosts.length) {
    throw new ConfigError(
      `database ${quoted(name)} has ${draft.hosts.length === 1 ? '1 host' : `${draft.hosts.length} hosts`} but ${draft.ports.length} ports`,
      place,
      'expected one port for all hosts, or one for each',
    )
  }
  checkTls(draft.tls, place)
  Object.freeze(draft.hosts)
  Object.freeze(draft.ports)
  Object.freeze(draft.startupParameters)
  Object.freeze(draft.tls)
  return Object.freeze(draft)
}

/** @throws ConfigError */
export function readDatabase(name: string, given: string | Conninfo, place: Place): DatabaseConfig {
  if (name === 'pgbouncer') throw new ConfigError(`database name ${quoted(name)} is reserved`, place)
  if (isTooLong(name)) throw new ConfigError(`too long db name: ${quoted(name)}`, place, `at most ${longestName} bytes`)
  return databaseNamed(name, readTemplate(name, given, place))
}

/** The database that `*` stands for when a client asks for `name`; undefined when no database can have that name. */
export function databaseOf(template: DatabaseTemplate, name: string): DatabaseConfig | undefined {
  return name === '' || name === 'pgbouncer' || isTooLong(name) ? undefined : databaseNamed(name, template)
}

function databaseNamed(name: string, template: DatabaseTemplate): DatabaseConfig {
  return Object.freeze({ ...template, name, dbname: template.dbname ?? name })
}

function isTooLong(name: string): boolean {
  return byteLength(name) > longestName
}

export function hostIn(text: string): string {
  const given = text.trim()
  if (given === '') throw new InvalidValue('a host is empty')
  requireUtf8(given)
  if (given.startsWith('/') || given.startsWith('@')) return given
  const host = given.startsWith('[') && given.endsWith(']') ? given.slice(1, -1) : given
  if (/\s/.test(host)) throw new InvalidValue('a host has a blank in it')
  if (host.includes(':') && !isIPv6(host))
    throw new InvalidValue('a host with a colon is no IPv6 address (is a port meant?)')
  return host
}

function checkTls({ sslmode, sslnegotiation, sslcert, sslkey }: DatabaseTls, place: Place): void {
  if ((sslcert === undefined) !== (sslkey === undefined)) {
    throw new ConfigError('sslcert and sslkey belong together: one of them is missing', place)
  }
  if (sslnegotiation === 'direct' && sslmode !== undefined && !mustEncrypt(sslmode)) {
    throw new ConfigError(`sslnegotiation=direct needs sslmode=require or stronger, not ${sslmode}`, place)
  }
}

function startupParameter(name: string) {
  return key<DatabaseDraft>(`Put into the startup packet to the server.`, (db, text) => {
    db.startupParameters[name] = text
  })
}
