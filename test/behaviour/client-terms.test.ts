// What a setting says holds from then on, for clients that were there before as well; or they are closed with a word.

import { describe, expect, test } from 'vitest'
import { startPooler, type TestPooler } from '../harness/pooler.js'
import {
  bind,
  describe as describing,
  execute,
  extended,
  parse,
  query,
  type RawClient,
  sync,
  terminate,
} from '../harness/raw-client.js'

const user = 'trust_user'
const changed = 'E FATAL 08P01 database configuration changed'
const unknown = (name: string): string => `E ERROR 26000 prepared statement "${name}" does not exist`
const set = (pooler: TestPooler, name: string, value: string): Promise<unknown> => pooler.pooler.admin.set(name, value)

/** All that a client is told before it is closed. */
const lastWords = async (client: RawClient): Promise<readonly string[]> => {
  await client.ended
  return client.unread
}

/** What a client finds of those before it. */
const leftFor = (client: RawClient): Promise<string[]> =>
  client.ask(
    query(`select current_setting('work_mem') as w, to_regclass('mine') as m,
      (select count(*) from pg_listening_channels()) as l,
      (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as a,
      (select count(*) from pg_prepared_statements where statement like '%secret%' and name <> '') as p`),
  )
const nothing = ['T w|m|l|a|p', 'D 4MB|(null)|0|0|0', 'C SELECT 1', 'Z I']

describe('pool_mode from session to another', () => {
  test('ends clients that have a server, between two transactions, and what they had on it goes', async () => {
    await using pooler = await startPooler({ pool_mode: 'session', default_pool_size: 1, server_reset_query: '' })
    const owner = await pooler.raw({ user })
    await owner.ask(parse("select 'secret' as x", 's'), sync)
    await owner.ask(query("set work_mem = '7MB'; create temp table mine as select 1 as a"))
    await owner.ask(query('begin'))
    const next = await pooler.raw({ user }) // waits for the server
    const asked = next.ask(bind([], 's'), execute(), sync)
    await set(pooler, 'pool_mode', 'transaction')
    // Its transaction is carried out.
    expect(await owner.ask(bind([], 's'), execute(), sync)).toEqual(['2', 'D secret', 'C SELECT 1', 'Z T'])
    owner.send(query('commit'))
    expect(await lastWords(owner)).toEqual(['C COMMIT', 'Z I', changed])
    expect(await asked).toEqual([unknown('s'), 'Z I'])
    expect(await next.ask(query('show work_mem'))).toContain('D 4MB')
    expect(
      await next.ask(query("select count(*) from pg_prepared_statements where statement like '%secret%'")),
    ).toContain('D 0')
    expect((await next.ask(query('select * from mine')))[0]).toMatch(/^E ERROR 42P01/)
  })

  test.each(['FIN', 'Terminate', 'a reset', 'KILL_CLIENT'])(
    'leaves nothing of a client that goes by %s before it is told',
    async (how) => {
      await using pooler = await startPooler({ pool_mode: 'session', default_pool_size: 1 })
      const client = await pooler.raw({ user })
      await client.ask(query("set work_mem = '7MB'"))
      await client.ask(query('create temp table mine as select 1 as a; listen mine; select pg_advisory_lock(1)'))
      await client.ask(parse("select 'secret' as x", 's'), sync)
      await client.ask(query('begin'))
      await set(pooler, 'pool_mode', 'transaction')
      if (how === 'FIN') client.stream.end()
      else if (how === 'Terminate') client.send(terminate)
      else if (how === 'a reset') client.vanish()
      else {
        const [row] = await pooler.show('clients')
        pooler.pooler.admin.killClient(Number(row!.id))
      }
      await client.ended
      expect(await leftFor(await pooler.raw({ user }))).toEqual(nothing)
    },
  )

  test('the same for one that had its server in transaction mode before', async () => {
    await using pooler = await startPooler({ default_pool_size: 1 })
    const client = await pooler.raw({ user })
    await client.ask(query('begin'))
    await set(pooler, 'pool_mode', 'session')
    await client.ask(query('commit'))
    await client.ask(query("set work_mem = '7MB'; create temp table mine as select 1 as a; listen mine"))
    await set(pooler, 'pool_mode', 'transaction')
    expect(await lastWords(client)).toEqual([changed])
    expect(await leftFor(await pooler.raw({ user }))).toEqual(nothing)
  })

  test('ends clients that are idle on their server at once', async () => {
    await using pooler = await startPooler({ pool_mode: 'session', default_pool_size: 2 })
    const [idle, fresh] = [await pooler.raw({ user }), await pooler.raw({ user })]
    await idle.ask(query('select 1'))
    await set(pooler, 'pool_mode', 'transaction')
    expect(await lastWords(idle)).toEqual([changed])
    // One that has not had a server yet goes on, by the new rules.
    const other = await pooler.raw({ user })
    for (const client of [fresh, other]) {
      expect(await client.ask(parse("select 'one' as x", 'same'), bind([], 'same'), execute(), sync)).toContain('D one')
    }
    expect((await pooler.show('servers')).length).toBe(1)
    expect(await fresh.ask(query('begin'))).toEqual(['C BEGIN', 'Z T'])
    expect(await other.ask(bind([], 'same'), execute(), sync)).toContain('D one')
    await fresh.ask(query('rollback'))
  })

  test('to statement refuses transaction blocks of clients from before', async () => {
    await using pooler = await startPooler({ pool_mode: 'transaction' })
    const [idle, busy] = [await pooler.raw({ user }), await pooler.raw({ user })]
    await busy.ask(query('begin'))
    await set(pooler, 'pool_mode', 'statement')
    expect(await idle.ask(query('select 1 as x'))).toEqual(['T x', 'D 1', 'C SELECT 1', 'Z I'])
    for (const [client, bytes] of [
      [idle, query('begin')],
      [busy, query('select 2 as x')],
    ] as const) {
      client.send(bytes)
      const words = await lastWords(client)
      expect(words.at(-1)).toMatch(/^E FATAL 08P01 transaction blocks not allowed/)
      expect(words).not.toContain('Z T')
    }
  })
})

