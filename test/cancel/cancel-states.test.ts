// A CancelRequest in each state of the client that it names, and with keys that are nobody's.

import { describe, expect, test } from 'vitest'
import type { ConfigInput } from '../../src/config/input.js'
import { cancelRequest, startupMessage } from '../../src/protocol/frontend.js'
import { Heart, HeartClient, linksOf, parted, turn } from '../harness/heart.js'
import { query } from '../protocol/wire.js'

/** Sends a CancelRequest with this key. @returns what the log says became of it */
async function cancel(heart: Heart, key: Buffer): Promise<string> {
  const before = heart.logged.length
  const asker = new HeartClient(heart.clients)
  asker.send(cancelRequest(key.readInt32BE(0), key.subarray(4)))
  await turn()
  expect([asker.socket.ended, asker.socket.writes, [...heart.clients].includes(asker.session)]).toEqual([
    true,
    [],
    false,
  ])
  const line = heart.logged.slice(before).find((text) => text.includes('cancel'))
  return /closing because: (.*) \(age=0s\)/.exec(line ?? '')?.[1] ?? ''
}

async function busyHeart(settings: ConfigInput['pgbouncer'] = {}): Promise<[Heart, HeartClient, HeartClient]> {
  const heart = await Heart.open(settings)
  return [heart, await heart.connect(), await heart.connect()]
}

describe('a CancelRequest of a client', () => {
  test('that is logging in has no key that would fit', async () => {
    const heart = await Heart.open()
    const client = await heart.arrive()
    expect(client.session.cancelTarget()).toBe(undefined)
    expect(await cancel(heart, client.session.cancelKey)).toBe('failed cancel request')
    expect([client.isOpen, heart.pool().arriving.size]).toEqual([true, 1])
  })

  test('that is idle does nothing', async () => {
    const [heart, client] = await busyHeart()
    expect(await cancel(heart, client.session.cancelKey)).toBe('cancel request for idle client')
    expect([client.isOpen, client.heard(), heart.servers[0]!.session.cancels]).toEqual([true, [], 0])
  })

  test('that waits ends its wait with an error, and it may ask again', async () => {
    const [heart, busy, client] = await busyHeart()
    busy.send(query('begin'))
    client.send(query('rows 1 a'))
    expect(await cancel(heart, client.session.cancelKey)).toBe('cancel request for waiting client')
    const [error, ready] = client.heard()
    expect([error?.split('|')[1], ready, heart.pool().waiting.size]).toEqual(['C57014', 'Z I', 0])
    client.send(query('rows 1 b'))
    busy.send(query('commit'))
    heart.settle()
    expect(client.heard()).toContain('C SELECT 1|')
  })

  test('whose server is being aligned ends its wait, and lets the server finish', async () => {
    const heart = await Heart.open()
    const client = await heart.connect('rig', 'rig', { application_name: 'mine' })
    const [server] = heart.servers
    client.send(query('rows 1 a'))
    expect(await cancel(heart, client.session.cancelKey)).toBe('cancel request for waiting client')
    expect([linksOf(client, server!), server!.session.state]).toEqual([parted, 'tested'])
    expect(client.heard().at(-1)).toBe('Z I')
  })

  test('that has a server is passed on to that', async () => {
    const [heart, client, other] = await busyHeart({ default_pool_size: 2 })
    client.send(query('rows 1 a'))
    other.send(query('rows 1 b'))
    const { server } = client.served
    const done = cancel(heart, client.session.cancelKey)
    for (let turns = 0; turns < 100 && server!.cancels === 0; turns++) await Promise.resolve()
    expect([server!.cancels, other.served.server?.cancels ?? 0]).toEqual([1, 0])
    expect(await done).toBe('successfully sent cancel request')
    expect([client.isOpen, client.heard(), server!.cancels, heart.registry.cancels.active]).toEqual([true, [], 0, 0])
  })

  test('of the console is for the console', async () => {
    const heart = await Heart.open()
    const client = await heart.arrive('pgbouncer', 'console')
    expect(await cancel(heart, client.session.cancelKey)).toBe('cancel request for console client')
    expect(heart.console).toEqual(['cancel'])
  })

  test('that has gone does nothing to who comes next', async () => {
    const [heart, client, other] = await busyHeart()
    client.socket.owner.onGone()
    other.send(query('rows 1 a'))
    expect(await cancel(heart, client.session.cancelKey)).toBe('failed cancel request')
    expect([other.isOpen, heart.servers[0]!.session.cancels]).toEqual([true, 0])
  })
})

describe('a key', () => {
  test('of which any byte is wrong does nothing', async () => {
    const [heart, client] = await busyHeart()
    client.send(query('rows 1 a'))
    for (let at = 0; at < 8; at++) {
      const key = Buffer.from(client.session.cancelKey)
      key[at]! ^= 1
      expect(await cancel(heart, key)).toBe('failed cancel request')
    }
    expect(heart.servers[0]!.session.cancels).toBe(0)
  })

  test.each([
    ['shorter', (key: Buffer) => key.subarray(0, 35)],
    ['cut to what protocol 3.0 has', (key: Buffer) => key.subarray(0, 8)],
    ['longer', (key: Buffer) => Buffer.concat([key, Buffer.alloc(1)])],
    ['wrong at its end', (key: Buffer) => Buffer.concat([key.subarray(0, 35), Buffer.from([key[35]! ^ 1])])],
  ])('of protocol 3.2 that is %s does nothing', async (_how, change) => {
    const heart = await Heart.open()
    heart.idle(1)
    const client = new HeartClient(heart.clients)
    client.send(startupMessage({ user: 'rig', database: 'rig' }, 2))
    await turn()
    const { cancelKey } = client.session
    expect(cancelKey).toHaveLength(36)
    expect(await cancel(heart, Buffer.from(change(cancelKey)))).toBe('failed cancel request')
    expect(await cancel(heart, cancelKey)).toBe('cancel request for idle client')
  })

  test('without a secret is none', async () => {
    const [heart, client] = await busyHeart()
    expect(await cancel(heart, client.session.cancelKey.subarray(0, 4))).toBe('bad cancel request')
  })

  test('begins with a number above zero, and is nobody else his', async () => {
    const heart = await Heart.open()
    const keys = new Set<string>()
    for (let count = 0; count < 600; count++) {
      const one = { ptr: '', cancelKey: Buffer.alloc(0), cancelTarget: () => undefined, cancelWaiting() {} }
      heart.registry.cancels.register(one, 0)
      expect(one.cancelKey.readInt32BE(0)).toBeGreaterThanOrEqual(0)
      keys.add(one.cancelKey.toString('hex'))
    }
    expect(keys.size).toBe(600)
  })
})

test('a request is dropped where a thousand are on their way already', async () => {
  const [heart, client] = await busyHeart()
  heart.registry.cancels.active = 1000
  expect(await cancel(heart, client.session.cancelKey)).toBe('failed to send cancel request')
  heart.registry.cancels.active = 999
  expect(await cancel(heart, client.session.cancelKey)).toBe('cancel request for idle client')
})
