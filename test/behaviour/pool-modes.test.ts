// When a server goes from one client to the next: after a transaction, a statement, or with the client.

import { describe, expect, test } from 'vitest'
import { ManualClock } from '../harness/manual-clock.js'
import { startPooler, type TestClient, type TestPooler } from '../harness/pooler.js'
import { postgres } from '../harness/postgres.js'
import { extended, parse, query, sync } from '../harness/raw-client.js'

const pidOf = async (client: TestClient): Promise<number> =>
  (await client.query<{ pid: number }>('select pg_backend_pid() as pid')).rows[0]!.pid

/** One row of SHOW POOLS: that of the clients' own pool. */
async function pool(pooler: TestPooler) {
  const rows = await pooler.show('pools')
  return rows.find((row) => row.database === 'postgres')!
}

describe('transaction mode', () => {
  test('a server is free between transactions, and not within one', async () => {
    await using pooler = await startPooler({ default_pool_size: 1 })
    const [one, other] = [await pooler.connect(), await pooler.connect()]
    expect(await pidOf(one)).toBe(await pidOf(other))
    await one.query('begin')
    expect(await pool(pooler)).toMatchObject({ cl_active: 2, cl_waiting: 0, sv_active: 1, sv_idle: 0 })
    const waiting = other.query('select 1 as one')
    await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 1 && row.cl_active === 1)
    await one.query('select 1')
    expect(await pool(pooler)).toMatchObject({ cl_waiting: 1, sv_active: 1 })
    await one.query('commit')
    expect((await waiting).rows).toEqual([{ one: 1 }])
    await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 0 && row.sv_idle === 1)
  })

  test('clients are served in the order they came in', async () => {
    await using pooler = await startPooler({ default_pool_size: 1 })
    const holder = await pooler.connect()
    await holder.query('begin')
    const order: number[] = []
    const answers: Promise<unknown>[] = []
    for (let n = 0; n < 8; n++) {
      const client = await pooler.connect()
      answers.push(client.query('select 1').then(() => order.push(n)))
      await pooler.until('SHOW POOLS', (row) => row.cl_waiting === n + 1)
    }
    await holder.query('commit')
    await Promise.all(answers)
    expect(order).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
  })

  test('a client that is gone does not keep those behind it waiting', async () => {
    await using pooler = await startPooler({ default_pool_size: 1 })
    const holder = await pooler.connect()
    await holder.query('begin')
    const [first, second, third] = [await pooler.raw(), await pooler.raw(), await pooler.raw()]
    for (const [n, client] of [first, second, third].entries()) {
      client.send(query(`select ${n} as x`))
      await pooler.until('SHOW POOLS', (row) => row.cl_waiting === n + 1)
    }
    first.vanish()
    second.vanish()
    await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 1)
    await holder.query('commit')
    expect(await third.answer()).toEqual(['T x', 'D 2', 'C SELECT 1', 'Z I'])
  })

  test('nothing is left of a transaction whose client has gone', async () => {
    await using pooler = await startPooler({ default_pool_size: 1 })
    const client = await pooler.raw()
    await client.ask(query('begin; create temporary table left_over (n int)'))
    await client.ask(query('select 1 / 0'))
    client.vanish()
    const next = await pooler.connect()
    await expect(next.query('select * from left_over')).rejects.toMatchObject({ code: '42P01' })
  })
})

describe('session mode', () => {
  test('a client keeps its server until it leaves, and the next finds no trace of it', async () => {
    await using pooler = await startPooler({ pool_mode: 'session', default_pool_size: 1 })
    const first = await pooler.connect()
    const pid = await pidOf(first)
    await first.query("set work_mem = '7MB'; create temporary table mine (n int); prepare p as select 1")
    await first.query('select pg_advisory_lock(1)')
    expect(await pool(pooler)).toMatchObject({ cl_active: 1, sv_active: 1, sv_idle: 0 })
    const next = await pooler.connect()
    const waiting = pidOf(next)
    await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 1)
    await first.end()
    expect(await waiting).toBe(pid)
    expect((await next.query('show work_mem')).rows).not.toEqual([{ work_mem: '7MB' }])
    await expect(next.query('select * from mine')).rejects.toMatchObject({ code: '42P01' })
    await expect(next.query('execute p')).rejects.toMatchObject({ code: '26000' })
    expect(
      (await next.query("select 1 from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()")).rows,
    ).toEqual([])
  })

  test('what is to be run in place of DISCARD ALL is run', async () => {
    await using pooler = await startPooler({
      pool_mode: 'session',
      default_pool_size: 1,
      server_reset_query: "set work_mem = '3MB'",
    })
    for (let n = 0; n < 3; n++) {
      const client = await pooler.connect()
      if (n > 0) expect((await client.query('show work_mem')).rows).toEqual([{ work_mem: '3MB' }])
      await client.query("set work_mem = '9MB'")
      await client.end()
    }
  })

  test('a server whose reset fails is not used again', async () => {
    await using pooler = await startPooler({
      pool_mode: 'session',
      default_pool_size: 1,
      server_reset_query: 'select 1 / 0',
    })
    const first = await pooler.connect()
    const pid = await pidOf(first)
    await first.end()
    expect(await pidOf(await pooler.connect())).not.toBe(pid)
    expect(pooler.logged.join('\n')).toContain('reset query failed: division by zero')
  })

  test('a client that leaves within a transaction, or in its midst, is cleaned up after', async () => {
    await using pooler = await startPooler({ pool_mode: 'session', default_pool_size: 1 })
    for (const last of ['begin', "begin; set work_mem = '7MB'", 'select pg_sleep(10)']) {
      const client = await pooler.raw()
      client.send(query("set work_mem = '7MB'"), query(last))
      await client.answer()
      client.vanish()
      const next = await pooler.connect()
      expect((await next.query('show work_mem')).rows).toEqual([{ work_mem: '4MB' }])
      await next.end()
    }
  })

  test('prepared statements are the client’s own affair', async () => {
    await using pooler = await startPooler({ pool_mode: 'session', default_pool_size: 2 })
    const [one, other] = [await pooler.raw(), await pooler.raw()]
    for (const client of [one, other]) {
      await client.ask(parse('select 1', 'theirs'), sync)
      const names = await client.ask(query('select name as x from pg_prepared_statements'))
      expect(names).toEqual(['T x', 'D theirs', 'C SELECT 1', 'Z I'])
    }
  })
})

