// Two Configs -> what changes now, and what needs a restart.

import type { DatabaseTemplate } from './databases.js'
import { type Config, sealed } from './load.js'
import { Secret } from './secret.js'
import { type SettingName, type Settings, settingNames, settings } from './settings.js'

/** Names by what happened to them. */
interface EntryChanges<K> {
  readonly added: readonly K[]
  readonly removed: readonly K[]
  readonly changed: readonly K[]
}

interface DatabaseChanges extends EntryChanges<string> {
  /** Other sizes, limits, passwords and so on: its servers may stay, whereas those of `changed` are to be closed. */
  readonly adjusted: readonly string[]
}

export interface ConfigChanges {
  /** Reloadable settings with another value. */
  readonly settings: readonly SettingName[]
  /** Settings with another value that only a restart brings. */
  readonly needRestart: readonly SettingName[]
  /** `*` is among them as any other name. */
  readonly databases: DatabaseChanges
  readonly users: EntryChanges<string>
  readonly peers: EntryChanges<number>
}

/** With these changed, a server connection is no longer what the configuration asks for; as in pgbouncer. */
const decidesServers = [
  'dbname',
  'hosts',
  'ports',
  'user',
  'connectQuery',
  'authDbname',
  'authQuery',
  'loadBalanceHosts',
  'targetSessionAttrs',
] as const

export function diffConfig(old: Config, next: Config): ConfigChanges {
  const changed = settingNames.filter((name) => !same(old.settings[name], next.settings[name]))
  const before = databasesOf(old)
  const after = databasesOf(next)
  const databases = diffEntries(before, after)
  const needsServers = (name: string) => needsOtherServers(before.get(name), after.get(name))
  return {
    settings: changed.filter((name) => settings[name].reloadable),
    needRestart: changed.filter((name) => !settings[name].reloadable),
    databases: {
      ...databases,
      changed: databases.changed.filter(needsServers),
      adjusted: databases.changed.filter((name) => !needsServers(name)),
    },
    users: diffEntries(old.users, next.users),
    peers: diffEntries(old.peers, next.peers),
  }
}

/** Returns whether the servers of a database are no longer what its entry asks for. */
export function needsOtherServers(old: DatabaseTemplate | undefined, next: DatabaseTemplate | undefined): boolean {
  return decidesServers.some((field) => !same(old?.[field], next?.[field]))
}

/** What a reload may put into force: `next`, but with the settings of `old` that only a restart changes. */
export function applicable(old: Config, next: Config): Config {
  const kept = settingNames.filter((name) => !settings[name].reloadable)
  const raw = new Map(next.raw)
  for (const name of kept) {
    const shown = old.raw.get(name)
    if (shown === undefined) raw.delete(name)
    else raw.set(name, shown)
  }
  const values = { ...next.settings, ...Object.fromEntries(kept.map((name) => [name, old.settings[name]])) } as Settings
  return Object.freeze({ ...next, settings: Object.freeze(values), raw: sealed(raw) })
}

function databasesOf(config: Config) {
  return config.autodb === undefined ? config.databases : new Map([...config.databases, ['*', config.autodb] as const])
}

function diffEntries<K, V extends object>(old: ReadonlyMap<K, V>, next: ReadonlyMap<K, V>): EntryChanges<K> {
  return {
    added: [...next.keys()].filter((key) => !old.has(key)),
    removed: [...old.keys()].filter((key) => !next.has(key)),
    changed: [...next].filter(([key, entry]) => old.has(key) && !sameEntry(old.get(key)!, entry)).map(([key]) => key),
  }
}

/** The same, wherever it may be configured. */
function sameEntry(a: object, b: object): boolean {
  return same({ ...a, place: undefined }, { ...b, place: undefined })
}

/** Equality of the values that a Config holds. */
function same(a: unknown, b: unknown): boolean {
  if (a instanceof Secret) return b instanceof Secret && a.equals(b)
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return Object.is(a, b)
  const keys = new Set([...Object.keys(a), ...Object.keys(b)])
  return [...keys].every((key) => same((a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key]))
}
