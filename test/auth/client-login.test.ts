// The pooler as backend, against clients that follow the protocol and clients that do not.

import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { checkPassword, type LearntSecret, type PasswordLogin } from '../../src/auth/client-login.js'
import { parseStoredSecret } from '../../src/auth/secrets.js'
import { ConnectionLost } from '../../src/protocol/conversation.js'
import { PgError } from '../../src/protocol/errors.js'
import { i32, message, messagesOf, query, sync, z } from '../protocol/wire.js'
import { peerClient } from './scram-peer.js'
import { keyring, pencil } from './scram-roles.js'
import { ScriptedPeer } from './scripted-peer.js'

const md5 = (...parts: (string | Buffer)[]): string => {
  const hash = createHash('md5')
  for (const part of parts) hash.update(part)
  return hash.digest('hex')
}

function begin(options: Partial<PasswordLogin> = {}): { peer: ScriptedPeer; outcome: Promise<LearntSecret> } {
  const peer = new ScriptedPeer()
  const login: PasswordLogin = {
    method: 'scram-sha-256',
    user: 'sam',
    stored: parseStoredSecret(pencil.text),
    keyring,
    scramIterations: 16,
    ...options,
  }
  const outcome = checkPassword(peer.conversation, login)
  outcome.catch(() => {})
  return { peer, outcome }
}

/** Kind and rest of the AuthenticationRequest that the client got. */
async function request(peer: ScriptedPeer): Promise<{ kind: number; rest: Buffer }> {
  const [read] = messagesOf(await peer.heard())
  expect(read?.code).toBe('R')
  return { kind: read!.body.readInt32BE(0), rest: read!.body.subarray(4) }
}

const initialResponse = (text: string, length = text.length, mechanism = 'SCRAM-SHA-256'): Buffer =>
  message('p', z(mechanism), i32(length), text)

async function conditionOf(outcome: Promise<unknown>): Promise<string> {
  const error = await outcome.then(
    () => new Error('it was let in'),
    (reason: unknown) => reason,
  )
  if (!(error instanceof PgError)) throw error
  return error.condition
}

/** A SCRAM login up to the challenge. */
async function challenged(options: Partial<PasswordLogin> = {}, password = 'pencil') {
  const { peer, outcome } = begin(options)
  const { kind, rest } = await request(peer)
  expect([kind, rest.toString()]).toEqual([10, 'SCRAM-SHA-256\0\0'])
  const client = peerClient(password)
  peer.say(initialResponse(client.first))
  const challenge = await request(peer)
  expect(challenge.kind).toBe(11)
  return { peer, outcome, client, challenge: challenge.rest.toString() }
}

test('SCRAM: the right password gets in, and the server’s proof is sent', async () => {
  const { peer, outcome, client, challenge } = await challenged()
  peer.say(message('p', client.final(challenge)))
  const final = await request(peer)
  expect([final.kind, final.rest.toString()]).toEqual([12, client.expected])
  expect((await outcome).keys).toBeDefined()
  expect(peer.unheard).toBe(0)
})

test('SCRAM: a wrong password does not', async () => {
  const { peer, outcome, client, challenge } = await challenged({}, 'pen')
  peer.say(message('p', client.final(challenge)))
  expect(await conditionOf(outcome)).toBe('sasl_failed')
  expect(peer.unheard, 'no proof is given away').toBe(0)
})

// CVE-2026-6664: length and offset of a SCRAM packet
test.each([0, -1, 1, 18, 20, 0x7fffffff, -2147483648, -5])(
  'SCRAM: a response that says it has %s bytes is refused',
  async (length) => {
    const { peer, outcome } = begin()
    await request(peer)
    const { first } = peerClient('pencil')
    expect(first).toHaveLength(19)
    peer.say(initialResponse(first, length))
    expect(await conditionOf(outcome)).toBe('sasl_failed')
  },
)

test.each<[string, Buffer]>([
  ['nothing', message('p')],
  ['no end of the mechanism', message('p', 'SCRAM-SHA-256')],
  ['no length', message('p', z('SCRAM-SHA-256'))],
  ['half a length', message('p', z('SCRAM-SHA-256'), Buffer.alloc(3))],
  ['a response of 60 kB', initialResponse('n,,n=,r='.padEnd(60_000, 'a'))],
  ['zero bytes', initialResponse('n,,n=,r=\0\0')],
])('SCRAM: a first message with %s is refused', async (_, bytes) => {
  const { peer, outcome } = begin()
  await request(peer)
  peer.say(bytes)
  expect(await conditionOf(outcome)).toBe('sasl_failed')
})

test.each(['', 'SCRAM-SHA-1', 'SCRAM-SHA-256-PLUS', 'scram-sha-256', 'SCRAM-SHA-256 '])(
  'SCRAM: mechanism %j was not offered',
  async (mechanism) => {
    const { peer, outcome } = begin()
    await request(peer)
    peer.say(initialResponse('n,,n=,r=x', 9, mechanism))
    expect(await conditionOf(outcome)).toBe('bad_sasl_mechanism')
  },
)

