// The environment of a container -> pgbouncer.ini, by the contracts of the two images of pgbouncer that people run.

import { createHash } from 'node:crypto'
import { ConfigError } from './config-error.js'
import { type DatabaseServer, urlServer } from './database-url.js'
import { databaseKeys } from './databases.js'
import { type Environment, requireReadable, settingVariable, variable } from './env-variables.js'
import { Secret } from './secret.js'
import { type SettingName, settingNames } from './settings.js'

/** `prefixed`: DATABASES and PGBOUNCER_*, as pgbouncer/pgbouncer. `plain`: DATABASE_URL or DB_*, as edoburu/pgbouncer. */
export type Contract = 'prefixed' | 'plain'

export interface EnvConfig {
  readonly contract: Contract
  /** The whole of pgbouncer.ini. */
  readonly ini: string
}

export interface EnvOptions {
  /** Where the auth_file is, unless the environment says so. */
  readonly authFile: string
  /** Setting `user`, in the plain contract; undefined: none, for a process that may not become anyone else. */
  readonly runAs: string | undefined
}

/**
 * The configuration that the environment asks for; undefined where it does not say where the servers are.
 * @throws ConfigError that names the variable. What values mean is seen when the ini is loaded.
 */
export function configFromEnv(env: Environment, options: EnvOptions): EnvConfig | undefined {
  if (env.DATABASES || variable(env, 'DATABASES_HOST') !== undefined) {
    const settings = settingLines(env, false, prefixedDefaults)
    return { contract: 'prefixed', ini: `#pgbouncer.ini\n\n[databases]\n${prefixedEntries(env)}\n\n${settings}` }
  }
  const servers = plainServers(env)
  if (servers.length === 0) return undefined
  const entries = servers.map((server) => plainEntry(env, server)).join('\n')
  const settings = settingLines(env, true, plainDefaults(options))
  const [begin, end] = ['Auto generated', 'end file'].map((text) => `################## ${text} ##################`)
  return { contract: 'plain', ini: `${begin}\n[databases]\n${entries}\n\n${settings}\n${end}\n` }
}

type Defaults = { readonly [N in SettingName]?: string | undefined }

const prefixedDefaults: Defaults = {
  admin_users: 'postgres',
  auth_type: 'any',
  ignore_startup_parameters: 'extra_float_digits',
  listen_addr: '0.0.0.0',
}

function plainDefaults({ authFile, runAs }: EnvOptions): Defaults {
  return {
    ...prefixedDefaults,
    auth_file: authFile,
    auth_type: 'md5',
    listen_port: '5432',
    unix_socket_dir: '',
    user: runAs,
  }
}

function settingLines(env: Environment, plain: boolean, defaults: Defaults): string {
  const lines = ['[pgbouncer]']
  for (const name of settingNames) {
    const value = settingVariable(env, name, plain) ?? defaults[name]
    if (value !== undefined) lines.push(`${name} = ${value}`.trimEnd())
  }
  return `${lines.join('\n')}\n`
}

/** DATABASES has whole entries, between commas or on lines of their own; or there is one, in DATABASES_HOST and others. */
function prefixedEntries(env: Environment): string {
  if (env.DATABASES) return entriesOf(env.DATABASES)
  const name = entryName(variable(env, 'DATABASES_CLIENT_SIDE_DBNAME') ?? '*')
  const pairs = Object.keys(databaseKeys)
    .filter((key) => key !== 'host' && key !== 'port')
    .flatMap((key) => pair(key, variable(env, `DATABASES_${key.toUpperCase()}`)))
  const port = variable(env, 'DATABASES_PORT') ?? '5432'
  return [`${name} = host = ${variable(env, 'DATABASES_HOST')}`, `port=${port}`, ...pairs].join(' ')
}

