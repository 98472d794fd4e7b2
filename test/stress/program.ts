// The stress as a program: `npm run stress -- --seconds 3600 --seed 1`. Rounds in all pool modes, one after the other, until
// time is up or something is wrong: then it ends with code 1, the seed and what the client had said last.

import { monitorEventLoopDelay } from 'node:perf_hooks'
import { parseArgs } from 'node:util'
import { startTestCluster } from '../harness/cluster.js'
import { usePostgres } from '../harness/postgres.js'
import { Random } from '../harness/random.js'
import { Figures } from './figures.js'
import { kinds } from './kinds.js'
import { known } from './known.js'
import { openStage, play, type Round } from './scene.js'

const usage = `npm run stress -- [--seconds N] [--seed S] [--clients N] [--mode MODE] [--round SECONDS] [--only KIND,...] [--calm] [--known]
  --mode   transaction, statement or session; default: all in turn
  --round  how long a pooler lives before it is looked at and replaced, seconds; default 20
  --only   kinds of exchanges whose name begins so; --list shows them
  --calm   servers are not killed
  --known  what is known to fail is played, too`

const { values: given } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000_000) },
    clients: { type: 'string', default: '60' },
    mode: { type: 'string' },
    round: { type: 'string', default: '20' },
    only: { type: 'string' },
    calm: { type: 'boolean', default: false },
    known: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

/** How often it says how far it is, ms. */
const interval = 5000

/** What the rounds are like, in turn. */
const rounds: readonly Pick<Round, 'mode' | 'isRough' | 'settings'>[] = [
  { mode: 'transaction', isRough: false, settings: { max_db_connections: 10, max_prepared_statements: 20 } },
  { mode: 'transaction', isRough: true, settings: { max_db_connections: 8, max_prepared_statements: 2 } },
  { mode: 'session', isRough: false, settings: { server_lifetime: 0 } },
  { mode: 'transaction', isRough: false, settings: { default_pool_size: 1, max_prepared_statements: 100 } },
  { mode: 'statement', isRough: false, settings: { server_round_robin: true } },
  { mode: 'session', isRough: true, settings: {} },
  {
    mode: 'transaction',
    isRough: true,
    settings: { server_check_delay: 0, server_idle_timeout: 1, server_lifetime: 3 },
  },
]

if (given.help) console.log(usage)
else if (given.list) for (const { name } of kinds) console.log(name)
else process.exitCode = await stress()

async function stress(): Promise<number> {
  const only = given.only?.split(',')
  const leftOut = given.known ? new Set<string>() : known
  const wanted = kinds.filter(({ name }) => only === undefined || only.some((start) => name.startsWith(start)))
  const plans = rounds.filter(({ mode, isRough }) => (given.mode ?? mode) === mode && !(given.calm && isRough))
  if (wanted.length === 0 || plans.length === 0) {
    console.error(usage)
    return 2
  }
  const seed = Number(given.seed)
  const figures = new Figures()
  const stop = new AbortController()
  process.once('SIGINT', () => stop.abort())
  await using cluster = await startTestCluster()
  usePostgres(cluster.facts)
  await using stage = await openStage()
  const began = performance.now()
  const elapsed = (): number => (performance.now() - began) / 1000
  const delay = monitorEventLoopDelay({ resolution: 5 })
  delay.enable()
  const progress = setInterval(() => {
    console.log(`${elapsed().toFixed(0)} s: ${figures.of('exchanges')} exchanges, ${figures.of('logins')} logins`)
  }, interval)
  const random = new Random(seed)
  try {
    for (let number = 0; elapsed() < Number(given.seconds) && !stop.signal.aborted; number++) {
      const plan = plans[number % plans.length]!
      const seconds = Math.min(Number(given.round), Math.max(1, Number(given.seconds) - elapsed()))
      const round = { ...plan, seconds, seed: random.below(1_000_000_000), twins: 0.35, clients: Number(given.clients) }
      console.log(`round ${number}: ${plan.mode}, seed ${round.seed}, ${JSON.stringify(plan.settings)}`)
      await play(stage, { ...round, kinds: wanted, known: leftOut, stop: stop.signal }, figures)
    }
    return 0
  } catch (error) {
    console.error(
      `FAILED with --seed ${seed} after ${elapsed().toFixed(0)} s\n${error instanceof Error ? error.message : error}`,
    )
    return 1
  } finally {
    clearInterval(progress)
    report(figures, elapsed(), delay.max / 1e6)
  }
}

function report(figures: Figures, seconds: number, stall: number): void {
  console.log(
    `\n${seconds.toFixed(0)} s; the event loop stood still for ${stall.toFixed(0)} ms at most (clients and pooler share it)`,
  )
  for (const [what, count] of figures.under('').filter(([name]) => !name.startsWith('kind ')))
    console.log(`${what}: ${count}`)
  console.log(
    figures
      .under('kind ')
      .map(([kind, count]) => `${kind} ${count}`)
      .join(', '),
  )
}
