// Prepared statements of many clients on few servers: shared by text, under names that each client has for itself.

import { describe, expect, test } from 'vitest'
import { startPooler } from '../harness/pooler.js'
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

/** Texts, or names, of the statements that a server has, by way of a client that gets it. */
const namesOf = async (client: RawClient, column = 'statement'): Promise<string[]> => {
  const lines = await client.ask(query(`select ${column} as x from pg_prepared_statements order by 1`))
  return lines.filter((line) => line.startsWith('D ')).map((line) => line.slice(2))
}

test('one statement on a server serves all clients with the same text', async () => {
  await using pooler = await startPooler({ default_pool_size: 1 })
  const [one, other] = [await pooler.raw({ user }), await pooler.raw({ user })]
  const text = 'select $1::int * 2 as x'
  expect(await one.ask(parse(text, 'mine'), sync)).toEqual(['1', 'Z I'])
  expect(await other.ask(parse(text, 'yours'), sync)).toEqual(['1', 'Z I'])
  expect(await other.ask(parse("select 'unlike' as x", 'mine'), sync)).toEqual(['1', 'Z I'])
  expect(await one.ask(bind(['4'], 'mine'), execute(), sync)).toEqual(['2', 'D 8', 'C SELECT 1', 'Z I'])
  expect(await other.ask(bind(['5'], 'yours'), execute(), sync)).toEqual(['2', 'D 10', 'C SELECT 1', 'Z I'])
  expect(await other.ask(bind([], 'mine'), execute(), sync)).toEqual(['2', 'D unlike', 'C SELECT 1', 'Z I'])
  expect(await namesOf(one)).toEqual([text, "select 'unlike' as x"])
  expect((await pooler.show('servers')).map((row) => row.prepared_statements)).toEqual([2])
  expect((await pooler.show('clients')).map((row) => row.prepared_statements)).toEqual([1, 2])

  // The one closes its own; the other keeps its.
  expect(await one.ask(close('S', 'mine'), sync)).toEqual(['3', 'Z I'])
  expect(await other.ask(bind(['6'], 'yours'), execute(), sync)).toEqual(['2', 'D 12', 'C SELECT 1', 'Z I'])
  expect(await one.ask(bind(['6'], 'mine'), sync)).toEqual([
    'E ERROR 26000 prepared statement "mine" does not exist',
    'Z I',
  ])
})

test('a statement goes along to whatever server its client gets', async () => {
  await using pooler = await startPooler({ default_pool_size: 3, server_round_robin: true })
  const holders = await Promise.all([1, 2, 3].map(() => pooler.raw({ user })))
  for (const holder of holders) await holder.ask(query('begin'))
  const client = await pooler.raw({ user })
  client.send(parse('select pg_backend_pid() as pid, $1::text as x', 'where'), describing('S', 'where'), sync)
  const pids = new Set<string>()
  for (const [n, holder] of holders.entries()) {
    await holder.ask(query('rollback'))
    if (n === 0) expect(await client.answer()).toEqual(['1', 't 25', 'T pid|x', 'Z I'])
    const lines = await client.ask(bind([`try ${n}`], 'where'), execute(), sync)
    expect(lines).toEqual(['2', expect.stringMatching(`^D \\d+\\|try ${n}$`), 'C SELECT 1', 'Z I'])
    pids.add(lines[1]!.split('|')[0]!)
    await holder.ask(query('begin'))
  }
  expect(pids.size).toBe(3)
  expect((await pooler.show('servers')).map((row) => row.prepared_statements)).toEqual([1, 1, 1])
})

test('no more statements than max_prepared_statements are kept, the least recently used go first', async () => {
  await using pooler = await startPooler({ default_pool_size: 1, max_prepared_statements: 2 })
  const client = await pooler.raw({ user })
  const use = (name: string) => client.ask(bind([], name), execute(), sync)
  for (const name of ['a', 'b', 'c', 'd']) await client.ask(parse(`select '${name}' as x`, name), sync)
  expect(await namesOf(client)).toEqual(["select 'c' as x", "select 'd' as x"])
  expect(await use('a')).toEqual(['2', 'D a', 'C SELECT 1', 'Z I'])
  expect(await namesOf(client)).toEqual(["select 'a' as x", "select 'd' as x"])
  expect(await use('d')).toEqual(['2', 'D d', 'C SELECT 1', 'Z I'])
  expect(await use('b')).toEqual(['2', 'D b', 'C SELECT 1', 'Z I'])
  expect(await namesOf(client)).toEqual(["select 'b' as x", "select 'd' as x"])
  // A pipeline may need more at once; afterwards there are no more than that again.
  const names = Array.from({ length: 20 }, (_, n) => `p${n}`)
  await client.ask(...names.flatMap((name) => [parse(`select '${name}' as x`, name), bind([], name), execute()]), sync)
  await use('a')
  expect(await namesOf(client)).toEqual(["select 'a' as x", "select 'p19' as x"])
})

