// What ends a client that takes too long, with pgbouncer's words, and what becomes of its server.

import { describe, expect, test } from 'vitest'
import { commandComplete, FakeBackend, parameterStatus, readyForQuery } from '../harness/fake-backend.js'
import { ManualClock } from '../harness/manual-clock.js'
import { type ConnectOptions, type Settings, startPooler, type TestPooler } from '../harness/pooler.js'
import { query as ask } from '../harness/postgres.js'
import { flush, parse, query, RawClient, startup } from '../harness/raw-client.js'

/** A pooler with one server, whose time is the test's. */
async function start(settings: Settings): Promise<{ pooler: TestPooler; clock: ManualClock } & AsyncDisposable> {
  const clock = new ManualClock()
  const pooler = await startPooler({ default_pool_size: 1, ...settings }, { clock })
  return { pooler, clock, [Symbol.asyncDispose]: () => pooler[Symbol.asyncDispose]() }
}

/** The client has been told this, and nothing else, and is gone. */
async function endsWith(client: RawClient, text: string): Promise<void> {
  expect(await client.toTheEnd()).toEqual([`E FATAL 08P01 ${text}`])
}

/** The one server is free, and the same that it was: or another one. */
async function nextIsServed(pooler: TestPooler): Promise<number> {
  const client = await pooler.connect()
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
  await client.end()
  return rows[0]!.pid
}

describe('while a client waits for a server', () => {
  test.each([
    ['query_wait_timeout', { query_wait_timeout: 120 }, 120, 'query_wait_timeout'],
    ['query_timeout', { query_timeout: 60 }, 60, 'query_timeout'],
    ['query_wait_timeout, not query_timeout', { query_wait_timeout: 30, query_timeout: 60 }, 30, 'query_wait_timeout'],
  ])('%s', async (_name, settings, seconds, text) => {
    await using scene = await start({ query_wait_notify: 0, ...settings })
    const { pooler, clock } = scene
    const [holder, waiting] = [await pooler.raw(), await pooler.raw()]
    await holder.ask(query('begin'))
    waiting.send(query('select 1'))
    await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 1)
    clock.advance(seconds - 0.5)
    expect((await pooler.show('clients')).length).toBe(2)
    clock.advance(1)
    await endsWith(waiting, text)
    expect(await holder.ask(query('commit'))).toEqual(['C COMMIT', 'Z I'])
    await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 0 && row.cl_active === 1 && row.sv_idle === 1)
  })

  test('it is told so after query_wait_notify, once', async () => {
    await using scene = await start({ query_wait_notify: 5 })
    const { pooler, clock } = scene
    const [holder, waiting] = [await pooler.raw(), await pooler.raw()]
    await holder.ask(query('begin'))
    waiting.send(query('select 1 as x'))
    await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 1)
    clock.advance(4.5)
    clock.advance(20)
    await holder.ask(query('commit'))
    expect(await waiting.answer()).toEqual([
      'N NOTICE 00000 No server connection available in postgres backend, client being queued',
      'T x',
      'D 1',
      'C SELECT 1',
      'Z I',
    ])
  })
})

describe('while a client has a server', () => {
  test('query_timeout: the query is cancelled on the server', async () => {
    await using scene = await start({ query_timeout: 60 })
    const { pooler, clock } = scene
    const pid = await nextIsServed(pooler)
    const client = await pooler.raw()
    client.send(query('select pg_sleep(100)'))
    await pooler.until('SHOW POOLS', (row) => row.sv_active === 1)
    clock.advance(61)
    await endsWith(client, 'query timeout')
    expect(await nextIsServed(pooler)).not.toBe(pid)
    await pooler.settles(async () => (await ask(`select 1 from pg_stat_activity where pid = ${pid}`)).length === 0)
  })

  test('query_timeout counts from each query on', async () => {
    await using scene = await start({ query_timeout: 60 })
    const { pooler, clock } = scene
    const client = await pooler.raw()
    for (let n = 0; n < 4; n++) {
      expect(await client.ask(query('begin; select 1 as x; commit'))).toContain('D 1')
      clock.advance(40)
    }
  })

  test('idle_transaction_timeout: what was done is rolled back', async () => {
    await using scene = await start({ idle_transaction_timeout: 10 })
    const { pooler, clock } = scene
    const pid = await nextIsServed(pooler)
    const client = await pooler.raw()
    await client.ask(query('begin; create table never (n int)'))
    clock.advance(9)
    await client.ask(query('select 1')) // which starts the count again
    clock.advance(9)
    expect(client.unread).toEqual([])
    clock.advance(2)
    await endsWith(client, 'idle transaction timeout')
    expect(await nextIsServed(pooler)).toBe(pid)
    expect(await ask("select to_regclass('never') as x")).toEqual([{ x: null }])
  })

  test('idle_transaction_timeout: a batch that no Sync closes is a transaction', async () => {
    await using scene = await start({ idle_transaction_timeout: 10, client_idle_timeout: 5 })
    const { pooler, clock } = scene
    const client = await pooler.raw()
    for (let round = 0; round < 3; round++) {
      clock.advance(4)
      client.send(parse('select 1'), flush)
      expect(await client.line()).toBe('1')
    }
    clock.advance(9)
    expect(client.unread).toEqual([])
    clock.advance(2)
    await endsWith(client, 'idle transaction timeout')
    await nextIsServed(pooler)
  })

  test('transaction_timeout: activity does not help', async () => {
    await using scene = await start({ transaction_timeout: 10, idle_transaction_timeout: 8 })
    const { pooler, clock } = scene
    const client = await pooler.raw()
    await client.ask(query('begin'))
    clock.advance(6)
    await client.ask(query('select 1'))
    clock.advance(6)
    await endsWith(client, 'transaction timeout')
    await nextIsServed(pooler)
  })

  test('transaction_timeout ends a single statement, too', async () => {
    await using scene = await start({ transaction_timeout: 10 })
    const { pooler, clock } = scene
    const client = await pooler.raw()
    client.send(query('select pg_sleep(100)'))
    await pooler.until('SHOW POOLS', (row) => row.sv_active === 1)
    clock.advance(11)
    await endsWith(client, 'transaction timeout')
    await nextIsServed(pooler)
  })

  test('client_idle_timeout in session mode', async () => {
    await using scene = await start({ client_idle_timeout: 10, pool_mode: 'session' })
    const { pooler, clock } = scene
    const client = await pooler.raw()
    await client.ask(query('select 1'))
    clock.advance(11)
    await endsWith(client, 'client_idle_timeout')
    await nextIsServed(pooler)
  })
})

