// A scene: something done to a pooler, and the named answers that it gave.

import type { Ini, RunningProgram } from './program.js'

/** Answers by name; values are texts, or lists of lines. */
export type Answers = Record<string, string | readonly string[]>

export interface Scene {
  readonly name: string
  readonly ini?: Ini
  /** The version of pgbouncer that this came with; older ones are left out. */
  readonly since?: string
  play(pooler: RunningProgram): Promise<Answers>
}
