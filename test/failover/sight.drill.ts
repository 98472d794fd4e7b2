// The drill sees what it looks for, and nothing else: the scenes with a pooler that knows one host an entry and no roles, which
// must go wrong, and one in which nothing happens.

import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { FailoverCluster } from './cluster.js'
import { type Figures, tableOf } from './figures.js'
import { play } from './play.js'
import { excesses, type Scene, scenes } from './scenes.js'

let cluster: FailoverCluster
const seen = new Map<string, Figures>()

beforeAll(async () => {
  cluster = await FailoverCluster.start()
})

afterAll(async () => {
  console.log(tableOf(seen))
  await cluster?.[Symbol.asyncDispose]()
})

/** What is to be more than it may be. */
const expected: Readonly<Record<string, RegExp>> = {
  'planned switchover': /errors 25006/,
  'crash, then promotion': /gapAfterWritable: Infinity/,
  'link cut': /astray/,
  'old primary beside the new one': /astray/,
  'promotion beside a primary that lives': /window/,
  'standby lost': /readGap/,
  'all hosts down for 10 s': /connectionsLost/,
}

test.each([...scenes])('$name', async (scene) => {
  const played = play(cluster, scene, { routing: 'plain' })
  const wanted = expected[scene.name]
  if (wanted === undefined) return await expect(played).rejects.toThrow('reads from a standby that is late')
  const figures = await played
  seen.set(scene.name, figures)
  expect(excesses(figures, scene.limits).join('\n')).toMatch(wanted)
})

test('nothing happens, and nothing is seen', async () => {
  const calm: Scene = {
    name: 'calm',
    limits: Object.assign({}, ...scenes.map(({ limits }) => limits)),
    play: () => sleep(2000, undefined),
  }
  const figures = await play(cluster, calm, { routing: 'plain' })
  seen.set(calm.name, figures)
  expect(excesses(figures, calm.limits)).toEqual([])
})
