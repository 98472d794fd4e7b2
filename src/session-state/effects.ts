// What a text may do to the session that it runs in: the kinds of state, and the effects that a text may have on them.

/** A setting; not a bit of `begins`, since `sets` tells which. */
export const Settings = 1
/** A setting whose name the text does not tell. */
export const UnknownSettings = 2
export const Listening = 4
/** Advisory locks that belong to the session. */
export const Locks = 8
/** Tables and whatever else lives in pg_temp. */
export const Temporary = 16
/** Cursors WITH HOLD. */
export const Cursors = 32

/** The text could not be read: any of those that a server can be asked about. */
export const Unclear = 64

/** The kinds that a server can be asked about. */
export const askable = Listening | Locks | Temporary | Cursors

/** A setting changes when a statement succeeds. */
export interface Change {
  /** Lower case; `allSettings` for all that RESET ALL resets. */
  readonly name: string
  /** The statement that does it again on another server; '' where it goes back to its default. */
  readonly sql: string
}

export const allSettings = '*'

export interface Effects {
  /** Kinds of state that it may bring about; bits. */
  readonly begins: number
  /** Kinds that it may end. */
  readonly ends: number
  /** Settings that it may change, lower case; `allSettings` among them for RESET ALL. */
  readonly names: readonly string[]
  /** Those among them that it may give a value, rather than their default. */
  readonly sets: readonly string[]
  /**
   * What it does to settings, where that is sure once it has succeeded outside of a transaction; undefined: the server has
   * to be asked.
   */
  readonly certain: readonly Change[] | undefined
  /** Statements that it prepares, and what these may do when they are executed. */
  readonly prepares: readonly (readonly [name: string, effects: Effects])[]
  /** Prepared statements that it may execute. */
  readonly executes: readonly string[]
}

/** Nothing that would outlast the transaction. */
export const harmless: Effects = Object.freeze({
  begins: 0,
  ends: 0,
  names: [],
  sets: [],
  certain: [],
  prepares: [],
  executes: [],
})

/** A text that could not be read: what it does to settings is not seen. */
export const unclear: Effects = Object.freeze({ ...harmless, begins: Unclear, certain: undefined })

/** More names than this are not told apart. */
const mostNames = 1000

/** What either may do. */
export function either(one: Effects | undefined, other: Effects): Effects {
  if (one === undefined || one === other) return other
  const both = {
    begins: one.begins | other.begins,
    ends: one.ends | other.ends,
    names: [...new Set([...one.names, ...other.names])],
    sets: [...new Set([...one.sets, ...other.sets])],
    certain: undefined,
    prepares: [...one.prepares, ...other.prepares],
    executes: [...new Set([...one.executes, ...other.executes])],
  }
  if (both.names.length + both.prepares.length + both.executes.length <= mostNames) return both
  return { ...unclear, begins: both.begins | Unclear | UnknownSettings }
}
