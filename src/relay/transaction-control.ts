// hot path
// What a text does to the transaction block that it is in, judged by its words: begins it, ends it, or may commit otherwise.

import { statements, type Token, tokenize } from '../protocol/sql.js'

// The kinds of texts. Integers, for `switch`.

/** Neither begins nor ends a block, and can't commit within one. */
export const Plain = 0
/** BEGIN, START TRANSACTION; also among others that are plain. */
export const Begin = 1
/** ROLLBACK, ABORT. */
export const Rollback = 2
export const RollbackAndChain = 3
/** ROLLBACK TO a savepoint. */
export const RollbackTo = 4
/** COMMIT, END. */
export const Commit = 5
export const CommitAndChain = 6
/** PREPARE TRANSACTION. */
export const PrepareTransaction = 7
/** CALL, DO, EXECUTE and COMMIT PREPARED, or a text that can't be read: it may commit, and leaves the client in the block it was in. */
export const MayCommit = 8
/** Several statements, with one that ends a block: the last of those that begin or end one ends it. */
export const EndsAmong = 9
/** The same, but for that the last one begins a block. */
export const BeginsAmong = 10
/** No statement at all. */
export const Empty = 11

/** Returns whether something may be committed where this is carried out within a block. */
export function mayCommit(kind: number): boolean {
  return kind >= Commit && kind <= BeginsAmong
}

/** Longer texts are not read. */
const longestText = 64 * 1024

/** A text in which none of these stands is plain, or empty. */
const telling = /\b(?:begin|start|commit|end|rollback|abort|prepare|call|do|execute)\b/i

/** Most texts that are remembered, and how long they may be, characters. */
const mostRemembered = 1000
const longestRemembered = 64

const remembered = new Map<string, number>()

/**
 * The kind of the text that stands in `chunk` from `start` to `end`, its terminator included.
 * @param semicolon where the next one of the chunk stands, -1 where there is none
 * @param hasEscapes a backslash means something in plain strings, too (`standard_conforming_strings = off`)
 */
export function kindOfText(chunk: Buffer, start: number, end: number, semicolon: number, hasEscapes: boolean): number {
  const isWhole = end <= chunk.length
  const isOne = isWhole && (semicolon < 0 || semicolon >= end - 2)
  if (isOne && isPlainBegin(chunk, start)) return Plain
  if (!isWhole || end - start > longestText) return MayCommit
  return kindOf(chunk.toString('latin1', start, end - 1), hasEscapes)
}

/** The same for the text of a Parse, which has one statement at most; `end`: of the message, which may lie beyond the chunk. */
export function kindOfParsed(chunk: Buffer, start: number, end: number): number {
  if (isPlainBegin(chunk, start) && start + 3 <= chunk.length) return Plain
  const textEnd = chunk.indexOf(0, start)
  if (textEnd < 0 || textEnd >= end || textEnd - start > longestText) return MayCommit
  return kindOf(chunk.toString('latin1', start, textEnd), false)
}

/** Begins with a word that is none of those that matter. The beginning of such a word is taken for it. */
function isPlainBegin(chunk: Buffer, start: number): boolean {
  const first = chunk[start]! | 0x20
  const second = chunk[start + 1]! | 0x20
  switch (first) {
    case 0x61: // ABort
      return second !== 0x62
    case 0x62: // Begin
      return false
    case 0x63: // COmmit, CAll
      return second !== 0x6f && second !== 0x61
    case 0x64: // DO
      return second !== 0x6f
    case 0x65: // ENd, EXecute
      return second !== 0x6e && second !== 0x78
    case 0x70: // PRepare
      return second !== 0x72
    case 0x72: // ROllback
      return second !== 0x6f
    case 0x73: // STart
      return second !== 0x74
    default:
      return first >= 0x61 && first <= 0x7a && chunk[start]! >= 0x41
  }
}

