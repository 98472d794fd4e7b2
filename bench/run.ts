// The micro-benchmarks: all of them, or those whose suite is named. `npm run bench -- relay auth`

import { Bench, type Task } from 'tinybench'
import { auth } from './micro/auth.js'
import { config } from './micro/config.js'
import { console as adminConsole } from './micro/console.js'
import { framing } from './micro/framing.js'
import { log } from './micro/log.js'
import { outstanding } from './micro/outstanding.js'
import { relay } from './micro/relay.js'
import { socket } from './micro/socket.js'
import type { Case, Suite } from './micro/suite.js'
import { textTable } from './text-table.js'

const suites: readonly Suite[] = [framing, outstanding, relay, socket, auth, config, adminConsole, log]

/** Of each case, milliseconds. */
const warmupTime = 200
const time = 600

const wanted = process.argv.slice(2)
const unknown = wanted.filter((word) => !suites.some(({ name }) => name.includes(word)))
if (unknown.length > 0) {
  console.error(`no suite is called ${unknown.join(', ')}: there are ${suites.map(({ name }) => name).join(', ')}`)
  process.exitCode = 1
} else {
  for (const suite of suites) {
    if (wanted.length === 0 || wanted.some((word) => suite.name.includes(word))) await run(suite)
  }
}

async function run(suite: Suite): Promise<void> {
  const cases = await suite.cases()
  const bench = new Bench({ time, warmupTime, throws: true })
  for (const { name, run } of cases) bench.add(name, run)
  const tasks = await bench.run()
  for (const { close } of cases) close?.()
  const rows = cases.map((one, at) => row(one, tasks[at]))
  console.log(`${textTable([suite.name, 'median', '± %', 'per second', 'MB/s'], rows)}\n`)
}

function row({ name, operations = 1, bytes }: Case, task: Task | undefined): string[] {
  if (task?.result.state !== 'completed') return [name, 'failed']
  const { p50, rme } = task.result.latency
  const each = p50 / operations // milliseconds
  const perSecond = 1000 / each
  const throughput = bytes === undefined ? '' : ((bytes * perSecond) / 1e6).toFixed(0)
  return [name, duration(each), rme.toFixed(1), Math.round(perSecond).toLocaleString('en'), throughput]
}

function duration(milliseconds: number): string {
  if (milliseconds < 0.001) return `${(milliseconds * 1e6).toFixed(0)} ns`
  if (milliseconds < 1) return `${(milliseconds * 1e3).toFixed(2)} µs`
  return `${milliseconds.toFixed(2)} ms`
}
