// How many servers a pool has, and how long it keeps each: every limit at its edge.

import { describe, expect, test } from 'vitest'
import { Heart, type HeartClient } from '../harness/heart.js'
import { query } from '../protocol/wire.js'

/** Clients that all ask for something. */
async function asking(heart: Heart, count: number): Promise<HeartClient[]> {
  const clients: HeartClient[] = []
  while (clients.length < count) clients.push(await heart.connect())
  for (const client of clients) client.send(query('rows 1 a'))
  return clients
}

describe('pool_size', () => {
  test.each([
    [2, 3, 2],
    [3, 3, 3],
    [4, 3, 3],
    [0, 3, 3],
  ])('of %d has %d clients served by %d servers', async (size, count, servers) => {
    const heart = await Heart.open({ default_pool_size: size })
    await asking(heart, count)
    expect(heart.pool().size).toBe(servers)
  })

  test('counts connections that are being opened, so that each who waits has one opened once', async () => {
    const heart = await Heart.open({ default_pool_size: 9 })
    await asking(heart, 3)
    const pool = heart.pool()
    for (let times = 0; times < 3; times++) pool.demand()
    expect([pool.active.size, pool.connecting.size, pool.waiting.size]).toEqual([1, 2, 2])
  })
})

describe('the reserve', () => {
  const reserve = { default_pool_size: 1, reserve_pool_size: 1, reserve_pool_timeout: 5 }

  test('is used when the first in line has waited for reserve_pool_timeout, and not before', async () => {
    const heart = await Heart.open(reserve)
    await asking(heart, 3)
    const pool = heart.pool()
    heart.clock.advance(4.999)
    pool.demand()
    expect(pool.size).toBe(1)
    heart.clock.advance(0.001)
    pool.demand()
    expect(pool.size).toBe(2)
    heart.clock.advance(100)
    pool.demand()
    expect(pool.size).toBe(2)
    expect(heart.logged.filter((line) => line.includes('reserve_pool'))).toHaveLength(1)
  })

  test.each([
    ['reserve_pool_timeout', { ...reserve, reserve_pool_timeout: 0 }],
    ['reserve_pool_size', { ...reserve, reserve_pool_size: 0 }],
  ])('is never used with %s = 0', async (_name, settings) => {
    const heart = await Heart.open(settings)
    await asking(heart, 2)
    heart.clock.advance(3600)
    heart.pool().demand()
    expect(heart.pool().size).toBe(1)
  })
})

describe('min_pool_size', () => {
  test('is kept up one connection after the other while there are clients', async () => {
    const heart = await Heart.open({ min_pool_size: 3, default_pool_size: 5 })
    const client = await heart.connect()
    const pool = heart.pool()
    const sizes: number[] = []
    for (let times = 0; times < 4; times++) {
      pool.launcher.keepMinimum()
      pool.launcher.keepMinimum()
      sizes.push(pool.size)
      heart.settle()
    }
    expect(sizes).toEqual([2, 3, 3, 3])
    client.socket.owner.onGone()
    pool.idle[0]!.close('server_lifetime')
    pool.launcher.keepMinimum()
    expect(pool.size).toBe(2)
  })

  test('does not go beyond pool_size', async () => {
    const heart = await Heart.open({ min_pool_size: 3, default_pool_size: 2 })
    await heart.connect()
    for (let times = 0; times < 3; times++) {
      heart.pool().launcher.keepMinimum()
      heart.settle()
    }
    expect(heart.pool().size).toBe(2)
  })

  test.each(['paused', 'disabled'] as const)('is not kept up in a database that is %s', async (how) => {
    const heart = await Heart.open({ min_pool_size: 2, default_pool_size: 2 })
    await heart.connect()
    const pool = heart.pool()
    pool.database[how] = true
    pool.launcher.keepMinimum()
    expect(pool.size).toBe(1)
    pool.database[how] = false
    pool.launcher.keepMinimum()
    expect(pool.size).toBe(2)
  })

  test('is kept up for a forced user though nobody has come yet', async () => {
    const databases = { rig: 'host=127.0.0.1 user=rig min_pool_size=1', other: 'host=127.0.0.1 min_pool_size=1' }
    const heart = await Heart.open({}, { databases })
    heart.janitor.look()
    expect(heart.servers.map(({ session }) => session.database)).toEqual(['rig'])
    expect([...heart.registry.pools()]).toHaveLength(1)
  })
})

describe('server_lifetime', () => {
  test('closes a free server at its age, and the next one no sooner than a pool_size-th of it later', async () => {
    const heart = await Heart.open({ server_lifetime: 100, default_pool_size: 4 })
    const [one, two] = heart.idle(2).map(({ session }) => session)
    const pool = heart.pool()
    heart.clock.advance(99.999)
    expect(pool.expire(one!)).toBe(false)
    heart.clock.advance(0.001)
    expect([pool.expire(one!), pool.expire(two!)]).toEqual([true, false])
    heart.clock.advance(24.999)
    expect(pool.expire(two!)).toBe(false)
    heart.clock.advance(0.001)
    expect(pool.expire(two!)).toBe(true)
  })

  test('that is over closes a lent server when it is released', async () => {
    const heart = await Heart.open({ server_lifetime: 100 })
    const client = await heart.connect()
    const [server] = heart.servers
    client.send(query('begin'))
    heart.settle()
    heart.clock.advance(100)
    client.send(query('commit'))
    expect(server!.session.state).toBe('active')
    heart.settle()
    expect([server!.session.state, server!.session.closeReason]).toEqual(['closed', 'server_lifetime'])
    expect(client.isOpen).toBe(true)
  })

  test('of 0 has each server used once', async () => {
    const heart = await Heart.open({ server_lifetime: 0 })
    const client = await heart.connect()
    for (let times = 0; times < 2; times++) {
      client.send(query('rows 1 a'))
      heart.settle()
    }
    expect(client.heard().filter((line) => line === 'C SELECT 1|')).toHaveLength(2)
    expect(heart.servers.map(({ session }) => session.state)).toEqual(['closed', 'closed'])
  })
})
