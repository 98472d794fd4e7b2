// One text, several meanings: a statement is shared only where its names stand for the same tables.

import { describe, expect, test } from 'vitest'
import { startPooler, type TestPooler } from '../harness/pooler.js'
import { query as ask, createDatabase, type TestDatabase } from '../harness/postgres.js'
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
const text = 'select k, v from t where k = $1'

/** Tables of one name, with other types: public.t, other.t. A neighbour has prepared the text for public.t, on each server. */
async function setUp(servers = 1): Promise<{
  pooler: TestPooler
  database: TestDatabase
  client: RawClient
  neighbour: RawClient
  [Symbol.asyncDispose](): Promise<void>
}> {
  const database = await createDatabase()
  await ask(
    `grant all on schema public to public; grant create, temp on database "${database.name}" to public; set role ${user};
     create table t (k text, v text); insert into t values ('1', 'public');
     create schema other; create table other.t (k int, v int); insert into other.t values (1, 42);
     grant all on schema other to public; grant all on t, other.t to public`,
    { database: database.name },
  )
  const pooler = await startPooler({ default_pool_size: servers })
  const login = { user, database: database.name }
  const [client, neighbour] = [await pooler.raw(login), await pooler.raw(login)]
  await neighbour.ask(parse(text, 'n'), describing('S', 'n'), sync)
  return {
    pooler,
    database,
    client,
    neighbour,
    async [Symbol.asyncDispose]() {
      await pooler[Symbol.asyncDispose]()
      await database[Symbol.asyncDispose]()
    },
  }
}

const use = (name: string): Buffer[] => [bind(['1'], name), execute()]
const mine = ['1', 't 23', 'T k|v', '2', 'D 1|42', 'C SELECT 1']
/** Without what is reported aside. */
const without = (lines: string[]): string[] => lines.filter((line) => !line.startsWith('S '))
const theirs = ['2', 'D 1|public', 'C SELECT 1', 'Z I']

describe.each([
  ['SET LOCAL search_path', 'set local search_path = other'],
  ['SET LOCAL SCHEMA, behind a comment', "/* tenant */ set local schema 'other'"],
  ['a temporary table', 'create temp table t on commit drop as select 1 as k, 42 as v'],
  ['a table of its own', 'alter table t rename to u;; alter table other.t set schema public'],
  ['an altered table', 'alter table t alter k type int using k::int, alter v type int using 42'],
  [
    'a DO that makes a temporary table',
    'do $$ begin create temp table t on commit drop as select 1 as k, 42 as v; end $$',
  ],
  ['search_path set by a function', "select set_config('search_path', 'other', true)"],
  ['search_path set by a qualified function', "SELECT pg_catalog.set_config ('search_path', 'other', true)"],
])('within a transaction with %s', (_what, change) => {
  test('a Parse of a text that others have means the client’s own tables', async () => {
    await using all = await setUp()
    const { client, neighbour } = all
    await client.ask(query('begin'))
    for (const statement of change.split(';; ')) await client.ask(query(statement))
    const answer = await client.ask(parse(text, 'c'), describing('S', 'c'), ...use('c'), sync)
    expect(without(answer)).toEqual([...mine, 'Z T'])
    expect(await client.ask(...use('c'), sync)).toEqual([...mine.slice(3), 'Z T'])
    await client.ask(query('rollback'))
    expect(await neighbour.ask(...use('n'), sync)).toEqual(theirs)
    const late = await all.pooler.raw({ user, database: all.database.name })
    expect(await late.ask(parse(text, 'l'), ...use('l'), sync)).toEqual(['1', ...theirs])
  })

  test('the same in one query with BEGIN', async () => {
    await using all = await setUp()
    const { client, neighbour } = all
    client.send(
      query(`begin; ${change.replaceAll(';;', ';')}`),
      parse(text, 'c'),
      describing('S', 'c'),
      ...use('c'),
      sync,
    )
    const answer = await client.answer(2)
    expect(without(answer).slice(-7)).toEqual([...mine, 'Z T'])
    await client.ask(query('rollback'))
    expect(await neighbour.ask(...use('n'), sync)).toEqual(theirs)
  })

  test('the same before the answer to it has come', async () => {
    await using all = await setUp()
    const { client, neighbour } = all
    const changes = change.split(';; ').map((statement) => query(statement))
    client.send(query('begin'), ...changes, parse(text, 'c'), describing('S', 'c'), ...use('c'), sync)
    const answer = await client.answer(changes.length + 2)
    expect(without(answer).slice(-7)).toEqual([...mine, 'Z T'])
    await client.ask(query('rollback'))
    expect(await neighbour.ask(...use('n'), sync)).toEqual(theirs)
  })

  test('what is prepared in passing there is not taken by others', async () => {
    await using all = await setUp()
    const { client, neighbour, pooler } = all
    await client.ask(parse(`${text} and true`, 'c'), sync)
    pooler.pooler.admin.reconnect(undefined)
    await pooler.settles(async () => (await pooler.show('servers')).length === 0)
    await client.ask(query('begin'))
    for (const statement of change.split(';; ')) await client.ask(query(statement))
    await client.ask(...use('c'), sync) // whatever becomes of it
    await client.ask(query('rollback'))
    expect(await neighbour.ask(parse(`${text} and true`, 'm'), describing('S', 'm'), ...use('m'), sync)).toEqual([
      ...['1', 't 25', 'T k|v'],
      ...theirs,
    ])
    expect(await client.ask(...use('c'), sync)).toEqual(theirs)
  })
})

