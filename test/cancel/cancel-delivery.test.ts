// CancelRequests on their way to a server, which nobody is given meanwhile.

import { describe, expect, test } from 'vitest'
import { Heart, type HeartClient, turn } from '../harness/heart.js'
import { query } from '../protocol/wire.js'
import type { RigServer } from '../relay/relay-rig.js'
import { CancelSink, fact } from './cancel-sink.js'

interface Scene {
  readonly heart: Heart
  readonly client: HeartClient
  readonly second: HeartClient
  readonly server: RigServer
}

/** A client amid a query on a server whose CancelRequests go to the sink, and another that waits. */
async function scene(sink: CancelSink): Promise<Scene> {
  const heart = await Heart.open({ cancel_wait_timeout: 10 })
  const [client, second] = [await heart.connect(), await heart.connect()]
  const [server] = heart.servers as [RigServer]
  server.session.location = sink.address
  server.session.key = { pid: 77, secret: Buffer.from('5ec8e7', 'hex') }
  client.send(query('rows 1 a'))
  second.send(query('rows 1 b'))
  return { heart, client, second, server }
}

function answer({ server }: Scene): void {
  server.work()
  server.answer()
}

test('a server is told its own key', async () => {
  await using sink = await CancelSink.open()
  const { heart, server } = await scene(sink)
  void heart.registry.cancels.stop(server.session)
  await sink.came(1)
  expect(sink.requests).toEqual(['77 5ec8e7'])
})

describe('a server that is being cancelled', () => {
  test('goes to nobody when its client is done, until the request is taken', async () => {
    await using sink = await CancelSink.open()
    const one = await scene(sink)
    const stopped = one.heart.registry.cancels.stop(one.server.session)
    await sink.came(1)
    answer(one)
    expect(one.client.heard().at(-1)).toBe('Z I')
    expect([one.server.session.state, one.server.session.holder, one.second.served.isWaiting]).toEqual([
      'active',
      null,
      true,
    ])
    sink.take()
    expect(await stopped).toBe(true)
    await turn()
    expect(one.second.served.server).toBe(one.server.session)
  })

  test('by two requests goes to nobody until both are taken', async () => {
    await using sink = await CancelSink.open()
    const one = await scene(sink)
    const { cancels } = one.heart.registry
    const stopped = [cancels.stop(one.server.session), cancels.stop(one.server.session)]
    await sink.came(2)
    expect([one.server.session.cancels, cancels.active]).toEqual([2, 2])
    answer(one)
    sink.take()
    await Promise.race(stopped)
    await turn()
    expect([one.server.session.cancels, one.second.served.isWaiting]).toEqual([1, true])
    sink.take()
    await Promise.all(stopped)
    await turn()
    expect([one.server.session.cancels, one.second.served.isWaiting]).toEqual([0, false])
  })

  test('stays with its client where the request is taken first', async () => {
    await using sink = await CancelSink.open()
    const one = await scene(sink)
    const stopped = one.heart.registry.cancels.stop(one.server.session)
    await sink.came(1)
    sink.take()
    await stopped
    await turn()
    expect([one.client.served.server, one.second.served.isWaiting]).toEqual([one.server.session, true])
    answer(one)
    expect(one.second.served.server).toBe(one.server.session)
  })

  test('is closed with its client where that leaves, and the request is delivered all the same', async () => {
    await using sink = await CancelSink.open()
    const one = await scene(sink)
    one.client.socket.owner.onGone()
    expect([one.server.session.state, one.server.session.cancels]).toEqual(['closed', 1])
    await sink.came(1)
    sink.take()
    await fact(() => one.server.session.cancels === 0)
    one.heart.settle()
    expect(one.second.heard()).toContain('C SELECT 1|')
  })
})

describe('a server that a request does not reach', () => {
  test('is closed when its client is done, since the request may yet come', async () => {
    const sink = await CancelSink.open()
    const one = await scene(sink)
    await sink[Symbol.asyncDispose]()
    expect(await one.heart.registry.cancels.stop(one.server.session)).toBe(false)
    expect([one.server.session.state, one.server.session.closeReason]).toEqual(['active', 'cancel_failed'])
    answer(one)
    expect([one.server.session.state, one.client.isOpen, one.heart.pool().connecting.size]).toEqual(['closed', true, 1])
  })

  test('within cancel_wait_timeout is given up at its end, and not before', async () => {
    await using sink = await CancelSink.open()
    const one = await scene(sink)
    let isOver = false
    void one.heart.registry.cancels.stop(one.server.session).then(() => (isOver = true))
    await sink.came(1)
    one.heart.clock.advance(9.999)
    await turn()
    expect(isOver).toBe(false)
    one.heart.clock.advance(0.001)
    await turn()
    expect([isOver, one.server.session.closeReason]).toEqual([true, 'cancel_failed'])
    expect(one.heart.logged).toContain('cancel request failed: cancel_wait_timeout')
  })

  test('has a second left when the pooler is down', async () => {
    await using sink = await CancelSink.open()
    const one = await scene(sink)
    const stopped = one.heart.registry.cancels.stop(one.server.session)
    await sink.came(1)
    one.heart.registry.cancels.end()
    one.heart.clock.advance(0.999)
    await turn()
    expect(one.server.session.cancels).toBe(1)
    one.heart.clock.advance(0.001)
    expect(await stopped).toBe(false)
  })
})