test('an eviction that is skipped after an error is not believed', async () => {
  await using pooler = await startPooler({ default_pool_size: 1, max_prepared_statements: 2 })
  const client = await pooler.raw({ user })
  for (const name of ['a', 'b', 'c']) await client.ask(parse(`select '${name}' as x`, name), sync)
  for (let round = 0; round < 5; round++) {
    for (const name of ['a', 'b', 'c', 'a']) {
      const skipped = await client.ask(extended('select 1 / 0'), bind([], name), execute(), sync)
      expect(skipped).toEqual(['1', 'E ERROR 22012 division by zero', 'Z I'])
      const used = await client.ask(bind([], name), execute(), sync)
      expect(used).toEqual(['2', `D ${name}`, 'C SELECT 1', 'Z I'])
    }
  }
})

test('clients whose parameters make a text mean something else do not share it', async () => {
  await using pooler = await startPooler({ default_pool_size: 1 })
  const values: [parameters: Record<string, string>, text: string, answer: string][] = [
    [{ DateStyle: 'ISO, DMY' }, "select '01/02/2024'::date as x", '2024-02-01'],
    [{ DateStyle: 'ISO, MDY' }, "select '01/02/2024'::date as x", '2024-01-02'],
    [{ TimeZone: 'Asia/Tokyo' }, "select extract(epoch from '2024-01-01'::timestamptz)::int as x", '1704034800'],
    [{ TimeZone: 'UTC' }, "select extract(epoch from '2024-01-01'::timestamptz)::int as x", '1704067200'],
    [{ standard_conforming_strings: 'on' }, "select 'a\\tb' as x", 'a\\tb'],
    [{ standard_conforming_strings: 'off' }, "select 'a\\tb' as x", 'a\tb'],
  ]
  for (const [parameters, text, answer] of values) {
    const client = await pooler.raw({ user, parameters })
    await client.ask(parse(text, 's'), sync)
    const lines = await client.ask(bind([], 's'), execute(), sync)
    expect(lines.filter((line) => line.startsWith('D '))).toEqual([`D ${answer}`])
    client.send(query(`prepare p as ${text}`), query('execute p'))
    expect((await client.answer(2)).filter((line) => line.startsWith('D '))).toEqual([`D ${answer}`])
    await client.end()
  }
})

test('a client that changes such a parameter does not change what others mean', async () => {
  await using pooler = await startPooler({ default_pool_size: 1, max_prepared_statements: 1 })
  const text = "select '01/02/2024'::date as x"
  const [one, other] = [await pooler.raw({ user }), await pooler.raw({ user })]
  const use = [bind([], 's'), execute(), sync]
  for (const client of [one, other]) await client.ask(parse(text, 's'), sync)
  await one.ask(query("set DateStyle = 'ISO, DMY'"))
  for (let round = 0; round < 3; round++) {
    // Between the two, something else takes the one place that there is for statements.
    await other.ask(parse(`select ${round}`, `other ${round}`), sync)
    expect(await one.ask(...use)).toEqual(['2', 'D 2024-02-01', 'C SELECT 1', 'Z I'])
    expect(await other.ask(...use)).toEqual(['2', 'D 2024-01-02', 'C SELECT 1', 'Z I'])
  }
})

describe('what one client does to a server is not felt by another', () => {
  const other = ['2', 'D other', 'C SELECT 1', 'Z I']

  test.each([
    ['DISCARD ALL', [query('discard all')]],
    ['DEALLOCATE ALL', [query('deallocate all')]],
    ['DEALLOCATE ALL in the extended protocol', [extended('deallocate all'), sync]],
    ['DEALLOCATE ALL among other statements', [query('select 1; deallocate all; select 2')]],
    ['a statement of its own by the name of ours', [parse("select 'evil'", 'PGBOUNCER_1'), sync]],
    ['such a name taken twice', [...Array(2).fill(parse("select 'evil'", 'PGBOUNCER_1')), sync]],
    ['such a name unknown', [bind([], 'PGBOUNCER_1'), execute(), sync]],
    ['such a name closed', [close('S', 'PGBOUNCER_1'), sync]],
    ['such a name by SQL', [query('prepare "PGBOUNCER_1" as select 2')]],
    ['such a name closed by SQL', [query('deallocate "PGBOUNCER_1"')]],
    ['an error in all the rest', [extended('select 1 / 0'), close('S', 'mine'), parse('select 2', 'x'), sync]],
  ])('%s', async (_what, bytes) => {
    await using pooler = await startPooler({ default_pool_size: 1 })
    const [client, neighbour] = [await pooler.raw({ user }), await pooler.raw({ user })]
    await neighbour.ask(parse("select 'other' as x", 'yours'), sync)
    for (let round = 0; round < 3; round++) {
      await client.ask(...bytes)
      expect(await neighbour.ask(bind([], 'yours'), execute(), sync)).toEqual(other)
    }
    await client.ask(parse("select 'other' as x", 'mine'), bind([], 'mine'), sync)
    expect(await neighbour.ask(bind([], 'yours'), execute(), sync)).toEqual(other)
    expect([...client.unread, ...neighbour.unread]).toEqual([])
  })

  test('a statement that was written by SQL is as good as any other', async () => {
    await using pooler = await startPooler({ default_pool_size: 2, server_round_robin: true })
    const [client, neighbour] = [await pooler.connect({ user }), await pooler.connect({ user })]
    await client.query("prepare p (int, text) as select $1 + 1 as n, $2 || '!' as t")
    await neighbour.query("prepare p as select 'mine' as t")
    for (let round = 0; round < 6; round++) {
      await neighbour.query('begin') // takes turns on the servers
      expect((await client.query(`execute p(${round}, 'a')`)).rows).toEqual([{ n: round + 1, t: 'a!' }])
      expect((await neighbour.query('execute p')).rows).toEqual([{ t: 'mine' }])
      await neighbour.query('commit')
    }
    await client.query('deallocate p')
    await expect(client.query("execute p(1, 'a')")).rejects.toMatchObject({
      code: '26000',
      message: 'prepared statement "p" does not exist',
    })
    expect((await neighbour.query('execute p')).rows).toEqual([{ t: 'mine' }])
  })
})

