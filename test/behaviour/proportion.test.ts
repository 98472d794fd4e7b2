// One client's messages cost in proportion to their bytes, however they follow each other.

import { expect, test } from 'vitest'
import { startPooler, type TestPooler } from '../harness/pooler.js'
import { bind, execute, parse, sync } from '../harness/raw-client.js'

const times = (count: number, bytes: (n: number) => Buffer): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, n) => bytes(n)))

/** Batches of about `n` messages, each with one Sync. */
const batches: Readonly<Record<string, (n: number) => Buffer>> = {
  'DEALLOCATE ALLs, and Parses behind them': (n) =>
    Buffer.concat([
      parse('deallocate all'),
      times(n, () => Buffer.concat([bind(), execute()])),
      times(n, (i) => parse(`select ${i}`, `s${i}`)),
      sync,
    ]),
  'Parses of texts of their own': (n) => Buffer.concat([times(n, (i) => parse(`select ${i}`, `s${i}`)), sync]),
  'Parses of one text': (n) => Buffer.concat([times(n, (i) => parse('select 1', `s${i}`)), sync]),
  'Binds of one statement': (n) =>
    Buffer.concat([parse('select 1', 's'), times(n, () => Buffer.concat([bind([], 's'), execute()])), sync]),
}

/** CPU time of this process, in which pooler and client are, ms. */
async function cost(pooler: TestPooler, bytes: Buffer): Promise<number> {
  const client = await pooler.raw({ user: 'trust_user' })
  const before = process.cpuUsage()
  await client.ask(bytes)
  const { user, system } = process.cpuUsage(before)
  client.vanish()
  await pooler.until('SHOW POOLS', (row) => row.database === 'postgres' && row.cl_active === 0)
  return (user + system) / 1000
}

test.each(Object.entries(batches))(
  'eight times as many %s cost about eight times as much',
  { timeout: 120_000 },
  async (_, batch) => {
    await using pooler = await startPooler({ default_pool_size: 1 })
    let ratio = Number.POSITIVE_INFINITY
    await cost(pooler, batch(500))
    for (let attempt = 0; attempt < 3 && ratio > 20; attempt++) {
      const one = Math.max(10, await cost(pooler, batch(2000)))
      ratio = Math.min(ratio, (await cost(pooler, batch(16_000))) / one)
    }
    expect(ratio).toBeLessThan(20)
  },
)
