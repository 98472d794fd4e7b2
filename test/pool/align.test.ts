// The SETs that a server is given for its next client, and all that may come between.

import { describe, expect, test } from 'vitest'
import { noSettings } from '../../src/session-state/settings.js'
import { Heart, type HeartClient, linksOf, parted, refusal } from '../harness/heart.js'
import { linesOf, message, query, z } from '../protocol/wire.js'
import type { RigServer } from '../relay/relay-rig.js'

interface Scene {
  readonly heart: Heart
  readonly client: HeartClient
  readonly second: HeartClient
  readonly server: RigServer
}

const workMem = noSettings.with([{ name: 'work_mem', sql: "SET work_mem='1MB'" }])

const done = Buffer.concat([message('C', z('SET')), message('Z', 'I')])
const named = Buffer.concat([message('S', z('application_name'), z('mine')), done])
const leftOpen = Buffer.concat([message('C', z('SET')), message('Z', 'T')])

/** A client that has set a parameter and a setting, and has asked for something; another that has not. */
async function scene(): Promise<Scene> {
  const heart = await Heart.open({ session_state: 'track' })
  const client = await heart.connect('rig', 'rig', { application_name: 'mine' })
  const second = await heart.connect()
  client.served.terms.session!.tracker.settings = workMem
  const server = heart.servers[0]!
  client.send(query('rows 1 a'))
  return { heart, client, second, server }
}

const leave = (client: HeartClient): void => client.socket.owner.onGone()
const sent = (server: RigServer): string[] => linesOf(server.socket.taken())

describe('a server that has all that its client wants', () => {
  test('is asked nothing', async () => {
    const heart = await Heart.open()
    const client = await heart.connect()
    client.send(query('rows 1 a'))
    expect(sent(heart.servers[0]!)).toEqual(['Q rows 1 a|'])
  })

  test('has its client told where it is on standby', async () => {
    const heart = await Heart.open()
    const client = await heart.connect()
    heart.servers[0]!.session.parameters.report('in_hot_standby', 'on')
    client.send(query('rows 1 a'))
    expect(client.heard()).toEqual(['S in_hot_standby|on|'])
  })

  test('has its client told of a default that has changed meanwhile', async () => {
    const heart = await Heart.open()
    const client = await heart.connect()
    const [server] = heart.servers
    server!.session.parameters.set('TimeZone', 'UTC')
    heart.pool().usual.defaults.report('TimeZone', 'UTC')
    client.send(query('rows 1 a'))
    expect([client.heard(), sent(server!)]).toEqual([['S TimeZone|UTC|'], ['Q rows 1 a|']])
  })
})

test('parameters go first, then settings, and the client goes on behind both', async () => {
  const { client, server } = await scene()
  expect(sent(server)).toEqual(["Q SET application_name='mine';|", "Q SET work_mem='1MB'|"])
  server.socket.deliver(named)
  expect([client.served.lease?.state, sent(server)]).toEqual(['aligning', []])
  server.socket.deliver(done)
  expect([client.served.lease?.state, sent(server)]).toEqual(['held', ['Q rows 1 a|']])
  expect([client.heard(), server.session.settings]).toEqual([[], workMem])
})

test('a client is told what the server calls its value', async () => {
  const heart = await Heart.open()
  const client = await heart.connect()
  const [server] = heart.servers
  client.served.parameters.set('TimeZone', 'utc')
  client.send(query('rows 1 a'))
  expect(sent(server!)).toEqual(["Q SET TimeZone='utc';|"])
  server!.socket.deliver(Buffer.concat([message('S', z('TimeZone'), z('UTC')), done]))
  expect(client.heard()).toEqual(['S TimeZone|UTC|'])
})

