// A server lent and given back, in every state that a client can leave it in.

import { describe, expect, test } from 'vitest'
import { Heart, type HeartClient, linksOf, parted, refusal, turn } from '../harness/heart.js'
import { copyData, i32, message, parse, query, z } from '../protocol/wire.js'
import type { RigServer } from '../relay/relay-rig.js'

interface Scene {
  readonly heart: Heart
  readonly client: HeartClient
  readonly server: RigServer
}

/** A client that is welcome, and a server that is idle. */
async function scene(settings: Parameters<typeof Heart.open>[0] = {}): Promise<Scene> {
  const heart = await Heart.open(settings)
  const client = await heart.connect()
  return { heart, client, server: heart.servers[0]! }
}

/** The same, and the server needs a SET before the client may have it. */
async function aligningScene(settings: Parameters<typeof Heart.open>[0] = {}): Promise<Scene> {
  const heart = await Heart.open(settings)
  const client = await heart.connect('rig', 'rig', { application_name: 'mine' })
  client.send(query('rows 1 a'))
  return { heart, client, server: heart.servers[0]! }
}

const leave = (client: HeartClient): void => client.socket.owner.onGone()

test('a server that is free is granted at once, and all four links are made', async () => {
  const { client, server } = await scene()
  client.send(query('rows 1 a'))
  const { served } = client
  expect(linksOf(client, server)).toEqual([served.lease, served.lease, server.relay, served.relay])
  expect([served.lease?.state, server.session.state]).toEqual(['held', 'active'])
})

test.each([[[20]], [[3000]], [[20, 3000]]])(
  'of what a server had begun to say to nobody, whoever is granted it does not get the rest (cut at %j)',
  async (cuts) => {
    const { client, server } = await scene()
    const notification = message('A', i32(1), z('channel'), z('x'.repeat(5000)))
    server.socket.deliver(notification.subarray(0, cuts[0]))
    client.send(query('rows 1 a'))
    server.work()
    for (const [n, cut] of cuts.entries()) server.socket.deliver(notification.subarray(cut, cuts[n + 1]))
    server.answer()
    expect(client.heard().map((line) => line[0])).toEqual(['T', 'D', 'C', 'Z'])
  },
)

test('a server that has its last cancel delivered amid a notification is taken back', async () => {
  const { client, server } = await scene()
  client.send(query('rows 1 a'))
  server.session.cancels++
  server.work()
  server.answer()
  expect([server.session.state, server.session.holder]).toEqual(['active', null])
  server.socket.deliver(message('A', i32(1), z('channel'), z('payload')).subarray(0, 20))
  server.session.cancels--
  server.session.pool.onCancelled(server.session)
  expect(server.session.state).toBe('idle')
})

test('who waits is granted the server when it is free, and what it had sent goes there', async () => {
  const { heart, client, server } = await scene()
  const second = await heart.connect()
  client.send(query('rows 1 a'))
  second.send(query('rows 1 b'))
  expect([second.served.isWaiting, second.served.lease]).toEqual([true, null])
  server.work()
  server.answer()
  expect(linksOf(second, server)).toEqual([second.served.lease, second.served.lease, server.relay, second.served.relay])
  heart.settle()
  expect(second.heard()).toContain('C SELECT 1|')
})

test('a client that is done has released its server, which is idle', async () => {
  const { heart, client, server } = await scene()
  client.send(query('rows 1 a'))
  const lease = client.served.lease!
  heart.settle()
  expect(linksOf(client, server)).toEqual(parted)
  expect([lease.state, server.session.state, heart.pool().idle.length]).toEqual(['released', 'idle', 1])
})

