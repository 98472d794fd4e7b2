// What became of the tests of one cell, for the program that plays them all: counts, what failed, and why what was skipped was.

import { writeFileSync } from 'node:fs'
import type { Reporter, TestModule } from 'vitest/node'

/** As JSON, in the file that MATRIX_REPORT names. */
export interface Report {
  passed: number
  failed: number
  skipped: number
  /** File and name of each test that failed, and of each file that could not be run. */
  readonly failures: string[]
  /** Reasons, and how many tests each has kept from being run. */
  readonly reasons: Record<string, number>
}

export default class MatrixReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const report: Report = { passed: 0, failed: 0, skipped: 0, failures: [], reasons: {} }
    for (const module of modules) {
      if (module.errors().length > 0) report.failures.push(module.relativeModuleId)
      for (const test of module.children.allTests()) {
        const result = test.result()
        if (result.state === 'pending') continue
        report[result.state]++
        if (result.state === 'failed') report.failures.push(`${module.relativeModuleId}: ${test.fullName}`)
        if (result.state !== 'skipped') continue
        const reason = result.note ?? 'no reason given'
        report.reasons[reason] = (report.reasons[reason] ?? 0) + 1
      }
    }
    if (errors.length > 0) report.failures.push(`${errors.length} errors outside of tests`)
    report.failed = Math.max(report.failed, report.failures.length)
    writeFileSync(process.env.MATRIX_REPORT!, JSON.stringify(report))
  }
}
