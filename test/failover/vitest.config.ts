// `npm run test:failover`: real primaries that move under load. One scene of it: -- -t 'crash'

import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/failover/*.drill.ts'],
    setupFiles: ['test/harness/replay.ts'],
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    pool: 'forks',
  },
})
