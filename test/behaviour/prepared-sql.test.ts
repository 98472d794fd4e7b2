// PREPARE, EXECUTE and DEALLOCATE in every form that SQL and the protocol allow, on whatever server a client gets.

import { setImmediate as turn } from 'node:timers/promises'
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { startPooler, type TestPooler } from '../harness/pooler.js'
import { postgres } from '../harness/postgres.js'
import {
  bind,
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
const taken = (name: string): string => `E ERROR 42P05 prepared statement "${name}" already exists`

/** As drivers send it: Parse, Bind, Describe, Execute of an unnamed statement. */
const byProtocol = (text: string): Buffer[] => [extended(text), sync]
const bySql = (text: string): Buffer[] => [query(text)]

/** The answer without what only one of the protocols says. */
const essence = (lines: string[]): string[] => lines.filter((line) => !/^(?:[12nt]|t .*|T .*)$/.test(line))

/** Two servers, of which a client gets now the one, now the other. */
async function twoServers(): Promise<{ pooler: TestPooler; client: RawClient; elsewhere: () => Promise<void> }> {
  const pooler = await startPooler({ default_pool_size: 2 })
  const [client, one, other] = await Promise.all([1, 2, 3].map(() => pooler.raw({ user })))
  const holders = [one!, other!]
  await holders[0]!.ask(query('begin'))
  const elsewhere = async (): Promise<void> => {
    await holders[1]!.ask(query('begin'))
    await holders[0]!.ask(query('rollback'))
    holders.reverse()
  }
  return { pooler, client: client!, elsewhere }
}

describe.each([
  ['simple', bySql],
  ['extended', byProtocol],
])('by the %s protocol', (_name, send) => {
  const run = async (client: RawClient, text: string): Promise<string[]> => essence(await client.ask(...send(text)))

  test.each([
    ['PREPARE without types', "prepare p as select $1 || '!' as x", "execute p('a')", 'D a!'],
    ['PREPARE with types', 'prepare p (text, int) as select $1 || $2 as x', "execute p('a', 7)", 'D a7'],
    ['a comment before it', '/* app */ prepare p as select 1 as x', '-- app\nexecute p', 'D 1'],
    ['a quoted name', 'prepare "P q""uoted" as select 2 as x', 'execute "P q""uoted"', 'D 2'],
    ['folded names', 'PREPARE Foo AS select 3 as x', 'EXECUTE fOO', 'D 3'],
  ])('%s goes along with its client', async (_what, prepare, use, row) => {
    const { pooler, client, elsewhere } = await twoServers()
    await using _ = pooler
    const stranger = await pooler.raw({ user })
    expect(await run(client, prepare)).toEqual(['C PREPARE', 'Z I'])
    for (let round = 0; round < 4; round++) {
      expect(await run(client, use)).toEqual([row, 'C SELECT 1', 'Z I'])
      expect((await run(stranger, use))[0]).toMatch(/^E ERROR 26000/)
      expect((await run(client, prepare))[0]).toMatch(/^E ERROR 42P05/)
      await elsewhere()
    }
    const name = /(".*"|\w+)(?:\(|$)/.exec(use)![1]!
    expect(await run(client, `deallocate ${name}`)).toEqual(['C DEALLOCATE', 'Z I'])
    expect((await run(client, use))[0]).toMatch(/^E ERROR 26000/)
    expect((await run(client, `deallocate prepare ${name}`))[0]).toMatch(/^E ERROR 26000/)
    expect(await run(client, prepare)).toEqual(['C PREPARE', 'Z I'])
    expect(await run(client, use)).toEqual([row, 'C SELECT 1', 'Z I'])
    expect(client.unread).toEqual([])
  })

  test('errors are PostgreSQL’s, with the client’s own names', async () => {
    await using pooler = await startPooler({ default_pool_size: 1 })
    const client = await pooler.raw({ user })
    expect(await run(client, 'execute p')).toEqual([unknown('p'), 'Z I'])
    expect(await run(client, 'deallocate p')).toEqual([unknown('p'), 'Z I'])
    expect((await run(client, 'prepare p as select nothing'))[0]).toMatch(/^E ERROR 42703/)
    expect(await run(client, 'execute p')).toEqual([unknown('p'), 'Z I'])
    expect(await run(client, 'prepare p (int) as select $1')).toEqual(['C PREPARE', 'Z I'])
    expect(await run(client, 'prepare p as select 1')).toEqual([taken('p'), 'Z I'])
    expect(await run(client, 'execute p')).toEqual([
      'E ERROR 42601 wrong number of parameters for prepared statement "p"',
      'Z I',
    ])
    await client.ask(query('begin'))
    expect(await run(client, 'execute q')).toEqual([unknown('q'), 'Z E'])
    expect((await run(client, 'execute p(1)'))[0]).toMatch(/^E ERROR 25P02/)
    expect((await run(client, 'deallocate p'))[0]).toMatch(/^E ERROR 25P02/)
    await client.ask(query('rollback'))
    expect(await run(client, 'execute p(1)')).toEqual(['D 1', 'C SELECT 1', 'Z I'])
  })

  test('EXPLAIN and CREATE TABLE AS execute it, too', async () => {
    const { pooler, client, elsewhere } = await twoServers()
    await using _ = pooler
    await run(client, 'prepare p (int) as select $1 as n')
    for (let round = 0; round < 2; round++) {
      await elsewhere()
      for (const text of [
        'explain execute p(1)',
        'explain (costs off, analyze) execute p(1)',
        'explain analyze verbose execute p(1)',
      ])
        expect((await run(client, text)).at(-2)).toBe('C EXPLAIN')
      expect(await run(client, 'begin')).toEqual(['C BEGIN', 'Z T'])
      expect(await run(client, 'create temp table made on commit drop as execute p(5)')).toEqual(['C SELECT 1', 'Z T'])
      expect(await run(client, 'select n from made')).toEqual(['D 5', 'C SELECT 1', 'Z T'])
      await run(client, 'rollback')
    }
  })

  test('others’ are never met, nor is what DO leaves on a server', async () => {
    await using pooler = await startPooler({ default_pool_size: 1 })
    const [one, other] = [await pooler.raw({ user }), await pooler.raw({ user })]
    const leave = "do $$ begin execute 'prepare hidden as select ''secret'' as x'; end $$"
    expect(await run(one, leave)).toEqual(['C DO', 'Z I'])
    for (const client of [one, other]) {
      expect(await run(client, 'execute hidden')).toEqual([unknown('hidden'), 'Z I'])
      expect(await client.ask(bind([], 'hidden'), execute(), sync)).toEqual([unknown('hidden'), 'Z I'])
      expect(await client.ask(describing('S', 'hidden'), sync)).toEqual([unknown('hidden'), 'Z I'])
      expect(await run(client, "prepare hidden as select 'mine' as x")).toEqual(['C PREPARE', 'Z I'])
      expect(await run(client, 'execute hidden')).toEqual(['D mine', 'C SELECT 1', 'Z I'])
    }
  })
})

test('several statements in one Query name their statements in order', async () => {
  const { pooler, client, elsewhere } = await twoServers()
  await using _ = pooler
  const stranger = await pooler.raw({ user })
  const run = async (text: string): Promise<string[]> => essence(await client.ask(query(text)))
  const all = "prepare a as select 'one' as x; execute a; deallocate a; prepare a as select 'two' as x; execute a"
  expect(await run(all)).toEqual([
    'C PREPARE',
    'D one',
    'C SELECT 1',
    'C DEALLOCATE',
    'C PREPARE',
    'D two',
    'C SELECT 1',
    'Z I',
  ])
  // As clients do that want a name in any case.
  expect(await run('select 1; prepare b (int) as select $1 as x')).toEqual(['D 1', 'C SELECT 1', 'C PREPARE', 'Z I'])
  for (let round = 0; round < 2; round++) {
    await elsewhere()
    expect(await run('execute a; execute b(3); execute a')).toEqual([
      'D two',
      'C SELECT 1',
      'D 3',
      'C SELECT 1',
      'D two',
      'C SELECT 1',
      'Z I',
    ])
    expect(await stranger.ask(query('select 1 as x; execute a'))).toEqual([
      'T x',
      'D 1',
      'C SELECT 1',
      unknown('a'),
      'Z I',
    ])
  }
  // What was done before an error stays done.
  expect(await run('prepare c as select 5 as x; deallocate a; execute a; prepare d as select 6')).toEqual([
    'C PREPARE',
    'C DEALLOCATE',
    unknown('a'),
    'Z I',
  ])
  await elsewhere()
  expect(await run('execute c')).toEqual(['D 5', 'C SELECT 1', 'Z I'])
  expect(await run('execute a')).toEqual([unknown('a'), 'Z I'])
  expect(await run('execute d')).toEqual([unknown('d'), 'Z I'])
  expect(await run('prepare a as select 7 as x; prepare e as select 7 as x; prepare a as select 8')).toEqual([
    'C PREPARE',
    'C PREPARE',
    taken('a'),
    'Z I',
  ])
  expect(await run('deallocate e; execute a; execute e')).toEqual([
    'C DEALLOCATE',
    'D 7',
    'C SELECT 1',
    unknown('e'),
    'Z I',
  ])
  expect(await run('deallocate all; prepare a as select 9 as x; execute a')).toEqual([
    'C DEALLOCATE ALL',
    'C PREPARE',
    'D 9',
    'C SELECT 1',
    'Z I',
  ])
  expect(await run('execute c')).toEqual([unknown('c'), 'Z I'])
})

test('with only one statement on a server, those that are needed at once are there', async () => {
  await using pooler = await startPooler({ default_pool_size: 1, max_prepared_statements: 1 })
  const client = await pooler.raw({ user })
  const run = async (...bytes: Buffer[]): Promise<string[]> => essence(await client.ask(...bytes))
  for (const name of ['a', 'b', 'c']) await run(query(`prepare ${name} as select '${name}' as x`))
  const rows = ['D a', 'C SELECT 1', 'D b', 'C SELECT 1', 'D c', 'C SELECT 1', 'Z I']
  for (let round = 0; round < 3; round++) {
    expect(await run(query('execute a; execute b; execute c'))).toEqual(rows)
    expect(await run(extended('execute a'), extended('execute b'), extended('execute c'), sync)).toEqual(rows)
  }
})

test('a named statement whose text names another one means what that is by then', async () => {
  const { pooler, client, elsewhere } = await twoServers()
  await using _ = pooler
  const use = async (): Promise<string[]> => essence(await client.ask(bind([], 'q'), describing('P'), execute(), sync))
  expect(await client.ask(parse('execute p', 'q'), sync)).toEqual(['1', 'Z I'])
  expect(await use()).toEqual([unknown('p'), 'Z I'])
  for (const value of ['one', 'two']) {
    await client.ask(query(`prepare p as select '${value}' as x`))
    for (let round = 0; round < 3; round++) {
      expect(await use()).toEqual([`D ${value}`, 'C SELECT 1', 'Z I'])
      expect(await client.ask(describing('S', 'q'), sync)).toEqual(['t ', 'T x', 'Z I'])
      await elsewhere()
    }
    await client.ask(query('deallocate p'))
    expect(await use()).toEqual([unknown('p'), 'Z I'])
  }
  expect(await client.ask(parse('execute p', 'q'), sync)).toEqual([taken('q'), 'Z I'])
})

test('however the messages are cut, and whoever else is there', async () => {
  await using pooler = await startPooler({ default_pool_size: 1 })
  const [client, other] = [await pooler.raw({ user }), await pooler.raw({ user })]
  const bytes = Buffer.concat([
    query('select 1 as x; prepare a as select 2 as x'),
    ...byProtocol('execute a'),
    ...byProtocol('prepare b (int) as select $1 as x'),
    query('execute b(3)'),
    extended('deallocate a'),
    extended('execute a'),
    sync,
    ...[parse('execute b(4)', 'q'), bind([], 'q', 'p'), execute('p'), sync],
    query('deallocate all'),
    ...[bind([], 'q'), sync],
  ])
  const answer = [
    ...[
      'D 1',
      'C SELECT 1',
      'C PREPARE',
      'Z I',
      'D 2',
      'C SELECT 1',
      'Z I',
      'C PREPARE',
      'Z I',
      'D 3',
      'C SELECT 1',
      'Z I',
    ],
    ...[
      'C DEALLOCATE',
      unknown('a'),
      'Z I',
      'D 4',
      'C SELECT 1',
      'Z I',
      'C DEALLOCATE ALL',
      'Z I',
      unknown('q'),
      'Z I',
    ],
  ]
  for (let cut = 1; cut < bytes.length; cut++) {
    client.send(bytes.subarray(0, cut))
    for (let n = 0; n < 3; n++) await turn()
    other.send(query("select 'theirs' as x; execute a"))
    client.send(bytes.subarray(cut))
    expect(essence(await client.answer(8)), `cut at ${cut}`).toEqual(answer)
    expect(essence(await other.answer())).toEqual(['D theirs', 'C SELECT 1', unknown('a'), 'Z I'])
  }
})

test('a server with statements that nobody here has seen made is cleaned before anyone else gets it', async () => {
  await using pooler = await startPooler({ default_pool_size: 1 })
  const [client, other] = [await pooler.raw({ user }), await pooler.raw({ user })]
  await other.ask(parse('select 5 as x', 's'), sync)
  // Too long to be read.
  const text = `select '${'x'.repeat(300_000)}' as x; prepare hidden as select 1`
  expect(essence(await client.ask(query(text))).at(-2)).toBe('C PREPARE')
  expect(await other.ask(query("select count(*) from pg_prepared_statements where name = 'hidden'"))).toContain('D 0')
  expect(await other.ask(bind([], 's'), execute(), sync)).toEqual(['2', 'D 5', 'C SELECT 1', 'Z I'])
})

test('an error points to the place in the text as its client wrote it', async () => {
  await using pooler = await startPooler({ default_pool_size: 1 })
  const client = await pooler.connect({ user })
  const direct = new pg.Client({ ...postgres().primary, user, database: 'postgres' })
  await direct.connect()
  for (const one of [client, direct]) await one.query('prepare "größe" (int) as select $1')
  for (const text of [
    'execute "größe"(nothing)',
    'select \'ä\'; execute "größe"(1); execute "größe"(nothing); select nobody',
    'prepare b as select nothing',
    'prepare "größe" as select nothing',
    'selec 1; execute "größe"(1)',
  ]) {
    const [told, meant] = await Promise.all(
      [client, direct].map((one) => one.query(text).catch((error: unknown) => error)),
    )
    expect(told).toMatchObject({ position: expect.stringMatching(/^\d+$/) })
    expect((told as { position: string }).position, text).toBe((meant as { position: string }).position)
  }
  await direct.end()
})
