// Who gets which server, and when: the line of those who wait, and what keeps a free server from them.

import { describe, expect, test } from 'vitest'
import { Heart, type HeartClient, refusal } from '../harness/heart.js'
import { linesOf, query } from '../protocol/wire.js'
import type { RigServer } from '../relay/relay-rig.js'

/** `count` clients that are welcome. */
async function crowd(heart: Heart, count: number): Promise<[HeartClient, HeartClient, HeartClient]> {
  const clients: HeartClient[] = []
  while (clients.length < count) clients.push(await heart.connect())
  return clients as [HeartClient, HeartClient, HeartClient]
}

/** One exchange of the server's, and what it leads to at once. */
function answer(server: RigServer): void {
  server.work()
  server.answer()
}

const sent = (server: RigServer): string[] => linesOf(server.socket.taken())

test('who has waited longest is served first, and who has done so gets in line again', async () => {
  const heart = await Heart.open()
  const [one, two, three] = await crowd(heart, 3)
  const [server] = heart.servers as [RigServer]
  const order: number[] = []
  for (const client of [two, three, one]) client.send(query('rows 1 a'))
  for (let turns = 0; turns < 4; turns++) {
    order.push([one, two, three].findIndex(({ served }) => served.server === server.session))
    answer(server)
    if (turns === 0) two.send(query('rows 1 b'))
  }
  expect(order).toEqual([1, 2, 0, 1])
})

test('who comes while somebody waits gets in line, though a server is free', async () => {
  const heart = await Heart.open()
  const [one, two] = await crowd(heart, 2)
  const pool = heart.pool()
  pool.database.paused = true
  one.send(query('rows 1 a'))
  pool.database.paused = false
  two.send(query('rows 1 b'))
  expect([pool.idle.length, [...pool.waiting]]).toEqual([1, [one.served, two.served]])
  pool.serveWaiting()
  expect([one.served.isWaiting, two.served.isWaiting]).toEqual([false, true])
})

test.each([
  ['0', 1],
  ['1', 0],
] as const)('server_round_robin = %s takes the idle server at place %d of two', async (value, place) => {
  const heart = await Heart.open({ server_round_robin: value, default_pool_size: 2 })
  const servers = heart.idle(2)
  const client = await heart.connect()
  client.send(query('rows 1 a'))
  expect(client.served.server).toBe(servers[place]!.session)
})

describe('PAUSE', () => {
  test.each(['database', 'everything'])('of %s keeps a free server from who asks, and opens none', async (what) => {
    const heart = await Heart.open({ default_pool_size: 2 })
    const [client] = await crowd(heart, 1)
    const pool = heart.pool()
    if (what === 'database') pool.database.paused = true
    else heart.context.isPaused = true
    client.send(query('rows 1 a'))
    pool.serveWaiting()
    pool.demand()
    expect([client.served.isWaiting, pool.idle.length, pool.connecting.size]).toEqual([true, 1, 0])
    pool.database.paused = heart.context.isPaused = false
    pool.serveWaiting()
    expect([client.served.isWaiting, pool.active.size]).toEqual([false, 1])
  })

  test('closes a server as soon as it is released, and does not have it reset before', async () => {
    const heart = await Heart.open({ server_reset_query_always: true })
    const [client] = await crowd(heart, 1)
    const [server] = heart.servers as [RigServer]
    client.send(query('rows 1 a'))
    heart.context.isPaused = true
    answer(server)
    expect([server.session.state, server.session.closeReason, client.isOpen]).toEqual(['closed', 'pause', true])
    expect(sent(server).map((line) => line[0])).toEqual(['X'])
  })

  test('has nothing lent for questions of the pooler either', async () => {
    const heart = await Heart.open()
    heart.idle(1)
    heart.context.isPaused = true
    expect(heart.pool().lend()).toBe(null)
    heart.context.isPaused = false
    expect(heart.pool().lend()).toBe(heart.servers[0]!.session)
    expect([heart.servers[0]!.session.state, heart.pool().lend()]).toEqual(['tested', null])
  })
})

