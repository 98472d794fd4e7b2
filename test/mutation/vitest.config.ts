import { defineConfig } from 'vitest/config'

// Tests of the accounting that need no PostgreSQL. The first that fails ends the run.
export default defineConfig({
  test: { include: ['test/pool/**/*.test.ts', 'test/io/gather.test.ts'], pool: 'forks', bail: 1, maxWorkers: 2 },
})
