// CancelRequests reach what their client is doing, and never anybody else.

import { describe, expect, test } from 'vitest'
import { commandComplete, errorResponse, FakeBackend, readyForQuery } from '../harness/fake-backend.js'
import { startPooler } from '../harness/pooler.js'
import { query as ask } from '../harness/postgres.js'
import { cancel, cancelRequest, extended, parse, query, RawClient, sync } from '../harness/raw-client.js'

const user = 'trust_user'
const canceled = ['E ERROR 57014 canceling statement due to user request', 'Z I']
const isSleeping = async (): Promise<boolean> =>
  (
    await ask(
      "select 1 from pg_stat_activity where query like '%sleep-to-cancel%' and state = 'active' and pid <> pg_backend_pid()",
    )
  ).length > 0
const sleep = query('select pg_sleep(60) /* sleep-to-cancel */')

test.each([
  ['a query', [sleep]],
  ['an extended query', [extended('select pg_sleep(60) /* sleep-to-cancel */'), sync]],
])('%s that runs is cancelled, its client stays, and its server is free', async (_what, bytes) => {
  await using pooler = await startPooler({ default_pool_size: 1 })
  const client = await pooler.raw({ user })
  client.send(...bytes)
  await pooler.settles(isSleeping)
  await cancel(pooler.port, client.key)
  expect((await client.answer()).slice(-2)).toEqual(canceled)
  expect(await client.ask(query('select 1 as x'))).toEqual(['T x', 'D 1', 'C SELECT 1', 'Z I'])
  await pooler.until('SHOW POOLS', (row) => row.sv_idle === 1 && row.sv_active_cancel === 0)
  expect((await pooler.show('servers')).length).toBe(1)
})

test('whoever sends a CancelRequest is told nothing, but the log is', async () => {
  await using pooler = await startPooler({ default_pool_size: 1 })
  const client = await pooler.raw({ user })
  client.send(sleep)
  await pooler.settles(isSleeping)
  const outcomes = (): (string | undefined)[] =>
    pooler.logged.map((line) => /closing because: (.*cancel request.*) \(age=0s\)/.exec(line)?.[1]).filter(Boolean)
  await cancel(pooler.port, client.key)
  await client.answer()
  await cancel(pooler.port, client.key)
  await cancel(pooler.port, { pid: client.key.pid, secret: Buffer.alloc(4) })
  const stranger = await RawClient.open(pooler.port)
  stranger.send(Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2e]))
  expect(await stranger.toTheEnd()).toEqual([])
  await pooler.settles(() => outcomes().length === 4)
  expect(outcomes()).toEqual([
    'successfully sent cancel request',
    'cancel request for idle client',
    'failed cancel request',
    'bad cancel request',
  ])
})

test('in a transaction, the transaction fails', async () => {
  await using pooler = await startPooler({ default_pool_size: 1 })
  const client = await pooler.raw({ user })
  await client.ask(query('begin'))
  client.send(sleep)
  await pooler.settles(isSleeping)
  await cancel(pooler.port, client.key)
  expect((await client.answer()).slice(-2)).toEqual([canceled[0], 'Z E'])
  expect(await client.ask(query('rollback'))).toEqual(['C ROLLBACK', 'Z I'])
})

describe('while the client waits for a server', () => {
  test.each([
    ['a query', [query("select 'never'")]],
    ['an extended query', [extended("select 'never'"), sync]],
    ['a query that has come in part', [query(`select '${'x'.repeat(500)}'`).subarray(0, 100)]],
  ])('%s: it is told at once, and is in the queue no more', async (_what, bytes) => {
    await using pooler = await startPooler({ default_pool_size: 1 })
    const [holder, client] = [await pooler.raw({ user }), await pooler.raw({ user })]
    await holder.ask(query('begin'))
    client.send(...bytes)
    await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 1)
    await cancel(pooler.port, client.key)
    expect(await client.line()).toBe(canceled[0])
    await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 0)
    if (bytes[0]!.length === 100) client.send(query(`select '${'x'.repeat(500)}'`).subarray(100))
    expect(await client.line()).toBe('Z I')

    const next = client.ask(query("select 'after' as x"))
    await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 1)
    expect(await holder.ask(query('commit'))).toEqual(['C COMMIT', 'Z I'])
    expect(await next).toEqual(['T x', 'D after', 'C SELECT 1', 'Z I'])
  })

  test('only the first of several exchanges sent is cancelled', async () => {
    await using pooler = await startPooler({ default_pool_size: 1 })
    const [holder, client] = [await pooler.raw({ user }), await pooler.raw({ user })]
    await holder.ask(query('begin'))
    client.send(parse('select 1'), sync, query("select 'second' as x"), extended("select 'third' as x"), sync)
    await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 1)
    await cancel(pooler.port, client.key)
    expect(await client.answer()).toEqual(canceled)
    await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 1)
    await holder.ask(query('commit'))
    expect(await client.answer()).toEqual(['T x', 'D second', 'C SELECT 1', 'Z I'])
    expect(await client.answer()).toEqual(['1', '2', 'T x', 'D third', 'C SELECT 1', 'Z I'])
  })
})

