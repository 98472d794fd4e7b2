// A scene: something done to a pooler, and the named answers that it gave.

import type { Ini, RunningProgram } from './program.js'

/** Answers by name; values are texts, or lists of lines. */
export type Answers = Record<string, string | readonly string[]>

export interface Scene {
  readonly name: string
  readonly ini?: Ini
  play(pooler: RunningProgram): Promise<Answers>
}
