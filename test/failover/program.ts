// The drill at random as a program: `npm run failover -- --seconds 600 --seed 1`. Hosts crash, freeze, are cut off, promoted and
// come back under load, until time is up; then every acknowledged token is looked for. It ends with code 1 if anything is wrong.

import { parseArgs } from 'node:util'
import { eventually } from '../harness/pooler.js'
import { usePostgres } from '../harness/postgres.js'
import { Random } from '../harness/random.js'
import { FailoverCluster } from './cluster.js'
import { figuresOf, tableOf } from './figures.js'
import { Load } from './load.js'
import { Operator } from './operator.js'
import { startDrillPooler } from './poolers.js'
import { excesses, randomLimits } from './scenes.js'

const usage = `npm run failover -- [--seconds N] [--seed S] [--writers N] [--readers N] [--synchronous] [--routed] [--plain]
  --synchronous  commits wait for a standby: then nothing at all may be lost
  --routed       packets are dropped by a router in a network namespace; needs root on Linux
  --plain        a pooler that knows no roles, to see it go wrong`

const { values: given } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000_000) },
    writers: { type: 'string', default: '20' },
    readers: { type: 'string', default: '10' },
    synchronous: { type: 'boolean', default: false },
    routed: { type: 'boolean', default: false },
    plain: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

if (given.help) console.log(usage)
else {
  process.exitCode = await drill().catch((error: unknown) => {
    console.error(`the drill itself has failed, with --seed ${given.seed}:`, error)
    return 1
  })
}

async function drill(): Promise<number> {
  const { seed, synchronous, routed, plain } = given
  const stop = new AbortController()
  process.once('SIGINT', () => stop.abort())
  await using cluster = await FailoverCluster.start({ routed })
  usePostgres(cluster.facts)
  await cluster.setSynchronous(synchronous)
  await using drilled = await startDrillPooler(cluster, plain ? 'plain' : 'roles')
  const load = new Load({ writers: Number(given.writers), readers: Number(given.readers), login: drilled.login })
  const elapsed = (): number => (performance.now() - load.began) / 1000
  const operator = new Operator(cluster, new Random(Number(seed)))
  try {
    while (elapsed() < Number(given.seconds) && !stop.signal.aborted) {
      await operator.act((name) =>
        console.log(
          `${elapsed().toFixed(1)} s: ${name} (${load.writes.length} writes, ${load.failures.length} failures)`,
        ),
      )
    }
    const settledAt = performance.now()
    const isWritten = (): boolean =>
      load.writes.some(({ outcome, sentAt }) => outcome === 'acknowledged' && sentAt > settledAt)
    await eventually(isWritten).catch(() => console.log('all is well again, and nothing is written'))
  } finally {
    await load.stop()
  }
  const figures = await figuresOf(load, cluster)
  console.log(tableOf(new Map([[`seed ${seed}`, figures]])))
  const wrong = excesses(figures, { ...randomLimits, ...(synchronous && { acknowledgedLost: 0 }) })
  if (wrong.length === 0) return 0
  const first = load.failures.slice(0, 10).map(({ at, code, text }) => {
    return `  ${((at - load.began) / 1000).toFixed(1)} s: ${code} ${text}`
  })
  console.error(`FAILED with --seed ${seed}\n${wrong.join('\n')}\nFailures that came first:\n${first.join('\n')}`)
  return 1
}
