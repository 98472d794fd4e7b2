// Queries of the pooler's own: they wait in line as clients do, and give their server back whatever becomes of them.

import { describe, expect, test } from 'vitest'
import { PoolQuery } from '../../src/pool/pool-query.js'
import type { PgError } from '../../src/protocol/errors.js'
import type { Answer } from '../../src/relay/own-query.js'
import { Heart, type HeartClient, turn } from '../harness/heart.js'
import { query } from '../protocol/wire.js'
import type { RigServer } from '../relay/relay-rig.js'

interface Scene {
  readonly heart: Heart
  readonly client: HeartClient
  readonly server: RigServer
  readonly ask: PoolQuery
  readonly told: (Answer | PgError)[]
}

/** A server that is idle, a client that is welcome, and a query that has not begun. */
async function scene(text = 'rows 1 a'): Promise<Scene> {
  const heart = await Heart.open()
  const [server] = heart.idle(1) as [RigServer]
  const client = await heart.connect()
  const told: (Answer | PgError)[] = []
  const ask = new PoolQuery(heart.pool(), query(text), false, (answer) => told.push(answer))
  return { heart, client, server, ask, told }
}

test('a query is answered while it still has its server, which is free afterwards', async () => {
  const { heart, server } = await scene()
  const states: string[] = []
  const ask = new PoolQuery(heart.pool(), query('rows 1 a'), false, (answer, asked) => {
    states.push(asked!.state, String((answer as Answer).rows))
  })
  ask.begin()
  expect(server.session.holder).toBe(ask.lease)
  heart.settle()
  expect([...states, server.session.state]).toEqual(['active', 'rows 1 a 1', 'idle'])
  expect([ask.lease, server.session.holder]).toEqual([null, null])
})

test('a query that fails is answered with that, and its server is free', async () => {
  const { heart, server, ask, told } = await scene('fail')
  ask.begin()
  heart.settle()
  expect([(told[0] as Answer).error?.sqlstate, server.session.state]).toEqual(['22012', 'idle'])
})

test('a query that leaves a transaction open has it rolled back', async () => {
  const { heart, server, ask } = await scene('begin')
  ask.begin()
  server.work()
  server.answer()
  expect(server.session.state).toBe('tested')
  heart.settle()
  expect([server.backend.status, server.session.state]).toEqual(['I', 'idle'])
})

test('a query waits behind the clients that came before', async () => {
  const { heart, client, server, ask, told } = await scene()
  client.send(query('begin'))
  ask.begin()
  heart.settle()
  expect([told, heart.pool().waiting.has(ask)]).toEqual([[], true])
  client.send(query('commit'))
  heart.settle()
  expect([told.length, server.session.state]).toEqual([1, 'idle'])
})

describe('a query that is given up', () => {
  test('while it waits does not wait any more, and nobody is told', async () => {
    const { heart, client, ask, told } = await scene()
    client.send(query('begin'))
    ask.begin()
    ask.giveUp()
    client.send(query('commit'))
    heart.settle()
    expect([heart.pool().waiting.size, told, heart.pool().idle.length]).toEqual([0, [], 1])
  })

  test('while it runs is cancelled, and the server kept back until the cancel is delivered', async () => {
    const { heart, server, ask } = await scene()
    ask.begin()
    ask.giveUp()
    expect(server.session.cancels).toBe(1)
    heart.settle()
    expect([server.session.state, ask.lease]).toEqual(['active', null])
    await turn()
    expect([server.session.cancels, server.session.state]).toEqual([0, 'idle'])
  })
})

test('a query whose server is lost is told so once, and the server is closed', async () => {
  const { server, ask, told } = await scene()
  ask.begin()
  server.socket.owner.onGone()
  expect(told.map((answer) => (answer as PgError).condition)).toEqual(['server_crashed'])
  expect([server.session.state, ask.lease, server.session.holder]).toEqual(['closed', null, null])
})

test('a query for which there will be no server is told why', async () => {
  const { heart, client, ask, told } = await scene()
  client.send(query('begin'))
  ask.begin()
  heart.pool().launcher.refuseWaiting({ condition: 'database_removed' } as PgError)
  expect([told.map((answer) => (answer as PgError).condition), heart.pool().waiting.size]).toEqual([
    ['database_removed'],
    0,
  ])
})

test('a server that is closed for its answer makes room at once for who waits', async () => {
  const { heart, server, client } = await scene()
  const ask = new PoolQuery(heart.pool(), query('rows 1 a'), false, (_answer, asked) =>
    asked!.close('bad_auth_query', '1'),
  )
  ask.begin()
  client.send(query('rows 1 b'))
  const before = heart.servers.length
  server.work()
  server.answer()
  expect([server.session.state, ask.lease, heart.servers.length]).toEqual(['closed', null, before + 1])
})
