// Each driver's program is run through the pooler; what it reports becomes tests, a row of the matrix.
//
// TSBOUNCER_DRIVERS=direct runs the same programs on PostgreSQL itself, to tell a driver's faults from the pooler's.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { postgres } from '../harness/postgres.js'
import { type Check, titleOf } from './checks.js'
import { createDriverDatabase, environmentFor } from './database.js'
import { type Part, parts } from './parts.js'
import { type RunningPooler, startPooler } from './pooler.js'
import { built, missing, type Outcome, start } from './toolchains.js'

/** Milliseconds; programs limit each check by themselves, to less. */
const programLimit = 5 * 60_000

const isDirect = process.env.TSBOUNCER_DRIVERS === 'direct'
/** Checks that mean something only where there is a pool of two servers. */
const needsPooler: readonly Check[] = ['prepared']

let pooler: RunningPooler | undefined

beforeAll(async () => {
  if (!isDirect) pooler = await startPooler(postgres())
})

afterAll(async () => {
  await pooler?.[Symbol.asyncDispose]()
})

for (const part of parts) {
  describe(part.name, () => {
    let lacking: string | undefined
    let outcome: Outcome | undefined

    beforeAll(async () => {
      lacking = await missing(part.toolchain)
      if (lacking === undefined) outcome = await run(part)
    })

    for (const check of part.checks) {
      test(titleOf(check), ({ skip }) => {
        if (outcome === undefined) return skip(`${lacking} is not installed`)
        if (isDirect && needsPooler.includes(check)) skip('needs a pool of two servers')
        expect(outcome.output, pooler?.log()).toMatch(new RegExp(`^ok ${check}$`, 'm'))
      })
    }
  })
}

async function run(part: Part): Promise<Outcome> {
  await built(part.toolchain)
  await using database = await createDriverDatabase()
  const env = environmentFor(pooler ?? postgres().primary, database.name)
  return await start(part.toolchain, part.program, { env, limit: programLimit })
}