test.each<[string, (final: string) => string]>([
  ['the first message again', () => 'n,,n=,r=clientnonce'],
  ['nothing', () => ''],
  ['60 kB', (final) => final.padEnd(60_000, 'x')],
  ['another nonce', (final) => final.replace('clientnonce', 'otherrnonce')],
  ['no proof', (final) => final.replace(/,p=.*/, '')],
])('SCRAM: a last message with %s is refused', async (_, change) => {
  const { peer, outcome, client, challenge } = await challenged()
  peer.say(message('p', change(client.final(challenge))))
  expect(await conditionOf(outcome)).toBe('sasl_failed')
})

// CVE-2015-4054, and its like: any message in any state
test('SCRAM: anything but a password message is refused, at each step', async () => {
  for (const other of [query('select 1'), sync, message('X'), message('R', i32(0)), message('\0'), message('d', 'x')]) {
    const first = begin()
    await request(first.peer)
    first.peer.say(other)
    expect(await conditionOf(first.outcome)).toBe('unknown_packet')
    const second = await challenged()
    second.peer.say(other)
    expect(await conditionOf(second.outcome)).toBe('unknown_packet')
  }
})

test('a client that leaves, at each step', async () => {
  for (const method of ['plain', 'md5', 'scram-sha-256'] as const) {
    const { peer, outcome } = begin({ method })
    await request(peer)
    peer.leave()
    await expect(outcome).rejects.toBeInstanceOf(ConnectionLost)
  }
  const { peer, outcome } = await challenged()
  peer.leave()
  await expect(outcome).rejects.toBeInstanceOf(ConnectionLost)
})

// 1.15 and 1.17: names could be probed
test('an unknown user is asked the same, and refused in the same words', async () => {
  const stored = parseStoredSecret(null)
  const salts: string[] = []
  for (let n = 0; n < 2; n++) {
    const { peer, outcome, client, challenge } = await challenged({ stored, user: 'nobody' }, 'pen')
    salts.push(/s=([^,]*)/.exec(challenge)![1]!)
    expect(challenge).toMatch(/,i=16$/)
    peer.say(message('p', client.final(challenge)))
    expect(await conditionOf(outcome)).toBe('sasl_failed')
  }
  expect(salts[0], 'the salt is a fact of the name').toBe(salts[1])
  for (const method of ['plain', 'md5'] as const) {
    const { peer, outcome } = begin({ method, stored })
    await request(peer)
    peer.say(message('p', z('md5'.padEnd(35, '0'))))
    expect(await conditionOf(outcome)).toBe('auth_failed')
  }
})

// A role without a valid password matches no text at all
test.each(['', 'null', 'NULL', 'md5', 'x', 'undefined', '\\N'])('no password is matched by %j', async (text) => {
  const { peer, outcome } = begin({ method: 'plain', stored: parseStoredSecret(null) })
  await request(peer)
  peer.say(message('p', z(text)))
  expect(await conditionOf(outcome)).toBe(text === '' ? 'empty_password' : 'auth_failed')
})

test('md5: the right answer to the salt gets in, another does not', async () => {
  for (const stored of ['pencil', `md5${md5('pencil', 'sam')}`]) {
    for (const [password, expected] of [
      ['pencil', 'in'],
      ['pen', 'auth_failed'],
    ] as const) {
      const { peer, outcome } = begin({ method: 'md5', stored: parseStoredSecret(stored) })
      const { kind, rest } = await request(peer)
      expect([kind, rest.length]).toEqual([5, 4])
      peer.say(message('p', z(`md5${md5(md5(password, 'sam'), rest)}`)))
      expect(
        await outcome.then(
          () => 'in',
          () => conditionOf(outcome),
        ),
      ).toBe(expected)
    }
  }
})

test('md5: each login has its own salt', async () => {
  const salts = new Set<string>()
  for (let n = 0; n < 20; n++)
    salts.add((await request(begin({ method: 'md5', stored: parseStoredSecret('x') }).peer)).rest.toString('hex'))
  expect(salts.size).toBe(20)
})

test('md5 turns into SCRAM where that is what is stored', async () => {
  const { peer } = begin({ method: 'md5' })
  expect((await request(peer)).kind).toBe(10)
})

test('a cleartext password is asked for, checked and learnt', async () => {
  const { peer, outcome } = begin({ method: 'plain' })
  expect(await request(peer)).toEqual({ kind: 3, rest: Buffer.alloc(0) })
  peer.say(message('p', z('pencil')))
  expect((await outcome).password?.reveal()).toBe('pencil')
})

test.each<[string, Buffer, string]>([
  ['no end', Buffer.from('pencil'), 'auth_failed'],
  ['something behind its end', Buffer.from('pencil\0x'), 'auth_failed'],
  ['two ends', Buffer.from('pencil\0\0'), 'auth_failed'],
  ['nothing in its message', Buffer.alloc(0), 'auth_failed'],
  ['no length', Buffer.from('\0'), 'empty_password'],
  ['60 kB', Buffer.from(z('x'.repeat(60_000))), 'auth_failed'],
  ['bytes that are no UTF-8', Buffer.from([0xff, 0xfe, 0]), 'auth_failed'],
])('a password with %s is refused', async (_, body, expected) => {
  for (const method of ['plain', 'md5'] as const) {
    const { peer, outcome } = begin({ method, stored: parseStoredSecret('pencil') })
    await request(peer)
    peer.say(message('p', body))
    expect(await conditionOf(outcome)).toBe(expected)
  }
})
