// Does a test notice? `npm run mutate -- --count 50 --seed 1` changes the accounting in one place after the other, and runs its
// tests. It ends with code 1 where a change goes unnoticed that is not known to be without effect.

import { spawn } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { Random } from '../harness/random.js'
import { type Mutant, mutantsOf, nameOf } from './mutants.js'
import { withoutEffect } from './without-effect.js'

const { values: given } = parseArgs({
  options: {
    count: { type: 'string', default: '50' },
    seed: { type: 'string', default: '1' },
    files: { type: 'string' },
  },
})

const relay = ['outstanding', 'client-relay', 'server-relay', 'server-messages', 'server-answers', 'backlog']
const flow = ['client-flow', 'client-output', 'server-output', 'copy-in', 'server-copy', 'own-query']
const statements = [
  ...['statement-names', 'statement-table', 'server-statements', 'prepared-notes', 'client-statements', 'named'],
  ...['unnamed-statement', 'name-resolution', 'statement-provision', 'rewriter', 'reserved-names', 'replay'],
  ...['statement-use', 'result-shape', 'statement-errors', 'sql-statements', 'sql-portals', 'sql-notes'],
]
const files = [
  ...[...relay, ...flow].map((name) => `src/relay/${name}.ts`),
  ...statements.map((name) => `src/relay/statements/${name}.ts`),
  ...['src/pool/recycle.ts', 'src/pool/lease.ts', 'src/pool/align.ts', 'src/io/cutter.ts', 'src/io/gather.ts'],
]

const behaviour = [
  ...['protocol', 'replay', 'prepared', 'accounting', 'cancel', 'parameters', 'vanishing', 'pool-modes', 'copy-'],
  ...['half-closed', 'message-table', 'stale-plans', 'left-parameters', 'server-check', 'session-'],
]

/** Those of the rig first, which take seconds; what they let pass, those with PostgreSQL. */
const stages: readonly (readonly string[])[] = [
  ['--config', 'test/mutation/vitest.config.ts'],
  ['--bail', '1', ...behaviour.map((name) => `test/behaviour/${name}`)],
]

/** A test that hangs has noticed, ms. */
const patience = 300_000

const root = resolve('.')
const copy = await mkdtemp(join(tmpdir(), 'tsbouncer-mutation-'))
try {
  for (const path of [
    'src',
    'test',
    'package.json',
    'tsconfig.json',
    'tsconfig.build.json',
    'vitest.config.ts',
    'bench',
  ])
    await cp(join(root, path), join(copy, path), { recursive: true })
  await symlink(join(root, 'node_modules'), join(copy, 'node_modules'))
  process.exitCode = await mutate()
} finally {
  await rm(copy, { recursive: true, force: true })
}

async function mutate(): Promise<number> {
  const wanted = given.files?.split(',')
  const all: Mutant[] = []
  for (const file of files) {
    if (wanted === undefined || wanted.some((word) => file.includes(word)))
      all.push(...mutantsOf(file, await readFile(join(root, file), 'utf8')))
  }
  const random = new Random(Number(given.seed))
  const chosen: Mutant[] = []
  for (const rest = [...all]; rest.length > 0 && chosen.length < Number(given.count); )
    chosen.push(...rest.splice(random.below(rest.length), 1))
  console.log(`${chosen.length} of ${all.length} changes`)
  const found = await noticed()
  if (found !== undefined) {
    console.error(`without any change, the tests fail:\n${found}`)
    return 2
  }
  const counts = { noticed: 0, 'no program': 0, 'without effect': 0 }
  const survivors: Mutant[] = []
  for (const mutant of chosen) {
    const verdict = await verdictOn(mutant)
    if (verdict === 'survived') survivors.push(mutant)
    else counts[verdict]++
    console.log(`${verdict}: ${nameOf(mutant)}`)
  }
  console.log(`${JSON.stringify(counts)}, survived: ${survivors.length}`)
  for (const mutant of survivors) console.log(nameOf(mutant))
  return survivors.length > 0 ? 1 : 0
}

async function verdictOn(mutant: Mutant): Promise<'noticed' | 'no program' | 'without effect' | 'survived'> {
  const path = join(copy, mutant.file)
  const text = await readFile(path, 'utf8')
  const lines = text.split('\n')
  lines[mutant.line - 1] = mutant.after
  await writeFile(path, lines.join('\n'))
  try {
    const known = withoutEffect.find(
      ({ before, after }) => before === mutant.before.trim() && after === mutant.after.trim(),
    )
    if (known !== undefined) return 'without effect'
    const output = await noticed()
    if (output === undefined) return 'survived'
    return /Transform failed|SyntaxError|PARSE_ERROR/.test(output) ? 'no program' : 'noticed'
  } finally {
    await writeFile(path, text)
  }
}

/** The output of the tests that fail, or undefined. */
async function noticed(): Promise<string | undefined> {
  for (const words of stages) {
    const output = await run(words)
    if (output !== undefined) return output
  }
  return undefined
}

/** What is written by tests that fail, or do not come to an end; undefined: they pass. */
function run(words: readonly string[]): Promise<string | undefined> {
  const vitest = join(copy, 'node_modules', 'vitest', 'vitest.mjs')
  const env = { ...process.env, NO_COLOR: '1' }
  // In a group of its own: a worker that is caught in a loop outlives whoever started it.
  const child = spawn(process.execPath, [vitest, 'run', ...words], { cwd: copy, env, detached: true })
  const end = (): boolean => process.kill(-child.pid!, 'SIGKILL')
  const timer = setTimeout(end, patience)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  }
  return new Promise((done) => {
    child.once('close', (code) => {
      clearTimeout(timer)
      done(code === 0 ? undefined : output)
    })
  })
}
