// What a wanted difference is, and the ways to bring two answers into the form in which they are equal.

/** Of an answer: its lines, or one line for a text. */
export type Lines = readonly string[]

export interface Difference {
  readonly scenes: RegExp
  readonly answers: RegExp
  readonly why: string
  /** Only of a pgbouncer older than this: it had not been added yet. */
  readonly before?: string
  /** Only of a pgbouncer of this version or newer. */
  readonly since?: string
  /** It depends on what comes first, and need not be there in each run. */
  readonly sometimes?: true
  /** Brings both sides into the form in which they are equal. Left out: the answer may be anything. */
  readonly level?: (lines: Lines) => Lines
}

export const each =
  (change: (line: string) => string) =>
  (lines: Lines): Lines =>
    lines.map(change)

export const without =
  (pattern: RegExp) =>
  (lines: Lines): Lines =>
    lines.filter((line) => !pattern.test(line))

export const inAnyOrder = (lines: Lines): Lines => [...lines].sort()

export const log = /log$/
export const all = /./
