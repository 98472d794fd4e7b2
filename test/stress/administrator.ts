// What an administrator does meanwhile: clients notice nothing but the death of their own server.

import { setTimeout as sleep } from 'node:timers/promises'
import { query } from '../harness/postgres.js'
import type { Random } from '../harness/random.js'
import type { Scene } from './scene.js'

export async function administer(scene: Scene, random: Random): Promise<void> {
  const { pooler, stage, round, figures } = scene
  while (!scene.isOver) {
    await sleep(random.between(100, 400))
    switch (random.below(4)) {
      case 0:
        pooler.pooler.admin.reconnect(undefined)
        figures.count('RECONNECT')
        break
      case 1: {
        const abort = AbortSignal.timeout(random.between(1, 50))
        await pooler.pooler.admin.pause(undefined, abort).catch(() => {})
        pooler.pooler.admin.resume(undefined)
        figures.count('PAUSE')
        break
      }
      case 2:
        await pooler.pooler.reload()
        figures.count('RELOAD')
        break
      case 3:
        if (round.isRough) {
          const victims = 'select pid from pg_stat_activity where datname = $1 order by random() limit 1'
          await query(`select pg_terminate_backend(pid) from (${victims}) victims`, { values: [stage.database] })
          figures.count('kill')
        }
    }
  }
}
