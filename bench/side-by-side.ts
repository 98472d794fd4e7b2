// PostgreSQL alone, pgbouncer and tsbouncer under pgbench, in turns of a few seconds, so that noise hits all alike.

import { access } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { startDatabase } from './side-by-side/database.js'
import { measureIdle } from './side-by-side/idle.js'
import { measure, type Outcome, type Scenario } from './side-by-side/pgbench.js'
import { direct, type PoolerOptions, startPgbouncer, startTsbouncer, type Target } from './side-by-side/poolers.js'
import { findProgram } from './side-by-side/program.js'
import { idleTable, scenarioTable } from './side-by-side/report.js'

const scenarios: readonly Scenario[] = [
  { name: 'simple', protocol: 'simple', clients: 20, reconnect: false },
  { name: 'extended', protocol: 'extended', clients: 20, reconnect: false },
  { name: 'prepared', protocol: 'prepared', clients: 20, reconnect: false },
  { name: 'one', protocol: 'simple', clients: 1, reconnect: false },
  { name: 'connect', protocol: 'simple', clients: 20, reconnect: true },
]

const usage = `npm run bench:pgbench -- [options]

  --seconds N      of each run; default 2
  --rounds N       how often each is run, in turns; default 3
  --only A,B       of ${scenarios.map(({ name }) => name).join(', ')}, idle; default: all
  --build A=DIST   another compiled tsbouncer to measure too, by the name A; may be given several times
  --without A,B    targets to leave out: direct, pgbouncer, tsbouncer
  --profile DIR    processor profiles of tsbouncer are written there

PGBOUNCER_BIN, where it is set, is the path of the pgbouncer to measure.`

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..')
const poolSize = 20
const idleClients = 500
const idleSeconds = 10

const { values: options } = parseArgs({
  options: {
    seconds: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '3' },
    only: { type: 'string', default: '' },
    without: { type: 'string', default: '' },
    build: { type: 'string', multiple: true, default: [] },
    profile: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
})

const seconds = countOf('seconds')
const roundCount = countOf('rounds')
const chosen = namesOf('only', [...scenarios.map(({ name }) => name), 'idle'])
const without = namesOf('without', ['direct', 'pgbouncer', 'tsbouncer'])
const builds = await findBuilds()

if (options.help) console.log(usage)
else await main()

async function main(): Promise<void> {
  const pgbench = await findProgram('pgbench')
  if (pgbench === undefined) {
    console.log('skipped: pgbench is not installed (Debian has it in postgresql-contrib)')
    return
  }
  await using database = await startDatabase(pgbench)
  console.log(`PostgreSQL ${database.version}, Node ${process.version}, transaction mode, ${poolSize} servers`)
  const targets = await startTargets({ database, poolSize, maxClients: 2 * idleClients })
  try {
    // First, while memory is as small as it was at the start.
    if (chosen.length === 0 || chosen.includes('idle')) await compareIdle(targets)
    for (const scenario of scenarios) {
      if (chosen.length === 0 || chosen.includes(scenario.name)) await compare(pgbench, targets, scenario)
    }
  } finally {
    for (const target of targets) await target[Symbol.asyncDispose]()
  }
}

async function startTargets(pooler: PoolerOptions): Promise<Target[]> {
  const nodeOptions = options.profile === undefined ? [] : ['--cpu-prof', '--cpu-prof-dir', resolve(options.profile)]
  const targets: Target[] = []
  try {
    if (!without.includes('direct')) targets.push(direct(pooler.database))
    const pgbouncer = process.env.PGBOUNCER_BIN ?? (await findProgram('pgbouncer'))
    if (pgbouncer === undefined) console.log('pgbouncer is not installed: it is left out')
    else if (!without.includes('pgbouncer')) targets.push(await startPgbouncer(pgbouncer, pooler))
    for (const [name, dist] of builds) {
      targets.push(await startTsbouncer(name, dist, nodeOptions, pooler))
    }
  } catch (error) {
    for (const target of targets) await target[Symbol.asyncDispose]()
    throw error
  }
  return targets
}

async function compare(pgbench: string, targets: readonly Target[], scenario: Scenario): Promise<void> {
  const fit = targets.filter((target) => target.prepares || scenario.protocol !== 'prepared')
  for (const { name } of targets.filter((target) => !fit.includes(target))) {
    console.log(`\n${name} has no prepared statements in transaction mode: it is left out`)
  }
  for (const target of fit) await measure(pgbench, target, scenario, 1) // servers connected, code compiled
  const rounds: Map<string, Outcome>[] = []
  for (let round = 0; round < roundCount; round++) {
    const outcomes = new Map<string, Outcome>()
    // Another one goes first each time.
    const order = [...fit.slice(round % fit.length), ...fit.slice(0, round % fit.length)]
    for (const target of order) outcomes.set(target.name, await measure(pgbench, target, scenario, seconds))
    rounds.push(outcomes)
  }
  const names = fit.map(({ name }) => name)
  console.log(`\n${titleOf(scenario)}\n${scenarioTable(names, rounds)}`)
}

async function compareIdle(targets: readonly Target[]): Promise<void> {
  const costs = await Promise.all(
    targets.map(async (target) => [target.name, await measureIdle(target, idleClients, idleSeconds)] as const),
  )
  console.log(`\n${idleClients} clients that do nothing, for ${idleSeconds} s\n${idleTable(costs)}`)
}

function titleOf({ name, protocol, clients, reconnect }: Scenario): string {
  const who = clients === 1 ? '1 client' : `${clients} clients`
  return `${name}: pgbench -S -M ${protocol}${reconnect ? ' -C' : ''}, ${who}`
}

/** Names and folders of the tsbouncers to measure. */
async function findBuilds(): Promise<(readonly [name: string, dist: string])[]> {
  const own = without.includes('tsbouncer') ? [] : [`tsbouncer=${join(root, 'dist')}`]
  const found = [...own, ...options.build].map((build) => {
    const [name = '', dist = ''] = build.split('=')
    return [name, resolve(dist)] as const
  })
  for (const [, dist] of found) {
    const main = join(dist, 'process', 'main.js')
    await access(main).catch(() => fail(`there is no ${main}: npm run build makes it`))
  }
  return found
}

function countOf(name: 'seconds' | 'rounds'): number {
  const count = Number(options[name])
  return Number.isInteger(count) && count > 0 ? count : fail(`--${name} ${options[name]}: expected a whole number`)
}

function namesOf(option: 'only' | 'without', known: readonly string[]): string[] {
  const names = options[option].split(',').filter((name) => name !== '')
  const unknown = names.find((name) => !known.includes(name))
  return unknown === undefined ? names : fail(`--${option} ${unknown}: there are ${known.join(', ')}`)
}

function fail(text: string): never {
  console.error(text)
  process.exit(1)
}
