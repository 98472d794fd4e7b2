// One run of pgbench, and what it and the pooler between it and PostgreSQL made of it.

import { loopback } from '../../src/demo/port.js'
import { databaseName, userName } from './database.js'
import type { Target } from './poolers.js'
import { type CpuTime, cpuSince, cpuTime, residentMemory } from './process-cost.js'
import { run } from './program.js'

/** What clients do; all of it is pgbench -S, one SELECT by primary key a transaction. */
export interface Scenario {
  readonly name: string
  readonly protocol: 'simple' | 'extended' | 'prepared'
  readonly clients: number
  /** A new connection for each transaction. */
  readonly reconnect: boolean
}

export interface Outcome {
  readonly transactions: number
  /** Transactions a second. */
  readonly tps: number
  /** Of the pooler, microseconds a transaction. */
  readonly cpu: CpuTime | undefined
  /** Of the pooler when the run was over, bytes. */
  readonly memory: number | undefined
}

/** pgbench's own threads; more than two only take processors away from those that are measured. */
const threads = 2

export async function measure(pgbench: string, target: Target, scenario: Scenario, seconds: number): Promise<Outcome> {
  const { clients, protocol, reconnect } = scenario
  const load = ['-n', '-S', '-M', protocol, '-c', clients, '-j', Math.min(threads, clients), '-T', seconds]
  const where = ['-h', loopback, '-p', target.port, '-U', userName, databaseName]
  const args = [...load, ...(reconnect ? ['-C'] : []), ...where].map(String)
  const before = target.pid === undefined ? undefined : cpuTime(target.pid)
  const output = await run(pgbench, args, (seconds + 30) * 1000)
  const transactions = numberIn(output, /^number of transactions actually processed: (\d+)/m)
  return {
    transactions,
    tps: numberIn(output, /^tps = ([\d.]+)/m),
    cpu:
      target.pid === undefined || before === undefined ? undefined : each(cpuSince(target.pid, before), transactions),
    memory: target.pid === undefined ? undefined : residentMemory(target.pid),
  }
}

function each(total: CpuTime, count: number): CpuTime {
  return { user: total.user / count, system: total.system / count }
}

function numberIn(output: string, pattern: RegExp): number {
  const found = pattern.exec(output)?.[1]
  if (found === undefined) throw new Error(`pgbench said something else than expected:\n${output}`)
  return Number(found)
}
