// What the janitor does about clients beside their time-outs, and whom it leaves alone.

import { describe, expect, test } from 'vitest'
import { Heart, type HeartClient, turn } from '../harness/heart.js'
import { query } from '../protocol/wire.js'
import { limit, patient } from './patience.js'

async function asking(heart: Heart, text: string): Promise<HeartClient> {
  const client = await heart.connect()
  client.send(query(text))
  return client
}

/** A client that waits for a server, since another is in a transaction. */
async function waiting(heart: Heart): Promise<HeartClient> {
  await asking(heart, 'begin')
  const client = await heart.connect()
  client.send(query('rows 1 a'))
  return client
}

describe('query_wait_notify', () => {
  const notices = (client: HeartClient): number => client.heard().filter((line) => line.startsWith('N ')).length

  test('has who waits told once each time that it waits', async () => {
    const heart = await Heart.open({ ...patient, query_wait_notify: limit })
    const client = await waiting(heart)
    heart.clock.advance(limit)
    heart.janitor.look()
    expect(notices(client)).toBe(0)
    heart.clock.advance(0.001)
    for (let times = 0; times < 3; times++) heart.janitor.look()
    expect(notices(client)).toBe(1)
    client.served.cancelWaiting()
    client.send(query('rows 1 b'))
    heart.clock.advance(limit + 1)
    heart.janitor.look()
    expect(notices(client)).toBe(1)
  })

  test('tells nobody who has a server', async () => {
    const heart = await Heart.open({ ...patient, query_wait_notify: limit })
    const client = await asking(heart, 'rows 1 a')
    heart.clock.advance(100)
    heart.janitor.look()
    expect(notices(client)).toBe(0)
  })
})

describe('a replication client', () => {
  test('has no time-outs, and is sent away when its server is to be closed', async () => {
    const impatient = { query_timeout: 1, transaction_timeout: 1, client_idle_timeout: 1, idle_transaction_timeout: 1 }
    const heart = await Heart.open({ ...patient, ...impatient })
    const client = await heart.arrive('rig', 'rig', { replication: 'database' })
    heart.settle()
    await turn()
    client.send(query('rows 1 a'))
    heart.clock.advance(1000)
    heart.janitor.look()
    expect(client.isOpen).toBe(true)
    client.served.server!.retire('server_lifetime')
    heart.janitor.look()
    expect(client.isOpen).toBe(false)
  })
})

test('who waits for a server is sent away when the pooler shuts down with everything paused', async () => {
  const heart = await Heart.open(patient)
  const client = await waiting(heart)
  for (const isClosing of [true, false]) {
    heart.clients.isClosing = isClosing
    heart.context.isPaused = !isClosing
    heart.janitor.look()
    expect(client.isOpen).toBe(true)
  }
  heart.clients.isClosing = true
  heart.janitor.look()
  expect(client.error).toBe('server shutting down')
})

test('nobody is looked at while everything is suspended', async () => {
  const heart = await Heart.open({ ...patient, client_idle_timeout: limit })
  const client = await heart.connect()
  heart.clients.suspend()
  heart.clock.advance(100)
  heart.janitor.look()
  expect(client.isOpen).toBe(true)
})

test('the janitor looks at once, every third of a second, and not after it was stopped', async () => {
  const heart = await Heart.open({ ...patient, client_idle_timeout: 1 })
  const [one, two, three] = [await heart.connect(), await heart.connect(), await heart.connect()]
  heart.clock.advance(1.001)
  two.served.quietSince = three.served.quietSince = heart.clock.now()
  heart.janitor.start()
  expect([one.isOpen, two.isOpen]).toEqual([false, true])
  heart.clock.advance(0.99)
  three.served.quietSince = heart.clock.now()
  heart.clock.advance(0.343)
  expect([two.isOpen, three.isOpen]).toEqual([false, true])
  heart.janitor.stop()
  heart.clock.advance(100)
  expect(three.isOpen).toBe(true)
})
