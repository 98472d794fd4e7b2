// Statements that drivers and tools send of their own accord. The console has no transactions and no session state, so most
// are answered as PostgreSQL would and do nothing; without an answer the driver would give the connection up.

import type { Answer, Command } from './commands.js'
import { isParameter, parameterTable } from './show/parameters.js'
import { defineTable, int4, type Table, text } from './table.js'
import type { Token } from './tokens.js'

const setIgnored: Answer = { does: 'answer', tag: 'SET', notice: { text: 'SET ignored' } }

const answer = (tag: string): Answer => ({ does: 'answer', tag })
const begin = (tag: string): Answer => ({ ...answer(tag), inTransaction: true })
const end = (tag: string): Answer => ({ ...answer(tag), inTransaction: false })
const forgetAll = (tag: string): Answer => ({ ...answer(tag), deallocate: {} })
const show = (table: Table): Command => ({ does: 'show', table })

const one = defineTable('1', () => [1], [['?column?', int4, (value) => value]])
const version = defineTable('version', ({ version }) => [version], [['version', text, (version) => version]])
const database = defineTable('database', () => ['pgbouncer'], [['current_database', text, (name) => name]])
const noArrayTypes = defineTable('array types', (): number[] => [], [
  ['oid', int4, (oid) => oid],
  ['typarray', int4, (oid) => oid],
])
const isolation = parameterTable('transaction_isolation') as Table

/** Matched against the tokens of the statement, in lower case, with a blank between them. */
const statements: readonly (readonly [RegExp, Command])[] = [
  [/^begin( |$)/, begin('BEGIN')],
  [/^start transaction( |$)/, begin('START TRANSACTION')],
  [/^(commit|end)( work| transaction)?$/, end('COMMIT')],
  [/^(rollback|abort)( work| transaction)?$/, end('ROLLBACK')],
  [/^rollback( work| transaction)? to /, answer('ROLLBACK')],
  [/^savepoint /, answer('SAVEPOINT')],
  [/^release /, answer('RELEASE')],
  [/^discard all$/, forgetAll('DISCARD ALL')],
  [/^deallocate( prepare)? all$/, forgetAll('DEALLOCATE ALL')],
  [/^reset (all|\w+)$/, answer('RESET')],
  [/^unlisten (\*|\w+)$/, answer('UNLISTEN')],
  [/^close all$/, answer('CLOSE CURSOR ALL')],
  [/^set (session |local )?time zone /, setIgnored],
  [/^set names /, setIgnored],
  [/^set session characteristics as transaction /, setIgnored],
  [/^set transaction /, setIgnored],
  [/^show transaction isolation level$/, show(isolation)],
  [/^select 1$/, show(one)],
  // postgres.js looks for array types when it has connected; an error there is thrown where no program can catch it.
  [/^select b\.oid , b\.typarray from pg_catalog\.pg_type /, show(noArrayTypes)],
  [/^select (pg_catalog\.)?version \( \)$/, show(version)],
  [/^select (pg_catalog\.)?current_database \( \)$/, show(database)],
]

/** The answer to a statement that is none of the console's own, if there is one. */
export function driverStatement(tokens: readonly Token[]): Command | undefined {
  // What is quoted is no keyword: it is left out of the match by a sign that no pattern has.
  const written = tokens.map(({ kind, value }) => (kind === 'word' || kind === 'sign' ? value.toLowerCase() : '"'))
  const line = written.join(' ')
  return statements.find(([pattern]) => pattern.test(line))?.[1] ?? deallocate(tokens) ?? setParameter(tokens)
}

/** `DEALLOCATE [PREPARE] name`: here the statements are real, those of the extended protocol. */
function deallocate([verb, ...rest]: readonly Token[]): Answer | undefined {
  if (verb?.value.toLowerCase() !== 'deallocate') return undefined
  const [name, ...more] = rest.length === 2 && rest[0]?.value.toLowerCase() === 'prepare' ? rest.slice(1) : rest
  if (name === undefined || more.length > 0) return undefined
  const statement = name.kind === 'name' ? name.value : name.value.toLowerCase()
  return { ...answer('DEALLOCATE'), deallocate: { statement } }
}

/** `SET [SESSION | LOCAL] parameter ...` for a parameter of PostgreSQL's. */
function setParameter([verb, ...rest]: readonly Token[]): Answer | undefined {
  if (verb?.value.toLowerCase() !== 'set') return undefined
  const named = /^(session|local)$/i.test(rest[0]?.value ?? '') ? rest.slice(1) : rest
  const [key, sign, value] = named
  if (key === undefined || value === undefined || !/^(=|to)$/i.test(sign?.value ?? '')) return undefined
  return isParameter(key.value) ? setIgnored : undefined
}
