// The same scenes played by Debian's pgbouncer and by tsbouncer: answers are equal, but for the differences that are wanted.

import { describe, expect, test } from 'vitest'
import { type Program, pgbouncerVersion, RunningProgram } from './program.js'
import type { Answers, Scene } from './scene.js'
import { consoleScenes } from './scenes/console.js'
import { loginScenes } from './scenes/login.js'

const version = pgbouncerVersion()

async function play(program: Program, scene: Scene): Promise<Answers> {
  await using pooler = await RunningProgram.start(program, scene.ini)
  return await scene.play(pooler)
}

describe.skipIf(version === undefined)(`beside pgbouncer ${version}`, () => {
  test.each([...loginScenes, ...consoleScenes].map((scene) => [scene.name, scene] as const))('%s', async (_, scene) => {
    const [theirs, ours] = await Promise.all([play('pgbouncer', scene), play('tsbouncer', scene)])
    expect.soft(ours).toEqual(theirs)
  })
})
