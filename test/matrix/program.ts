// The tests on several versions of Node.js and PostgreSQL: `npm run test:matrix -- --node 20,26 --postgres 14`. It ends with a
// table, and with code 1 where anything has failed; with 3 where nothing has, but a version is not to be had here.

import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { type Cell, cellsOf } from './cells.js'
import { NotToBeHad, nodeProgram, nodes, serverPrograms, servers, versionOf } from './programs.js'
import type { Report } from './reporter.js'

const usage = `npm run test:matrix -- [--node N,...] [--postgres N,...] [--all] [--part N/M] [--list] [FILE ...]
  --node      versions of Node.js, of ${nodes.join(', ')}
  --postgres  versions of PostgreSQL, of ${servers.join(', ')}
              With one of the two, the other is the one at hand; with both, each goes with each. With neither, each Node.js is
              tested with the newest PostgreSQL, and each PostgreSQL with the oldest Node.js
  --all       each with each
  --part 2/3  the second of three parts of all that
  --list      shows what would be tested
  FILE        tests whose path has this in it; default: test/behaviour and test/relay`

interface Outcome extends Report {
  readonly versions: string
  readonly seconds: number
}

const root = resolve(import.meta.dirname, '..', '..', '..')

process.exitCode = await main()

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      node: { type: 'string' },
      postgres: { type: 'string' },
      all: { type: 'boolean', default: false },
      part: { type: 'string', default: '1/1' },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  const cells = cellsOf(values)
  if (values.help || cells.length === 0) {
    console.log(usage)
    return values.help ? 0 : 2
  }
  if (values.list) {
    for (const { node, postgres } of cells) console.log(`Node.js ${node}, PostgreSQL ${postgres}`)
    return 0
  }
  const outcomes: Outcome[] = []
  let isComplete = true
  for (const cell of cells) {
    try {
      outcomes.push(await play(cell, positionals))
    } catch (error) {
      if (!(error instanceof NotToBeHad)) throw error
      isComplete = false
      console.log(`\nleft out Node.js ${cell.node}, PostgreSQL ${cell.postgres}: ${error.message}`)
    }
  }
  for (const outcome of outcomes) tell(outcome)
  console.log(`\n${table(outcomes)}`)
  if (outcomes.some(({ failed, passed }) => failed > 0 || passed === 0)) return 1
  return isComplete ? 0 : 3
}

async function play({ node, postgres }: Cell, files: readonly string[]): Promise<Outcome> {
  const program = await nodeProgram(node)
  const versions = `Node.js ${versionOf(program)}, PostgreSQL ${postgres}`
  console.log(`\n${versions}`)
  const folder = await mkdtemp(join(tmpdir(), 'tsbouncer-matrix-'))
  const file = join(folder, 'report.json')
  const began = performance.now()
  try {
    const env = {
      ...process.env,
      PATH: `${dirname(program)}${delimiter}${process.env.PATH}`,
      PG_BIN: await serverPrograms(postgres),
      MATRIX_REPORT: file,
    }
    const what = files.length > 0 ? files : ['test/behaviour', 'test/relay']
    const reporters = ['--reporter=dot', '--reporter=./test/matrix/reporter.ts']
    const words = [join(root, 'node_modules', 'vitest', 'vitest.mjs'), 'run', ...reporters, ...what]
    const child = spawn(program, words, { cwd: root, env, stdio: 'inherit' })
    await new Promise((done) => child.once('close', done))
    const report = await readFile(file, 'utf8').then(
      (text) => JSON.parse(text) as Report,
      () => ({ passed: 0, failed: 1, skipped: 0, failures: ['the tests could not be run'], reasons: {} }),
    )
    return { ...report, versions, seconds: (performance.now() - began) / 1000 }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function tell({ versions, failures, reasons }: Outcome): void {
  const skipped = Object.entries(reasons).map(([reason, count]) => `  skipped ${count}: ${reason}`)
  const failed = failures.map((name) => `  FAILED ${name}`)
  if (skipped.length + failed.length > 0) console.log(`\n${[versions, ...skipped, ...failed].join('\n')}`)
}

function table(outcomes: readonly Outcome[]): string {
  const rows = outcomes.map(({ versions, passed, failed, skipped, seconds }) => [
    versions,
    ...[passed, failed, skipped].map(String),
    `${seconds.toFixed(0)} s`,
  ])
  const all = [['', 'passed', 'failed', 'skipped', 'took'], ...rows]
  const widths = all[0]!.map((_, column) => Math.max(...all.map((row) => row[column]!.length)))
  const line = (row: readonly string[]): string =>
    row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!))).join('  ')
  return all.map(line).join('\n')
}
