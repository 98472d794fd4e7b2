// All clients together: how many come in, who is refused, and what SUSPEND does to them.

import { describe, expect, test } from 'vitest'
import { startupMessage } from '../../src/protocol/frontend.js'
import { Heart, HeartClient, turn } from '../harness/heart.js'
import { linesOf, query } from '../protocol/wire.js'
import { FakeSocket } from '../relay/fake-socket.js'
import { arrival } from '../relay/relay-rig.js'

const full = 'no more connections allowed (max_client_conn)'

describe('max_client_conn', () => {
  test('of two lets in two, and the third when one has left', async () => {
    const heart = await Heart.open({ max_client_conn: 2 })
    heart.idle(1)
    const [one, two, three] = [await heart.connect(), await heart.connect(), await heart.arrive()]
    expect([one.isOpen, two.isOpen, three.isOpen, three.error, heart.clients.size]).toEqual([
      true,
      true,
      false,
      full,
      2,
    ])
    one.socket.owner.onGone()
    expect((await heart.connect()).isOpen).toBe(true)
  })

  test('counts who has not said yet who it is', async () => {
    const heart = await Heart.open({ max_client_conn: 2 })
    heart.idle(1)
    const silent = [new HeartClient(heart.clients), new HeartClient(heart.clients)]
    expect((await heart.arrive()).error).toBe(full)
    silent[0]!.socket.owner.onGone()
    expect((await heart.arrive()).isOpen).toBe(true)
  })

  test('does not count clients of the console, who come in even when it is reached', async () => {
    const heart = await Heart.open({ max_client_conn: 1 })
    heart.idle(1)
    const first = await heart.arrive('pgbouncer', 'console')
    const client = await heart.connect()
    const second = await heart.arrive('pgbouncer', 'console')
    expect([first.isOpen, client.isOpen, second.isOpen]).toEqual([true, true, true])
    expect((await heart.arrive()).error).toBe(full)
    expect(heart.clients.consoleApart()).toEqual([client.session])
    first.socket.owner.onGone()
    second.socket.owner.onGone()
    expect((await heart.arrive()).error).toBe(full)
    client.socket.owner.onGone()
    expect((await heart.arrive()).isOpen).toBe(true)
  })

  test('counts a console client that is refused for no longer than it is there', async () => {
    const heart = await Heart.open({ max_client_conn: 1 })
    heart.idle(1)
    expect((await heart.arrive('pgbouncer', 'rig')).error).toBe('not allowed')
    await heart.connect()
    expect((await heart.arrive()).error).toBe(full)
  })
})

describe('refuseFrom', () => {
  test('refuses that client and later ones, while earlier ones go on with their login', async () => {
    const heart = await Heart.open()
    heart.idle(1)
    const [early, late] = [new HeartClient(heart.clients), new HeartClient(heart.clients)]
    heart.clients.refuseFrom(late.session.id)
    heart.clients.refuseFrom(late.session.id + 100)
    for (const client of [late, early]) client.send(startupMessage({ user: 'rig', database: 'rig' }))
    await turn()
    expect([late.error, late.isOpen, early.isOpen]).toEqual(['pooler is shutting down', false, true])
  })

  test('leaves the console open', async () => {
    const heart = await Heart.open()
    heart.clients.refuseFrom(0)
    expect((await heart.arrive('pgbouncer', 'console')).isOpen).toBe(true)
  })
})

describe('SUSPEND', () => {
  test('stops reading from clients of pools, but not of the console, until the wake', async () => {
    const heart = await Heart.open()
    const [client, console] = [await heart.connect(), await heart.arrive('pgbouncer', 'console')]
    heart.clients.suspend()
    expect([client.socket.paused, console.socket.paused]).toEqual([true, false])
    heart.clients.wake()
    expect(client.socket.paused).toBe(false)
  })

  test('does not keep servers and answers from who waits for them, who is not read from for that', async () => {
    const heart = await Heart.open()
    const [busy, client] = [await heart.connect(), await heart.connect()]
    busy.send(query('rows 1 a'))
    client.send(query('rows 1 b'))
    heart.clients.suspend()
    heart.settle()
    expect([client.heard().at(-1), client.socket.paused]).toEqual(['Z I', true])
  })

  test('parks who comes, and wake takes them in their order', async () => {
    const heart = await Heart.open()
    heart.idle(1)
    heart.clients.suspend()
    const sockets = [new FakeSocket(), new FakeSocket()]
    for (const socket of sockets) heart.clients.accept(socket.asSocket, arrival)
    expect([heart.clients.size, sockets.map(({ writes }) => writes.length)]).toEqual([0, [0, 0]])
    heart.clients.wake()
    expect(heart.clients.size).toBe(2)
    for (const socket of sockets) socket.deliver(startupMessage({ user: 'rig', database: 'rig' }))
    await turn()
    expect(sockets.map((socket) => linesOf(socket.taken()).at(-1))).toEqual(['Z I', 'Z I'])
    const [first, second] = [...heart.clients]
    expect(first!.phase?.socket === sockets[0]!.asSocket && first!.id < second!.id).toBe(true)
    heart.clients.wake()
    expect(heart.clients.size).toBe(2)
  })

  test('holds for who is welcomed meanwhile, too', async () => {
    const heart = await Heart.open()
    heart.idle(1)
    const client = new HeartClient(heart.clients)
    heart.clients.suspend()
    client.send(startupMessage({ user: 'rig', database: 'rig' }))
    await turn()
    expect([client.heard().at(-1), client.socket.paused]).toEqual(['Z I', true])
    heart.clients.wake()
    expect(client.socket.paused).toBe(false)
  })
})

test('whoever waits for clients to leave hears of it when the last has', async () => {
  const heart = await Heart.open()
  const [one, two] = [await heart.connect(), await heart.connect()]
  let isOver = false
  void heart.registry.conditions.until(() => heart.clients.size === 0).then(() => (isOver = true))
  one.socket.owner.onGone()
  await turn()
  expect(isOver).toBe(false)
  two.socket.owner.onGone()
  await turn()
  expect(isOver).toBe(true)
})
