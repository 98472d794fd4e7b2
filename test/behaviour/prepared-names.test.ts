// Names of prepared statements are each client's own: what others have, or left on a server, is never met by a name.

import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { startPooler, type TestPooler } from '../harness/pooler.js'
import {
  bind,
  close,
  describe as describing,
  execute,
  extended,
  parse,
  query,
  type RawClient,
  sync,
} from '../harness/raw-client.js'

const user = 'trust_user'
const unknown = (name: string): string => `E ERROR 26000 prepared statement "${name}" does not exist`
const unnamed = 'E ERROR 26000 unnamed prepared statement does not exist'

/** A pooler with one server, and clients of it. */
async function oneServer(count: number): Promise<{ pooler: TestPooler; clients: RawClient[] }> {
  const pooler = await startPooler({ default_pool_size: 1 })
  const clients: RawClient[] = []
  for (let n = 0; n < count; n++) clients.push(await pooler.raw({ user }))
  return { pooler, clients }
}

test('a refused duplicate leaves no statement by its name, however its client leaves', async () => {
  const { pooler, clients } = await oneServer(1)
  await using _ = pooler
  const [next] = clients as [RawClient]
  const taken = [parse('select 1', 'mine'), parse('select 2', 'mine'), sync]
  const bytes = Buffer.concat(taken)
  for (let cut = bytes.length - 12; cut <= bytes.length; cut++) {
    const client = await pooler.raw({ user })
    client.send(bytes.subarray(0, cut), Buffer.from(cut === bytes.length ? 'Q\0\0' : ''))
    for (let n = 0; n < 3; n++) await turn()
    client.vanish()
    expect(await next.ask(bind([], 'mine'), execute(), sync), `cut at ${cut}`).toEqual([unknown('mine'), 'Z I'])
    expect(await next.ask(query('execute mine'))).toEqual([unknown('mine'), 'Z I'])
    const left = await next.ask(
      query("select count(*) from pg_prepared_statements where name not like 'PGBOUNCER\\_%'"),
    )
    expect(left).toContain('D 0')
  }
})

test('a name that is taken, or unknown, is told as the client wrote it; and nothing else is changed in what PostgreSQL says', async () => {
  const { pooler, clients } = await oneServer(2)
  await using _ = pooler
  const [client, other] = clients as [RawClient, RawClient]
  await other.ask(parse('select 1', 'theirs'), sync)
  const names = ['mine', 'PGBOUNCER_1', 'with "quotes" and $1', 'ÄÖÜ', 'n'.repeat(3000), ' ', 'mine ']
  for (const name of names) {
    const missing = [unknown(name), 'Z I']
    expect(await client.ask(bind([], name), execute(), sync)).toEqual(missing)
    expect(await client.ask(describing('S', name), sync)).toEqual(missing)
    expect(await client.ask(parse(`select '${name}' as x`, name), sync)).toEqual(['1', 'Z I'])
    const taken = `E ERROR 42P05 prepared statement "${name}" already exists`
    expect(await client.ask(parse('select 2', name), sync)).toEqual([taken, 'Z I'])
    expect(await client.ask(parse('select nothing', name), sync)).toEqual([
      'E ERROR 42703 column "nothing" does not exist',
      'Z I',
    ])
    expect(await client.ask(bind(['1', '2'], name), sync)).toEqual([
      `E ERROR 08P01 bind message supplies 2 parameters, but prepared statement "${name}" requires 0`,
      'Z I',
    ])
    expect(await client.ask(bind([], name), execute(), sync)).toEqual(['2', `D ${name}`, 'C SELECT 1', 'Z I'])
    await client.ask(close('S', name), sync)
    expect(await client.ask(bind([], name), execute(), sync)).toEqual(missing)
  }
  await client.ask(query('begin'))
  expect(await client.ask(bind([], 'mine'), execute(), extended('select 1'), sync)).toEqual([unknown('mine'), 'Z E'])
  expect((await client.ask(query('select 1')))[0]).toMatch(/^E ERROR 25P02/)
  await client.ask(query('rollback'))
  expect([...client.unread, ...other.unread]).toEqual([])
})

