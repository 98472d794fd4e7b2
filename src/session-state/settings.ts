// The settings that a client has set, or that a server has been given, and the statements that lead from one to the other.
// Texts are a character a byte (latin1): only the client knows what encoding it speaks.

import * as frontend from '../protocol/frontend.js'
import { quoteIdentifier } from '../protocol/sql.js'
import { quoteLiteral } from '../relay/parameters.js'
import { allSettings, type Change } from './effects.js'

/** Most settings that are carried for one client, and the length of their statements in all, characters. */
const mostSettings = 200
const longestStatements = 32 * 1024

/** Who acts: changed last, so that all else is set with the rights of the login. RESET ALL leaves them alone. */
const actors = ['session_authorization', 'role']

/** Immutable: two sessions that hold the same one need nothing between them. */
export class SettingSet {
  /** The statement that sets it, by name, the latest last. */
  private readonly statements: ReadonlyMap<string, string>

  constructor(statements: ReadonlyMap<string, string>) {
    this.statements = statements
  }

  get size(): number {
    return this.statements.size
  }

  get names(): readonly string[] {
    return [...this.statements.keys()]
  }

  get(name: string): string | undefined {
    return this.statements.get(name)
  }

  /** As much as this may be carried from server to server. */
  get isBounded(): boolean {
    let length = 0
    for (const [name, sql] of this.statements) length += name.length + sql.length
    return this.size <= mostSettings && length <= longestStatements
  }

  /** After these changes, in their order. */
  with(changes: readonly Change[]): SettingSet {
    if (changes.length === 0) return this
    const next = new Map(this.statements)
    for (const { name, sql } of changes) {
      if (name === allSettings) for (const known of [...next.keys()]) if (!actors.includes(known)) next.delete(known)
      next.delete(name)
      if (sql !== '') next.set(flat(name), flat(sql))
    }
    return next.size === 0 ? noSettings : new SettingSet(next)
  }

  /** The same names, of which nobody knows what they are set to. */
  doubted(): SettingSet {
    return this.doubtedWith(noSettings)
  }

  /** On the way from this set to `next`: of the names of either, nobody knows what they are set to. */
  doubtedWith(next: SettingSet): SettingSet {
    return new SettingSet(new Map([...this.names, ...next.names].map((name) => [name, '?'])))
  }
}

export const noSettings: SettingSet = new SettingSet(new Map())

/** The Query that turns a server's settings into those that are wanted; null where nothing differs. */
export function restoring(current: SettingSet, wanted: SettingSet): Buffer | null {
  const names = new Set([...current.names, ...wanted.names])
  const differing = [...names].filter((name) => current.get(name) !== wanted.get(name))
  if (differing.length === 0) return null
  const statements = actors.some((name) => names.has(name)) ? ['RESET SESSION AUTHORIZATION', 'RESET ROLE'] : []
  for (const name of differing) {
    if (!actors.includes(name)) statements.push(wanted.get(name) ?? `RESET ${quoteName(name)}`)
  }
  for (const name of actors) {
    const sql = wanted.get(name)
    if (sql !== undefined) statements.push(sql)
  }
  return frontend.message(frontend.Query, Buffer.from(`${statements.join(';')}\0`, 'latin1'))
}

/** The statement that gives a setting this value. */
export function setting(name: string, value: string): string {
  return `SELECT pg_catalog.set_config(${quoteLiteral(name)},${quoteLiteral(value)},false)`
}

/** A copy: a piece of a text would keep all of it in memory. */
function flat(piece: string): string {
  return Buffer.from(piece, 'latin1').toString('latin1')
}

function quoteName(name: string): string {
  return name.split('.').map(quoteIdentifier).join('.')
}
