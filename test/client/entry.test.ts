// A client on its way in: what it takes up, and that nothing of it is left where it does not come in.

import { describe, expect, test } from 'vitest'
import { PgError } from '../../src/protocol/errors.js'
import { startupMessage } from '../../src/protocol/frontend.js'
import { Heart, HeartClient, turn } from '../harness/heart.js'
import { linesOf, query } from '../protocol/wire.js'

const databases = { rig: 'host=x', small: 'host=x max_db_client_connections=1' }

/** What there is of clients: in all, in the database, of the user, in the pool, waiting for the first server. */
function counts(heart: Heart, name = 'rig'): number[] {
  const database = heart.registry.databases.get(name)!
  const pool = database.pools.get('rig')
  const { clients } = heart.registry.databases.user('rig')
  return [heart.clients.size, database.clients, clients, pool?.clients.size ?? 0, pool?.arriving.size ?? 0]
}

test('a client is welcomed when the first server has told its parameters, with a key that is known', async () => {
  const heart = await Heart.open()
  const client = await heart.arrive()
  expect([client.heard(), counts(heart)]).toEqual([[], [1, 1, 1, 1, 1]])
  heart.settle()
  const lines = linesOf(client.socket.taken())
  expect([lines[0], lines.at(-1), counts(heart)]).toEqual(['R ||||', 'Z I', [1, 1, 1, 1, 0]])
  expect(lines.at(-2)).toBe(`K ${client.session.cancelKey.toString('latin1').replaceAll('\0', '|')}`.trimEnd())
  expect(client.session.cancelKey.equals(Buffer.alloc(8))).toBe(false)
  expect([client.session.phase?.name, heart.pool().counters.clientLogins]).toEqual(['pool', 1])
})

test('a client waits for no server where the parameters are known', async () => {
  const heart = await Heart.open()
  const busy = await heart.connect()
  busy.send(query('begin'))
  const client = await heart.arrive()
  expect([client.heard().at(-1), heart.servers.length]).toEqual(['Z I', 1])
})

test('what a client sends along with its StartupMessage is carried out behind the welcome', async () => {
  const heart = await Heart.open()
  heart.idle(1)
  const client = new HeartClient(heart.clients)
  client.send(startupMessage({ user: 'rig', database: 'rig' }), query('rows 1 a'))
  await turn()
  heart.settle()
  expect(
    client
      .heard()
      .slice(-5)
      .map((line) => line[0]),
  ).toEqual(['Z', 'T', 'D', 'C', 'Z'])
})

describe('nothing is left of a client', () => {
  test('that leaves while it waits for the first server', async () => {
    const heart = await Heart.open()
    const client = await heart.arrive()
    client.socket.owner.onGone()
    expect([counts(heart), client.isOpen]).toEqual([[0, 0, 0, 0, 0], false])
    heart.settle()
    expect([counts(heart), client.heard()]).toEqual([[0, 0, 0, 0, 0], []])
  })

  test('that is sent away while it waits for the first server', async () => {
    const heart = await Heart.open()
    const client = await heart.arrive()
    for (const member of heart.pool().clients) member.fail(new PgError('admin_disconnect'))
    expect([counts(heart), client.error]).toEqual([[0, 0, 0, 0, 0], 'admin forced disconnect'])
  })

  test('that leaves before it has said anything', async () => {
    const heart = await Heart.open()
    new HeartClient(heart.clients).socket.owner.onGone()
    await turn()
    expect([heart.clients.size, heart.logged]).toEqual([0, []])
  })

  test.each([
    ['an unknown database', 'nowhere', 'rig', 'no such database: nowhere'],
    ['an unknown user', 'rig', 'nobody', '"trust" authentication failed'],
    ['a database that is full', 'small', 'rig', 'client connections exceeded (max_db_client_connections)'],
  ])('that asks for %s', async (_what, database, user, error) => {
    const heart = await Heart.open({}, { databases })
    await heart.connect('small')
    const before = counts(heart, 'small')
    const client = await heart.arrive(database, user)
    expect([client.error, client.isOpen, counts(heart, 'small')]).toEqual([error, false, before])
  })
})

describe('a replication client', () => {
  const replication = { replication: 'database' }

  test('has its server from the welcome on, and takes it with it', async () => {
    const heart = await Heart.open()
    const client = await heart.arrive('rig', 'rig', replication)
    const { replicationPools } = heart.registry.databases.get('rig')!
    expect([replicationPools.size, heart.servers.length]).toEqual([1, 1])
    heart.settle()
    expect([client.heard().at(-1), client.served.lease?.state]).toEqual(['Z I', 'held'])
    client.socket.owner.onGone()
    expect([replicationPools.size, heart.servers[0]!.session.state]).toEqual([0, 'closed'])
    expect(counts(heart).slice(0, 3)).toEqual([0, 0, 0])
  })

  test('leaves its place in pool_size to clients that wait', async () => {
    const heart = await Heart.open()
    const client = await heart.connect()
    heart.servers[0]!.session.close('server_lifetime')
    const stream = await heart.arrive('rig', 'rig', replication)
    heart.settle()
    client.send(query('rows 1 a'))
    expect([client.served.isWaiting, heart.pool().connecting.size]).toEqual([true, 0])
    stream.socket.owner.onGone()
    expect(heart.pool().connecting.size).toBe(1)
  })
})
