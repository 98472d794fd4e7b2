// Files or an object -> one frozen Config, all or nothing.

import { checkSettings, checkTlsSettings } from './checks.js'
import { ConfigError, describePlace, located, type Place, printable, quoted } from './config-error.js'
import type { Conninfo } from './conninfo.js'
import {
  type DatabaseConfig,
  type DatabaseTemplate,
  databaseKeys,
  databaseOf,
  readDatabase,
  readTemplate,
} from './databases.js'
import { type ReadFile, readIni } from './ini.js'
import { type ConfigInput, type ConfigItem, itemsOf } from './input.js'
import { nearest } from './nearest.js'
import { type PeerConfig, readPeer } from './peers.js'
import { requireUtf8, type SettingType } from './setting-types.js'
import { type Setting, type SettingName, type Settings, settingNamed, settingNames, settings } from './settings.js'
import { readUser, type UserConfig } from './users.js'

export interface Config {
  /** Undefined when the configuration was given as an object. */
  readonly file: string | undefined
  readonly settings: Settings
  /** The values as SHOW CONFIG gives them; settings without a value are not there. */
  readonly raw: ReadonlyMap<SettingName, string>
  readonly databases: ReadonlyMap<string, DatabaseConfig>
  /** The entry `*`. */
  readonly autodb: DatabaseTemplate | undefined
  readonly users: ReadonlyMap<string, UserConfig>
  readonly peers: ReadonlyMap<number, PeerConfig>
  /** What loading found odd but let pass: settings without effect, values that were reset. */
  readonly warnings: readonly string[]
}

export interface LoadOptions {
  /** Reads the ini file and what it includes; default: node:fs. */
  readonly readFile?: ReadFile
  /** Settings for which the file has the last word, such as `verbose` from -v. */
  readonly defaults?: SettingTexts
  /** Settings that have the last word themselves, such as `user` from -u. */
  readonly overrides?: SettingTexts
}

type SettingTexts = { readonly [N in SettingName]?: string | undefined }

/** A setting with a value, what SHOW CONFIG says of it, and where it was set. */
interface Assigned {
  readonly value: unknown
  readonly shown: string
  readonly place: Place | undefined
}

/**
 * Loads an ini file (given its path) or an object.
 * @throws ConfigError for anything that is wrong; nothing of a wrong configuration is used.
 */
export async function loadConfig(source: string | ConfigInput, options: LoadOptions = {}): Promise<Config> {
  if (typeof source !== 'string') return assemble(itemsOf(source), undefined, options)
  return assemble(await readIni(source, options.readFile), source, options)
}

function assemble(items: Iterable<ConfigItem>, file: string | undefined, options: LoadOptions): Config {
  const loader = new Loader(file, options)
  for (const item of items) loader.take(item)
  return loader.finish()
}

/**
 * The same configuration with one setting changed, as by the console's SET. Its warnings are those of this change. Whether
 * the settings of TLS fit together is seen when TLS is made of them.
 * @throws ConfigError for unknown names, wrong values, and settings that need a restart.
 */
export function withSetting(config: Config, key: string, text: string): Config {
  const name = requireSetting(key, undefined)
  if (!settings[name].reloadable) throw new ConfigError(`parameter ${name} cannot be changed without a restart`)
  const assigned = assign(name, text, undefined)
  const values = Object.freeze({ ...config.settings, [name]: assigned.value }) as Settings
  checkSettings(values, () => undefined)
  const raw = new Map(config.raw)
  if (assigned.value === undefined) raw.delete(name)
  else raw.set(name, assigned.shown)
  const warnings = Object.freeze(warningsOf(name, settings[name], assigned))
  return Object.freeze({ ...config, settings: values, raw: sealed(raw), warnings })
}

/** The database that the entry `*` makes of a name that has no entry; undefined without `*`, or if no database can have it. */
export function autoDatabase(config: Config, name: string): DatabaseConfig | undefined {
  return config.autodb === undefined ? undefined : databaseOf(config.autodb, name)
}

