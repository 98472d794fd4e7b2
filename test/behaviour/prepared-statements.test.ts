// Prepared statements of many clients on few servers: shared by text, under names that each client has for itself.

import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { startPooler, type TestPooler } from '../harness/pooler.js'
import { query as ask, createDatabase, type TestDatabase } from '../harness/postgres.js'
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

describe('a plan that has gone stale', () => {
  const use = [bind([], 's'), describing('P'), execute(), sync]
  const stale = 'E ERROR 0A000 cached plan must not change result type'

  test('is made again, for all clients, where no transaction is open', async () => {
    await using database = await createDatabase()
    await ask('create table t as select 1 as a; grant all on t to public', { database: database.name })
    await using pooler = await startPooler({ default_pool_size: 1 })
    const login = { user, database: database.name }
    const [one, other] = [await pooler.raw(login), await pooler.raw(login)]
    for (const client of [one, other]) await client.ask(parse('select * from t', 's'), sync)
    expect(await one.ask(...use)).toEqual(['2', 'T a', 'D 1', 'C SELECT 1', 'Z I'])
    for (let column = 2; column <= 4; column++) {
      await ask(`alter table t add c${column} int default ${column}`, { database: database.name })
      const answer = [/^2$/, /^T a\|/, new RegExp(`^D .*\\|${column}$`), /^C SELECT 1$/, /^Z I$/]
      // Both at once: each waits for the server.
      const answers = await Promise.all([one.ask(...use), other.ask(...use)])
      for (const lines of answers) expect(lines).toEqual(answer.map((line) => expect.stringMatching(line)))
    }
  })

  // As of migrations that go to PostgreSQL directly.
  test('is nothing that a client which has just prepared the text could notice', async () => {
    await using database = await createDatabase()
    await ask('create table t as select 1 as a; grant all on t to public', { database: database.name })
    await using pooler = await startPooler({ default_pool_size: 1 })
    const login = { user, database: database.name }
    const texts = [0, 1, 2].map((n) => `select *, ${n} as n from t`)
    const holder = await pooler.raw(login)
    for (const text of texts) await holder.ask(parse(text, text), describing('S', text), sync)
    await ask('alter table t add b int default 2', { database: database.name })
    const fresh = await pooler.raw(login)
    const [one, two, three] = texts.map((text) => parse(text, 's')) as [Buffer, Buffer, Buffer]
    expect(await fresh.ask(one, describing('S', 's'), sync)).toEqual(['1', 't ', 'T a|b|n', 'Z I'])
    await fresh.ask(close('S', 's'), sync)
    const used = await fresh.ask(two, bind([], 's'), describing('P'), execute(), sync)
    expect(used).toEqual(['1', '2', 'T a|b|n', 'D 1|2|1', 'C SELECT 1', 'Z I'])
    await fresh.ask(close('S', 's'), sync)
    const both = await fresh.ask(three, describing('S', 's'), bind([], 's'), execute(), sync)
    expect(both).toEqual(['1', 't ', 'T a|b|n', '2', 'D 1|2|2', 'C SELECT 1', 'Z I'])
    for (const text of texts) expect(await holder.ask(bind([], text), execute(), sync)).toEqual([stale, 'Z I'])
  })

  test('is an error within a transaction, as from PostgreSQL, and right again behind it', async () => {
    await using database = await createDatabase()
    await ask('create table t as select 1 as a; grant all on t to public', { database: database.name })
    await using pooler = await startPooler({ default_pool_size: 1 })
    const client = await pooler.raw({ user, database: database.name })
    await client.ask(parse('select * from t', 's'), sync)
    await client.ask(...use)
    await ask('alter table t add b int default 2', { database: database.name })
    await client.ask(query('begin'))
    expect(await client.ask(...use)).toEqual([stale, 'Z E'])
    await client.ask(query('rollback'))
    expect(await client.ask(...use)).toEqual(['2', 'T a|b', 'D 1|2', 'C SELECT 1', 'Z I'])
  })

  // As asyncpg, pgx, pgjdbc and others do, which describe a statement once.
  test('is an error for a client that relies on an older Describe; prepared again it is right, on every server', async () => {
    await using database = await createDatabase()
    await ask('create table t as select 1 as a; grant all on t to public', { database: database.name })
    await using pooler = await startPooler({ default_pool_size: 2 })
    const login = { user, database: database.name }
    const client = await pooler.raw(login)
    const holders = [await pooler.raw(login), await pooler.raw(login)]
    /** With each of the two servers as the only one that is free. */
    const onEach = async (use: (turn: number) => Promise<void>): Promise<void> => {
      for (const holder of holders) await holder.ask(query('begin'))
      for (const [turn, holder] of holders.entries()) {
        await holder.ask(query('rollback'))
        await use(turn)
        await holder.ask(query('begin'))
      }
      for (const holder of holders) await holder.ask(query('rollback'))
    }
    const run = (name: string): Promise<string[]> => client.ask(bind([], name), execute(), sync)
    await client.ask(parse('select * from t', 's'), describing('S', 's'), sync)
    await onEach(async () => expect(await run('s')).toEqual(['2', 'D 1', 'C SELECT 1', 'Z I']))
    await ask('alter table t add b int default 2', { database: database.name })
    await onEach(async (turn) => {
      if (turn === 0) {
        expect(await run('s')).toEqual([stale, 'Z I'])
        const again = await client.ask(parse('select * from t', 's2'), describing('S', 's2'), sync)
        expect(again).toEqual(['1', 't ', 'T a|b', 'Z I'])
      }
      expect(await run('s2')).toEqual(['2', 'D 1|2', 'C SELECT 1', 'Z I'])
    })
    expect(await run('s')).toEqual([stale, 'Z I']) // the old name still is what it was
  })

  test('is not given to a client that prepares the text after the definition was changed, in a transaction or not', async () => {
    await using database = await createDatabase()
    await using pooler = await startPooler({ default_pool_size: 1 })
    const login = { user, database: database.name }
    const client = await pooler.raw(login)
    await client.ask(query('create table t as select 1 as a; create view v as select a from t'))
    const changes = [
      ['t', 'alter table t add b int default 2', 'T a|b'],
      ['v', 'create or replace view v as select a, 3 as c from t', 'T a|c'],
      ['t', 'drop table t cascade; create table t as select 4 as d', 'T d'],
    ] as const
    for (const [n, [name, change, described]] of changes.entries()) {
      const text = `select * from ${name}`
      await client.ask(parse(text, `before ${n}`), sync)
      await client.ask(bind([], `before ${n}`), execute(), sync)
      await client.ask(query(change))
      const fresh = await pooler.raw(login)
      for (const word of ['begin', 'commit']) {
        const answer = await fresh.ask(parse(text, word), describing('S', word), sync)
        expect(answer.slice(0, 3)).toEqual(['1', 't ', described])
        await fresh.ask(query(word))
      }
    }
  })
})

