// All that random clients do.

import type { Kind } from './exchange.js'
import { batches } from './kinds/batches.js'
import { contexts } from './kinds/contexts.js'
import { copies } from './kinds/copies.js'
import { endings } from './kinds/endings.js'
import { lengths } from './kinds/lengths.js'
import { parameters } from './kinds/parameters.js'
import { reads } from './kinds/reads.js'
import { sessions } from './kinds/sessions.js'
import { namesOfSql } from './kinds/sql-names.js'
import { statements } from './kinds/statements.js'
import { writes } from './kinds/writes.js'

export const kinds: readonly Kind[] = [
  ...reads,
  ...statements,
  ...writes,
  ...parameters,
  ...copies,
  ...lengths,
  ...contexts,
  ...batches,
  ...endings,
  ...namesOfSql,
  ...sessions,
]
