// The same scenes played by the pgbouncer of this machine and by tsbouncer: answers are equal, but for wanted differences.

import { afterEach, describe, expect, test } from 'vitest'
import { Comparison, isOlder } from './compare.js'
import { differences } from './differences.js'
import { type Program, pgbouncerVersion, RunningProgram } from './program.js'
import type { Answers, Scene } from './scene.js'
import { consoleScenes } from './scenes/console.js'
import { endingScenes } from './scenes/endings.js'
import { loginScenes } from './scenes/login.js'
import { queryScenes } from './scenes/queries.js'
import { reloadScenes } from './scenes/reload.js'
import { rightsScenes } from './scenes/rights.js'
import { settingScenes } from './scenes/settings.js'
import { signalScenes } from './scenes/signals.js'
import { startupScenes } from './scenes/startup.js'
import { wireScenes } from './scenes/wire.js'

const version = pgbouncerVersion()
const scenes = [
  ...loginScenes,
  ...consoleScenes,
  ...queryScenes,
  ...reloadScenes,
  ...signalScenes,
  ...startupScenes,
  ...wireScenes,
  ...rightsScenes,
  ...endingScenes,
  ...settingScenes,
]

const running = new Set<RunningProgram>()

async function play(program: Program, scene: Scene): Promise<Answers> {
  const pooler = await RunningProgram.start(program, scene.ini)
  running.add(pooler)
  return await scene.play(pooler)
}

// Also after a scene that came to no end.
afterEach(async () => {
  for (const pooler of running) await pooler[Symbol.asyncDispose]()
  running.clear()
})

const title = version === undefined ? 'pgbouncer is not installed: nothing is compared' : `beside pgbouncer ${version}`

describe.skipIf(version === undefined)(title, () => {
  const comparison = new Comparison(differences, version ?? '')

  test.each(scenes.map((scene) => [scene.name, scene] as const))('%s', async (name, scene) => {
    const isNewer = scene.since !== undefined && isOlder(version!, scene.since)
    const [theirs, ours] = await Promise.all([isNewer ? {} : play('pgbouncer', scene), play('tsbouncer', scene)])
    const left = comparison.compare(name, theirs, ours)
    expect(left.ours).toEqual(left.theirs)
  })

  test('no difference is listed that is not there', () => {
    expect(comparison.unmet).toEqual([])
  })
})