/** Takes the items of a source in order, and makes a Config of them. */
class Loader {
  readonly #file: string | undefined
  readonly #options: LoadOptions
  readonly #assigned = new Map<SettingName, Assigned>()
  readonly #databases = new Map<string, DatabaseConfig>()
  readonly #users = new Map<string, UserConfig>()
  readonly #peers = new Map<number, PeerConfig>()
  readonly #warnings: string[] = []
  #autodb: DatabaseTemplate | undefined
  #sawMainSection = false

  constructor(file: string | undefined, options: LoadOptions) {
    this.#file = file
    this.#options = options
    this.#assignAll('defaults')
  }

  take(item: ConfigItem): void {
    if (item.kind === 'section') this.#begin(item.name, item.place)
    else if (item.kind === 'entry' && item.section === 'pgbouncer') this.#set(item.key, item.value, item.place)
    else this.#add(item.section, item.key, item.value, item.place)
  }

  finish(): Config {
    if (!this.#sawMainSection) {
      throw new ConfigError('main section missing from config file', { file: this.#file ?? '', line: 1 })
    }
    this.#assignAll('overrides')
    const values: Partial<Record<SettingName, unknown>> = {}
    const raw = new Map<SettingName, string>()
    for (const name of settingNames) {
      const assigned = this.#assigned.get(name)
      const { value, shown } = assigned ?? this.#default(name)
      values[name] = value
      if (value !== undefined) raw.set(name, shown)
      if (assigned !== undefined) this.#warnings.push(...warningsOf(name, settings[name], assigned))
    }
    const complete = Object.freeze(values) as Settings
    const placeOf = (name: SettingName) => this.#assigned.get(name)?.place
    checkSettings(complete, placeOf)
    checkTlsSettings(complete, placeOf)
    this.#warnings.push(...unaskedWarnings(complete, this.#databases.values()))
    return Object.freeze({
      file: this.#file,
      settings: complete,
      raw: sealed(raw),
      databases: sealed(this.#databases),
      autodb: this.#autodb,
      users: sealed(this.#users),
      peers: sealed(this.#peers),
      warnings: Object.freeze(this.#warnings),
    })
  }

  #begin(section: string, place: Place): void {
    switch (section) {
      case 'pgbouncer':
        if (this.#sawMainSection) this.#resetToDefaults(place)
        this.#sawMainSection = true
        return
      case 'databases':
      case 'users':
      case 'peers':
        return
      default:
        throw new ConfigError(`invalid section ${quoted(section)} in configuration`, place)
    }
  }

  #set(key: string, text: string, place: Place): void {
    const name = requireSetting(key, place)
    this.#assigned.set(name, assign(name, text, place))
  }

  #add(section: string, key: string, given: string | Conninfo, place: Place): void {
    switch (section) {
      case 'databases':
        if (key === '*') this.#autodb = readTemplate(key, given, place)
        else this.#databases.set(key, readDatabase(key, given, place))
        return
      case 'users':
        this.#users.set(key, readUser(key, given, place))
        return
      case 'peers': {
        const peer = readPeer(key, given, place)
        this.#peers.set(peer.id, peer)
      }
    }
  }

  #assignAll(which: 'defaults' | 'overrides'): void {
    for (const [key, text] of Object.entries(this.#options[which] ?? {})) {
      if (text !== undefined) this.#set(key, text, { path: `${which}.${key}` })
    }
  }

  #default(name: SettingName): { readonly value: unknown; readonly shown: string } {
    if (name === 'conffile' && this.#file !== undefined) return { value: this.#file, shown: this.#file }
    const { fallback } = settings[name]
    return fallback === null ? { value: undefined, shown: '' } : assign(name, fallback, undefined)
  }

  /** As in pgbouncer, each [pgbouncer] header starts from the defaults again, but for settings that have none. */
  #resetToDefaults(place: Place): void {
    const lost: string[] = []
    for (const [name, { place: former }] of this.#assigned) {
      if (settings[name].fallback === null) continue
      this.#assigned.delete(name)
      if (former !== undefined && 'file' in former) lost.push(`${name} (${describePlace(former)})`)
    }
    this.#assignAll('defaults')
    if (lost.length === 0) return
    this.#warnings.push(`second [pgbouncer] section (${describePlace(place)}) undoes ${lost.join(', ')}`)
  }
}

function requireSetting(key: string, place: Place | undefined): SettingName {
  const name = settingNamed(key)
  if (name !== undefined) return name
  throw new ConfigError(`unknown parameter: pgbouncer/${printable(key)}`, place, settingMeant(key))
}

/** Keys of databases count as well: `pool_size` is no misspelt `pool_mode`. */
function settingMeant(key: string): string {
  const found = nearest(key, [...settingNames, ...Object.keys(databaseKeys)])
  if (found === undefined) return ''
  if (settingNamed(found) !== undefined) return `did you mean ${found}?`
  return found === key ? 'it belongs to an entry of [databases]' : `did you mean ${found}, of an entry of [databases]?`
}

/** Settings whose values PostgreSQL and its clients know as bytes, in whatever encoding: names, passwords, SQL. */
const inBytes: ReadonlySet<SettingName> = new Set<SettingName>([
  ...(['admin_users', 'stats_users', 'auth_user', 'auth_dbname', 'auth_query', 'login_notify_message'] as const),
  ...(['server_check_query', 'server_reset_query', 'ignore_startup_parameters'] as const),
])

function assign(name: SettingName, text: string, place: Place | undefined): Assigned {
  const type: SettingType<unknown> = settings[name].type
  const within = place === undefined ? '' : ' in configuration'
  const value = located(`invalid value ${quoted(text)} for parameter ${name}${within}`, place, () =>
    type.parse(inBytes.has(name) ? text : requireUtf8(text)),
  )
  return { value, shown: type.show?.(value) ?? text, place }
}

/**
 * What to say of a setting that is not acted on, unless it asks for what happens anyway.
 * @throws ConfigError if it is one that may not be passed over
 */
export function warningsOf(name: string, setting: Setting<unknown>, assigned: Assigned): string[] {
  const { support, fallback, type } = setting
  if (support.kind === 'full' || support.except?.includes(assigned.shown)) return []
  if (fallback !== null && assigned.shown === (type.show?.(type.parse(fallback)) ?? fallback)) return []
  if (support.kind === 'refused')
    throw new ConfigError(`parameter ${name} is not supported`, assigned.place, support.reason)
  const where = assigned.place === undefined ? '' : ` (${describePlace(assigned.place)})`
  return [`parameter ${name}${where} has no effect: ${support.reason}`]
}

/** Where nobody is known who may ask hosts for their roles until a client has logged in. */
function unaskedWarnings(given: Settings, databases: Iterable<DatabaseConfig>): string[] {
  if (given.host_check_user !== undefined || given.auth_user !== undefined) return []
  const unasked = [...databases].filter(({ targetSessionAttrs, authUser, user }) => {
    return targetSessionAttrs !== 'any' && authUser === undefined && user === undefined
  })
  const [first] = unasked
  if (first === undefined) return []
  const names = unasked.map(({ name }) => quoted(name)).join(', ')
  const where = `${names} (${describePlace(first.place)})`
  return [`the roles of the hosts of ${where} are not known before a client has logged in: set host_check_user`]
}

/** A Map that refuses to be changed: Object.freeze does not reach what a Map holds. */
export function sealed<K, V>(map: Map<K, V>): ReadonlyMap<K, V> {
  const refuse = (): never => {
    throw new TypeError('a Config cannot be changed')
  }
  for (const method of ['set', 'delete', 'clear']) Object.defineProperty(map, method, { value: refuse })
  return Object.freeze(map)
}
