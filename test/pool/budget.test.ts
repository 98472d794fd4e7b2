// The limits that span pools, at their edge: whose idle server makes room for whom, and who waits for room.

import { describe, expect, test } from 'vitest'
import type { ConfigInput } from '../../src/config/input.js'
import { Heart, type HeartClient } from '../harness/heart.js'
import { query } from '../protocol/wire.js'

const databases = { rig: 'host=127.0.0.1', other: 'host=127.0.0.1' }

const open = (settings: ConfigInput['pgbouncer']): Promise<Heart> =>
  Heart.open({ default_pool_size: 5, ...settings }, { databases })

/** Servers that have been idle since times that lie a second apart, the first for longest. */
function idle(heart: Heart, count: number, database = 'rig', user = 'rig'): void {
  for (let made = 0; made < count; made++) {
    heart.idle(1, database, user)
    heart.clock.advance(1)
  }
}

const states = (heart: Heart): string => heart.servers.map(({ session }) => session.state).join(' ')

/** A client with a server in a transaction. */
async function busy(heart: Heart, database = 'rig', user = 'rig'): Promise<HeartClient> {
  const client = await heart.connect(database, user)
  client.send(query('begin'))
  heart.settle()
  return client
}

describe.each([
  ['max_db_connections', 'rig', 'other'],
  ['max_user_connections', 'other', 'rig'],
] as const)('%s', (limit, database, user) => {
  test('leaves all as they are while there is room', async () => {
    const heart = await open({ [limit]: 3 })
    idle(heart, 2)
    await heart.arrive(database, user)
    expect(states(heart)).toBe('idle idle connecting')
  })

  test('has the server evicted that has been idle for longest', async () => {
    const heart = await open({ [limit]: 2 })
    idle(heart, 2)
    heart.pool().move(heart.servers[0]!.session, 'used')
    await heart.arrive(database, user)
    expect(states(heart)).toBe('closed idle connecting')
    expect(heart.logged.join()).toContain(`evicted for ${limit}`)
  })

  test('evicts as many as it takes where it was lowered', async () => {
    const heart = await open({ [limit]: 3 })
    idle(heart, 3)
    heart.set(limit, '1')
    await heart.arrive(database, user)
    expect(states(heart)).toBe('closed closed closed connecting')
  })

  test('of 0 is none', async () => {
    const heart = await open({ [limit]: 0 })
    idle(heart, 5)
    await heart.arrive(database, user)
    expect(states(heart)).toBe('idle idle idle idle idle connecting')
  })

  test('evicts nobody elsewhere', async () => {
    const heart = await open({ [limit]: 1 })
    const [elsewhere, whose] = limit === 'max_db_connections' ? ['other', 'rig'] : ['rig', 'other']
    idle(heart, 1, elsewhere, whose)
    idle(heart, 1)
    await heart.arrive(database, user)
    expect(states(heart)).toBe('idle closed connecting')
  })

  test('has who finds no room wait until a server is idle, which makes it', async () => {
    const heart = await open({ [limit]: 1 })
    const client = await busy(heart)
    await heart.arrive(database, user)
    expect(states(heart)).toBe('active')
    client.send(query('commit'))
    heart.servers[0]!.work()
    heart.servers[0]!.answer()
    expect(states(heart)).toBe('closed connecting')
    expect(client.isOpen).toBe(true)
  })

  test('has who finds no room wait until a server is closed', async () => {
    const heart = await open({ [limit]: 1 })
    await busy(heart)
    await heart.arrive(database, user)
    heart.servers[0]!.socket.owner.onGone()
    expect(states(heart)).toBe('closed connecting')
  })

  test('takes nobody away from a pool for what only min_pool_size wants', async () => {
    const heart = await open({ [limit]: 2 })
    idle(heart, 1)
    idle(heart, 1, database, user)
    const pool = heart.pool(database, user)
    expect([pool.makeRoom(false), states(heart)]).toEqual([false, 'idle idle'])
    expect([pool.makeRoom(true), states(heart)]).toEqual([true, 'closed idle'])
  })
})

test('a used server is not evicted from a pool where somebody is about to have it checked', async () => {
  const heart = await open({ max_db_connections: 2 })
  idle(heart, 2)
  const client = await heart.connect()
  const pool = heart.pool()
  pool.move(heart.servers[0]!.session, 'used')
  pool.waiting.add(client.served)
  await heart.arrive('rig', 'other')
  expect(states(heart)).toBe('used closed connecting')
})

test('both limits hold: the room that one has made may not be room for the other', async () => {
  const heart = await open({ max_db_connections: 1, max_user_connections: 1 })
  idle(heart, 1)
  await busy(heart, 'other', 'other')
  await heart.arrive('rig', 'other')
  expect(states(heart)).toBe('closed active')
})

describe('a replication client', () => {
  test('has a server within pool_size, for which an idle one of the clients makes room', async () => {
    const heart = await open({ default_pool_size: 2 })
    idle(heart, 2)
    await heart.arrive('rig', 'rig', { replication: 'database' })
    expect(states(heart)).toBe('closed idle connecting')
  })

  test('waits where another one has all that pool_size allows', async () => {
    const heart = await open({ default_pool_size: 1 })
    const first = await heart.arrive('rig', 'rig', { replication: 'database' })
    await heart.arrive('rig', 'rig', { replication: 'database' })
    expect(states(heart)).toBe('connecting')
    first.socket.owner.onGone()
    expect(states(heart)).toBe('closed connecting')
  })

  test('waits where the servers of the clients are all in use, and is not evicted itself', async () => {
    const heart = await open({ default_pool_size: 1, max_db_connections: 2 })
    await busy(heart)
    await heart.arrive('rig', 'rig', { replication: 'database' })
    expect(states(heart)).toBe('active')
    heart.servers[0]!.socket.owner.onGone()
    expect(states(heart)).toBe('closed connecting')
    heart.settle()
    await heart.arrive('rig', 'other')
    await heart.arrive('rig', 'third')
    expect(states(heart)).toBe('closed active connecting')
  })
})
