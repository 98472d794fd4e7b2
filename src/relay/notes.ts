// What may be noted beside an entry of what a server owes: what is to be done, and to be known, when it is answered or fails.

import type { Ask } from './ask.js'
import type { WatchNote } from './events.js'
import type { Named } from './statements/client-statements.js'
import type { PreparedNote } from './statements/prepared-notes.js'
import type { Renamed } from './statements/reserved-names.js'
import type { CommandNote } from './statements/sql-notes.js'
import type { BoundNote } from './statements/sql-portals.js'
import type { ShapeNote } from './statements/statement-shape.js'
import type { UnnamedStatement } from './statements/unnamed-statement.js'

export type Note =
  | Ask
  | BoundNote
  | CommandNote
  | Named
  | PreparedNote
  | Renamed
  | ShapeNote
  | UnnamedStatement
  | WatchNote
