// Settings that change while a client is connected: in force at once, with its next server, or at its cost.

import { describe, expect, test } from 'vitest'
import { noSettings } from '../../src/session-state/settings.js'
import { Heart, turn } from '../harness/heart.js'
import { flush, parse, query, sync } from '../protocol/wire.js'
import { answered, isHeld, scene } from './scene.js'

const changed = 'database configuration changed'

describe('from transaction to session mode', () => {
  test('a client without a server is served so from its next server on', async () => {
    const one = await scene({ pool_mode: 'transaction' })
    one.heart.set('pool_mode', 'session')
    expect([one.client.served.terms.current.mode, one.client.served.terms.change]).toEqual(['session', 'none'])
    answered(one, query('rows 1 a'))
    expect([isHeld(one), one.server.session.wasOwned]).toEqual([true, true])
  })

  test('a client in a transaction has its server for itself from now on', async () => {
    const one = await scene({ pool_mode: 'transaction' })
    answered(one, query('begin'))
    one.heart.set('pool_mode', 'session')
    expect([one.client.served.terms.change, one.server.session.wasOwned]).toEqual(['due', true])
    answered(one, query('commit'))
    expect([isHeld(one), one.client.isOpen]).toEqual([true, true])
  })

  test('a client that is being aligned has that server for itself, too', async () => {
    const heart = await Heart.open({ pool_mode: 'transaction' })
    const client = await heart.connect('rig', 'rig', { application_name: 'mine' })
    client.send(query('rows 1 a'))
    heart.set('pool_mode', 'session')
    expect(client.served.terms.current.mode).toBe('session')
    heart.settle()
    expect([client.served.server?.wasOwned, client.heard().at(-1)]).toEqual([true, 'Z I'])
  })
})

describe('from session to transaction mode', () => {
  test('a client that never had a server goes on', async () => {
    const one = await scene({ pool_mode: 'session' })
    one.heart.set('pool_mode', 'transaction')
    answered(one, query('rows 1 a'))
    expect([isHeld(one), one.client.isOpen, one.server.session.state]).toEqual([false, true, 'idle'])
  })

  test.each(['idle', 'used'] as const)(
    'a client finds nothing that others left on a server that is %s',
    async (state) => {
      const one = await scene({ pool_mode: 'session', server_reset_query: '', server_check_query: 'select 1' })
      const second = await one.heart.connect()
      answered(one, query('rows 1 a'))
      one.client.socket.owner.onGone()
      if (state === 'used') one.heart.pool().move(one.server.session, 'used')
      one.heart.set('server_idle_timeout', '50')
      expect(one.server.session.state).toBe(state)
      one.heart.set('pool_mode', 'transaction')
      expect(one.server.session.state).toBe('closed')
      const two = { ...one, client: second }
      answered(two, query('begin'))
      one.heart.set('query_timeout', '100')
      answered(two, query('commit'))
      expect([second.error, second.isOpen]).toEqual(['', true])
    },
  )

  test('a client with a session of its own is sent away at once where it is between transactions', async () => {
    const one = await scene({ pool_mode: 'session' })
    answered(one, query('rows 1 a'))
    one.client.socket.taken()
    one.heart.set('pool_mode', 'transaction')
    expect([one.client.error, one.client.isOpen]).toEqual([changed, false])
    expect(one.server.socket.taken().toString('latin1')).toContain('DISCARD ALL')
  })

  test('a client with a session of its own is sent away when its transaction is over', async () => {
    const one = await scene({ pool_mode: 'session' })
    answered(one, query('begin'))
    one.heart.set('pool_mode', 'transaction')
    expect([one.client.isOpen, one.client.served.terms.change]).toEqual([true, 'broken'])
    answered(one, query('rows 1 a'))
    expect(one.client.isOpen).toBe(true)
    one.client.socket.taken()
    one.client.send(query('commit'))
    one.server.work()
    one.server.answer()
    expect(one.client.heard().map((line) => line[0])).toEqual(['C', 'Z', 'E'])
    expect([one.client.isOpen, one.server.session.isDirty]).toEqual([false, true])
  })

  test('a client amid a query has its answer before it is sent away', async () => {
    const one = await scene({ pool_mode: 'session' })
    answered(one, query('rows 1 a'))
    one.client.socket.taken()
    one.client.send(query('rows 1 b'))
    one.heart.set('pool_mode', 'transaction')
    expect(one.client.isOpen).toBe(true)
    one.heart.settle()
    expect([one.client.heard().map((line) => line[0]), one.client.isOpen]).toEqual([['T', 'D', 'C', 'Z', 'E'], false])
  })

  test('a client amid a batch is not sent away before its Sync', async () => {
    const one = await scene({ pool_mode: 'session' })
    answered(one, query('rows 1 a'))
    answered(one, parse('', 'rows 1 b'), flush)
    expect(one.server.relay.isQuiet).toBe(true)
    one.heart.set('pool_mode', 'transaction')
    expect(one.client.isOpen).toBe(true)
    answered(one, sync)
    expect(one.client.isOpen).toBe(false)
  })

  test('a client may stay where session mode comes back before its transaction is over', async () => {
    const one = await scene({ pool_mode: 'session' })
    answered(one, query('begin'))
    one.heart.set('pool_mode', 'transaction')
    one.heart.set('pool_mode', 'session')
    answered(one, query('commit'))
    expect([one.client.isOpen, one.client.served.terms.change]).toEqual([true, 'due'])
  })
})

