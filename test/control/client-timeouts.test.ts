// The time-outs of clients: nothing happens when the time is just up, and the client is sent away a moment later.

import { describe, expect, test } from 'vitest'
import type { ConfigInput } from '../../src/config/input.js'
import { Heart, HeartClient, linksOf, parted } from '../harness/heart.js'
import { flush, parse, query } from '../protocol/wire.js'
import { limit, patient } from './patience.js'

type Begin = (heart: Heart) => Promise<HeartClient>

async function inTransaction(heart: Heart): Promise<HeartClient> {
  const client = await heart.connect()
  client.send(query('begin'))
  heart.settle()
  return client
}

async function waiting(heart: Heart): Promise<HeartClient> {
  const client = await heart.connect()
  await inTransaction(heart)
  client.send(query('rows 1 a'))
  return client
}

async function asking(heart: Heart, ...messages: Buffer[]): Promise<HeartClient> {
  const client = await heart.connect()
  client.send(...messages)
  return client
}

async function aligning(heart: Heart): Promise<HeartClient> {
  const client = await heart.connect('rig', 'rig', { application_name: 'mine' })
  client.send(query('rows 1 a'))
  return client
}

const cases: [what: string, settings: ConfigInput['pgbouncer'], begin: Begin, error: string][] = [
  [
    'query_timeout amid a query',
    { query_timeout: limit },
    (heart) => asking(heart, query('rows 1 a')),
    'query timeout',
  ],
  ['query_timeout in line', { query_timeout: limit }, waiting, 'query_timeout'],
  ['query_wait_timeout in line', { query_wait_timeout: limit }, waiting, 'query_wait_timeout'],
  ['query_wait_timeout while aligning', { query_wait_timeout: limit }, aligning, 'query_wait_timeout'],
  [
    'query_wait_timeout before the welcome',
    { query_wait_timeout: limit },
    (heart) => heart.arrive(),
    'query_wait_timeout',
  ],
  ['idle_transaction_timeout', { idle_transaction_timeout: limit }, inTransaction, 'idle transaction timeout'],
  ['transaction_timeout between queries', { transaction_timeout: limit }, inTransaction, 'transaction timeout'],
  [
    'transaction_timeout amid a query',
    { transaction_timeout: limit },
    (heart) => asking(heart, query('rows 1 a')),
    'transaction timeout',
  ],
  [
    'transaction_timeout in a batch that no Sync closes',
    { transaction_timeout: limit, max_prepared_statements: 0 },
    async (heart) => {
      const client = await asking(heart, parse('', 'rows 1 a'), flush)
      heart.settle()
      return client
    },
    'transaction timeout',
  ],
  ['client_idle_timeout', { client_idle_timeout: limit }, (heart) => heart.connect(), 'client_idle_timeout'],
  [
    'client_idle_timeout with a server',
    { client_idle_timeout: limit, pool_mode: 'session' },
    async (heart) => {
      const client = await asking(heart, query('rows 1 a'))
      heart.settle()
      return client
    },
    'client_idle_timeout',
  ],
  [
    'client_login_timeout',
    { client_login_timeout: limit },
    (heart) => Promise.resolve(new HeartClient(heart.clients)),
    'client_login_timeout',
  ],
  [
    'client_login_timeout behind the login',
    { client_login_timeout: limit },
    (heart) => heart.arrive(),
    'client_login_timeout (server down)',
  ],
]

describe.each(cases)('%s', (_what, settings, begin, error) => {
  test('ends the client when it is over, and not before', async () => {
    const heart = await Heart.open({ ...patient, ...settings })
    const client = await begin(heart)
    client.socket.taken()
    heart.clock.advance(limit)
    heart.janitor.look()
    expect([client.isOpen, client.error]).toEqual([true, ''])
    heart.clock.advance(0.001)
    heart.janitor.look()
    expect([client.isOpen, client.error]).toEqual([false, error])
  })

  test('of 0 never ends it', async () => {
    const never = Object.fromEntries(
      Object.entries(settings!).map(([name, value]) => [name, value === limit ? 0 : value]),
    )
    const heart = await Heart.open({ ...patient, ...never })
    const client = await begin(heart)
    heart.clock.advance(1e6)
    heart.janitor.look()
    expect(client.isOpen).toBe(true)
  })
})

