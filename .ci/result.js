// The last line of a CI run, from vitest's JSON report: `N passed, N failed, N skipped`. Exit code 1 unless all is well.

import { readFileSync } from 'node:fs'

/** A file that could not even be loaded, or a run without a report, counts as one failure. */
function countsOf(file) {
  try {
    const report = JSON.parse(readFileSync(file, 'utf8'))
    const broken = report.testResults.filter(
      ({ status, assertionResults }) =>
        status === 'failed' && !assertionResults.some((result) => result.status === 'failed'),
    )
    const failed = report.numFailedTests + broken.length
    return {
      passed: report.numPassedTests,
      failed: failed === 0 && !report.success ? 1 : failed,
      skipped: report.numPendingTests + report.numTodoTests,
    }
  } catch {
    return { passed: 0, failed: 1, skipped: 0 }
  }
}

const { passed, failed, skipped } = countsOf(process.argv[2])
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`)
process.exit(failed > 0 || passed === 0 ? 1 : 0)
