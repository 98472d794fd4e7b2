// The text of a query -> the Command that it stands for: the grammar of the console.

import type { Config } from '../config/load.js'
import { AdminError } from '../control/status.js'
import { byteLength } from '../protocol/byte-text.js'
import { actionFor, type Command, type Role, requireRole, setAction, type Verb, verbs } from './commands.js'
import { driverStatement } from './driver-statements.js'
import { helpDetail, helpText } from './show/help.js'
import { parameterTable } from './show/parameters.js'
import { tableNamed } from './tables.js'
import { type Token, tokenize } from './tokens.js'

/** pgbouncer's limits, in bytes. */
const longest = { verb: 15, argument: 63, value: 255 } as const

const verbNamed = new Map(verbs.map((verb) => [verb.name, verb]))

/**
 * Reads one command, `VERB [argument]` or `SET key = value`. Comments and semicolons at the end are allowed.
 * @param config in force, which may add columns to a SHOW
 * @throws AdminError for what is no command, has wrong arguments, or needs another role
 */
export function parseCommand(text: string, role: Role, config: Config): Command {
  const tokens = tokenize(text)
  const command = tokens && readCommand(tokens, role)
  if (command === undefined) throw new AdminError(`invalid command '${echo(text)}', use SHOW HELP;`)
  return command.does === 'show' ? { ...command, table: command.table.under(config) } : command
}

function readCommand(given: readonly Token[], role: Role): Command | undefined {
  const tokens = given.slice(0, given.findLastIndex((token) => !isSign(token, ';')) + 1)
  if (tokens.length === 0) return { does: 'nothing' }
  // One command a query, as in pgbouncer: with several, some would have been done when a later one is refused.
  if (tokens.some((token) => isSign(token, ';'))) return undefined
  return driverStatement(tokens) ?? consoleCommand(tokens, role) ?? setCommand(tokens, role)
}

function consoleCommand(tokens: readonly Token[], role: Role): Command | undefined {
  const [first, second] = tokens
  const named = isWord(first) && isWord(second) ? `${first.value} ${second.value}`.toUpperCase() : ''
  const pair = verbNamed.get(named)
  if (pair !== undefined) return pairCommand(pair, tokens.slice(2), role)
  if (tokens.length > 2 || !isWord(first) || (second !== undefined && !isWord(second))) return undefined
  limit(first.value, longest.verb)
  limit(second?.value, longest.argument)
  const name = first.value.toUpperCase()
  if (name === 'SHOW' || name === 'SELECT') return second && showCommand(second.value, role)
  const verb = verbNamed.get(name)
  return verb && actionFor(verb, second?.value, role)
}

/** A verb of two words, such as BAN HOST: what follows may be a text, since addresses are not names. */
function pairCommand(verb: Verb, tokens: readonly Token[], role: Role): Command | undefined {
  if (tokens.length > 2 || tokens.some(({ kind }) => kind === 'sign')) return undefined
  const [argument, duration] = tokens
  limit(argument?.value, verb.argument === 'host' ? longest.value : longest.argument)
  return actionFor(verb, argument?.value, role, duration?.value)
}

function showCommand(name: string, role: Role): Command | undefined {
  const table = tableNamed(name) ?? parameterTable(name)
  if (table !== undefined) return { does: 'show', table }
  switch (name.toUpperCase()) {
    case 'HELP':
      return { does: 'answer', tag: 'SHOW', notice: { text: helpText, detail: helpDetail } }
    case 'FDS':
      requireRole('admin', role)
      throw new AdminError('SHOW FDS is refused: it would show passwords and cancel keys', '0A000')
    default:
      return undefined
  }
}

/** `SET key = value`; a value is one word or text, or several with commas between them. */
function setCommand([set, key, sign, ...values]: readonly Token[], role: Role): Command | undefined {
  if (!isWord(set) || set.value.toUpperCase() !== 'SET' || !isWord(key)) return undefined
  if (!isSign(sign, '=') && !(sign?.kind === 'word' && sign.value.toUpperCase() === 'TO')) return undefined
  const isList = values.every((token, at) => (at % 2 === 0 ? token.kind !== 'sign' : isSign(token, ',')))
  if (values.length % 2 === 0 || !isList) return undefined
  const value = values.map((token) => token.value).join('')
  if (key.value === '') throw new AdminError('bad arguments')
  limit(key.value, longest.argument)
  limit(value, longest.value)
  return setAction(key.value, value, role)
}

function isWord(token: Token | undefined): token is Token {
  return token?.kind === 'word' || token?.kind === 'name'
}

function isSign(token: Token | undefined, sign: string): boolean {
  return token?.kind === 'sign' && token.value === sign
}

function limit(text: string | undefined, bytes: number): void {
  if (text !== undefined && byteLength(text) > bytes) throw new AdminError('bad arguments')
}

/** Queries of tools can be pages long. */
function echo(text: string): string {
  return text.length > 255 ? `${text.slice(0, 255)}...` : text
}