describe('a client that leaves', () => {
  test('while its server is being aligned leaves it to be taken back when the SETs are answered', async () => {
    const { heart, client, server } = await aligningScene()
    expect([client.served.isAligning, server.session.state]).toEqual([true, 'active'])
    leave(client)
    expect(linksOf(client, server)).toEqual(parted)
    expect([server.session.state, server.session.cancels]).toEqual(['tested', 0])
    heart.settle()
    expect([server.session.state, server.session.parameters.get('application_name')]).toEqual(['idle', 'mine'])
  })

  test('with a quiet server of its own leaves it to be reset', async () => {
    const { heart, client, server } = await scene({ pool_mode: 'session' })
    client.send(query('rows 1 a'))
    heart.settle()
    leave(client)
    expect(linksOf(client, server)).toEqual(parted)
    expect([server.session.state, server.session.cancels]).toEqual(['tested', 0])
    expect(server.socket.taken().toString('latin1')).toContain('DISCARD ALL')
  })

  test('amid a query takes the server with it, which is cancelled', async () => {
    const { client, server } = await scene()
    client.send(query('rows 1 a'))
    leave(client)
    expect(linksOf(client, server)).toEqual(parted)
    expect([server.session.state, server.session.cancels]).toEqual(['closed', 1])
    await turn()
    expect(server.session.cancels).toBe(0)
  })

  test('amid a message takes the server with it, which waits for the rest', async () => {
    const { client, server } = await scene({ max_prepared_statements: 0 })
    client.send(query('rows 1 a').subarray(0, -3))
    expect(server.session.state).toBe('active')
    leave(client)
    expect(linksOf(client, server)).toEqual(parted)
    expect(server.session.state).toBe('closed')
  })

  test('amid a message that nothing answers takes the server with it, too', async () => {
    const { heart, client, server } = await scene({ pool_mode: 'session' })
    client.send(query('rows 1 a'))
    heart.settle()
    client.send(copyData('late').subarray(0, -3))
    expect(server.relay.isQuiet).toBe(true)
    leave(client)
    expect([linksOf(client, server), server.session.state]).toEqual([parted, 'closed'])
  })

  test('amid a message that was not passed on yet leaves the server as it is', async () => {
    const { client, server } = await scene()
    client.send(query('rows 1 a').subarray(0, -3))
    expect(linksOf(client, server)).not.toEqual(parted)
    leave(client)
    expect(linksOf(client, server)).toEqual(parted)
    expect([server.session.state, server.socket.taken().length]).toEqual(['idle', 0])
  })

  test('behind a batch that no Sync has closed takes the server with it', async () => {
    const { client, server } = await scene({ max_prepared_statements: 0 })
    client.send(parse('', 'rows 1 a'))
    leave(client)
    expect(linksOf(client, server)).toEqual(parted)
    expect(server.session.state).toBe('closed')
  })

  test('amid a transaction leaves the server to be rolled back', async () => {
    const { heart, client, server } = await scene()
    client.send(query('begin'))
    heart.settle()
    expect([server.backend.status, server.session.state]).toEqual(['T', 'active'])
    leave(client)
    expect(linksOf(client, server)).toEqual(parted)
    expect(server.session.state).toBe('tested')
    heart.settle()
    expect([server.backend.status, server.session.state]).toEqual(['I', 'idle'])
  })

  test('makes room: who waits is given what comes instead of the server that it took with it', async () => {
    const { heart, client } = await scene()
    const second = await heart.connect()
    client.send(query('rows 1 a'))
    second.send(query('rows 1 b'))
    leave(client)
    expect(heart.pool().connecting.size).toBe(1)
    heart.settle()
    expect(second.heard()).toContain('C SELECT 1|')
  })
})

describe('a server that is lost', () => {
  test('in the midst of what it says of its own accord has no error put in there', async () => {
    const { heart, client, server } = await scene({ pool_mode: 'session' })
    client.send(query('rows 1 a'))
    heart.settle()
    client.socket.taken()
    const notification = message('A', i32(1), z('channel'), z('payload'))
    server.socket.deliver(notification.subarray(0, 20))
    server.socket.owner.onGone()
    expect([client.isOpen, client.socket.taken()]).toEqual([false, notification.subarray(0, 20)])
  })

  test('while it is being aligned is replaced by another that is free, where the client goes on', async () => {
    const { heart, client, server } = await scene({ default_pool_size: 2 })
    const second = await heart.connect()
    client.send(query('begin'))
    second.send(query('rows 1 b'))
    heart.settle()
    client.send(query('commit'))
    heart.settle()
    const [, other] = heart.servers
    expect([server.session.state, other!.session.state]).toEqual(['idle', 'idle'])
    const third = await heart.connect('rig', 'rig', { application_name: 'mine' })
    other!.session.parameters.set('application_name', 'mine')
    third.send(query('rows 1 c'))
    expect(third.served.server).toBe(server.session)
    server.socket.owner.onGone()
    expect(linksOf(third, other!)).toEqual([third.served.lease, third.served.lease, other!.relay, third.served.relay])
    expect([server.session.state, server.session.holder, third.served.lease?.state]).toEqual(['closed', null, 'held'])
    heart.settle()
    expect(third.heard()).toContain('C SELECT 1|')
  })

  test('while it is being aligned has its client wait where there is no other', async () => {
    const { heart, client, server } = await aligningScene()
    server.socket.owner.onGone()
    expect(linksOf(client, server)).toEqual(parted)
    expect([client.served.isWaiting, client.isOpen, server.session.state]).toEqual([true, true, 'closed'])
    heart.settle()
    expect(client.heard()).toContain('C SELECT 1|')
  })

  test('while it is held has its client told, and closed', async () => {
    const { client, server } = await scene()
    client.send(query('rows 1 a'))
    server.socket.owner.onGone()
    expect(linksOf(client, server)).toEqual(parted)
    expect([client.error, client.isOpen, server.session.state]).toEqual(['server conn crashed?', false, 'closed'])
  })

  test('while nobody has it is closed, and no client hears of it', async () => {
    const { client, server } = await scene()
    server.socket.owner.onGone()
    expect([server.session.state, client.isOpen, client.heard()]).toEqual(['closed', true, []])
  })
})

test('a client whose parameters no server takes is refused, and the server closed', async () => {
  const { client, server } = await aligningScene()
  server.socket.taken()
  server.socket.deliver(refusal)
  expect(linksOf(client, server)).toEqual(parted)
  expect([client.error, client.isOpen, server.session.state]).toEqual(['invalid server parameter', false, 'closed'])
})
