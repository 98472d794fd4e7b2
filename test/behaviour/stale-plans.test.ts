// Statements whose tables have changed since they were prepared: made anew where no client is misled, and refused where one would be.

import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { startPooler, type TestPooler } from '../harness/pooler.js'
import { query as ask, createDatabase, type TestDatabase } from '../harness/postgres.js'
import {
  bind,
  close,
  describe as describing,
  execute,
  parse,
  query,
  type RawClient,
  sync,
} from '../harness/raw-client.js'

const user = 'trust_user'

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
