// What became of a message of a client that may name a prepared statement. Integers, for `switch`.

import type { Condition } from '../../protocol/errors.js'
import type { ServerSide } from '../pair.js'
import type { Statement } from './statement.js'

export const Done = 0
/** More of it is needed: `wanted` bytes from where it begins. */
export const Incomplete = 1
/** It can be judged only when all that was sent before it has been answered. */
export const Later = 2
/** `problem` says what is wrong with it. */
export const Broken = 3
/** Done, and what comes behind it can be judged only when it has been answered. */
export const Wait = 4

/** The message at hand, to whatever reads a part of it. */
export interface Reading {
  /** How much is needed, bytes from where the message begins, where it is `Incomplete`. */
  wanted: number
  /** A DEALLOCATE is on its way in a batch: what comes in later ones hangs on whether it was carried out. */
  hasTaken: boolean
  readonly replay: { keepQuery(statement: Statement | null, at: number, end: number, server: ServerSide): void }
  /** @returns Broken */
  broken(problem: Condition): number
}
