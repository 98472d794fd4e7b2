// What a server has of prepared statements, and what is thought of it: where SQL that nobody sees takes some away, it comes right by itself.

import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { startPooler } from '../harness/pooler.js'
import { bind, close, describe as describing, execute, extended, parse, query, sync } from '../harness/raw-client.js'

const user = 'trust_user'
const one = ['2', 'D one', 'C SELECT 1', 'Z I']
const missing = 'E ERROR 26000 prepared statement "mine" does not exist'

const takeAll = "do $$ begin execute 'deallocate all'; end $$"
/** Puts something else under every name of ours. */
const replaceAll = `do $$ declare one text; begin
  for one in select name from pg_prepared_statements where name like 'PGBOUNCER\\_%' loop
    execute format('deallocate %I', one);
  end loop;
  end $$`

describe.each([
  ['all of them', takeAll],
  ['one by one', replaceAll],
])('statements that a DO takes away, %s', (_what, text) => {
  test('are made again for whoever uses them, unseen', async () => {
    await using pooler = await startPooler({ default_pool_size: 1 })
    const [client, other] = [await pooler.raw({ user }), await pooler.raw({ user })]
    await client.ask(parse("select 'one' as x", 'mine'), sync)
    const take = async (): Promise<void> => expect(await other.ask(query(text))).toEqual(['C DO', 'Z I'])
    await take()
    expect(await client.ask(bind([], 'mine'), execute(), sync)).toEqual(one)
    await take()
    expect(await client.ask(bind([], 'mine'), describing('P'), execute(), sync)).toEqual(['2', 'T x', ...one.slice(1)])
    await take()
    expect(await client.ask(describing('S', 'mine'), sync)).toEqual(['t ', 'T x', 'Z I'])
    await take()
    expect(await client.ask(bind([], 'mine'), execute(), sync)).toEqual(one)
    await client.ask(query('prepare sql (text) as select $1 as x'))
    for (const use of [query("execute sql('one')"), query("explain (costs off) execute sql('one')")]) {
      await take()
      expect((await client.ask(use)).slice(1, 2)).toEqual([expect.stringMatching(/^D (?:one|Result)/)])
    }
    await take()
    expect(await client.ask(bind(['one'], 'sql'), execute(), sync)).toEqual(one)
    await take()
    expect(await client.ask(close('S', 'mine'), parse("select 'one' as x", 'mine'), sync)).toEqual(['3', '1', 'Z I'])
    expect(await client.ask(bind([], 'mine'), execute(), sync)).toEqual(one)
    expect(client.unread).toEqual([])
  })

  test('are an error once where that can’t be: in a transaction, behind other answers, or in a pipeline', async () => {
    await using pooler = await startPooler({ default_pool_size: 1 })
    const [client, other] = [await pooler.raw({ user }), await pooler.raw({ user })]
    await client.ask(parse("select 'one' as x", 'mine'), sync)
    const use = [bind([], 'mine'), execute()]
    const take = async (): Promise<void> => expect(await other.ask(query(text))).toEqual(['C DO', 'Z I'])
    await take()
    await client.ask(query('begin'))
    expect(await client.ask(...use, sync)).toEqual([missing, 'Z E'])
    expect(await client.ask(query('rollback'))).toEqual(['C ROLLBACK', 'Z I'])
    expect(await client.ask(...use, sync)).toEqual(one)
    await take()
    expect(await client.ask(extended('select 2 as x'), ...use, sync)).toEqual([
      ...['1', '2', 'T x', 'D 2', 'C SELECT 1', missing, 'Z I'],
    ])
    expect(await client.ask(...use, sync)).toEqual(one)
    await take()
    client.send(...use, sync, ...use, sync)
    // Both were on their way before the first was answered.
    expect(await client.answer(2)).toEqual([missing, 'Z I', missing, 'Z I'])
    expect(await client.ask(...use, sync)).toEqual(one)
    await take()
    // Its own DEALLOCATE of what is gone.
    for (const behind of [[], [query('select 2 as x')]]) {
      await client.ask(query("prepare sql as select 'one' as x"))
      await take()
      client.send(query('deallocate sql'), ...behind)
      expect((await client.answer(1 + behind.length)).slice(0, 2)).toEqual(['C DEALLOCATE', 'Z I'])
      expect(await client.ask(query('execute sql'))).toEqual([missing.replace('mine', 'sql'), 'Z I'])
    }
    expect(await client.ask(...use, sync)).toEqual(one)
    expect(client.unread).toEqual([])
  })

  test('come right for many clients at once', async () => {
    await using pooler = await startPooler({ default_pool_size: 3 })
    const clients = await Promise.all(Array.from({ length: 12 }, () => pooler.raw({ user })))
    await Promise.all(
      clients.map(async (client, n) => {
        const [mine, shared] = [`select ${n} as x`, "select 'shared' as x"]
        await client.ask(parse(mine, 'mine'), parse(shared, 'shared'), sync)
        for (let round = 0; round < 60; round++) {
          if ((round + n) % 7 === 0) expect(await client.ask(query(text))).toEqual(['C DO', 'Z I'])
          const name = round % 2 === 0 ? 'mine' : 'shared'
          const row = `D ${round % 2 === 0 ? n : 'shared'}`
          expect(await client.ask(bind([], name), execute(), sync)).toEqual(['2', row, 'C SELECT 1', 'Z I'])
        }
        expect(client.unread).toEqual([])
      }),
    )
  })
})