describe('max_prepared_statements', () => {
  test('that is 0 from now on ends who has prepared something, when it has no server', async () => {
    const one = await scene({ max_prepared_statements: 10 })
    answered(one, parse('s', 'rows 1 a'), sync)
    one.client.socket.taken()
    one.heart.set('max_prepared_statements', '0')
    expect([one.client.error, one.client.isOpen]).toEqual([changed, false])
  })

  test('that is 0 from now on ends nobody else', async () => {
    const one = await scene({ max_prepared_statements: 10 })
    one.heart.set('max_prepared_statements', '0')
    expect([one.client.isOpen, one.client.served.relay.names.limit]).toEqual([true, 0])
  })

  test('that is another number counts from the next server on', async () => {
    const one = await scene({ max_prepared_statements: 10 })
    answered(one, query('begin'))
    one.heart.set('max_prepared_statements', '20')
    expect(one.client.served.relay.names.limit).toBe(10)
    answered(one, query('commit'))
    answered(one, query('rows 1 a'))
    expect([one.client.served.relay.names.limit, one.client.served.terms.change]).toEqual([20, 'none'])
  })
})

describe('session_state = track', () => {
  test('that is over ends who has settings to be carried', async () => {
    const one = await scene({ session_state: 'track' })
    one.client.served.terms.session!.tracker.settings = noSettings.with([{ name: 'a', sql: 'SET a=1' }])
    one.heart.set('session_state', 'allow')
    expect([one.client.error, one.client.isOpen]).toEqual([changed, false])
  })

  test('that is over ends nobody else, whose session is not looked after any more', async () => {
    const one = await scene({ session_state: 'track' })
    expect(one.client.served.relay.session).not.toBe(null)
    one.heart.set('session_state', 'allow')
    expect([one.client.isOpen, one.client.served.terms.session, one.client.served.relay.session]).toEqual([
      true,
      null,
      null,
    ])
  })

  test('that begins looks after clients that are there', async () => {
    const one = await scene()
    one.heart.set('session_state', 'track')
    const { terms, relay } = one.client.served
    expect([terms.session !== null, relay.session === terms.session]).toEqual([true, true])
  })
})

describe('what holds for every message holds at once, with or without a server', () => {
  test.each(['commit', 'begin'])('max_packet_size behind `%s`', async (text) => {
    const one = await scene()
    answered(one, query(text))
    one.client.socket.taken()
    one.heart.set('max_packet_size', '100')
    answered(one, query(`rows 1 ${'x'.repeat(100)}`))
    expect([one.client.error.startsWith('bad packet header'), one.client.isOpen]).toEqual([true, false])
  })

  test('statement mode, for the next transaction', async () => {
    const one = await scene({ pool_mode: 'transaction' })
    one.heart.set('pool_mode', 'statement')
    answered(one, query('begin'))
    expect([one.client.error, one.client.isOpen]).toEqual([
      'transaction blocks not allowed in statement pooling mode',
      false,
    ])
  })
})

test('a replication client is served as it was when it came, whatever is set', async () => {
  const heart = await Heart.open({ pool_mode: 'transaction' })
  const client = await heart.arrive('rig', 'rig', { replication: 'database' })
  heart.settle()
  await turn()
  heart.set('max_packet_size', '100')
  heart.set('pool_mode', 'statement')
  client.send(query(`rows 1 ${'x'.repeat(100)}`))
  heart.settle()
  expect([client.isOpen, client.served.terms.current.mode, client.heard().at(-1)]).toEqual([true, 'session', 'Z I'])
})