test('a server_reset_query that keeps prepared statements does not make them unknown', async () => {
  await using pooler = await startPooler({
    default_pool_size: 1,
    server_reset_query: 'reset all',
    server_reset_query_always: true,
  })
  const client = await pooler.raw({ user })
  await client.ask(parse("select 'x' as x", 's'), sync)
  for (let round = 0; round < 3; round++) {
    expect(await client.ask(bind([], 's'), execute(), sync)).toEqual(['2', 'D x', 'C SELECT 1', 'Z I'])
    expect(await client.ask(parse("select 'x' as x", `s${round}`), sync)).toEqual(['1', 'Z I'])
  }
})

test('max_prepared_statements holds for statements that SQL has made, too', async () => {
  await using pooler = await startPooler({ default_pool_size: 1, max_prepared_statements: 3 })
  for (let n = 0; n < 10; n++) {
    const client = await pooler.raw({ user })
    await client.ask(query(`prepare a as select ${n} as x`))
    expect(await client.ask(query('execute a'))).toEqual(['T x', `D ${n}`, 'C SELECT 1', 'Z I'])
    await client.end()
  }
  expect((await namesOf(await pooler.raw({ user }))).length).toBeLessThanOrEqual(3)
})

test('a typed PREPARE by a name like ours, used by the protocol on another server, is made there and does not find another’s', async () => {
  await using pooler = await startPooler({ default_pool_size: 2 })
  const [one, other, third, client] = await Promise.all([0, 1, 2, 3].map(() => pooler.raw({ user })))
  const secret = [parse("select 'secret' as x", 's'), bind([], 's'), execute(), sync]
  await one!.ask(query('begin'))
  for (const holder of [one!, other!]) expect(await holder.ask(...secret)).toContain('D secret') // on both servers
  const [name] = (await namesOf(other!, 'name')) as [string]
  expect(name).toMatch(/^PGBOUNCER_/)
  expect(await client!.ask(query(`prepare "${name}"(int) as select $1 as x`))).toEqual(['C PREPARE', 'Z I'])
  expect(await client!.ask(bind(['7'], name), execute(), sync)).toContain('D 7')
  await third!.ask(query('begin')) // the server that has it
  await one!.ask(query('commit'))
  expect(await client!.ask(bind(['8'], name), execute(), sync)).toEqual(['2', 'D 8', 'C SELECT 1', 'Z I'])
})

test('all that clients have prepared is forgotten with them', async () => {
  await using pooler = await startPooler({ default_pool_size: 2 })
  for (const how of ['end', 'vanish', 'close'] as const) {
    const client = await pooler.raw({ user })
    await client.ask(...Array.from({ length: 50 }, (_, n) => parse(`select ${n}`, `s${n}`)), sync)
    if (how === 'close') await client.ask(...Array.from({ length: 50 }, (_, n) => close('S', `s${n}`)), sync)
    // Some that are never answered.
    client.send(extended('select pg_sleep(10)'), close('S', 's1'), parse('select 1000', 's1000'), sync)
    await pooler.until('SHOW POOLS', (row) => row.sv_active === 1)
    if (how === 'end') await client.end()
    else client.vanish()
    await pooler.until('SHOW POOLS', (row) => row.sv_active === 0 && row.cl_active === 0)
  }
  pooler.pooler.admin.reconnect(undefined)
  await pooler.settles(async () => (await pooler.show('servers')).length === 0)
  const memory = await pooler.show('mem')
  expect(memory.find((row) => row.name === 'prepared_statement_cache')).toMatchObject({ used: 0, memtotal: 0 })
})
