// Before `npm test`: says at once that something goes on, and in one sentence what is missing without which no test can run.

process.stdout.write('Tests: building what is older than its source, starting PostgreSQL, then the first of them.\n')
try {
  await import('rolldown') // what vitest compiles tests with; the program in it is an optional dependency
} catch {
  process.stderr.write(
    'The test runner has parts that npm leaves out with --omit=optional: run npm ci --include=optional' +
      ' (with PG_BIN set to the folder of initdb and postgres, tests use those).\n',
  )
  process.exit(1)
}
