// The primary moves, the clients stay: every scene with a pooler that knows the roles of hosts, and who logs in to it how.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FailoverCluster } from './cluster.js'
import { type Figures, tableOf } from './figures.js'
import { type Performance, play } from './play.js'
import { whyNotRouted } from './routed-link.js'
import { excesses, type Limits, type Scene, scenes } from './scenes.js'

let cluster: FailoverCluster
const seen = new Map<string, Figures>()

beforeAll(async () => {
  cluster = await FailoverCluster.start()
})

afterAll(async () => {
  console.log(tableOf(seen))
  await cluster?.[Symbol.asyncDispose]()
})

async function playWell(
  scene: Scene,
  how: Omit<Performance, 'routing'>,
  { on = cluster, label = scene.name, more = {} as Limits } = {},
): Promise<void> {
  const figures = await play(on, scene, { routing: 'roles', ...how })
  seen.set(label, figures)
  expect(excesses(figures, { ...scene.limits, ...more })).toEqual([])
}

const named = (...starts: string[]): Scene[] =>
  scenes.filter(({ name }) => starts.some((start) => name.startsWith(start)))

test.each(scenes)('$name', (scene) => playWell(scene, {}))

describe('synchronous replication loses nothing at all', () => {
  test.each(named('planned', 'crash', 'link', 'old'))('$name', (scene) =>
    playWell(scene, { synchronous: true }, { label: `${scene.name}, synchronous`, more: { acknowledgedLost: 0 } }),
  )
})

describe.each(['scram', 'tls', 'auth_query'] as const)('%s', (login) => {
  test.each(named('planned', 'crash', 'link'))('$name', (scene) =>
    playWell(scene, { login }, { label: `${scene.name}, ${login}` }),
  )
})

test('a link whose packets a router drops', async (context) => {
  const why = await whyNotRouted()
  if (why !== undefined) return context.skip(why)
  await using routed = await FailoverCluster.start({ routed: true })
  for (const scene of named('link')) await playWell(scene, {}, { on: routed, label: `${scene.name}, routed` })
})