test('a wrong key, or one of somebody who is gone, does nothing', async () => {
  await using pooler = await startPooler({ default_pool_size: 2 })
  const [client, gone] = [await pooler.raw({ user }), await pooler.raw({ user })]
  await gone.end()
  client.send(sleep)
  await pooler.settles(isSleeping)
  const secret = Buffer.from(client.key.secret)
  for (let bit = 0; bit < 8 * secret.length; bit++) {
    const wrong = Buffer.from(secret)
    wrong[bit >> 3]! ^= 1 << (bit & 7)
    await cancel(pooler.port, { pid: client.key.pid, secret: wrong })
  }
  await cancel(pooler.port, gone.key)
  await cancel(pooler.port, { pid: 0, secret: Buffer.alloc(4) })
  await cancel(pooler.port, { pid: client.key.pid, secret: Buffer.concat([secret, secret]) })
  expect(client.unread.filter((line) => line.startsWith('E'))).toEqual([])
  await cancel(pooler.port, client.key)
  expect((await client.answer()).slice(-2)).toEqual(canceled)
})

test('a client that is idle is not hurt by its own cancel, nor is the next on the server', async () => {
  await using pooler = await startPooler({ default_pool_size: 1 })
  const [client, other] = [await pooler.raw({ user }), await pooler.raw({ user })]
  for (let round = 0; round < 30; round++) {
    expect(await client.ask(query('select 1 as x'))).toContain('D 1')
    const late = cancel(pooler.port, client.key)
    other.send(query('select 2 as x'), query('select 3 as x'))
    expect((await other.answer(2)).filter((line) => /^[DE]/.test(line))).toEqual(['D 2', 'D 3'])
    await late
    expect(await client.ask(query('select 4 as x'))).toContain('D 4')
  }
})

test('cancels that race with the end of a query never hit the next client', async () => {
  await using pooler = await startPooler({ default_pool_size: 1 })
  const [client, other] = [await pooler.raw({ user }), await pooler.raw({ user })]
  let hits = 0
  for (let round = 0; round < 60; round++) {
    client.send(query(`select 'mine' as x from pg_sleep(${(round % 12) / 2000})`))
    other.send(query(`select 'other' as x from pg_sleep(0.001)`))
    await Promise.all([cancel(pooler.port, client.key), cancel(pooler.port, client.key)])
    const mine = await client.answer()
    if (mine.includes(canceled[0]!)) hits++
    else expect(mine).toEqual(['T x', 'D mine', 'C SELECT 1', 'Z I'])
    expect(await other.answer()).toEqual(['T x', 'D other', 'C SELECT 1', 'Z I'])
  }
  expect(hits).toBeGreaterThan(0)
})

test('until the server has taken a cancel, nobody else is given that server', async () => {
  // A server whose processes answer cancels as slowly as it likes.
  const cancels: (() => void)[] = []
  await using server = await FakeBackend.start(async (connection) => {
    const startup = await connection.packet()
    if (startup.readInt32BE(0) === (1234 << 16) + 5678) {
      await new Promise<void>((resolve) => cancels.push(resolve))
      connection.socket.destroy()
      return
    }
    connection.greet()
    for (;;) {
      const { body } = await connection.message()
      const text = body.toString('utf8', 0, body.length - 1)
      if (text !== 'first') connection.send(commandComplete(text), readyForQuery())
      else setTimeout(() => connection.send(errorResponse('57014', 'canceled'), readyForQuery()), 5)
    }
  })
  await using pooler = await startPooler({ default_pool_size: 1 }, { server })
  const [client, other] = [await pooler.raw(), await pooler.raw()]
  client.send(query('first'))
  const request = cancel(pooler.port, client.key)
  expect(await client.answer()).toEqual(['E ERROR 57014 canceled', 'Z I'])
  other.send(query('second'))
  await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 1 && row.sv_idle === 0)
  await pooler.settles(() => cancels.length === 1)
  expect(other.unread).toEqual([])
  cancels[0]!()
  await request
  expect(await other.answer()).toEqual(['C second', 'Z I'])
})

test('a cancel while parameters are being set ends the query, not the client', async () => {
  await using pooler = await startPooler({ default_pool_size: 1 })
  const [client, other] = [await pooler.raw({ user }), await pooler.raw({ user })]
  for (let round = 0; round < 30; round++) {
    await client.ask(query(`set application_name = 'round ${round}'`))
    await other.ask(query('select 1'))
    client.send(query("select current_setting('application_name') as x")) // needs SETs first
    await cancel(pooler.port, client.key)
    const lines = await client.answer()
    // It may also come when the row has gone out, and the end has not.
    const begun = ['T x', `D round ${round}`]
    expect([canceled, [...begun, 'C SELECT 1', 'Z I'], [...begun, ...canceled]]).toContainEqual(lines)
    expect(await other.ask(query("select current_setting('application_name') as x"))).toContain('D ')
  }
})

test('a request that is broken, or goes on, is closed without a word', async () => {
  await using pooler = await startPooler({ default_pool_size: 1 })
  const client = await pooler.raw({ user })
  const good = cancelRequest(client.key)
  const short = Buffer.from(good.subarray(0, 12))
  short.writeInt32BE(12, 0)
  for (const bytes of [short, Buffer.concat([good, query('select 1')]), good.subarray(0, 10)]) {
    const one = await RawClient.open(pooler.port)
    one.send(bytes)
    if (bytes.length === 10) one.stream.end()
    await one.ended
    expect(one.unread.filter((line) => !line.startsWith('E FATAL 08P01'))).toEqual([])
  }
  await pooler.until('SHOW LISTS', (row) => row.list === 'login_clients' && row.items === 0)
  expect(await client.ask(query('select 1 as x'))).toContain('D 1')
})
