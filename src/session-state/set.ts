// SET, RESET and set_config() read from tokens: which settings they change, and whether for the session.
// https://www.postgresql.org/docs/current/sql-set.html

import { foldCase, stringValue, type Token } from '../protocol/sql.js'
import { allSettings, type Change } from './effects.js'

/** What one statement, or call, does to the settings of the session. */
export interface SettingChanges {
  readonly names: readonly string[]
  /** See Effects. */
  readonly certain: readonly Change[] | undefined
  /** Something is given a value, rather than its default. */
  readonly sets: boolean
}

const nothing: SettingChanges = { names: [], certain: [], sets: false }

/** They belong to a transaction, or can't be read back. */
const notOfSession = new Set(['transaction_isolation', 'transaction_read_only', 'transaction_deferrable', 'seed'])

const ofTransactions = [
  'default_transaction_isolation',
  'default_transaction_read_only',
  'default_transaction_deferrable',
]

/** `SET …`: `tokens` are those of the statement, and `sql` its text. */
export function readSet(tokens: readonly Token[], sql: string): SettingChanges {
  const isWord = (at: number, word: string): boolean => isWordAt(tokens, at, word)
  if (isWord(1, 'local')) return nothing
  let at = 1
  // SET SESSION AUTHORIZATION and SET SESSION SESSION AUTHORIZATION are the same.
  if (isWord(1, 'session') && !isWord(2, 'authorization')) at = 2
  if (isWord(at, 'session') && isWord(at + 1, 'authorization')) return authorization(sql, isDefault(tokens, at + 2))
  const sign = tokens[at + 1]
  if (sign?.text !== '=' && sign?.text !== '.' && !isWord(at + 1, 'to')) {
    switch (wordAt(tokens, at)) {
      case 'transaction':
      case 'constraints':
        return nothing
      case 'characteristics':
        return asked(ofTransactions)
      case 'xml':
        return asked(['xmloption'])
      case 'time':
        return changed('timezone', isDefault(tokens, at + 2) || isWord(at + 2, 'local') ? '' : sql)
      case 'names':
        return changed('client_encoding', tokens.length === at + 1 || isDefault(tokens, at + 1) ? '' : sql)
      case 'schema':
        return changed('search_path', isDefault(tokens, at + 1) ? '' : sql)
      case 'role':
        return changed('role', isWord(at + 1, 'none') ? '' : sql)
      default: // a parameter like any other
    }
  }
  const { name, next } = readName(tokens, at)
  if (name === '' || isWord(next, 'from')) return nothing
  if (name === 'session_authorization') return authorization(sql, isDefault(tokens, next + 1))
  return changed(name, isDefault(tokens, next + 1) ? '' : sql)
}

export function readReset(tokens: readonly Token[]): SettingChanges {
  if (isWordAt(tokens, 1, 'all'))
    return { names: [allSettings], certain: [{ name: allSettings, sql: '' }], sets: false }
  if (isWordAt(tokens, 1, 'transaction') && tokens.length > 2) return nothing
  if (isWordAt(tokens, 1, 'time') && tokens.length > 2) return changed('timezone', '')
  if (isWordAt(tokens, 1, 'session') && isWordAt(tokens, 2, 'authorization')) return authorization('', true)
  const { name } = readName(tokens, 1)
  return name === 'session_authorization' ? authorization('', true) : changed(name, '')
}

/** DISCARD ALL goes further than RESET ALL. */
export const discarded: SettingChanges = {
  names: [allSettings, 'session_authorization', 'role'],
  certain: [allSettings, 'session_authorization', 'role'].map((name) => ({ name, sql: '' })),
  sets: false,
}