describe('a server that does not take what its client wants', () => {
  test('is closed, though it would take the rest', async () => {
    const { client, server } = await scene()
    server.socket.deliver(refusal)
    expect(linksOf(client, server)).toEqual(parted)
    expect([client.error, server.session.state]).toEqual(['invalid server parameter', 'closed'])
  })

  test('is closed, though it has taken the parameters', async () => {
    const { heart, client, server } = await scene()
    server.socket.deliver(done)
    server.socket.deliver(refusal)
    expect(linksOf(client, server)).toEqual(parted)
    expect([client.error, server.session.state]).toEqual(['invalid server parameter', 'closed'])
    expect(heart.logged).toContain('could not set parameters: no such thing')
  })

  test('is closed where a transaction stays open', async () => {
    const { client, server } = await scene()
    server.socket.deliver(leftOpen)
    expect([client.error, server.session.state]).toEqual(['invalid server parameter', 'closed'])
  })

  test('is replaced for those who wait', async () => {
    const { heart, second, server } = await scene()
    second.send(query('rows 1 b'))
    server.socket.deliver(refusal)
    heart.settle()
    expect(second.heard()).toContain('C SELECT 1|')
  })
})

describe('a client that leaves while its server is being aligned', () => {
  test('leaves it to the next when all has been answered, and not before', async () => {
    const { client, second, server } = await scene()
    second.send(query('rows 1 b'))
    leave(client)
    server.socket.taken()
    server.socket.deliver(named)
    expect([server.session.state, second.served.isWaiting]).toEqual(['tested', true])
    server.socket.deliver(done)
    expect(second.served.server).toBe(server.session)
    expect(sent(server)).toEqual(["Q SET application_name='rig';|", 'Q RESET "work_mem"|'])
  })

  test('leaves it to the next also where it took the last of it only', async () => {
    const { client, server } = await scene()
    leave(client)
    server.socket.deliver(refusal)
    expect(server.session.state).toBe('tested')
    server.socket.deliver(done)
    expect([server.session.state, server.session.settings]).toEqual(['idle', workMem])
  })

  test('leaves it to the next where it took the first of it only, with settings that nobody knows', async () => {
    const { client, server } = await scene()
    leave(client)
    server.socket.deliver(done)
    server.socket.deliver(refusal)
    expect([server.session.state, server.session.settings.get('work_mem')]).toEqual(['idle', '?'])
  })

  test('leaves a server that is lost to nobody', async () => {
    const { heart, client, server } = await scene()
    leave(client)
    server.socket.owner.onGone()
    expect([server.session.state, heart.pool().size]).toEqual(['closed', 0])
  })
})

test('a client that leaves between its grant and its first byte leaves the server as it is', async () => {
  const heart = await Heart.open()
  const client = await heart.connect('rig', 'rig', { application_name: 'mine' })
  const [server] = heart.servers
  client.send(query('rows 1 a').subarray(0, 7))
  heart.settle()
  expect(client.served.lease?.state).toBe('held')
  leave(client)
  expect([linksOf(client, server!), server!.session.state, sent(server!)]).toEqual([parted, 'idle', []])
})

test('a server that is lost while it is asked twice has its client go on elsewhere', async () => {
  const { heart, client, server } = await scene()
  server.socket.owner.onGone()
  expect([linksOf(client, server), client.served.isWaiting]).toEqual([parted, true])
  heart.settle()
  expect([client.isOpen, client.heard().at(-1)]).toEqual([true, 'Z I'])
})

test('a client that is cancelled while its server is being aligned gets an error, and stays', async () => {
  const { heart, client, server } = await scene()
  client.served.cancelWaiting()
  expect([linksOf(client, server), server.session.state, server.session.cancels]).toEqual([parted, 'tested', 0])
  expect(client.heard().map((line) => line.split('|')[1])).toEqual(['C57014', undefined])
  server.socket.taken()
  server.socket.deliver(Buffer.concat([done, done]))
  expect([server.session.state, sent(server)]).toEqual(['idle', []])
  client.send(query('rows 1 b'))
  heart.settle()
  expect(client.heard()).toContain('C SELECT 1|')
})
