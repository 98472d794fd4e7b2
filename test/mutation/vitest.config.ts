import { defineConfig } from 'vitest/config'

// Tests of the accounting that need no PostgreSQL, but for those that look at the time. The first that fails ends the run.
export default defineConfig({
  test: {
    include: ['test/relay/**/*.test.ts', 'test/io/gather.test.ts'],
    exclude: ['test/relay/*proportion*'],
    pool: 'forks',
    bail: 1,
    maxWorkers: 2,
    testTimeout: 60_000,
  },
})
