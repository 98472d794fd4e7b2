// One scene from its beginning to its figures: hosts that are well, a pooler, the load, what happens, the account.

import { monitorEventLoopDelay } from 'node:perf_hooks'
import { eventually } from '../harness/pooler.js'
import { usePostgres } from '../harness/postgres.js'
import type { FailoverCluster } from './cluster.js'
import { type Figures, figuresOf } from './figures.js'
import { Load } from './load.js'
import { type Login, type Routing, startDrillPooler } from './poolers.js'
import type { Scene } from './scenes.js'

export interface Performance {
  readonly routing: Routing
  readonly login?: Login
  readonly synchronous?: boolean
  readonly writers?: number
  readonly readers?: number
}

/** Acknowledged writes that the load begins with, so that every client has had its turn. */
const warm = 100

export async function play(cluster: FailoverCluster, scene: Scene, how: Performance): Promise<Figures> {
  const { routing, login, synchronous = false, ...sizes } = how
  usePostgres(cluster.facts)
  await cluster.setSynchronous(synchronous)
  await cluster.settle()
  await using drilled = await startDrillPooler(cluster, routing, login)
  const delay = monitorEventLoopDelay({ resolution: 5 })
  const load = new Load({ ...sizes, login: drilled.login })
  let writableAt: number | undefined
  try {
    await eventually(
      () => load.writes.filter(({ outcome }) => outcome === 'acknowledged').length >= warm,
      () => JSON.stringify(load.failures.slice(0, 3)),
    )
    delay.enable()
    writableAt = await scene.play({ cluster, load })
    delay.disable()
  } finally {
    await load.stop()
  }
  console.log(`${scene.name}: the event loop stood still for ${(delay.max / 1e6).toFixed(0)} ms at most`)
  return await figuresOf(load, cluster, writableAt)
}
