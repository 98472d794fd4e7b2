// Accounting is sacred: many clients on few servers, everything mixed at random, and every answer is its asker's own.
// SEED=n runs the same again; `npm run stress` runs for longer, and harder.

import { afterAll, beforeAll, describe, test } from 'vitest'
import { kinds } from '../stress/kinds.js'
import { known } from '../stress/known.js'
import { openStage, play, type Round, type Stage } from '../stress/scene.js'

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000_000)

describe(`seed ${seed}`, () => {
  let stage: Stage
  beforeAll(async () => {
    stage = await openStage()
  })
  afterAll(() => stage[Symbol.asyncDispose]())

  test.each([
    ['transaction', 80, 3, false, { max_db_connections: 10, max_prepared_statements: 20 }],
    ['transaction', 60, 2, true, { max_db_connections: 8, max_prepared_statements: 2 }],
    ['statement', 60, 1.5, false, { server_round_robin: true }],
    ['session', 40, 1.5, false, { server_lifetime: 0 }],
  ] as [Round['mode'], number, number, boolean, Round['settings']][])(
    '%s mode: %i clients, %f seconds, servers killed: %s',
    { timeout: 120_000 },
    async (mode, clients, seconds, isRough, settings) => {
      const figures = await play(stage, { mode, clients, seconds, seed, isRough, twins: 0.15, kinds, known, settings })
      console.log(`${mode}: ${figures.of('exchanges')} exchanges`)
    },
  )
})
