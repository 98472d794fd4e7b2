// tsbouncer demo --failover: a small load runs, the primary goes, the standby takes its place, and what clients saw of it is printed.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Cluster } from './cluster.js'

/** What clients have seen since they were last asked. */
export interface LoadCounts {
  readonly writes: number
  readonly reads: number
  /** By SQLSTATE. */
  readonly errors: ReadonlyMap<string, number>
  /** Connections that ended. */
  readonly lost: number
  /** The longest time without a write that was acknowledged, ms. */
  readonly gap: number
}

/** Clients that write and read without end. */
export interface DemoLoad {
  take(): LoadCounts
  /** Ends it. @returns writes that were acknowledged, and how many of them are there now */
  stop(): Promise<{ readonly acknowledged: number; readonly found: number }>
}

/** Seconds of load before the switchover, and after all is done. */
const before = 3
const after = 3

/** Resolves when the show is over; rejects with the signal's reason. */
export async function showFailover(
  cluster: Cluster,
  load: DemoLoad,
  print: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const began = performance.now()
  const totals = { errors: 0, lost: 0, gap: 0, isDoubtful: false }
  const clock = (): string => `${((performance.now() - began) / 1000).toFixed(1).padStart(5)} s`
  const tell = (what: string): void => print(`${clock()}  ** ${what}`)
  const report = (): void => {
    const counts = load.take()
    for (const [, count] of counts.errors) totals.errors += count
    totals.isDoubtful ||= counts.errors.has('08007')
    totals.lost += counts.lost
    totals.gap = Math.max(totals.gap, counts.gap)
    print(`${clock()}  ${described(counts)}`)
  }
  print('')
  print('10 clients write through pg_rw, 5 read through pg_ro. Each second:')
  const seconds = setInterval(report, 1000)
  try {
    await sleep(before * 1000, undefined, { signal })
    tell('the primary is stopped, as for maintenance')
    totals.gap = 0 // what was before has nothing to do with it
    await cluster.primary.stop('fast')
    tell('it has stopped; the standby is promoted')
    await cluster.standby.promote()
    await sleep(after * 1000, undefined, { signal })
    tell('the old primary is started again, as a standby of the new one')
    await cluster.returnAsStandby(signal)
    tell('it streams, and is read from again')
    await sleep(after * 1000, undefined, { signal })
  } finally {
    clearInterval(seconds)
  }
  report()
  const { acknowledged, found } = await load.stop()
  print('')
  print(`longest time without a write from then on: ${Math.round(totals.gap)} ms`)
  print(`connections of clients that were lost: ${totals.lost}; transactions that failed: ${totals.errors}`)
  if (totals.isDoubtful)
    print('08007: the server was lost before it answered, so nobody knows whether that write is committed')
  print(`writes that were acknowledged: ${acknowledged}; of these, on the new primary: ${found}`)
  print('')
}

function described({ writes, reads, errors, lost, gap }: LoadCounts): string {
  const failed = [...errors].map(([sqlstate, count]) => `${count} x ${sqlstate}`).join(', ') || 'none'
  const counts = `${String(writes).padStart(5)} writes ${String(reads).padStart(6)} reads`
  return `${counts}   errors: ${failed}   connections lost: ${lost}   longest gap: ${Math.round(gap)} ms`
}