/** @param text a character a byte (latin1) */
export function kindOf(text: string, hasEscapes: boolean): number {
  const known = remembered.get(text)
  if (known !== undefined) return known
  const kind = readKind(text, hasEscapes)
  if (text.length > longestRemembered || text.includes("'")) return kind // it may hang on the escapes
  if (remembered.size >= mostRemembered) remembered.clear()
  remembered.set(text, kind)
  return kind
}

function readKind(text: string, hasEscapes: boolean): number {
  if (hasEscapes && text.includes("\\'")) return MayCommit
  if (text.length > longestRemembered && !telling.test(text)) return Plain
  const tokens = tokenize(text)
  if (tokens === undefined) return telling.test(text) ? MayCommit : Plain
  const found = statements(tokens)
  if (found.length === 0) return Empty
  let all = kindOfStatement(found[0]!)
  for (let i = 1; i < found.length; i++) all = both(all, kindOfStatement(found[i]!))
  return all
}

/** Of what one statement, or several, and another one behind do together. */
function both(before: number, next: number): number {
  const isPlain = next === Plain || next === RollbackTo
  if (isPlain && (before === Plain || before === RollbackTo)) return Plain
  if (isPlain && before === Begin) return Begin
  if (next === Begin && (before === Plain || before === RollbackTo || before === Begin)) return Begin
  if (isPlain || next === MayCommit) return before === Plain || before === MayCommit ? MayCommit : among(before)
  return among(next)
}

function among(kind: number): number {
  switch (kind) {
    case Begin:
    case RollbackAndChain:
    case CommitAndChain:
    case BeginsAmong:
      return BeginsAmong
    case MayCommit:
    case RollbackTo:
      return MayCommit
    default:
      return EndsAmong
  }
}

/** What one statement is. One that PostgreSQL refuses for its grammar may be anything. */
export function kindOfStatement(tokens: readonly Token[]): number {
  if (tokens[0]!.kind !== 'word') return Plain
  switch (tokens[0]!.text) {
    case 'begin':
      return Begin
    case 'start':
      return isWord(tokens[1], 'transaction') ? Begin : Plain
    case 'commit':
      return isWord(tokens[1], 'prepared') ? MayCommit : chained(tokens, Commit, CommitAndChain)
    case 'end':
      return chained(tokens, Commit, CommitAndChain)
    case 'abort':
      return chained(tokens, Rollback, RollbackAndChain)
    case 'rollback': {
      const at = behindWork(tokens)
      if (isWord(tokens[at], 'to')) return isSavepoint(tokens, at + 1) ? RollbackTo : MayCommit
      return isWord(tokens[1], 'prepared') ? MayCommit : chained(tokens, Rollback, RollbackAndChain)
    }
    case 'prepare':
      if (!isWord(tokens[1], 'transaction')) return Plain
      return tokens.length === 3 && tokens[2]!.kind === 'string' ? PrepareTransaction : MayCommit
    case 'call':
    case 'do':
    case 'execute':
      return MayCommit
    default:
      return Plain
  }
}

function chained(tokens: readonly Token[], kind: number, andChain: number): number {
  const at = behindWork(tokens)
  if (tokens.length === at) return kind
  if (!isWord(tokens[at], 'and')) return MayCommit
  if (isWord(tokens[at + 1], 'chain') && tokens.length === at + 2) return andChain
  return isWord(tokens[at + 1], 'no') && isWord(tokens[at + 2], 'chain') && tokens.length === at + 3 ? kind : MayCommit
}

function isSavepoint(tokens: readonly Token[], at: number): boolean {
  const name = isWord(tokens[at], 'savepoint') && tokens.length > at + 1 ? at + 1 : at
  return tokens.length === name + 1 && (tokens[name]!.kind === 'word' || tokens[name]!.kind === 'quoted')
}

function behindWork(tokens: readonly Token[]): number {
  return isWord(tokens[1], 'work') || isWord(tokens[1], 'transaction') ? 2 : 1
}

function isWord(token: Token | undefined, word: string): boolean {
  return token?.kind === 'word' && token.text === word
}
