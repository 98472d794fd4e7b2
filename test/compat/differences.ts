// The differences from pgbouncer that are wanted, by name. What is not on this list must be equal; what is must differ.

import { consoleDifferences } from './differences/console.js'
import type { Difference } from './differences/difference.js'
import { logDifferences } from './differences/log.js'
import { loginDifferences } from './differences/login.js'
import { queryDifferences } from './differences/query.js'
import { reloadDifferences } from './differences/reload.js'
import { settingDifferences } from './differences/setting.js'

export const differences: readonly Difference[] = [
  ...logDifferences,
  ...loginDifferences,
  ...consoleDifferences,
  ...queryDifferences,
  ...reloadDifferences,
  ...settingDifferences,
]
