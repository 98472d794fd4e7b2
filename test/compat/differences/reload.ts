// Files that are read again.

import type { Difference } from './difference.js'

export const reloadDifferences: readonly Difference[] = [
  {
    scenes: /^RELOAD: a mistake$/,
    answers: /^(answer|log)$/,
    before: '1.25',
    why: 'RELOAD of a file with a mistake is an error',
  },
]