test('amid one batch, too', async () => {
  await using all = await setUp()
  const { client, neighbour } = all
  const begin = [parse('begin'), bind(), execute(), parse('set local search_path = other'), bind(), execute()]
  const answer = await client.ask(...begin, parse(text, 'c'), describing('S', 'c'), ...use('c'), sync)
  expect(without(answer)).toEqual(['1', '2', 'C BEGIN', '1', '2', 'C SET', ...mine, 'Z T'])
  await client.ask(query('rollback'))
  expect(await neighbour.ask(...use('n'), sync)).toEqual(theirs)
})

test('by a prepared statement that sets it', async () => {
  await using all = await setUp()
  const { client, neighbour } = all
  await client.ask(parse('set local search_path = other', 'path'), sync)
  for (let round = 0; round < 3; round++) {
    await client.ask(query('begin'))
    const answer = await client.ask(
      bind([], 'path'),
      execute(),
      parse(text, `c${round}`),
      describing('S', `c${round}`),
      ...use(`c${round}`),
      sync,
    )
    expect(without(answer)).toEqual(['2', 'C SET', ...mine, 'Z T'])
    await client.ask(query('commit'))
    expect(await neighbour.ask(...use('n'), sync)).toEqual(theirs)
  }
})

test('a client with a temporary table of its own (session_state = track) means that', async () => {
  await using all = await setUp()
  await using pooler = await startPooler({ default_pool_size: 1, session_state: 'track' })
  const login = { user, database: all.database.name }
  const neighbour = await pooler.raw(login)
  await neighbour.ask(parse(text, 'n'), describing('S', 'n'), sync)
  const client = await pooler.raw(login)
  await client.ask(query('create temp table t as select 1 as k, 42 as v'))
  expect(await client.ask(parse(text, 'c'), describing('S', 'c'), ...use('c'), sync)).toEqual([...mine, 'Z I'])
  await client.end()
  expect(await neighbour.ask(...use('n'), sync)).toEqual(theirs)
})

test('a transaction without any of that shares, as ever', async () => {
  await using all = await setUp()
  const { client } = all
  await client.ask(query('begin'))
  await client.ask(query("insert into t values ('2', 'x')"))
  await client.ask(extended("select 'set search_path; create'"), sync)
  await client.ask(query('set local statement_timeout = 1000'))
  expect(await client.ask(parse(text, 'c'), ...use('c'), sync)).toEqual(['1', ...theirs.slice(0, 3), 'Z T'])
  await client.ask(query('rollback'))
  const texts = await client.ask(query(`select count(*) from pg_prepared_statements where statement like 'select k%'`))
  expect(texts).toContain('D 1')
})