test('pool_mode from transaction to session: names and what they stand for stay', async () => {
  await using pooler = await startPooler({ pool_mode: 'transaction', default_pool_size: 2 })
  const [client, other] = [await pooler.raw({ user }), await pooler.raw({ user })]
  await client.ask(parse("select 'one' as x", 's'), describing('S', 's'), sync)
  await set(pooler, 'pool_mode', 'session')
  for (let round = 0; round < 2; round++) {
    expect(await client.ask(bind([], 's'), execute(), sync)).toEqual(['2', 'D one', 'C SELECT 1', 'Z I'])
    expect(await other.ask(bind([], 's'), sync)).toEqual([unknown('s'), 'Z I'])
  }
  await client.ask(query('create temp table mine as select 1 as a'))
  expect(await client.ask(query('select a from mine'))).toEqual(['T a', 'D 1', 'C SELECT 1', 'Z I'])
  expect((await pooler.show('servers')).length).toBe(2)
})

describe('max_prepared_statements', () => {
  test('less or more holds for clients from before', async () => {
    await using pooler = await startPooler({ default_pool_size: 1, max_prepared_statements: 10 })
    const client = await pooler.raw({ user })
    const names = ['a', 'b', 'c', 'd']
    for (const name of names) await client.ask(parse(`select '${name}' as x`, name), sync)
    const count = async (): Promise<string> =>
      (await client.ask(query('select count(*) from pg_prepared_statements')))[1]!
    expect(await count()).toBe('D 4')
    await set(pooler, 'max_prepared_statements', '2')
    for (const name of names) expect(await client.ask(bind([], name), execute(), sync)).toContain(`D ${name}`)
    await client.ask(parse('select 5', 'e'), sync)
    expect(await count()).toBe('D 2')
  })

  test('from 0: names are each client’s own from then on', async () => {
    await using pooler = await startPooler({ default_pool_size: 1, max_prepared_statements: 0 })
    const [one, other] = [await pooler.raw({ user }), await pooler.raw({ user })]
    await one.ask(parse("select 'one' as x", 's'), sync)
    await one.ask(query('begin'))
    await set(pooler, 'max_prepared_statements', '10')
    // Not amid a transaction.
    expect(await one.ask(bind([], 's'), execute(), sync)).toContain('D one')
    await one.ask(query('commit'))
    for (const client of [one, other]) expect(await client.ask(bind([], 's'), sync)).toEqual([unknown('s'), 'Z I'])
    await one.ask(parse("select 'mine' as x", 's'), sync)
    expect(await other.ask(parse("select 'theirs' as x", 's'), sync)).toEqual(['1', 'Z I'])
    expect(await one.ask(bind([], 's'), execute(), sync)).toContain('D mine')
  })

  test('to 0: those who have names are closed, the others go on', async () => {
    await using pooler = await startPooler({ default_pool_size: 2, max_prepared_statements: 10 })
    const [none, idle, busy] = [await pooler.raw({ user }), await pooler.raw({ user }), await pooler.raw({ user })]
    for (const client of [idle, busy]) await client.ask(parse("select 'one' as x", 's'), sync)
    await busy.ask(query('begin'))
    await set(pooler, 'max_prepared_statements', '0')
    expect(await lastWords(idle)).toEqual([changed])
    expect(await busy.ask(bind([], 's'), execute(), sync)).toContain('D one')
    busy.send(query('commit'))
    expect(await lastWords(busy)).toEqual(['C COMMIT', 'Z I', changed])
    expect(await none.ask(extended("select 'x' as x"), sync)).toContain('D x')
  })
})