test('a client that was told of rows elsewhere is told of its own name, too', async () => {
  await using pooler = await startPooler({ default_pool_size: 1 })
  const [client, other] = [await pooler.raw({ user }), await pooler.raw({ user })]
  const text = parse("select 'one' as x", 'mine')
  await client.ask(text, describing('S', 'mine'), sync)
  pooler.pooler.admin.reconnect(undefined)
  // There, nobody has asked for its rows yet.
  await other.ask(text, sync)
  await other.ask(query(takeAll))
  const use = Buffer.concat([bind([], 'mine'), execute(), sync])
  client.send(Buffer.concat([use, use]))
  expect(await client.answer(2)).toEqual([missing, 'Z I', ...one])
})

test('something else under one of our names is not used, and makes way', async () => {
  await using pooler = await startPooler({ default_pool_size: 1 })
  const [client, other] = [await pooler.raw({ user }), await pooler.raw({ user })]
  // The name that the next text will get.
  expect(await other.ask(query(`do $$ begin execute 'prepare "PGBOUNCER_1" as select 666 as x'; end $$`))).toEqual([
    'C DO',
    'Z I',
  ])
  const first = await client.ask(parse("select 'one' as x", 'mine'), bind([], 'mine'), execute(), sync)
  expect(first).toEqual(['E ERROR 42P05 prepared statement "mine" already exists', 'Z I'])
  expect(await client.ask(parse("select 'one' as x", 'mine'), bind([], 'mine'), execute(), sync)).toEqual(['1', ...one])
  expect(await other.ask(query("select name from pg_prepared_statements where statement like '%666%'"))).not.toContain(
    'D PGBOUNCER_1',
  )
})

test('a use that is run again is the same however it is cut', async () => {
  await using pooler = await startPooler({ default_pool_size: 1 })
  const [client, other] = [await pooler.raw({ user }), await pooler.raw({ user })]
  await client.ask(parse("select 'one' as x", 'mine'), sync)
  const bytes = Buffer.concat([bind([], 'mine'), execute(), sync])
  for (let cut = 1; cut < bytes.length; cut++) {
    await other.ask(query(takeAll))
    client.send(bytes.subarray(0, cut))
    for (let n = 0; n < 3; n++) await turn()
    client.send(bytes.subarray(cut))
    const answer = await client.answer()
    // An exchange that came in pieces is not kept: there, the next one is right.
    if (answer[0] !== missing) expect(answer, `cut at ${cut}`).toEqual(one)
    expect(await client.ask(bytes)).toEqual(one)
  }
})

test('what cannot be made again is not run again for ever', async () => {
  await using pooler = await startPooler({ default_pool_size: 1 })
  const [client, other] = [await pooler.raw({ user: 'postgres' }), await pooler.raw({ user: 'postgres' })]
  await client.ask(query('create table fleeting (n int); prepare q as select n from fleeting'))
  await other.ask(query(takeAll))
  await other.ask(query('drop table fleeting'))
  for (const _ of [1, 2]) expect(await client.ask(query('execute q'))).toEqual([missing.replace('mine', 'q'), 'Z I'])
  expect(await client.ask(query('select 1 as x'))).toEqual(['T x', 'D 1', 'C SELECT 1', 'Z I'])
})
