// What may be noted beside an entry of what a server owes: what is to be done, and to be known, when it is answered or fails.

import type { Ask } from './ask.js'
import type { Named } from './client-statements.js'
import type { PreparedNote } from './prepared-notes.js'
import type { Renamed } from './reserved-names.js'
import type { SessionNote } from './session-state.js'
import type { CommandNote } from './sql-notes.js'
import type { BoundNote } from './sql-portals.js'
import type { ShapeNote } from './statement-shape.js'
import type { UnnamedStatement } from './unnamed-statement.js'

export type Note =
  | Ask
  | BoundNote
  | CommandNote
  | Named
  | PreparedNote
  | Renamed
  | SessionNote
  | ShapeNote
  | UnnamedStatement
