// Runs the driver matrix: npm run test:drivers (one row of it: -- -t 'pgx')

import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/drivers/matrix.ts', 'test/behaviour/drivers.test.ts'],
    globalSetup: ['test/harness/global-setup.ts'],
    reporters: ['default', './test/drivers/matrix-reporter.ts'],
    fileParallelism: false,
    testTimeout: 30_000,
    // Programs are built before the first check of their row.
    hookTimeout: 30 * 60_000,
  },
})