test('nothing is lent for questions of the pooler while somebody waits; a used server is lent as well', async () => {
  const heart = await Heart.open()
  const [client] = await crowd(heart, 1)
  const pool = heart.pool()
  const [server] = heart.servers as [RigServer]
  pool.move(server.session, 'used')
  pool.waiting.add(client.served)
  expect(pool.lend()).toBe(null)
  pool.waiting.delete(client.served)
  expect(pool.lend()).toBe(server.session)
})

describe('server_check_delay = 0', () => {
  const checks = { server_check_delay: 0, server_check_query: 'select 1' }

  test('has each use preceded by a check', async () => {
    const heart = await Heart.open(checks)
    const [client] = await crowd(heart, 1)
    const [server] = heart.servers as [RigServer]
    expect(server.session.state).toBe('used')
    client.send(query('rows 1 a'))
    expect([server.session.state, sent(server)]).toEqual(['tested', ['Q select 1|']])
    server.backend.receive(query('select 1'))
    answer(server)
    expect([client.served.server, sent(server)]).toEqual([server.session, ['Q rows 1 a|']])
  })

  test('has a server that is released checked at once for who waits', async () => {
    const heart = await Heart.open(checks)
    const [one, two] = await crowd(heart, 2)
    const [server] = heart.servers as [RigServer]
    one.send(query('rows 1 a'))
    two.send(query('rows 1 b'))
    for (const state of ['tested', 'active', 'tested', 'active', 'used']) {
      expect(server.session.state).toBe(state)
      answer(server)
    }
    expect(two.heard()).toContain('C SELECT 1|')
  })

  test('counts from when it is set: servers that are idle are checked, too', async () => {
    const heart = await Heart.open({ server_check_query: 'select 1' })
    const [client] = await crowd(heart, 1)
    const [server] = heart.servers as [RigServer]
    expect(server.session.state).toBe('idle')
    heart.set('server_check_delay', '0')
    client.send(query('rows 1 a'))
    expect(sent(server)).toEqual(['Q select 1|'])
  })

  test('closes the server that fails, and opens another for who waits', async () => {
    const heart = await Heart.open(checks)
    const [client] = await crowd(heart, 1)
    const [server] = heart.servers as [RigServer]
    client.send(query('rows 1 a'))
    server.socket.taken()
    server.socket.deliver(refusal)
    expect([server.session.state, heart.pool().connecting.size, client.served.isWaiting]).toEqual(['closed', 1, true])
  })

  test('means nothing without a query to check with', async () => {
    const heart = await Heart.open({ ...checks, server_check_query: '' })
    const [client] = await crowd(heart, 1)
    expect(heart.servers[0]!.session.state).toBe('idle')
    client.send(query('rows 1 a'))
    expect([heart.servers[0]!.session.state, client.served.isWaiting]).toEqual(['active', false])
  })
})

describe('a server that is retired', () => {
  test('while it is lent is closed when it is released, and replaced for who waits', async () => {
    const heart = await Heart.open()
    const [one, two] = await crowd(heart, 2)
    const [server] = heart.servers as [RigServer]
    one.send(query('rows 1 a'))
    two.send(query('rows 1 b'))
    server.session.retire('server_lifetime')
    server.session.retire('server_lifetime')
    expect(server.session.state).toBe('active')
    answer(server)
    expect([server.session.state, server.session.closeReason, one.isOpen]).toEqual(['closed', 'server_lifetime', true])
    expect([heart.pool().connecting.size, two.served.isWaiting]).toEqual([1, true])
  })

  test('while it is idle goes to nobody: who asks has the next one', async () => {
    const heart = await Heart.open({ default_pool_size: 2 })
    const [first, last] = heart.idle(2) as [RigServer, RigServer]
    const client = await heart.connect()
    last.session.retire('server_lifetime')
    client.send(query('rows 1 a'))
    expect([last.session.state, client.served.server]).toEqual(['closed', first.session])
  })
})
