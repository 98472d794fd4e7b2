// Subscribers of the diagnostics channels that act on what they hear: the pooler is never amid something then.

import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { expect, onTestFinished, test } from 'vitest'
import type { TraceEvents } from '../../src/observe/trace.js'
import { PgError } from '../../src/protocol/errors.js'
import { Heart, type HeartClient, turn } from '../harness/heart.js'
import { query } from '../protocol/wire.js'

type Name = keyof TraceEvents

/** Does it once, when that is heard of. */
function once(name: Name, act: () => void): void {
  const hear = (): void => {
    unsubscribe(name, hear)
    act()
  }
  subscribe(name, hear)
  onTestFinished(() => void unsubscribe(name, hear))
}

function killEveryone(heart: Heart): void {
  for (const client of [...heart.clients]) client.fail(new PgError('admin_disconnect'))
}

async function checkEmpty(heart: Heart, ...clients: HeartClient[]): Promise<void> {
  await turn()
  for (const { socket } of clients) socket.owner.onGone()
  await turn()
  const database = heart.registry.databases.get('rig')!
  const { users } = heart.registry.databases
  const pool = heart.pool()
  expect([database.clients, users.get('rig')!.clients, heart.clients.size]).toEqual([0, 0, 0])
  expect([pool.clients.size, pool.waiting.size, pool.arriving.size, pool.active.size]).toEqual([0, 0, 0, 0])
}

test('a client may be sent away when it connects', async () => {
  const heart = await Heart.open()
  const stayed = await heart.connect()
  once('tsbouncer:client.connect', () => killEveryone(heart))
  const client = await heart.arrive()
  expect([stayed.isOpen, client.isOpen]).toEqual([false, false])
  await checkEmpty(heart, client, stayed)
})

test('a client may be sent away when it has logged in, whatever it has said by then', async () => {
  const heart = await Heart.open()
  heart.idle(1)
  once('tsbouncer:client.login', () => killEveryone(heart))
  const client = await heart.arrive()
  expect(client.isOpen).toBe(false)
  expect(client.socket.ended).toBe(true)
  await checkEmpty(heart, client)
})

test('the console may be closed to a client when it has logged in', async () => {
  const heart = await Heart.open()
  heart.idle(1)
  once('tsbouncer:client.login', () => killEveryone(heart))
  const client = await heart.arrive('pgbouncer', 'console')
  expect(client.isOpen).toBe(false)
  await checkEmpty(heart, client)
})

test('a client may be sent away when it has been answered', async () => {
  const heart = await Heart.open()
  const client = await heart.connect()
  const next = await heart.connect()
  once('tsbouncer:exchange', () => client.session.fail(new PgError('admin_disconnect')))
  client.send(query('rows 1 a'))
  next.send(query('rows 1 b'))
  heart.settle()
  await turn()
  expect([client.isOpen, next.heard()]).toEqual([false, expect.arrayContaining(['C SELECT 1|'])])
  await checkEmpty(heart, client, next)
})

test('whoever waits may be sent away when a server is lost', async () => {
  const heart = await Heart.open()
  const client = await heart.connect('rig', 'rig', { application_name: 'mine' })
  client.send(query('rows 1 a')) // its server is being aligned
  once('tsbouncer:server.close', () => killEveryone(heart))
  heart.servers[0]!.socket.owner.onGone()
  await checkEmpty(heart, client)
})
