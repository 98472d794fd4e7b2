// What a session holds, asked of the server itself: it alone knows what a ROLLBACK took back, which lock was got, what is left.

import { bytesOf } from '../protocol/byte-text.js'
import * as frontend from '../protocol/frontend.js'
import type { Answer } from '../relay/own-query.js'
import { quoteLiteral } from '../relay/parameters.js'
import { type Change, Cursors, Listening, Locks, Temporary } from './effects.js'
import { setting } from './settings.js'

/** Names and operators are qualified: the client's search_path holds in here, too. */
const equals = 'OPERATOR(pg_catalog.=)'

/** All that is in pg_temp hangs on its schema, whose own entry outlasts it. */
const questions: readonly (readonly [kind: number, sql: string])[] = [
  [Listening, 'EXISTS (SELECT FROM pg_catalog.pg_listening_channels())'],
  [
    Locks,
    `EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype ${equals} 'advisory' AND pid ${equals} pg_catalog.pg_backend_pid())`,
  ],
  [
    Temporary,
    `EXISTS (SELECT FROM pg_catalog.pg_depend WHERE refclassid ${equals} 2615 AND refobjid ${equals} pg_catalog.pg_my_temp_schema())`,
  ],
  [Cursors, 'EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE is_holdable)'],
]

/** What the server is asked, outside of a transaction: about kinds of state, and settings by name. */
export function probeQuery(kinds: number, names: readonly string[]): Buffer {
  const asked = questions.filter(([kind]) => (kinds & kind) !== 0).map(([, sql]) => sql)
  const statements = asked.length === 0 ? [] : [`SELECT ${asked.join(',')}`]
  if (names.length > 0) statements.push(settingsQuestion(names))
  return frontend.message(frontend.Query, Buffer.from(`${statements.join(';')}\0`, 'latin1'))
}

/** pg_settings is slow, and does not know most settings with a dot in their names. */
function settingsQuestion(names: readonly string[]): string {
  const list = `pg_catalog.unnest(ARRAY[${names.map(quoteLiteral).join(',')}]::pg_catalog.text[]) AS n`
  const value = 'n, pg_catalog.current_setting(n, true)'
  if (names.every((name) => name.includes('.'))) return `SELECT ${value}, NULL FROM ${list}`
  return `SELECT ${value}, s.source FROM ${list} LEFT JOIN pg_catalog.pg_settings AS s ON pg_catalog.lower(s.name) ${equals} n`
}

export interface Found {
  /** Of the kinds asked about, those that the session holds. */
  readonly kinds: number
  /** How each of the settings stands. */
  readonly changes: readonly Change[]
}

/** @param login the user that the server was logged in as */
export function readProbe(answer: Answer, kinds: number, login: string): Found {
  const asked = questions.filter(([kind]) => (kinds & kind) !== 0)
  const rows = [...answer.rows]
  const held = asked.length === 0 ? [] : (rows.shift() ?? [])
  return {
    kinds: asked.reduce((bits, [kind], at) => (held[at] === 't' ? bits | kind : bits), 0),
    changes: rows.map(([name, value, source]) => ({
      name: bytes(name ?? ''),
      sql: isSet(name, value, source, login) ? bytes(setting(name!, value!)) : '',
    })),
  }
}

/**
 * Set in this session, or at its default? Settings of no module, which is what `app.user` is, and those of who acts are not in
 * pg_settings; the former are empty, or not there, by default. One of a module that stands at its default may be taken for
 * set: it then is, to that.
 */
function isSet(
  name: string | null | undefined,
  value: string | null | undefined,
  source: string | null | undefined,
  login: string,
): boolean {
  if (source !== null && source !== undefined) return source === 'session'
  if (value === null || value === undefined || value === '') return false
  if (name === 'role') return value !== 'none'
  return name !== 'session_authorization' || value !== login
}

/** A character a byte, as the names were asked for. */
function bytes(text: string): string {
  return bytesOf(text).toString('latin1')
}