test('idle_transaction_timeout begins anew with each answer, and does not run amid a query', async () => {
  const heart = await Heart.open({ ...patient, idle_transaction_timeout: limit })
  const client = await inTransaction(heart)
  heart.clock.advance(4)
  client.send(query('rows 1 a'))
  heart.clock.advance(100)
  heart.janitor.look()
  heart.settle()
  heart.clock.advance(limit)
  heart.janitor.look()
  expect(client.isOpen).toBe(true)
  heart.clock.advance(0.001)
  heart.janitor.look()
  expect(client.error).toBe('idle transaction timeout')
})

describe('transaction_timeout', () => {
  test('begins with the transaction, however long the session was idle before', async () => {
    const heart = await Heart.open({ ...patient, transaction_timeout: limit, pool_mode: 'session' })
    const client = await heart.connect()
    client.send(query('rows 1 a'))
    heart.settle()
    heart.clock.advance(100)
    client.send(query('begin'))
    heart.settle()
    heart.clock.advance(4)
    client.send(query('rows 1 b'))
    heart.settle()
    heart.clock.advance(limit - 4)
    heart.janitor.look()
    expect(client.isOpen).toBe(true)
    heart.clock.advance(0.001)
    heart.janitor.look()
    expect(client.error).toBe('transaction timeout')
  })

  test('does not begin anew with the messages of a batch that was answered so far', async () => {
    const heart = await Heart.open({ ...patient, transaction_timeout: limit, max_prepared_statements: 0 })
    const client = await heart.connect()
    client.send(parse('', 'rows 1 a'), flush)
    heart.settle()
    heart.clock.advance(limit)
    client.send(parse('', 'rows 1 b'), flush)
    heart.settle()
    heart.clock.advance(0.001)
    heart.janitor.look()
    expect(client.error).toBe('transaction timeout')
  })
})

test('query_timeout does not run between the queries of a transaction', async () => {
  const heart = await Heart.open({ ...patient, query_timeout: limit })
  const client = await inTransaction(heart)
  heart.clock.advance(100)
  heart.janitor.look()
  expect(client.isOpen).toBe(true)
})

test('client_idle_timeout begins anew when a wait in line was cancelled', async () => {
  const heart = await Heart.open({ ...patient, client_idle_timeout: limit })
  await inTransaction(heart)
  const client = await heart.connect()
  heart.clock.advance(3)
  client.send(query('rows 1 a'))
  heart.clock.advance(3)
  client.served.cancelWaiting()
  heart.clock.advance(limit)
  heart.janitor.look()
  expect(client.isOpen).toBe(true)
  heart.clock.advance(0.001)
  heart.janitor.look()
  expect(client.isOpen).toBe(false)
})

test('a client that is sent away amid a query has parted from its server, which is closed', async () => {
  const heart = await Heart.open({ ...patient, query_timeout: limit })
  const client = await asking(heart, query('rows 1 a'))
  heart.clock.advance(limit + 1)
  heart.janitor.look()
  const [server] = heart.servers
  expect([linksOf(client, server!), server!.session.state]).toEqual([parted, 'closed'])
})

describe('the time-outs of a user', () => {
  test.each([
    ['query_timeout', (heart: Heart) => asking(heart, query('rows 1 a'))],
    ['query_wait_timeout', waiting],
    ['idle_transaction_timeout', inTransaction],
    ['transaction_timeout', inTransaction],
    ['client_idle_timeout', (heart: Heart) => heart.connect()],
  ] as const)('%s beats the setting', async (name, begin) => {
    const heart = await Heart.open({ ...patient, [name]: 100 }, { users: { rig: `${name}=${limit}` } })
    const client = await begin(heart)
    heart.clock.advance(limit)
    heart.janitor.look()
    expect(client.isOpen).toBe(true)
    heart.clock.advance(0.001)
    heart.janitor.look()
    expect(client.isOpen).toBe(false)
  })

  test('count for those who are logged in as it to servers, but for what is their own', async () => {
    const heart = await Heart.open(patient, {
      databases: { rig: 'host=x user=third' },
      users: { third: 'client_idle_timeout=5', other: 'client_idle_timeout=50' },
    })
    const [client, own] = [await heart.connect('rig', 'rig'), await heart.connect('rig', 'other')]
    heart.clock.advance(6)
    heart.janitor.look()
    expect([client.isOpen, own.isOpen]).toEqual([false, true])
  })
})

test('query_wait_timeout of the database beats the setting', async () => {
  const heart = await Heart.open(patient, { databases: { rig: `host=x query_wait_timeout=${limit}` } })
  const client = await waiting(heart)
  heart.clock.advance(limit + 0.001)
  heart.janitor.look()
  expect(client.error).toBe('query_wait_timeout')
})
