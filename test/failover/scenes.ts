// The scenes of the drill as a table: what happens to the hosts, and what clients may see of it at most.

import { setTimeout as sleep } from 'node:timers/promises'
import type { FailoverCluster } from './cluster.js'
import type { Figures } from './figures.js'
import type { Host } from './host.js'
import type { Load } from './load.js'

export interface Stage {
  readonly cluster: FailoverCluster
  readonly load: Load
}

/** The pooler's host_check_period in the drill, and its max_replica_lag, ms. */
export const period = 1000
export const maxReplicaLag = 2000

/** What is at most; what is not given is not looked at. */
export type Limits = { readonly [F in keyof Figures]?: number }

export interface Scene {
  readonly name: string
  /** The load has begun; resolves when it may end, with the time at which the primary took writes, if it had gone. */
  play(stage: Stage): Promise<number | undefined>
  readonly limits: Limits
}

/** What holds in every scene, whatever moves. */
const always: Limits = { connectionsLost: 0, unanswered: 0, lostByUs: 0, astray: 0, ghosts: 0, twice: 0 }

/** What holds of hosts that move at random: what an old primary acknowledges, it does before it can be found out. */
export const randomLimits: Limits = { ...always, window: 2 * period }

/** How long the load goes on once all is as it is to stay, ms. */
const after = 2000

export const scenes: readonly Scene[] = [
  {
    name: 'planned switchover',
    limits: { ...always, gapAfterWritable: 500, acknowledgedLost: 0 },
    async play({ cluster }) {
      const old = cluster.primary
      await old.stop('fast')
      const writableAt = await cluster.promote()
      await old.startAsStandby(cluster.primary)
      await old.untilStreaming()
      await sleep(after)
      return writableAt
    },
  },
  {
    name: 'crash, then promotion',
    limits: { ...always, gapAfterWritable: 500 },
    async play({ cluster }) {
      await cluster.primary.kill()
      await sleep(500)
      const writableAt = await cluster.promote()
      await sleep(after)
      return writableAt
    },
  },
  {
    name: 'link cut',
    limits: { ...always, gapAfterWritable: 2 * period, toldAfter: 2 * period + 500 },
    async play({ cluster }) {
      const { link } = cluster.primary
      await link.cut()
      await sleep(2 * period)
      const writableAt = await cluster.promote()
      await sleep(2 * period + after)
      await link.restore() // nobody has told the old one
      await sleep(after)
      return writableAt
    },
  },
  {
    name: 'old primary beside the new one',
    limits: always,
    async play({ cluster }) {
      const old = cluster.primary
      await old.kill()
      const writableAt = await cluster.promote()
      await sleep(after)
      await old.start()
      await sleep(2 * after)
      return writableAt
    },
  },
  {
    name: 'promotion beside a primary that lives',
    limits: { ...always, astray: Number.POSITIVE_INFINITY, window: 2 * period, gapAfterWritable: 2 * period },
    async play({ cluster }) {
      const writableAt = await cluster.promote()
      await sleep(2 * period + after)
      return writableAt
    },
  },
  {
    name: 'standby lost',
    limits: { ...always, readGap: 500, acknowledgedLost: 0 },
    async play({ cluster }) {
      await cluster.standbys[0]!.kill()
      await sleep(2 * after)
      return undefined
    },
  },
  {
    name: 'standby late, and back',
    limits: { ...always, acknowledgedLost: 0 },
    async play({ cluster, load }) {
      const [late, other] = cluster.standbys as [Host, Host]
      await late.pauseReplay()
      await sleep(maxReplicaLag + 2 * period)
      const lateReads = (since: number): number =>
        load.reads.filter(({ at, host }) => at > since && host === late.direct.port).length
      const began = performance.now()
      await sleep(after)
      if (lateReads(began) > 0) throw new Error(`${lateReads(began)} reads from a standby that is late`)
      await late.resumeReplay()
      await sleep(3 * period)
      await other.kill() // servers stay where they are: only who needs a new one shows whether the late standby is back
      const alone = performance.now()
      while (lateReads(alone) === 0) {
        if (performance.now() - alone > 2 * period) throw new Error('the standby has caught up, and nobody reads it')
        await sleep(20)
      }
      await sleep(after)
      return undefined
    },
  },
  {
    name: 'all hosts down for 10 s',
    limits: { ...always, gapAfterWritable: 1000, acknowledgedLost: 0 },
    async play({ cluster }) {
      for (const host of cluster.hosts) await host.kill()
      await sleep(10_000)
      await cluster.primary.start()
      const writableAt = await cluster.untilWritable()
      for (const standby of cluster.standbys) await standby.start()
      await sleep(after)
      return writableAt
    },
  },
]

/** What is more than it may be, in words; other errors may never be. */
export function excesses(figures: Figures, limits: Limits): string[] {
  const found = Object.entries(limits).flatMap(([name, most]) => {
    const value = Number(figures[name as keyof Figures])
    return value <= most ? [] : [`${name}: ${value.toFixed(0)}, at most ${most}`]
  })
  if (figures.writes === 0) found.push('nothing was written at all')
  for (const [code, count] of Object.entries(figures.otherErrors)) found.push(`${count} errors ${code}`)
  return found
}
