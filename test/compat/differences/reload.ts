// Files that are read again.

import { type Difference, measure } from './difference.js'

export const reloadDifferences: readonly Difference[] = [
  {
    scenes: /^RELOAD: a mistake$/,
    answers: /^(answer|log)$/,
    before: measure,
    why: 'RELOAD of a file with a mistake is an error',
  },
]
