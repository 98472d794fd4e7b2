// What the janitor does with servers, pools and databases that nobody uses, and when.

import { describe, expect, test } from 'vitest'
import { Heart } from '../harness/heart.js'
import { query } from '../protocol/wire.js'

const limit = 5

const states = (heart: Heart): string[] => heart.servers.map(({ session }) => session.state)

/** Time passes, and the janitor looks. */
function pass(heart: Heart, seconds: number): void {
  heart.clock.advance(seconds)
  heart.janitor.look()
}

const moment = 0.001

describe('server_idle_timeout', () => {
  test.each(['idle', 'used', 'tested'] as const)('closes a server that has been %s for longer', async (state) => {
    const heart = await Heart.open({ server_idle_timeout: limit })
    const [server] = heart.idle(1)
    if (state === 'tested') heart.clock.advance(3) // from then on it counts
    if (state !== 'idle') heart.pool().move(server!.session, state)
    pass(heart, limit)
    expect(states(heart)).toEqual([state])
    pass(heart, moment)
    expect(states(heart)).toEqual(['closed'])
  })

  test('leaves min_pool_size of them', async () => {
    const heart = await Heart.open({ server_idle_timeout: limit, min_pool_size: 2, default_pool_size: 5 })
    heart.idle(3)
    pass(heart, 100)
    expect(states(heart)).toEqual(['closed', 'idle', 'idle'])
  })

  test('begins anew with each use, and does not run while the server is in use', async () => {
    const heart = await Heart.open({ server_idle_timeout: limit })
    const client = await heart.connect()
    client.send(query('begin'))
    pass(heart, 100)
    client.send(query('commit'))
    heart.settle()
    pass(heart, limit)
    expect(states(heart)).toEqual(['idle'])
  })

  test('of 0 closes none', async () => {
    const heart = await Heart.open({ server_idle_timeout: 0, server_lifetime: 1e9 })
    heart.idle(1)
    pass(heart, 1e6)
    expect(states(heart)).toEqual(['idle'])
  })
})

describe('server_lifetime', () => {
  test('closes a free server at its age, though it was used just now', async () => {
    const heart = await Heart.open({ server_lifetime: limit })
    heart.idle(1)
    heart.clock.advance(limit - moment)
    heart.servers[0]!.session.idleSince = heart.clock.now()
    heart.janitor.look()
    expect(states(heart)).toEqual(['idle'])
    pass(heart, moment)
    expect(states(heart)).toEqual(['closed'])
  })

  test('does not close one that is in use', async () => {
    const heart = await Heart.open({ server_lifetime: limit })
    const client = await heart.connect()
    client.send(query('rows 1 a'))
    pass(heart, 100)
    expect([states(heart), client.isOpen]).toEqual([['active'], true])
  })
})

test('a server that is idle and to be closed is closed', async () => {
  const heart = await Heart.open()
  heart.idle(1)
  heart.servers[0]!.session.retire('server_lifetime')
  heart.janitor.look()
  expect(states(heart)).toEqual(['closed'])
})

describe('server_check_delay', () => {
  test('has a server that was idle for longer checked before it is used', async () => {
    const heart = await Heart.open({ server_check_delay: limit, server_check_query: 'select 1' })
    const client = await heart.connect()
    pass(heart, limit)
    expect(states(heart)).toEqual(['idle'])
    pass(heart, moment)
    expect(states(heart)).toEqual(['used'])
    client.send(query('rows 1 a'))
    expect(states(heart)).toEqual(['tested'])
  })

  test('means nothing without a query to check with', async () => {
    const heart = await Heart.open({ server_check_delay: limit, server_check_query: '' })
    heart.idle(1)
    pass(heart, 100)
    expect(states(heart)).toEqual(['idle'])
  })
})

