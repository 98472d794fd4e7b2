// CancelRequests for clients of other poolers behind the same address: passed on, as often as their hops allow.

import { describe, expect, test } from 'vitest'
import type { Cancels } from '../../src/cancel/cancel.js'
import { reconfigure } from '../../src/control/reconfigure.js'
import { Heart, turn } from '../harness/heart.js'
import { FakeSocket } from '../relay/fake-socket.js'
import { CancelSink, fact } from './cancel-sink.js'

/** A pooler that is peer 5, and knows peer 7. */
const open = (port: number, poolSize = 0): Promise<Heart> =>
  Heart.open(
    { peer_id: 5, cancel_wait_timeout: 10 },
    { peers: { 5: 'host=127.0.0.1', 7: `host=127.0.0.1 port=${port} pool_size=${poolSize}` } },
  )

/** The key of a client of that peer, with this many hops left. */
const keyOf = (peer: number, hops: number): Buffer => Buffer.from([1, peer, 0, 4, 5, 6, 7, 0xf0 | hops])

/** Carries a request out. @returns what the log says became of it */
async function request(heart: Heart, key: Buffer): Promise<string> {
  const who = { logPrefix: '', id: 0, database: '', user: '', address: '', connectedAt: heart.clock.now() }
  const packet = { kind: 'cancel' as const, pid: key.readInt32BE(0), secret: key.subarray(4) }
  await heart.registry.cancels.request(packet, new FakeSocket().asSocket, who)
  return /closing because: (.*) \(age/.exec(heart.logged.at(-1)!)![1]!
}

/** The key that a client of this pooler is given. */
function registered(cancels: Cancels, minor = 0): Buffer {
  const client = { ptr: '', cancelKey: Buffer.alloc(0), cancelTarget: () => undefined, cancelWaiting() {} }
  cancels.register(client, minor)
  return client.cancelKey
}

describe('a key of a pooler with peers', () => {
  test.each([0, 2])(
    'has the peer in it, all hops, and no more bytes than others pass on (protocol 3.%d)',
    async (minor) => {
      const heart = await open(1)
      const key = registered(heart.registry.cancels, minor)
      expect([key.length, key[1], key[2], key[7]! & 3]).toEqual([8, 5, 0, 3])
    },
  )

  test.each([3, 2, 1, 0])('is known again with %d hops left', async (hops) => {
    const heart = await open(1)
    const key = Buffer.from(registered(heart.registry.cancels))
    key[7] = (key[7]! & ~3) | hops
    expect(await request(heart, key)).toBe('cancel request for idle client')
  })

  test('that nobody has is not passed on to itself', async () => {
    const heart = await open(1)
    expect(await request(heart, keyOf(5, 3))).toBe('failed cancel request')
  })
})

describe('a key of a peer', () => {
  test.each([3, 2, 1])('with %d hops left is passed on with one less', async (hops) => {
    await using sink = await CancelSink.open()
    const heart = await open(sink.port)
    const outcome = request(heart, keyOf(7, hops))
    await sink.came(1)
    expect(sink.requests).toEqual([`${0x01070004} 050607f${hops - 1}`])
    sink.take()
    expect(await outcome).toBe('successfully sent cancel request')
  })

  test('without hops left goes nowhere', async () => {
    await using sink = await CancelSink.open()
    const heart = await open(sink.port)
    expect(await request(heart, keyOf(7, 0))).toContain('its TTL was exhausted')
    expect(heart.registry.cancels.peers.status()).toEqual([])
  })

  test('that is not configured goes nowhere', async () => {
    const heart = await open(1)
    expect(await request(heart, keyOf(8, 3))).toBe('could not find peer to forward request to')
  })

  test('goes nowhere where this pooler is nobody its peer', async () => {
    await using sink = await CancelSink.open()
    const peers = { 7: `host=127.0.0.1 port=${sink.port}` }
    const heart = await Heart.open({}, { peers })
    expect(await request(heart, keyOf(7, 3))).toBe('failed cancel request')
  })
})

describe('requests for one peer', () => {
  test('wait for each other beyond its pool_size', async () => {
    await using sink = await CancelSink.open()
    const heart = await open(sink.port, 1)
    const { peers } = heart.registry.cancels
    const passed = [peers.pass(7, keyOf(7, 1)), peers.pass(7, keyOf(7, 2))]
    await sink.came(1)
    expect(peers.status()).toEqual([
      { peerId: 7, clActiveCancelReq: 1, clWaitingCancelReq: 1, svActiveCancel: 1, svLogin: 0 },
    ])
    sink.take()
    await sink.came(2)
    sink.take()
    expect(await Promise.all(passed)).toEqual([true, true])
    expect(peers.status()[0]).toMatchObject({ clActiveCancelReq: 0, clWaitingCancelReq: 0, svLogin: 0 })
  })

  test('are given up at the end of cancel_wait_timeout, in line or on their way', async () => {
    await using sink = await CancelSink.open()
    const heart = await open(sink.port, 1)
    const outcomes: string[] = []
    for (const hops of [1, 2]) void request(heart, keyOf(7, hops)).then((outcome) => outcomes.push(outcome))
    await sink.came(1)
    heart.clock.advance(9.999)
    await turn()
    expect(outcomes).toEqual([])
    heart.clock.advance(0.001)
    await fact(() => outcomes.length === 2)
    expect(outcomes).toEqual(['cancel_wait_timeout', 'cancel_wait_timeout'])
  })

  test('have only the rest of that time when it is their turn', async () => {
    await using sink = await CancelSink.open()
    const heart = await open(sink.port, 1)
    const outcomes: string[] = []
    for (const hops of [1, 2]) void request(heart, keyOf(7, hops)).then((outcome) => outcomes.push(outcome))
    await sink.came(1)
    heart.clock.advance(6)
    sink.take()
    await sink.came(2)
    heart.clock.advance(3.999)
    await turn()
    expect(outcomes).toEqual(['successfully sent cancel request'])
    heart.clock.advance(0.001)
    await fact(() => outcomes.length === 2)
    expect(outcomes[1]).toBe('cancel_wait_timeout')
  })

  test.each(['removed', 'down'])('end where the peer is %s', async (how) => {
    await using sink = await CancelSink.open()
    const heart = await open(sink.port, 1)
    const { cancels } = heart.registry
    const passed = Promise.allSettled([cancels.peers.pass(7, keyOf(7, 1)), cancels.peers.pass(7, keyOf(7, 2))])
    await sink.came(1)
    heart.context.config = { ...heart.context.config, peers: new Map() }
    if (how === 'down') cancels.end()
    else reconfigure(heart.registry, heart.registry.files)
    expect((await passed).map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    expect(cancels.peers.status()).toEqual([])
  })
})
