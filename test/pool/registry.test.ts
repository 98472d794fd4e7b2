// What is done with all servers and clients of a database at once, and the pools that it has.

import { describe, expect, test } from 'vitest'
import { PoolQuery } from '../../src/pool/pool-query.js'
import { PgError } from '../../src/protocol/errors.js'
import { Heart, turn } from '../harness/heart.js'
import { query } from '../protocol/wire.js'
import type { RigServer } from '../relay/relay-rig.js'

const states = (heart: Heart): string[] => heart.servers.map(({ session }) => session.state)

describe('closeConnections', () => {
  const removed = 'database_removed'

  test('sends away clients in every state, and closes servers in every state', async () => {
    const heart = await Heart.open({ default_pool_size: 5 })
    const servers = heart.idle(4)
    const [active, idle, waiting] = [await heart.connect(), await heart.connect(), await heart.connect()]
    const pool = heart.pool()
    active.send(query('rows 1 a'))
    pool.move(servers[0]!.session, 'used')
    pool.move(servers[1]!.session, 'tested')
    heart.registry.connect(pool)
    pool.waiting.add(waiting.served)
    heart.registry.closeConnections(pool.database, removed)
    expect([active, idle, waiting].map(({ error }) => error)).toEqual(Array(3).fill('database removed'))
    expect(states(heart)).toEqual(Array(5).fill('closed'))
    expect([pool.size, pool.clients.size, pool.waiting.size]).toEqual([0, 0, 0])
    expect([pool.database.clients, pool.database.servers, pool.user.servers]).toEqual([0, 0, 0])
  })

  test('sends away who is not welcomed yet, while a server is asked about its parameters', async () => {
    const heart = await Heart.open()
    heart.idle(1)
    const client = await heart.arrive('rig', 'rig', { TimeZone: 'nowhere' })
    expect(states(heart)).toEqual(['tested'])
    heart.registry.closeConnections(heart.pool().database, removed)
    expect([client.error, client.isOpen, states(heart)]).toEqual(['database removed', false, ['closed']])
  })

  test('gives who waits nothing of what the others leave', async () => {
    const heart = await Heart.open({ pool_mode: 'session', server_reset_query: '' })
    const [one, two] = [await heart.connect(), await heart.connect()]
    one.send(query('rows 1 a'))
    heart.settle()
    two.send(query('rows 1 b'))
    heart.servers[0]!.socket.taken()
    heart.registry.closeConnections(heart.pool().database, removed)
    expect(heart.servers[0]!.socket.taken().toString('latin1')).not.toContain('rows 1 b')
    expect([states(heart), heart.pool().size]).toEqual([['closed'], 0])
  })

  test('ends look-ups that wait in the database', async () => {
    const { registry } = await Heart.open()
    const pool = registry.authPool(registry.databases.get('rig')!, 'rig')
    const told: unknown[] = []
    new PoolQuery(pool, query('rows 1 a'), false, (answer) => told.push(answer)).begin()
    registry.closeConnections(pool.database, removed)
    expect([told, pool.waiting.size, pool.size]).toEqual([[new PgError(removed)], 0, 0])
  })

  test('leaves other databases alone', async () => {
    const heart = await Heart.open({}, { databases: { rig: 'host=x', other: 'host=x' } })
    const [busy, waiting] = [await heart.connect('other'), await heart.connect('other')]
    busy.send(query('begin'))
    waiting.send(query('rows 1 a'))
    await heart.connect()
    heart.registry.closeConnections(heart.pool().database, removed)
    expect([busy.isOpen, waiting.served.isWaiting, states(heart)]).toEqual([true, true, ['active', 'closed']])
  })
})