/** The call of set_config whose opening parenthesis stands at `open`; undefined: the name can't be told. */
export function readSetConfig(tokens: readonly Token[], open: number): SettingChanges | undefined {
  const parameters = readArguments(tokens, open)
  const [name, value, local] = parameters ?? []
  if (parameters?.length !== 3) return undefined
  if (isTrue(local!)) return nothing
  const known = literal(name!)
  if (known === undefined) return undefined
  const isWhole =
    value!.length === 1 &&
    literal(value!) !== undefined &&
    isFalse(local!) &&
    isAlone(tokens, open, name!, value!, local!)
  const sql = `SELECT pg_catalog.set_config(${name![0]!.text}, ${value?.[0]?.text}, false)`
  const key = foldCase(known)
  return isWhole && key !== 'session_authorization' ? changed(key, sql) : asked([key])
}

/** Returns whether it is `SELECT [pg_catalog.]set_config(…)` and no more. */
function isAlone(tokens: readonly Token[], open: number, ...parameters: readonly (readonly Token[])[]): boolean {
  if (!isWordAt(tokens, 0, 'select') || parameters.some((parameter) => parameter.length !== 1)) return false
  const isQualified = isWordAt(tokens, 1, 'pg_catalog') && tokens[2]?.text === '.'
  return open === (isQualified ? 4 : 2) && tokens.length === open + 7
}

/** The arguments between the parentheses, each as its tokens; undefined where there is no end. */
function readArguments(tokens: readonly Token[], open: number): (readonly Token[])[] | undefined {
  const found: (readonly Token[])[] = []
  let depth = 0
  let from = open + 1
  for (let at = open; at < tokens.length; at++) {
    const { kind, text } = tokens[at]!
    if (kind !== 'symbol') continue
    if (text === '(' || text === '[') depth++
    else if (text === ')' || text === ']') depth--
    if ((text === ',' && depth === 1) || depth === 0) {
      found.push(tokens.slice(from, at))
      from = at + 1
    }
    if (depth === 0) return found
  }
  return undefined
}

/** `'text'` or `'text'::type`. */
function literal(parameter: readonly Token[]): string | undefined {
  const [text, colon] = parameter
  if (text === undefined || (colon !== undefined && colon.text !== ':')) return undefined
  return stringValue(text)
}

function isTrue(parameter: readonly Token[]): boolean {
  return parameter.length === 1 && /^'?(t|true)'?$/i.test(parameter[0]!.text)
}

function isFalse(parameter: readonly Token[]): boolean {
  return parameter.length === 1 && /^'?(f|false)'?$/i.test(parameter[0]!.text)
}

function changed(name: string, sql: string): SettingChanges {
  if (name === '' || notOfSession.has(name)) return nothing
  // What a backslash means hangs on another setting.
  return { names: [name], certain: sql.includes('\\') ? undefined : [{ name, sql }], sets: sql !== '' }
}

function asked(names: readonly string[]): SettingChanges {
  return { names, certain: undefined, sets: true }
}

/** It ends a SET ROLE, too. */
function authorization(sql: string, resets: boolean): SettingChanges {
  const own = changed('session_authorization', resets ? '' : sql)
  const certain = own.certain === undefined ? undefined : [...own.certain, { name: 'role', sql: '' }]
  return { names: ['session_authorization', 'role'], certain, sets: !resets }
}

/** A name with dots in it, from `at`; `next` is what stands behind it. */
export function readName(tokens: readonly Token[], at: number): { name: string; next: number } {
  let name = ''
  let next = at
  for (;;) {
    const part = tokens[next]
    if (part === undefined || (part.kind !== 'word' && part.kind !== 'quoted')) return { name: '', next }
    name += foldCase(part.text)
    next++
    if (tokens[next]?.kind !== 'symbol' || tokens[next]?.text !== '.') return { name, next }
    name += '.'
    next++
  }
}

function isDefault(tokens: readonly Token[], at: number): boolean {
  return isWordAt(tokens, at, 'default') && tokens.length === at + 1
}

function wordAt(tokens: readonly Token[], at: number): string | undefined {
  const token = tokens[at]
  return token?.kind === 'word' ? token.text : undefined
}

export function isWordAt(tokens: readonly Token[], at: number, word: string): boolean {
  return wordAt(tokens, at) === word
}
