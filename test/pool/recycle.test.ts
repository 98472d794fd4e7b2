// What a server goes through between two clients: rolled back, reset, checked, or closed where it does not take that.

import { describe, expect, test } from 'vitest'
import type { ConfigInput } from '../../src/config/input.js'
import { noSettings } from '../../src/session-state/settings.js'
import { Heart, type HeartClient, refusal } from '../harness/heart.js'
import { linesOf, message, query, z } from '../protocol/wire.js'
import type { RigServer } from '../relay/relay-rig.js'

interface Scene {
  readonly heart: Heart
  readonly client: HeartClient
  readonly server: RigServer
}

/** A client that has used the server, and another that is welcome. */
async function scene(settings: ConfigInput['pgbouncer'] = {}, text = 'rows 1 a'): Promise<Scene> {
  const heart = await Heart.open({ pool_mode: 'session', ...settings })
  const client = await heart.connect()
  await heart.connect()
  client.send(query(text))
  heart.settle()
  return { heart, client, server: heart.servers[0]! }
}

const leave = (client: HeartClient): void => client.socket.owner.onGone()

const done = Buffer.concat([message('C', z('X')), message('Z', 'I')])
const leftOpen = Buffer.concat([message('C', z('X')), message('Z', 'T')])

/** The queries that the server is sent one after the other, until it is free. */
function queries({ server }: Scene): string[] {
  const texts: string[] = []
  while (server.session.state === 'tested') {
    texts.push(...linesOf(server.socket.taken()).map((line) => line.replace(/^Q (.*)\|$/, '$1')))
    server.socket.deliver(done)
  }
  return [...texts, server.session.state]
}

describe('server_reset_query', () => {
  test.each([
    ['session', { pool_mode: 'session' }, ['DISCARD ALL', 'idle']],
    ['session', { pool_mode: 'session', server_reset_query: 'RESET ALL' }, ['RESET ALL', 'idle']],
    ['session', { pool_mode: 'session', server_reset_query: '' }, ['idle']],
  ] as const)('is run in %s mode (%j)', async (_mode, settings, expected) => {
    const one = await scene(settings)
    leave(one.client)
    expect(queries(one)).toEqual(expected)
  })

  test('is run in transaction mode only with server_reset_query_always', async () => {
    const heart = await Heart.open({ server_reset_query_always: true })
    const client = await heart.connect()
    client.send(query('rows 1 a'))
    const [server] = heart.servers as [RigServer]
    server.work()
    server.answer()
    expect(queries({ heart, client, server })).toEqual(['DISCARD ALL', 'idle'])
    heart.set('server_reset_query_always', '0')
    client.send(query('rows 1 a'))
    server.work()
    server.answer()
    expect(server.session.state).toBe('idle')
  })

  test.each([
    ['fails', refusal, 'no such thing'],
    ['leaves a transaction open', leftOpen, 'transaction left open'],
  ])('that %s has the server closed, and another opened for who waits', async (_what, answer, reason) => {
    const one = await scene()
    const waiting = await one.heart.connect()
    waiting.send(query('rows 1 b'))
    leave(one.client)
    one.server.socket.taken()
    one.server.socket.deliver(answer)
    expect([one.server.session.state, one.heart.pool().connecting.size]).toEqual(['closed', 1])
    expect(one.heart.logged.join()).toContain(`reset query failed: ${reason}`)
  })

  test('takes the settings of the client with it, or leaves them unknown where that is not sure', async () => {
    const settings = noSettings.with([{ name: 'a', sql: 'SET a=1' }])
    const names: unknown[] = []
    for (const text of ['DISCARD ALL', "select set_config('a', current_user, false)"]) {
      const one = await scene({ server_reset_query: text })
      one.server.session.settings = settings
      leave(one.client)
      queries(one)
      names.push([one.server.session.settings.size, one.server.session.settings.get('a')])
    }
    expect(names).toEqual([
      [0, undefined],
      [1, '?'],
    ])
  })
})

test('a transaction is rolled back before the reset', async () => {
  const one = await scene({}, 'begin')
  leave(one.client)
  expect(queries(one)).toEqual(['ROLLBACK', 'DISCARD ALL', 'idle'])
})

test('a server that a Query in a batch has left in doubt is rolled back once, though it says that it is idle', async () => {
  const one = await scene()
  one.server.relay.isMixed = true
  leave(one.client)
  expect(queries(one)).toEqual(['ROLLBACK', 'DISCARD ALL', 'idle'])
})

test('statements that nobody knows of are dropped', async () => {
  const one = await scene({ server_reset_query: '' })
  one.server.relay.statements.hasUnknown = true
  leave(one.client)
  expect(queries(one)).toEqual(['DEALLOCATE ALL', 'idle'])
})

test('what belongs to the session of one client is discarded whatever the reset is, which is run as well', async () => {
  const one = await scene({ server_reset_query: 'RESET ALL' })
  one.server.session.isDirty = true
  leave(one.client)
  expect(queries(one)).toEqual(['DISCARD ALL', 'RESET ALL', 'idle'])
  expect(one.server.session.isDirty).toBe(false)
})

test('a server that was a client of its own is discarded where the mode is another by now', async () => {
  const one = await scene({ server_reset_query: '' }, 'begin')
  one.heart.set('pool_mode', 'transaction')
  leave(one.client)
  expect(queries(one)).toEqual(['ROLLBACK', 'DISCARD ALL', 'idle'])
  expect(one.server.session.wasOwned).toBe(false)
})

test('a server that is to be closed, or of whose lifetime nothing is left, is not reset before', async () => {
  const one = await scene({}, 'begin')
  one.server.session.retire('server_lifetime')
  leave(one.client)
  expect(queries(one)).toEqual(['closed'])
  const two = await scene({ server_lifetime: 5 }, 'begin')
  two.heart.clock.advance(5)
  leave(two.client)
  expect(queries(two)).toEqual(['closed'])
})

test('a server that is lost while it is reset is gone, and another opened for who waits', async () => {
  const one = await scene()
  const waiting = await one.heart.connect()
  waiting.send(query('rows 1 b'))
  leave(one.client)
  one.server.socket.owner.onGone()
  expect([one.server.session.state, one.heart.pool().connecting.size]).toEqual(['closed', 1])
})

describe('server_check_query', () => {
  test.each([
    ['select 2', 'select 2'],
    ['<empty>', ''],
  ])('%s is asked as %j, and what is reported meanwhile is known to be its own', async (text, sent) => {
    const heart = await Heart.open({ server_check_query: text })
    const [server] = heart.idle(1) as [RigServer]
    heart.pool().move(server.session, 'used')
    heart.pool().check(server.session)
    expect([linesOf(server.socket.taken()), server.session.isChecked]).toEqual([[`Q ${sent}|`], true])
    server.socket.deliver(Buffer.concat([message('S', z('TimeZone'), z('UTC')), done]))
    expect([server.session.state, server.session.isChecked]).toEqual(['idle', false])
    expect(heart.pool().usual.defaults.get('TimeZone')).toBe('UTC')
  })

  test('that leaves a transaction open has the server closed', async () => {
    const heart = await Heart.open({ server_check_query: 'select 1' })
    const [server] = heart.idle(1) as [RigServer]
    heart.pool().move(server.session, 'used')
    heart.pool().check(server.session)
    server.socket.deliver(leftOpen)
    expect(server.session.state).toBe('closed')
  })
})
