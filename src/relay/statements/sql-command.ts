// PREPARE, EXECUTE and DEALLOCATE in a text: what names a prepared statement, and where its name stands.

import { statements, type Token, tokenize } from '../../protocol/sql.js'

export interface Command {
  /** `execute`: EXPLAIN EXECUTE and CREATE TABLE ... AS EXECUTE as well; `reset`: DISCARD ALL and DEALLOCATE ALL, which name nothing. */
  readonly verb: 'prepare' | 'execute' | 'deallocate' | 'reset'
  readonly name: string
  /** Where the name stands in the text. */
  readonly start: number
  readonly end: number
  /** Where the statement ends, the semicolon not counted. */
  readonly statementEnd: number
}

/** A text that is one command, as a prepared statement of the protocol. */
export interface CommandText {
  readonly text: string
  readonly command: Command
  /** The parameter types of its Parse. */
  readonly types: Buffer
}

/** Texts in which none of these stands name no statement. */
const telling = /\b(?:prepare|execute|deallocate|discard)\b/i

/**
 * The commands of a text that name a prepared statement, in order; null where there are none, or the text can't be read.
 * @param text a character a byte (latin1), since only its client knows what encoding it is in
 * @param hasEscapes a backslash means something in plain strings, too (`standard_conforming_strings = off`)
 */
export function readCommands(text: string, hasEscapes: boolean): readonly Command[] | null {
  if (!telling.test(text) || (hasEscapes && text.includes("\\'"))) return null
  const tokens = tokenize(text)
  if (tokens === undefined) return null
  const found: Command[] = []
  for (const statement of statements(tokens)) {
    const command = commandOf(statement)
    if (command !== undefined) found.push(command)
  }
  return found.length === 0 ? null : found
}

/** Returns whether a text that begins with these three bytes may be one such command, or have a blank or a comment before it. */
export function mayBeCommand(first: number, second: number, third: number): boolean {
  switch (first | 0x20) {
    case 0x70: // PRepare
      return (second | 0x20) === 0x72
    case 0x65: // EXecute, EXplain
      return (second | 0x20) === 0x78
    case 0x63: // CReate
      return (second | 0x20) === 0x72
    case 0x64: // DEAllocate, DIScard
      return (third | 0x20) === 0x61 || (third | 0x20) === 0x73
    default:
      return first <= 0x20 || first === 0x2f || first === 0x2d // blank, / or -
  }
}

function commandOf(tokens: readonly Token[]): Command | undefined {
  if (tokens[0]!.kind !== 'word') return undefined
  switch (tokens[0]!.text) {
    case 'prepare':
      return isWord(tokens[1], 'transaction') ? undefined : named('prepare', tokens, 1)
    case 'execute':
      return named('execute', tokens, 1)
    case 'deallocate': {
      const at = isWord(tokens[1], 'prepare') && tokens.length > 2 ? 2 : 1
      if (isWord(tokens[at], 'all')) return reset(tokens)
      return tokens.length === at + 1 ? named('deallocate', tokens, at) : undefined
    }
    case 'discard':
      return isWord(tokens[1], 'all') ? reset(tokens) : undefined
    case 'explain':
      return explained(tokens)
    case 'create':
      return createdAs(tokens)
    default:
      return undefined
  }
}

function named(verb: Command['verb'], tokens: readonly Token[], at: number): Command | undefined {
  const name = tokens[at]
  if (name === undefined || (name.kind !== 'word' && name.kind !== 'quoted')) return undefined
  // U&"..." with escapes in it, which are not read here.
  if (name.text.includes('\\') && name.end - name.start > name.text.replaceAll('"', '""').length + 2) return undefined
  return { verb, name: name.text, start: name.start, end: name.end, statementEnd: tokens.at(-1)!.end }
}

function reset(tokens: readonly Token[]): Command {
  return { verb: 'reset', name: '', start: 0, end: 0, statementEnd: tokens.at(-1)!.end }
}

/** `EXPLAIN [(options) | ANALYZE | VERBOSE] EXECUTE name`, or of a CREATE TABLE AS. */
function explained(tokens: readonly Token[]): Command | undefined {
  let at = 1
  if (tokens[at]?.text === '(') while (at < tokens.length && tokens[at - 1]?.text !== ')') at++
  while (isWord(tokens[at], 'analyze') || isWord(tokens[at], 'analyse') || isWord(tokens[at], 'verbose')) at++
  return isWord(tokens[at], 'execute') ? named('execute', tokens, at + 1) : createdAs(tokens)
}

/** `CREATE TABLE ... AS EXECUTE name`. */
function createdAs(tokens: readonly Token[]): Command | undefined {
  for (let at = 2; at < tokens.length; at++) {
    if (isWord(tokens[at], 'execute') && isWord(tokens[at - 1], 'as')) return named('execute', tokens, at + 1)
  }
  return undefined
}

function isWord(token: Token | undefined, word: string): boolean {
  return token?.kind === 'word' && token.text === word
}

const blank = /[ \t\n\r\f\v]/

/**
 * What a PREPARE prepares. `[(types)] AS query`: without types it is what a Parse says (`body`, and shared with those who prepare
 * it so); with types, which only the server can look up, it stays SQL.
 */
export function preparedText(text: string, command: Command): { body: Buffer | undefined; sql: string } {
  const sql = text.slice(command.end, command.statementEnd)
  let at = 0
  while (at < sql.length && blank.test(sql[at]!)) at++
  const isUntyped = at > 0 && /^as\b/i.test(sql.slice(at, at + 3))
  return { body: isUntyped ? Buffer.from(`${sql.slice(at + 2)}\0\0\0`, 'latin1') : undefined, sql }
}