describe('the unnamed statement', () => {
  const use = [bind(), execute(), sync]

  test('of another client is never met', async () => {
    const { pooler, clients } = await oneServer(2)
    await using _ = pooler
    const [client, other] = clients as [RawClient, RawClient]
    await other.ask(extended("select 'secret' as x"), sync)
    expect(await client.ask(...use)).toEqual([unnamed, 'Z I'])
    await other.ask(extended("select 'secret' as x"), sync)
    expect(await client.ask(describing('S'), sync)).toEqual([unnamed, 'Z I'])
    await other.ask(extended("select 'secret' as x"), sync)
    // Behind a Parse of its own that comes to nothing: refused, or skipped.
    expect((await client.ask(parse('select from from'), sync))[0]).toMatch(/^E ERROR 42601/)
    expect(await client.ask(...use)).toEqual([unnamed, 'Z I'])
    await other.ask(extended("select 'secret' as x"), sync)
    client.send(bind([], 'no'), parse("select 'mine' as x"), sync, ...use)
    expect(await client.answer(2)).toEqual([unknown('no'), 'Z I', unnamed, 'Z I'])
    expect([...client.unread, ...other.unread]).toEqual([])
  })

  test('of its own is there in later exchanges, wherever others have been', async () => {
    const { pooler, clients } = await oneServer(2)
    await using _ = pooler
    const [client, other] = clients as [RawClient, RawClient]
    // As lib/pq, pgx and asyncpg do.
    for (const first of [[describing('S'), sync], [sync]]) {
      expect((await client.ask(parse("select 'mine' as x"), ...first))[0]).toBe('1')
      for (let round = 0; round < 3; round++) {
        expect(await client.ask(...use)).toEqual(['2', 'D mine', 'C SELECT 1', 'Z I'])
        expect(await other.ask(extended("select 'theirs' as x"), sync)).toContain('D theirs')
      }
      expect(await client.ask(describing('S'), sync)).toEqual(['t ', 'T x', 'Z I'])
    }
    // A Query takes it away, as does a Close.
    await client.ask(query('select 1'))
    expect(await client.ask(...use)).toEqual([unnamed, 'Z I'])
    await client.ask(parse("select 'mine' as x"), sync)
    await client.ask(close('S'), sync)
    expect(await client.ask(...use)).toEqual([unnamed, 'Z I'])
  })

  test('within a transaction is there, however it was first used', async () => {
    const { pooler, clients } = await oneServer(1)
    await using _ = pooler
    const [client] = clients as [RawClient]
    await client.ask(query('begin'))
    expect(await client.ask(extended("select 'mine' as x"), sync)).toContain('D mine')
    for (let round = 0; round < 3; round++)
      expect(await client.ask(...use)).toEqual(['2', 'D mine', 'C SELECT 1', 'Z T'])
    await client.ask(query('commit'))
  })

  test('is the same however its messages are cut', async () => {
    const { pooler, clients } = await oneServer(2)
    await using _ = pooler
    const [client, other] = clients as [RawClient, RawClient]
    const bytes = Buffer.concat([
      ...[parse("select 'mine' as x"), describing('S'), sync],
      ...use,
      ...use,
      ...[query('begin'), extended("select 'other' as x"), sync, ...use, query('commit')],
      ...use,
    ])
    const answer = [
      ...['1', 't ', 'T x', 'Z I'],
      ...['2', 'D mine', 'C SELECT 1', 'Z I'],
      ...['2', 'D mine', 'C SELECT 1', 'Z I'],
      ...['C BEGIN', 'Z T', '1', '2', 'T x', 'D other', 'C SELECT 1', 'Z T'],
      ...['2', 'D other', 'C SELECT 1', 'Z T', 'C COMMIT', 'Z I', unnamed, 'Z I'],
    ]
    for (let cut = 1; cut < bytes.length; cut++) {
      client.send(bytes.subarray(0, cut))
      for (let n = 0; n < 3; n++) await turn()
      other.send(extended("select 'theirs' as x"), sync)
      client.send(bytes.subarray(cut))
      expect(await client.answer(8), `cut at ${cut}`).toEqual(answer)
      expect(await other.answer()).toContain('D theirs')
    }
  })
})