/** On lines of their own, entries may have commas: lists of hosts, and values in quotes. */
function entriesOf(text: string): string {
  requireReadable(text, 'DATABASES')
  const lines = /[\r\n]/.test(text.trim())
    ? text.split(/[\r\n]+/).map((line) => line.replace(/,\s*$/, ''))
    : text.split(',')
  const entries = lines.map((line) => line.trim()).filter((line) => line !== '')
  const bad = entries.find((line) => line.startsWith('[') || line.startsWith('%include'))
  if (bad !== undefined) throw new ConfigError('expected NAME = KEY=VALUE ...', { path: 'DATABASES' })
  return entries.join('\n')
}

/** A value that stands in quotes already stays as it is, as in a file. */
function pair(key: string, value: string | undefined): string[] {
  if (value === undefined) return []
  const isPlain = !/[ ']/.test(value) || /^'(?:[^']|'')*'$/.test(value)
  return [`${key}=${isPlain ? value : `'${value.replaceAll("'", "''")}'`}`]
}

function entryName(name: string): string {
  return /^[\w.*-]+$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`
}

function plainServers(env: Environment): DatabaseServer[] {
  const urls = variable(env, 'DATABASE_URLS')
  if (urls !== undefined) {
    const given = urls.split(',').map((url) => url.trim())
    return given.filter((url) => url !== '').map((url) => urlServer(url, 'DATABASE_URLS'))
  }
  const url = variable(env, 'DATABASE_URL')
  if (url !== undefined) return [urlServer(url, 'DATABASE_URL')]
  const host = variable(env, 'DB_HOST')
  return host === undefined ? [] : [{ host, ...loginVariables(env), name: variable(env, 'DB_NAME'), pairs: [] }]
}

function loginVariables(env: Environment): Pick<DatabaseServer, 'user' | 'password'> {
  const password = variable(env, 'DB_PASSWORD')
  return { user: variable(env, 'DB_USER'), password: password === undefined ? undefined : new Secret(password) }
}

/** Neither user nor password are in it: each client has its own. */
function plainEntry(env: Environment, server: DatabaseServer): string {
  // These three are for one database, and not settings of [pgbouncer], where the other image writes them.
  const ofDatabase = ['client_encoding', 'timezone', 'pool_size'].flatMap((key) =>
    pair(key, variable(env, key.toUpperCase())),
  )
  return [
    `${entryName(server.name ?? '*')} = ${pair('host', server.host).join('')}`,
    `port=${server.port ?? variable(env, 'DB_PORT') ?? '5432'}`,
    ...pair('auth_user', server.user ?? 'postgres'),
    ...ofDatabase,
    ...server.pairs.flatMap(([key, value]) => pair(key, value)),
  ].join(' ')
}

/** A line for the auth_file. */
export interface EnvLogin {
  readonly user: string
  readonly secret: Secret
}

/** Users whom the auth_file should have, in the plain contract. @throws ConfigError */
export function loginsFromEnv(env: Environment): EnvLogin[] {
  const servers = plainServers(env)
  const logins = servers.length > 0 ? servers : [loginVariables(env)]
  const method = settingVariable(env, 'auth_type', true)
  return logins.flatMap(({ user, password }) =>
    user === undefined || password === undefined ? [] : [{ user, secret: storedSecret(user, password, method) }],
  )
}

/** Plaintext where SCRAM needs it, else an md5 hash; what is a stored secret already stays one. */
function storedSecret(user: string, password: Secret, method: string | undefined): Secret {
  const text = password.reveal()
  if (method === 'plain' || method === 'scram-sha-256') return password
  if (/^(md5[0-9a-f]{32}$|SCRAM-SHA-256\$)/.test(text)) return password
  return new Secret(`md5${createHash('md5').update(text).update(user).digest('hex')}`)
}

/** The same text for people to see: without passwords. */
export function hideSecrets(ini: string): string {
  return ini
    .replaceAll(/\b(password *= *)('(?:[^']|'')*'?|[^ \n]+)/g, '$1[hidden]')
    .replaceAll(/(:\/\/[^:@/ \n]*):[^ \n]*@/g, '$1:[hidden]@')
    .replaceAll(/^( *auth_ldap_options *=).*$/gm, '$1 [hidden]')
}