test('what a client has set stays its own, however often pool_mode and session_state change', async () => {
  await using pooler = await startPooler({ track_extra_parameters: 'app.tenant', default_pool_size: 1 })
  const client = await pooler.raw({ user, parameters: { 'app.tenant': 'mine' } })
  const other = await pooler.raw({ user })
  const tenant = query("select current_setting('app.tenant', true) as x")
  const changes = [
    ['session_state', 'track'],
    ['pool_mode', 'session'],
    ['pool_mode', 'transaction'],
    ['pool_mode', 'session'],
    ['session_state', 'warn'],
    ['session_state', 'track'],
    ['pool_mode', 'transaction'],
  ] as const
  let mode = ''
  for (const [name, value] of changes) {
    await set(pooler, name, value)
    if (name === 'pool_mode') mode = value
    if (mode === 'session') continue // with a server of its own, it would end with that
    expect(await client.ask(tenant)).toContain('D mine')
    expect(await other.ask(tenant)).not.toContain('D mine')
  }
  await client.ask(query("set work_mem = '7MB'"))
  for (const [name, value] of [
    ['pool_mode', 'session'],
    ['session_state', 'warn'],
  ] as const)
    await set(pooler, name, value)
  // What it has cannot be looked after any more.
  await set(pooler, 'pool_mode', 'transaction')
  expect(await lastWords(client)).toEqual([changed])
})

test('max_packet_size holds for clients from before', async () => {
  await using pooler = await startPooler({ pool_mode: 'transaction' })
  const one = await pooler.raw({ user })
  const long = `select '${'x'.repeat(5000)}'`
  expect((await one.ask(query(long))).at(-1)).toBe('Z I')
  await set(pooler, 'max_packet_size', '4000')
  one.send(query(long))
  expect((await lastWords(one))[0]).toMatch(/^E FATAL 08P01/)
})

describe('session_state', () => {
  test('track: from then on, for clients from before', async () => {
    await using pooler = await startPooler({ pool_mode: 'transaction', default_pool_size: 1 })
    const [one, other] = [await pooler.raw({ user }), await pooler.raw({ user })]
    await one.ask(query('select 1'))
    await set(pooler, 'session_state', 'track')
    await one.ask(query("set work_mem = '7MB'"))
    expect(await other.ask(query('show work_mem'))).toContain('D 4MB')
    expect(await one.ask(query('show work_mem'))).toContain('D 7MB')
  })

  test('from track: those who have something are closed', async () => {
    await using pooler = await startPooler({ pool_mode: 'transaction', default_pool_size: 2, session_state: 'track' })
    const [none, carried, pinned] = [await pooler.raw({ user }), await pooler.raw({ user }), await pooler.raw({ user })]
    await carried.ask(query("set work_mem = '7MB'"))
    await pinned.ask(query('create temp table mine as select 1 as a'))
    await pooler.until('SHOW POOLS', (row) => row.sv_active === 1)
    await set(pooler, 'session_state', 'allow')
    for (const client of [carried, pinned]) expect(await lastWords(client)).toEqual([changed])
    await pooler.until('SHOW POOLS', (row) => row.sv_active === 0)
    expect(await none.ask(query('show work_mem'))).toContain('D 4MB')
    expect((await none.ask(query('select * from mine')))[0]).toMatch(/^E ERROR 42P01/)
  })
})