describe('retireServers', () => {
  test.each([
    ['idle', 'closed'],
    ['used', 'closed'],
    ['connecting', 'closed'],
    ['tested', 'tested'],
  ] as const)('with a server that is %s leaves it %s', async (state, then) => {
    const heart = await Heart.open()
    heart.idle(1)
    const pool = heart.pool()
    if (state === 'connecting') {
      pool.idle[0]!.close('server_lifetime')
      heart.registry.connect(pool)
    } else if (state !== 'idle') pool.move(pool.idle[0]!, state)
    const { session } = heart.servers.at(-1)!
    heart.registry.retireServers(pool.database, 'dns_changed')
    expect([session.state, session.closeReason]).toEqual([then, 'dns_changed'])
    if (then === 'tested') pool.serve(session)
    expect(session.state).toBe('closed')
  })

  test('leaves one that is lent to its client, until that releases it', async () => {
    const heart = await Heart.open()
    const client = await heart.connect()
    client.send(query('rows 1 a'))
    heart.registry.retireServers(undefined, 'dns_changed')
    expect([states(heart), client.isOpen]).toEqual([['active'], true])
    heart.settle()
    expect([states(heart), client.isOpen, client.heard().at(-1)]).toEqual([['closed'], true, 'Z I'])
  })

  test('opens others for those who wait', async () => {
    const heart = await Heart.open({ default_pool_size: 2 })
    const [one, two] = [await heart.connect(), await heart.connect()]
    one.send(query('begin'))
    two.send(query('rows 1 b'))
    expect(states(heart)).toEqual(['active', 'connecting'])
    heart.registry.retireServers(undefined, 'dns_changed')
    expect([states(heart), two.served.isWaiting]).toEqual([['active', 'closed', 'connecting'], true])
  })

  test.each([
    ['1', 'session', 'rows 1 a', false],
    ['0', 'session', 'rows 1 a', true],
    ['1', 'session', 'begin', true],
    ['1', 'transaction', 'begin', true],
  ] as const)('with server_fast_close = %s in %s mode behind `%s` leaves the client open: %s', async (...given) => {
    const [fastClose, mode, text, isOpen] = given
    const heart = await Heart.open({ server_fast_close: fastClose, pool_mode: mode })
    const client = await heart.connect()
    client.send(query(text))
    heart.settle()
    heart.registry.retireServers(undefined, 'dns_changed')
    expect([client.isOpen, client.error]).toEqual([isOpen, isOpen ? '' : 'database configuration changed'])
  })

  test('does not have server_fast_close break off what is under way', async () => {
    const heart = await Heart.open({ server_fast_close: true, pool_mode: 'session' })
    const client = await heart.connect()
    client.send(query('rows 1 a'))
    heart.registry.retireServers(undefined, 'dns_changed')
    expect(client.isOpen).toBe(true)
    heart.settle()
    expect([client.heard().at(-1)?.includes('database configuration changed'), client.isOpen]).toEqual([true, false])
  })

  test('sends a replication client away, which may never end', async () => {
    const heart = await Heart.open()
    const client = await heart.arrive('rig', 'rig', { replication: 'database' })
    heart.settle()
    await turn()
    expect(client.served.server?.state).toBe('active')
    heart.registry.retireServers(undefined, 'dns_changed')
    expect([client.isOpen, states(heart)]).toEqual([false, ['closed']])
  })
})

test('the servers at addresses that a name does not have any more are retired, and no others', async () => {
  const heart = await Heart.open({ default_pool_size: 5 })
  const at = (server: RigServer, name: string, address: string): void => {
    server.session.location = { kind: 'tcp', name, address, port: 5432 }
  }
  const [gone, kept, namesake, unix] = heart.idle(4) as [RigServer, RigServer, RigServer, RigServer]
  at(gone, 'db', '10.0.0.1')
  at(kept, 'db', '10.0.0.2')
  at(namesake, 'other', '10.0.0.1')
  unix.session.location = { kind: 'unix', path: '/tmp/x', port: 5432 }
  heart.registry.retireAddresses('db', ['10.0.0.1', '10.0.0.9'])
  expect(states(heart)).toEqual(['closed', 'idle', 'idle', 'idle'])
})

describe('pools', () => {
  const databases = { rig: 'host=x', forced: 'host=x user=other password=secret' }

  test('are one for each database and user, and one for all users of a database with a forced user', async () => {
    const { registry } = await Heart.open({}, { databases })
    const join = (database: string, user: string): unknown =>
      registry.joinPool(registry.databases.get(database)!, { user, stored: { kind: 'none' } })
    expect(join('rig', 'rig')).toBe(join('rig', 'rig'))
    expect(join('rig', 'rig')).not.toBe(join('rig', 'other'))
    expect(join('forced', 'rig')).toBe(join('forced', 'third'))
    expect([...registry.pools()].map(({ user }) => user.name)).toEqual(['rig', 'other', 'other'])
  })

  test('of a forced user log in with the password of the database', async () => {
    const heart = await Heart.open({}, { databases })
    heart.idle(1, 'forced')
    const { credentials } = heart.pool('forced', 'other')
    expect([credentials.user, credentials.password?.reveal()]).toEqual(['other', 'secret'])
  })

  test('for look-ups are apart from those of clients, and remember the database', async () => {
    const { registry } = await Heart.open({}, { databases: { ...databases, '*': 'host=x' } })
    const pool = registry.authPool(registry.databases.find('made')!, 'rig')
    expect(registry.databases.isOnlyNamed(pool.database)).toBe(true)
    expect(registry.joinPool(pool.database, { user: 'rig', stored: { kind: 'none' } })).not.toBe(pool)
    registry.forgetPool(pool)
    expect([...registry.pools(pool.database)]).toHaveLength(1)
  })
})