test('client_idle_timeout, outside of transactions', async () => {
  await using scene = await start({ client_idle_timeout: 10 })
  const { pooler, clock } = scene
  const [idle, busy, inTransaction] = [await pooler.raw(), await pooler.raw(), await pooler.raw()]
  await inTransaction.ask(query('begin'))
  clock.advance(9)
  await inTransaction.ask(query('commit'))
  await busy.ask(query('select 1'))
  await inTransaction.ask(query('begin'))
  clock.advance(2)
  await endsWith(idle, 'client_idle_timeout')
  clock.advance(9)
  await endsWith(busy, 'client_idle_timeout')
  expect(await inTransaction.ask(query('commit'))).toEqual(['C COMMIT', 'Z I'])
})

test('client_login_timeout', async () => {
  await using scene = await start({ client_login_timeout: 60, auth_type: 'plain' })
  const { pooler, clock } = scene
  const silent = await RawClient.open(pooler.port)
  const asked = await RawClient.open(pooler.port)
  asked.send(startup({ user: 'postgres', database: 'postgres' }))
  expect(await asked.line()).toBe('R 3')
  await pooler.until('SHOW LISTS', (row) => row.list === 'login_clients' && row.items === 2)
  clock.advance(59)
  await pooler.until('SHOW LISTS', (row) => row.list === 'login_clients' && row.items === 2)
  clock.advance(2)
  await endsWith(silent, 'client_login_timeout')
  await endsWith(asked, 'client_login_timeout')
  await pooler.untilEmpty()
})

describe('a server that is slow to take parameters', () => {
  /** Answers a SET when told to. */
  async function startSlow(
    settings: Settings,
  ): Promise<{ pooler: TestPooler; clock: ManualClock; isAsked: () => boolean; answer: () => void } & AsyncDisposable> {
    let answer: (() => void) | undefined
    const server = await FakeBackend.start(async (connection) => {
      await connection.welcome()
      for (;;) {
        const { code, body } = await connection.message()
        if (code === 'X') return
        const name = /^SET application_name='(\w+)'/.exec(body.toString())?.[1]
        if (name !== undefined) {
          await new Promise<void>((resolve) => {
            answer = resolve
          })
          connection.send(parameterStatus('application_name', name))
        }
        connection.send(commandComplete('SELECT 0'), readyForQuery())
      }
    })
    const clock = new ManualClock()
    const pooler = await startPooler({ default_pool_size: 1, ...settings }, { server, clock })
    return {
      pooler,
      clock,
      isAsked: () => answer !== undefined,
      answer() {
        answer?.()
        answer = undefined
      },
      async [Symbol.asyncDispose]() {
        await pooler[Symbol.asyncDispose]()
        await server[Symbol.asyncDispose]()
      },
    }
  }
  const as = (name: string): ConnectOptions => ({ user: 'trust_user', parameters: { application_name: name } })

  test('query_timeout does not count what was before the query', async () => {
    await using scene = await startSlow({ query_timeout: 10 })
    const { pooler, clock } = scene
    const [one, other] = [await pooler.raw(as('one')), await pooler.raw(as('other'))]
    clock.advance(20)
    for (const client of [one, other]) {
      const asked = client.ask(query('select 1'))
      await pooler.settles(scene.isAsked)
      clock.advance(5)
      scene.answer()
      expect(await asked).toEqual(['C SELECT 0', 'Z I'])
      clock.advance(20)
    }
  })

  test('is closed after server_idle_timeout where its client has left', async () => {
    await using scene = await startSlow({ server_idle_timeout: 30 })
    const { pooler, clock } = scene
    const client = await pooler.raw(as('one'))
    client.send(query('select 1'))
    await pooler.settles(scene.isAsked)
    client.vanish()
    await pooler.until('SHOW POOLS', (row) => row.cl_active === 0 && row.sv_tested === 1)
    clock.advance(31)
    await pooler.until('SHOW POOLS', (row) => row.sv_tested === 0)
  })
})
