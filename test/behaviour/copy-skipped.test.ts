// What PostgreSQL skips behind a COPY that has failed, the pooler keeps to itself: all of it, however it comes in.

import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { startPooler } from '../harness/pooler.js'
import { query as ask, createDatabase } from '../harness/postgres.js'
import { bind, copyFail, execute, parse, query, sync } from '../harness/raw-client.js'

test('a message that is passed over is passed over to its end', async () => {
  await using database = await createDatabase()
  await ask('create table t (n int); grant all on t to public', { database: database.name })
  await using pooler = await startPooler({ default_pool_size: 1 })
  const begun = [parse('copy t from stdin'), bind(), execute(), sync, copyFail('enough')]
  // Its body would be taken for messages.
  const skipped = parse(`select '${query("select 'not asked for' as x").toString()}'`)
  for (let cut = 1; cut < skipped.length; cut += 3) {
    const client = await pooler.raw({ user: 'trust_user', database: database.name })
    client.send(...begun, skipped.subarray(0, cut))
    expect(await client.lines(4)).toEqual(['1', '2', 'G', 'E ERROR 57014 COPY from stdin failed: enough'])
    await sleep(5) // for the pooler to find out that the Sync was read in copy mode, which nobody is told
    client.send(skipped.subarray(cut), bind(), execute(), sync, query("select 'end' as x"))
    expect(await client.answer(2), `cut at ${cut}`).toEqual(['Z I', 'T x', 'D end', 'C SELECT 1', 'Z I'])
    await client.end()
  }
})