describe('statement mode', () => {
  const refusal = 'transaction blocks not allowed in statement pooling mode'

  test('a transaction block ends the client, and is not carried out', async () => {
    await using pooler = await startPooler({ pool_mode: 'statement', default_pool_size: 1 })
    const client = await pooler.connect()
    await client.query('create table if not exists statement_mode (n int); truncate statement_mode')
    await expect(client.query('begin; insert into statement_mode values (1)')).rejects.toMatchObject({
      code: '08P01',
      message: refusal,
    })
    await client.lost
    const next = await pooler.connect()
    expect((await next.query('table statement_mode')).rows).toEqual([])
    await next.query('drop table statement_mode')
    expect(await pool(pooler)).toMatchObject({ cl_active: 1, sv_active: 0, sv_idle: 1 })
  })

  test.each([
    ['queries', (text: string) => query(text)],
    ['batches', (text: string) => Buffer.concat([extended(text), sync])],
  ])('a transaction block in a pipeline of %s ends the client where it is seen', async (_what, say) => {
    await using pooler = await startPooler({ pool_mode: 'statement', default_pool_size: 1 })
    const client = await pooler.raw()
    client.send(...['select 1 as x', 'begin', 'select 2 as x', 'commit', 'select 3 as x'].map(say))
    const heard = await client.toTheEnd()
    expect(heard.at(-1)).toBe(`E FATAL 08P01 ${refusal}`)
    expect(heard.filter((line) => /^[DZ]/.test(line))).toEqual(['D 1', 'Z I'])
    expect(await (await pooler.raw()).ask(query('select 4 as x'))).toContain('D 4')
  })

  test('several statements, each on its own, are fine', async () => {
    await using pooler = await startPooler({ pool_mode: 'statement', default_pool_size: 1 })
    const client = await pooler.connect()
    const results = (await client.query('select 1 as n; select 2 as n')) as unknown as { rows: unknown[] }[]
    expect(results.map((result) => result.rows)).toEqual([[{ n: 1 }], [{ n: 2 }]])
    await expect(client.query('select 1 / 0')).rejects.toMatchObject({ code: '22012' })
    expect((await client.query('select 3 as n')).rows).toEqual([{ n: 3 }])
  })
})

test('a database and a user may have a mode of their own; the user has the last word', async () => {
  const { primary } = postgres()
  await using pooler = await startPooler(
    { pool_mode: 'transaction' },
    {
      databases: { sessions: { ...primary, dbname: 'postgres', pool_mode: 'session' }, '*': primary },
      users: { md5_user: { pool_mode: 'statement' } },
    },
  )
  await pooler.connect()
  await pooler.connect({ database: 'sessions' })
  await pooler.connect({ database: 'sessions', user: 'md5_user' })
  const modes = (await pooler.show('pools')).map((row) => [row.database, row.user, row.pool_mode])
  expect(modes).toContainEqual(['postgres', 'postgres', 'transaction'])
  expect(modes).toContainEqual(['sessions', 'postgres', 'session'])
  expect(modes).toContainEqual(['sessions', 'md5_user', 'statement'])
})

test('the time that a client waits, and that servers are given out, is counted', async () => {
  const clock = new ManualClock()
  await using pooler = await startPooler({ default_pool_size: 1 }, { clock })
  const [holder, waiting] = [await pooler.connect(), await pooler.connect()]
  await holder.query('begin')
  const answer = waiting.query('select 1')
  await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 1)
  clock.advance(2.5)
  expect(await pool(pooler)).toMatchObject({ maxwait: 2, maxwait_us: 500_000 })
  await holder.query('commit')
  await answer
  expect(await pool(pooler)).toMatchObject({ maxwait: 0, maxwait_us: 0 })
  const stats = (await pooler.show('stats')).find((row) => row.database === 'postgres')
  expect(stats).toMatchObject({ total_wait_time: 2_500_000, total_server_assignment_count: 2, total_xact_count: 2 })
})
