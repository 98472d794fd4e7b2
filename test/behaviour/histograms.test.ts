// How long things took is noted with the pool: waits, queries, transactions, connections to servers.

import { expect, test } from 'vitest'
import { bucketStart, type Histogram } from '../../src/observe/histogram.js'
import type { PoolCounters } from '../../src/observe/pool-counters.js'
import type { Registry } from '../../src/pool/registry.js'
import { startPooler, type TestPooler } from '../harness/pooler.js'
import { query } from '../harness/raw-client.js'

const user = 'trust_user'

/** Nothing shows them yet. */
function countersOf({ pooler }: TestPooler): PoolCounters {
  const { clients } = Reflect.get(pooler, 'running') as { clients: { registry: Registry } }
  const [pool] = clients.registry.pools()
  return pool!.counters
}

/** Where the buckets of what was noted begin, ms. */
function noted({ counts }: Histogram): number[] {
  return [...counts].flatMap((count, bucket) => Array.from({ length: count }, () => bucketStart(bucket) / 1000))
}

test('each is noted once, where it belongs', async () => {
  await using pooler = await startPooler({ default_pool_size: 1 })
  const [first, second] = [await pooler.raw({ user }), await pooler.raw({ user })]
  await first.ask(query('begin'))
  await first.ask(query('select 1'))
  const waits = second.ask(query('select 2'))
  await pooler.until('pools', (row) => row.cl_waiting === 1)
  await first.ask(query('select pg_sleep(0.2)'))
  await first.ask(query('commit'))
  await waits

  const { connectTimes, queryTimes, waitTimes, xactTimes } = countersOf(pooler)
  expect(noted(connectTimes)).toEqual([expect.any(Number)])
  expect(noted(connectTimes)[0]).toBeGreaterThan(0)
  const [least, longest] = noted(waitTimes)
  expect(noted(waitTimes)).toHaveLength(2)
  expect([least! < 100, longest! >= 150]).toEqual([true, true])
  const queries = noted(queryTimes)
  expect(queries).toHaveLength(5)
  expect(queries.filter((ms) => ms >= 150)).toHaveLength(1)
  const xacts = noted(xactTimes)
  expect(xacts).toHaveLength(2)
  expect(xacts.filter((ms) => ms >= 150)).toHaveLength(1)
})
