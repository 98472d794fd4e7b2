// The shortest of the drill, in every run of the tests: a primary crashes, a standby takes over. How fast that is, the drill shows.

import { expect, test } from 'vitest'
import { FailoverCluster } from './cluster.js'
import { play } from './play.js'
import { excesses, scenes } from './scenes.js'

test('a primary crashes, a standby is promoted, and clients stay', async () => {
  const crash = scenes.find(({ name }) => name.startsWith('crash'))!
  await using cluster = await FailoverCluster.start()
  const figures = await play(cluster, crash, { routing: 'roles', writers: 6, readers: 3 })
  expect(excesses(figures, { ...crash.limits, gapAfterWritable: 10_000 })).toEqual([])
})
