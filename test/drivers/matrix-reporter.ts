// Prints what was tested as a table: a row for each driver, a column for each check, and why what was skipped was skipped.

import type { Reporter, TestCase, TestModule } from 'vitest/node'
import { checks } from './checks.js'

const marks = { passed: 'ok', failed: 'FAILED', skipped: 'skipped', pending: '?' } as const

export default class MatrixReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const seen = new Set<string>()
    const rows = new Map<string, Map<string, string>>()
    const notes = new Set<string>()
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        const result = test.result()
        if (result.state === 'skipped' && result.note === undefined) continue // left out by -t
        const { row, column } = placeOf(test)
        seen.add(column)
        const cells = rows.get(row) ?? new Map<string, string>()
        rows.set(row, cells.set(column, marks[result.state]))
        if (result.state === 'skipped') notes.add(`${row}: skipped, ${result.note}`)
      }
    }
    const columns = Object.keys(checks).filter((check) => seen.has(check))
    console.log(`\n${tableOf(['', ...columns], rows).join('\n')}\n`)
    for (const note of notes) console.log(note)
  }
}

function placeOf(test: TestCase): { readonly row: string; readonly column: string } {
  const row = test.parent.type === 'suite' ? test.parent.name : test.module.relativeModuleId
  return { row, column: test.name.split(':')[0] ?? test.name }
}

function tableOf(columns: readonly string[], rows: ReadonlyMap<string, ReadonlyMap<string, string>>): string[] {
  const lines = [...rows].map(([row, cells]) =>
    columns.map((column) => (column === '' ? row : (cells.get(column) ?? '-'))),
  )
  const table = [columns, ...lines]
  const widths = columns.map((_, index) => Math.max(...table.map((line) => line[index]?.length ?? 0)))
  return table.map((line) =>
    line
      .map((cell, index) => cell.padEnd(widths[index] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}
