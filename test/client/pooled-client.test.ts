// When a client gives its server back in each pool mode, what keeps it, and what is counted.

import { describe, expect, test } from 'vitest'
import { linksOf, parted } from '../harness/heart.js'
import { flush, message, parse, query, sync, z } from '../protocol/wire.js'
import { exchange, isHeld, scene } from './scene.js'

describe('in transaction mode a client', () => {
  test('has its server for one transaction, failed or not', async () => {
    const one = await scene({ pool_mode: 'transaction' })
    const held: boolean[] = []
    for (const text of ['rows 1 a', 'begin', 'fail', 'rollback', 'fail']) {
      exchange(one, query(text))
      held.push(isHeld(one))
    }
    expect(held).toEqual([false, true, true, false, false])
    expect([linksOf(one.client, one.server), one.server.session.state]).toEqual([parted, 'idle'])
  })

  test('has it until the Sync of a batch', async () => {
    const one = await scene({ pool_mode: 'transaction' })
    exchange(one, parse('', 'rows 1 a'), flush)
    expect(isHeld(one)).toBe(true)
    exchange(one, sync)
    expect(isHeld(one)).toBe(false)
  })

  test('keeps it where it has a parameter that no other server can be given', async () => {
    const one = await scene({ pool_mode: 'transaction' })
    one.client.send(query('rows 1 a'))
    one.server.socket.deliver(message('S', z('application_name'), z('x'.repeat(10_001))))
    one.heart.settle()
    expect(isHeld(one)).toBe(true)
  })

  test('does not have it marked as its own', async () => {
    const one = await scene({ pool_mode: 'transaction' })
    exchange(one, query('rows 1 a'))
    expect(one.server.session.wasOwned).toBe(false)
  })
})

describe('in statement mode a client', () => {
  test('has its server for one statement', async () => {
    const one = await scene({ pool_mode: 'statement' })
    exchange(one, query('rows 1 a'))
    expect([isHeld(one), one.server.session.state]).toEqual([false, 'idle'])
  })

  test('is sent away where it begins a transaction, which is rolled back', async () => {
    const one = await scene({ pool_mode: 'statement' })
    expect(exchange(one, query('begin')).at(-1)).toContain('transaction blocks not allowed')
    expect([one.client.isOpen, linksOf(one.client, one.server)]).toEqual([false, parted])
    expect([one.server.session.state, one.server.backend.status]).toEqual(['idle', 'I'])
  })
})

describe('in session mode a client', () => {
  test('has its server until it leaves, which is reset then', async () => {
    const one = await scene({ pool_mode: 'session' })
    exchange(one, query('rows 1 a'))
    exchange(one, query('begin'))
    exchange(one, query('commit'))
    expect([isHeld(one), one.server.session.wasOwned]).toEqual([true, true])
    one.client.send(message('X'))
    expect([one.client.isOpen, one.server.session.state]).toEqual([false, 'tested'])
    one.heart.settle()
    expect([one.server.session.state, one.server.session.wasOwned]).toEqual(['idle', false])
  })

  test('keeps a server that is to be closed, unless server_fast_close is set', async () => {
    const one = await scene({ pool_mode: 'session' })
    exchange(one, query('rows 1 a'))
    one.server.session.retire('server_lifetime')
    exchange(one, query('rows 1 b'))
    expect([isHeld(one), one.client.isOpen]).toEqual([true, true])
    one.heart.set('server_fast_close', '1')
    expect(exchange(one, query('rows 1 c')).at(-1)).toContain('database configuration changed')
    expect([one.client.isOpen, one.server.session.state]).toEqual([false, 'closed'])
  })
})

test('a client that has had the last words of its server is told no others', async () => {
  const one = await scene()
  one.client.send(query('rows 1 a'))
  one.server.socket.deliver(message('E', z('SFATAL'), z('VFATAL'), z('C57P01'), z('Mgoodbye'), Buffer.alloc(1)))
  expect(isHeld(one)).toBe(true)
  one.server.socket.owner.onGone()
  expect(one.client.heard().map((line) => line.split('|')[3])).toEqual(['Mgoodbye'])
  expect([one.client.isOpen, linksOf(one.client, one.server)]).toEqual([false, parted])
})

test('a client that waits, or has a server, does not ask for another', async () => {
  const one = await scene()
  const second = await one.heart.connect()
  one.client.send(query('begin'))
  second.send(query('rows 1 b'))
  const since = second.served.waitingSince
  one.heart.clock.advance(1)
  expect([one.client.served.acquire(), second.served.acquire()]).toEqual([false, false])
  expect(second.served.waitingSince).toBe(since)
  expect([one.heart.pool().waiting.size, one.heart.pool().active.size]).toEqual([1, 1])
})

test('a client that leaves has left its pool, the line, and its place in database and user', async () => {
  const one = await scene()
  const second = await one.heart.connect()
  const { waiting, clients, database } = one.heart.pool()
  one.client.send(query('begin'))
  second.send(query('rows 1 b'))
  second.socket.owner.onGone()
  expect([waiting.size, clients.size, database.clients]).toEqual([0, 1, 1])
  expect(one.heart.registry.databases.user('rig').clients).toBe(1)
})

test('queries and transactions are counted with their time, and with the time that was waited', async () => {
  const one = await scene()
  const second = await one.heart.connect()
  const { counters } = one.heart.pool()
  const { clock } = one.heart
  const waited = counters.waitTime
  one.client.send(query('begin'))
  second.send(query('rows 1 b'))
  clock.advance(1)
  one.server.work()
  one.server.answer()
  clock.advance(2)
  one.client.send(query('commit'))
  clock.advance(4)
  one.server.work()
  one.server.answer()
  expect([counters.queries, counters.xacts]).toEqual([2, 1])
  expect([counters.queryTime, counters.xactTime, counters.waitTime - waited]).toEqual([5e6, 7e6, 7e6])
  expect(counters.serverAssignments).toBe(2)
})

test('the time between two transactions is no transaction, though the server stays with its client', async () => {
  const one = await scene({ pool_mode: 'session' })
  const { counters } = one.heart.pool()
  for (const text of ['rows 1 a', 'begin', 'commit']) {
    one.heart.clock.advance(10)
    one.client.send(query(text))
    one.heart.clock.advance(1)
    one.heart.settle()
  }
  expect([counters.xacts, counters.xactTime, counters.queryTime]).toEqual([2, 13e6, 3e6])
})

test('a client that is amid a message of its server is told nothing that would stand in there', async () => {
  const one = await scene()
  one.client.send(query('rows 1 a'))
  one.server.socket.deliver(message('D', 'a row that never ends').subarray(0, 12))
  one.server.socket.owner.onGone()
  expect([one.client.socket.taken().length, one.client.isOpen]).toEqual([12, false])
})