test('a pool that may have fewer servers now loses those first that nobody uses', async () => {
  const heart = await Heart.open({ default_pool_size: 5 })
  heart.idle(4)
  const client = await heart.connect()
  const pool = heart.pool()
  client.send(query('begin'))
  pool.move(heart.servers[1]!.session, 'used')
  heart.set('default_pool_size', '3')
  heart.janitor.look()
  expect(states(heart)).toEqual(['idle', 'closed', 'idle', 'active'])
  heart.set('default_pool_size', '2')
  heart.set('reserve_pool_size', '1')
  heart.janitor.look()
  expect(states(heart)).toEqual(['idle', 'closed', 'idle', 'active'])
  heart.set('reserve_pool_size', '0')
  heart.janitor.look()
  expect(states(heart)).toEqual(['closed', 'closed', 'idle', 'active'])
  pool.move(heart.servers[2]!.session, 'tested')
  heart.set('default_pool_size', '1')
  heart.janitor.look()
  expect([states(heart), heart.servers[3]!.session.closeReason]).toEqual([
    ['closed', 'closed', 'tested', 'active'],
    'too_many_servers',
  ])
})

test('who waits has a server of the reserve opened when the janitor looks', async () => {
  const heart = await Heart.open({ reserve_pool_size: 1, reserve_pool_timeout: limit, query_wait_timeout: 0 })
  const [one, two] = [await heart.connect(), await heart.connect()]
  one.send(query('begin'))
  two.send(query('rows 1 b'))
  pass(heart, limit - moment)
  expect(states(heart)).toEqual(['active'])
  pass(heart, moment)
  expect(states(heart)).toEqual(['active', 'connecting'])
})

test('min_pool_size is kept up when the janitor looks', async () => {
  const heart = await Heart.open({ min_pool_size: 2, default_pool_size: 2 })
  await heart.connect()
  heart.janitor.look()
  expect(states(heart)).toEqual(['idle', 'connecting'])
})

describe('pool_idle_timeout', () => {
  test('drops a pool that has had neither clients nor servers for longer', async () => {
    const heart = await Heart.open({ pool_idle_timeout: limit })
    const client = await heart.connect()
    const pools = heart.registry.databases.get('rig')!.pools
    heart.servers[0]!.session.close('server_lifetime')
    pass(heart, 100)
    client.socket.owner.onGone()
    pass(heart, 100)
    expect(pools.size).toBe(1)
    pass(heart, limit)
    expect(pools.size).toBe(1)
    pass(heart, moment)
    expect(pools.size).toBe(0)
  })

  test('begins anew where somebody has come meanwhile', async () => {
    const heart = await Heart.open({ pool_idle_timeout: limit, server_idle_timeout: 0 })
    heart.idle(1)
    heart.servers[0]!.session.close('server_lifetime')
    pass(heart, 4)
    const [server] = heart.idle(1)
    pass(heart, 4)
    server!.session.close('server_lifetime')
    pass(heart, 0)
    pass(heart, limit)
    expect(heart.pool()).not.toBe(undefined)
    pass(heart, moment)
    expect(heart.pool()).toBe(undefined)
  })
})

describe('a database that * made up', () => {
  const settings = { autodb_idle_timeout: limit, server_login_retry: 3 }
  const databases = { rig: 'host=x', '*': 'host=x' }

  test('is forgotten when autodb_idle_timeout has passed since anybody used it', async () => {
    const heart = await Heart.open(settings, { databases })
    const client = await heart.connect('made')
    heart.servers[0]!.session.close('server_lifetime')
    pass(heart, 100)
    expect(heart.registry.databases.get('made')).not.toBe(undefined)
    client.socket.owner.onGone()
    pass(heart, limit)
    expect(heart.registry.databases.get('made')).not.toBe(undefined)
    pass(heart, moment)
    expect(heart.registry.databases.get('made')).toBe(undefined)
  })

  test('and is only named is forgotten when server_login_retry has passed', async () => {
    const heart = await Heart.open(settings, { databases })
    const all = heart.registry.databases
    all.registeredForLookUp(all.find('made')!)
    pass(heart, 3 - moment)
    expect(all.get('made')).not.toBe(undefined)
    pass(heart, moment)
    expect(all.get('made')).toBe(undefined)
  })

  test.each(['paused', 'disabled'] as const)('and is %s is remembered, as are configured ones', async (how) => {
    const heart = await Heart.open(settings, { databases })
    const all = heart.registry.databases
    all.findOrMake('made')![how] = true
    pass(heart, 100)
    expect([all.get('made'), all.get('rig')]).not.toContain(undefined)
    all.get('made')![how] = false
    pass(heart, 0)
    expect(all.get('made')).toBe(undefined)
  })
})