describe('a statement that was described before the definition changed, on a server that never had it', () => {
  const stale = 'E ERROR 0A000 cached plan must not change result type'
  const login = async (): Promise<{ pooler: TestPooler; database: TestDatabase; client: RawClient }> => {
    const database = await createDatabase()
    const pooler = await startPooler({ default_pool_size: 1 })
    const client = await pooler.raw({ user, database: database.name })
    await client.ask(query('create table t as select 1 as a; create table log (n int)'))
    const told = await client.ask(parse('select * from t', 's'), describing('S', 's'), sync)
    expect(told).toEqual(['1', 't ', 'T a', 'Z I'])
    return { pooler, database, client }
  }
  /** Through the pooler, which sees it; the server is another one from then on. */
  const change = async (pooler: TestPooler, database: TestDatabase, text: string): Promise<void> => {
    const owner = await pooler.raw({ user, database: database.name })
    expect((await owner.ask(query(text))).join()).not.toContain('E ')
    await owner.end()
    pooler.pooler.admin.reconnect(undefined)
    await pooler.settles(async () => (await pooler.show('servers')).length === 0)
  }
  const run = [bind([], 's'), execute()]
  const plain = (text: string): Buffer => Buffer.concat([parse(text), bind(), execute()])

  test.each([
    ['a column more', 'alter table t add b text default 7', 'D 1|7'],
    ['another type', 'alter table t alter a type text', 'D 1'],
    ['another type modifier', 'alter table t alter a type numeric(4, 1)', 'D 1.0'],
    ['another name', 'alter table t rename a to z', 'D 1'],
  ])('%s: is refused in words of PostgreSQL, and the client can prepare it again', async (_what, text, row) => {
    const { pooler, database, client } = await login()
    await using _ = pooler
    await using __ = database
    await change(pooler, database, text)
    for (let round = 0; round < 3; round++) expect(await client.ask(...run, sync)).toEqual([stale, 'Z I'])
    const again = await client.ask(close('S', 's'), parse('select * from t', 's'), describing('S', 's'), ...run, sync)
    expect(again).toEqual(['3', '1', 't ', expect.stringMatching(/^T [az]/), '2', row, 'C SELECT 1', 'Z I'])
    expect(await client.ask(...run, sync)).toEqual(['2', row, 'C SELECT 1', 'Z I'])
  })

  test.each([
    ['nothing that matters', 'alter table t set (fillfactor = 90)'],
    ['a table that is made again', 'drop table t; create table t as select 1 as a'],
  ])('%s has changed: it goes on', async (_what, text) => {
    const { pooler, database, client } = await login()
    await using _ = pooler
    await using __ = database
    await change(pooler, database, text)
    for (let round = 0; round < 3; round++) {
      expect(await client.ask(...run, sync)).toEqual(['2', 'D 1', 'C SELECT 1', 'Z I'])
    }
    expect(await client.ask(describing('S', 's'), ...run, sync)).toEqual(['t ', 'T a', '2', 'D 1', 'C SELECT 1', 'Z I'])
  })

  test('what is gone is told as PostgreSQL tells it', async () => {
    const { pooler, database, client } = await login()
    await using _ = pooler
    await using __ = database
    await change(pooler, database, 'drop table t')
    for (let round = 0; round < 2; round++) {
      expect(await client.ask(...run, sync)).toEqual(['E ERROR 42P01 relation "t" does not exist', 'Z I'])
    }
  })

  test('a client that asks for a Describe of the portal gets the rows it is told of', async () => {
    const { pooler, database, client } = await login()
    await using _ = pooler
    await using __ = database
    await change(pooler, database, 'alter table t add b int default 2')
    for (let round = 0; round < 3; round++) {
      const answer = await client.ask(bind([], 's'), describing('P'), execute(), sync)
      expect(answer).toEqual(['2', 'T a|b', 'D 1|2', 'C SELECT 1', 'Z I'])
    }
  })

  test('nothing of a batch in which it is refused is carried out; what comes before and behind is', async () => {
    const { pooler, database, client } = await login()
    await using _ = pooler
    await using __ = database
    await change(pooler, database, 'alter table t add b int default 2')
    const insert = (n: number): Buffer => plain(`insert into log values (${n})`)
    const bytes = Buffer.concat([
      insert(1),
      sync,
      insert(2),
      ...run,
      insert(3),
      sync,
      insert(4),
      sync,
      query('begin'),
      ...run,
      sync,
      query('rollback'),
      plain('select array_agg(n order by n) as n from log'),
      sync,
    ])
    const answer = [
      ...['1', '2', 'C INSERT 0 1', 'Z I'],
      ...['1', '2', 'C INSERT 0 1', stale, 'Z I'],
      ...['1', '2', 'C INSERT 0 1', 'Z I'],
      ...['C BEGIN', 'Z T', stale, 'Z E', 'C ROLLBACK', 'Z I'],
      ...['1', '2', 'D {1,4}', 'C SELECT 1', 'Z I'],
    ]
    client.send(bytes)
    expect(await client.answer(7)).toEqual(answer)
    const step = 7 // each place in turn would take long: every seventh, and all around the Bind that is refused
    for (let cut = 1; cut < bytes.length; cut += cut > 120 && cut < 200 ? 1 : step) {
      await client.ask(query('truncate log'))
      client.send(bytes.subarray(0, cut))
      for (let n = 0; n < 3; n++) await turn() // the pooler reads it: it runs in this process
      client.send(bytes.subarray(cut))
      expect(await client.answer(7), `cut at ${cut}`).toEqual(answer)
    }
    expect(client.unread).toEqual([])
  })

  test('rows that would come before the Describe are refused, where the plan has gone stale, too', async () => {
    const { pooler, database, client } = await login()
    await using _ = pooler
    await using __ = database
    await ask('alter table t add b int default 2', { database: database.name })
    const answer = await client.ask(...run, bind([], 's'), describing('P'), execute(), sync)
    expect(answer).toEqual([stale, 'Z I'])
  })

  test('a Describe that comes to nothing tells nothing', async () => {
    const { pooler, database, client } = await login()
    await using _ = pooler
    await using __ = database
    await change(pooler, database, 'alter table t add b int default 2')
    await client.ask(query('begin'))
    await client.ask(query('select 1/0'))
    const skipped = await client.ask(bind([], 's'), describing('P'), execute(), sync)
    expect(skipped).toEqual([expect.stringMatching(/^E ERROR 25P02/), 'Z E'])
    await client.ask(query('rollback'))
    expect(await client.ask(...run, sync)).toEqual([stale, 'Z I'])
  })

  test('a Describe of the portal counts, whatever chunk it comes in, and so do those of others not', async () => {
    const { pooler, database, client } = await login()
    await using _ = pooler
    await using __ = database
    await client.ask(close('S', 's'), parse('select * from t', 's'), parse('select 1 as x', 'other'), sync)
    client.send(bind([], 's'))
    for (let n = 0; n < 3; n++) await turn()
    expect(await client.ask(describing('P'), execute(), sync)).toContain('T a')
    await client.ask(bind([], 's'), bind([], 'other', 'p'), describing('P', 'p'), execute(), sync)
    await change(pooler, database, 'alter table t add b int default 2')
    expect(await client.ask(...run, sync)).toEqual([stale, 'Z I'])
    expect(await client.ask(bind([], 'other'), execute(), sync)).toEqual(['2', 'D 1', 'C SELECT 1', 'Z I'])
  })

  test('many clients at once, on few servers: each is refused, or gets rows of the type it was told', async () => {
    await using database = await createDatabase()
    await using pooler = await startPooler({ default_pool_size: 3, max_prepared_statements: 3 })
    const owner = await pooler.raw({ user, database: database.name })
    await owner.ask(query('create table t as select 1 as a'))
    let isOver = false
    let refused = 0
    const told: string[] = Array.from({ length: 12 }, () => '')
    const work = told.map(async (_, n) => {
      const client = await pooler.raw({ user, database: database.name })
      for (let round = 0; !isOver; round++) {
        const name = `s${n}`
        if (told[n] === '') {
          const answer = await client.ask(parse(`select *, ${n % 5} as mine from t`, name), describing('S', name), sync)
          if (answer.includes(stale)) {
            await client.ask(close('S', name), sync) // the server had its text from before; next time it has not
            continue
          }
          expect(answer).toEqual(['1', 't ', expect.stringMatching(/^T a.*\|mine$/), 'Z I'])
          told[n] = answer[2]!
        }
        const answer = await client.ask(plain(`select ${round}`), bind([], name), execute(), sync)
        expect(answer.slice(0, 4)).toEqual(['1', '2', `D ${round}`, 'C SELECT 1'])
        if (answer[4] === stale) {
          refused++
          told[n] = ''
          expect(answer).toHaveLength(6)
          expect(await client.ask(close('S', name), sync)).toEqual(['3', 'Z I'])
        } else {
          const row = answer[5]!
          expect(row.endsWith(`|${n % 5}`)).toBe(true)
          expect(row.split('|')).toHaveLength(told[n]!.split('|').length)
        }
      }
      expect(client.unread).toEqual([])
    })
    const all = Promise.all(work)
    const allKnow = (column: string): Promise<unknown> =>
      Promise.race([all, pooler.settles(() => told.every((columns) => columns.includes(column)))])
    await allKnow('a')
    for (let column = 0; column < 8; column++) {
      expect(await owner.ask(query(`alter table t add c${column} int default ${column}`))).toContain('C ALTER TABLE')
      await allKnow(`c${column}`)
    }
    isOver = true
    await all
    expect(refused).toBeGreaterThan(20)
  })
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
