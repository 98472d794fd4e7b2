// What became of the Syncs that were sent behind a COPY FROM STDIN which failed: the server is asked, since nobody can know.

import * as frontend from '../protocol/frontend.js'
import type { Outstanding } from './outstanding.js'
import * as request from './outstanding.js'
import type { OwnQuery } from './own-query.js'

const copy = Buffer.from('copy')
const word = /copy/i

/** Returns whether the text from `start` to `end` may begin with COPY, behind blanks and comments. It may where that lies in a later chunk. */
export function isCopyText(chunk: Buffer, start: number, end: number): boolean {
  const there = end < chunk.length ? end : chunk.length
  let at = start
  while (at < there) {
    const byte = chunk[at]!
    if (byte === 0x2f && chunk[at + 1] === 0x2a) at = after(chunk, at, '*/')
    else if (byte === 0x2d && chunk[at + 1] === 0x2d) at = after(chunk, at, '\n')
    else if (byte > 0x20) return isCopyWord(chunk, at, there)
    else at++
  }
  return end > chunk.length
}

/**
 * Returns whether one of the statements of this Query may be a COPY, as far as it is there. Of several, wherever the word stands.
 * @param semicolon where the next one of the chunk stands, -1 where there is none
 */
export function mayCopy(chunk: Buffer, start: number, end: number, semicolon: number): boolean {
  if (isCopyText(chunk, start, end)) return true
  const there = end < chunk.length ? end : chunk.length
  if (semicolon < 0 || semicolon >= there - 2) return false
  return word.test(chunk.toString('latin1', semicolon, there))
}

/** The rest of a Query, of which a chunk had the beginning: whether a COPY may be in it. */
export class CopySearch {
  /** A Query is not all there yet. */
  isUnderWay = false
  // What may be the first letters of the word.
  private tail = ''

  /** The Query has no end in the chunk. */
  begin(chunk: Buffer): void {
    this.isUnderWay = true
    this.tail = chunk.toString('latin1', chunk.length - copy.length + 1)
  }

  /** More of it is there, up to `to`. Returns whether the word is in it. */
  finds(chunk: Buffer, to: number, isWhole: boolean): boolean {
    const text = this.tail + chunk.toString('latin1', 0, to)
    this.tail = text.slice(1 - copy.length)
    this.isUnderWay = !isWhole
    return word.test(text)
  }
}

/** Returns whether the word COPY is at `at`; where the chunk ends, as much of it as is there. */
function isCopyWord(chunk: Buffer, at: number, there: number): boolean {
  for (let i = 0; i < copy.length && at + i < there; i++) if ((chunk[at + i]! | 0x20) !== copy[i]) return false
  return true
}

function after(chunk: Buffer, at: number, mark: string): number {
  const found = chunk.indexOf(mark, at + 2)
  return found < 0 ? chunk.length : found + mark.length
}

/** Returns whether a client sends it in the course of a COPY FROM STDIN, its Sync and Flush included. */
export function isPartOfCopy(code: number): boolean {
  switch (code) {
    case frontend.CopyData:
    case frontend.CopyDone:
    case frontend.CopyFail:
    case frontend.Flush:
    case frontend.Sync:
    case frontend.Terminate:
      return true
    default:
      return false
  }
}

/** Every message behind the COPY is answered, or skipped, wherever it ended. */
export const Certain = 0
/** Nothing but Syncs is in doubt, so that it is enough to count their answers. */
export const Countable = 1
/** Other messages may have been read within the COPY, or skipped behind it, or carried out. */
export const Unknowable = 2

/**
 * PostgreSQL passes over a Sync that it reads in copy mode, and answers one that it reads after the COPY has failed. Where it
 * stopped reading, nobody can tell but by its answers: a trigger may have raised an error before the first row was read.
 * @param owed with the COPY at its head
 * @returns Certain, Countable or Unknowable
 */
export function doubtBehind(owed: Outstanding<unknown, unknown>): number {
  const isExtended = owed.kind === request.Execute
  const { length } = owed.dues
  let at = 1
  let syncs = 0
  let flushes = 0
  for (; at < length; at++) {
    if (owed.kindAt(at) === request.Sync) syncs++
    else if (owed.kindAt(at) === request.BadFlush) flushes++
    else break
  }
  const end = at < length ? owed.kindAt(at) : request.CopyEnd
  // What is no part of a COPY ended it at the latest: it was read as such, or skipped up to the Sync behind it.
  if (syncs === 0 && (isExtended || (end === request.CopyEnd && flushes === 0))) return Certain
  if (end !== request.CopyEnd || flushes > 0) return Unknowable
  for (; at < length; at++) {
    const kind = owed.kindAt(at)
    if (kind !== request.Sync && kind !== request.CopyEnd) return Unknowable
  }
  return Countable
}

/**
 * How many entries behind the head a COPY FROM STDIN that has succeeded took with it: Syncs and Flushes that were read in copy
 * mode, up to the CopyDone that ended it.
 * @returns -1 where there is no such end
 */
export function takenByCopy(owed: Outstanding<unknown, unknown>): number {
  for (let at = 1; at < owed.dues.length; at++) {
    const kind = owed.kindAt(at)
    if (kind === request.CopyEnd) return at
    if (kind !== request.Sync && kind !== request.BadFlush) return -1
  }
  return -1
}

/**
 * The question: a Sync, which ends what is being skipped, and the Close of a statement, whose CloseComplete nothing else that
 * the server still owes can bring about. All ReadyForQuerys before it are the client's, but for the last one.
 */
export class CopyInquiry<Client> {
  /** Whose COPY it was. */
  readonly client: Client
  /** The COPY belonged to the extended protocol: the server skips messages up to a Sync, unless it has found one. */
  readonly isExtended: boolean
  /** The answer can't settle it: whatever the server says, but for its last words, the connection is closed. */
  readonly isHopeless: boolean
  /** The pooler's own exchange, once it has been sent. */
  ask: OwnQuery | null = null
  /** What counts is known; the last ReadyForQuery, the pooler's own, is still to come, and until then the client waits. */
  isAnswered = false
  /** ReadyForQuerys that have come. */
  readies = 0
  /** Transaction status in the latest of them, which is not passed on yet. */
  held = 0

  constructor(client: Client, isExtended: boolean, isHopeless: boolean) {
    this.client = client
    this.isExtended = isExtended
    this.isHopeless = isHopeless
  }
}
