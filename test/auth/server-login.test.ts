// The pooler as frontend, against servers that follow the protocol and servers that do not.

import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { ScramKeys } from '../../src/auth/scram-keys.js'
import { parseStoredSecret } from '../../src/auth/secrets.js'
import { type BackendKey, type Credentials, logIn, ServerRefused } from '../../src/auth/server-login.js'
import { Secret } from '../../src/config/secret.js'
import { ConnectionLost } from '../../src/protocol/conversation.js'
import { PgError } from '../../src/protocol/errors.js'
import { i32, message, messagesOf, z } from '../protocol/wire.js'
import { peerServer } from './scram-peer.js'
import { keyring, pencil, salt } from './scram-roles.js'
import { ScriptedPeer } from './scripted-peer.js'

const ask = (kind: number, rest: Buffer | string = ''): Buffer => message('R', i32(kind), rest)
const offer = (...mechanisms: string[]): Buffer => ask(10, Buffer.concat([...mechanisms.map(z), Buffer.alloc(1)]))
const ok = ask(0)
const ready = message('Z', 'I')
const key = message('K', i32(77), 'abcd')

interface Begun {
  readonly peer: ScriptedPeer
  readonly outcome: Promise<BackendKey>
  readonly parameters: string[]
}

async function begin(credentials: Partial<Credentials> = {}): Promise<Begun> {
  const peer = new ScriptedPeer()
  const parameters: string[] = []
  const outcome = logIn(peer.conversation, {
    credentials: { user: 'sam', stored: parseStoredSecret('pencil'), ...credentials },
    parameters: { database: 'sales', client_encoding: 'UTF8' },
    keyring,
    onParameter: (name, value) => parameters.push(`${name}=${value}`),
  })
  outcome.catch(() => {})
  expect((await peer.heard()).subarray(8).toString()).toBe('user\0sam\0database\0sales\0client_encoding\0UTF8\0\0')
  return { peer, outcome, parameters }
}

/** Why a login failed, in a word; `answered` where it went on. */
async function failureOf({ peer, outcome }: Begun): Promise<string> {
  const error: unknown = await Promise.race([
    peer.heard().then(() => new Error('answered')),
    outcome.then(
      () => new Error('it logged in'),
      (reason: unknown) => reason,
    ),
  ])
  if (error instanceof PgError) return error.condition
  if (error instanceof ServerRefused) return `refused: ${error.message}`
  if (error instanceof ConnectionLost) return 'lost'
  throw error
}

/** A SCRAM login up to the client's first message. */
async function greeted(credentials: Partial<Credentials> = {}): Promise<Begun & { clientFirst: string }> {
  const begun = await begin(credentials)
  begun.peer.say(offer('SCRAM-SHA-256'))
  const [first] = messagesOf(await begun.peer.heard())
  const body = first!.body
  expect([first!.code, body.subarray(0, 14).toString()]).toEqual(['p', 'SCRAM-SHA-256\0'])
  const clientFirst = body.subarray(18).toString()
  expect(body.readInt32BE(14)).toBe(clientFirst.length)
  return { ...begun, clientFirst }
}

const challenge = (
  clientFirst: string,
  change: { nonce?: string; salt?: string; iterations?: string } = {},
): string => {
  const nonce = change.nonce ?? `${/r=(.*)/.exec(clientFirst)![1]!}ServerNonce`
  return `r=${nonce},s=${change.salt ?? salt.toString('base64')},i=${change.iterations ?? '16'}`
}

test('a server that trusts is logged in to at once, and what it reports is told', async () => {
  const { peer, outcome, parameters } = await begin()
  peer.say(ok, message('S', z('TimeZone'), z('UTC')), message('N', z('Mhello')), key, ready)
  expect(await outcome).toEqual({ pid: 77, secret: Buffer.from('abcd') })
  expect(parameters).toEqual(['TimeZone=UTC'])
})

test('long keys are kept, short ones are none', async () => {
  const long = await begin()
  long.peer.say(ok, message('K', i32(1), Buffer.alloc(32, 9)), ready)
  expect((await long.outcome).secret).toEqual(Buffer.alloc(32, 9))
  const short = await begin()
  short.peer.say(ok, message('K', i32(1), 'abc'), ready)
  expect(await short.outcome).toEqual({ pid: 0, secret: Buffer.alloc(4) })
})

test('a cleartext password is given where it is known', async () => {
  for (const credentials of [{}, { stored: parseStoredSecret(null), password: new Secret('pencil') }]) {
    const { peer, outcome } = await begin(credentials)
    peer.say(ask(3))
    expect(await peer.heard()).toEqual(message('p', z('pencil')))
    peer.say(ok, ready)
    await outcome
  }
})

test('an md5 answer is given from the password or its hash', async () => {
  const answers = new Set<string>()
  const hash = createHash('md5').update('pencilsam').digest('hex')
  for (const stored of ['pencil', `md5${hash}`]) {
    const { peer, outcome } = await begin({ stored: parseStoredSecret(stored) })
    peer.say(ask(5, 'salt'))
    answers.add((await peer.heard()).toString())
    peer.say(ok, ready)
    await outcome
  }
  const answer = createHash('md5').update(`${hash}salt`).digest('hex')
  expect([...answers]).toEqual([message('p', z(`md5${answer}`)).toString()])
})

test('SCRAM: with a password, or the keys seen at a client’s login', async () => {
  for (const credentials of [
    {},
    { stored: parseStoredSecret(pencil.text), keys: new ScramKeys(pencil.clientKey, pencil.serverKey) },
  ]) {
    const { peer, outcome, clientFirst } = await greeted(credentials)
    const serverFirst = challenge(clientFirst)
    peer.say(ask(11, serverFirst))
    const clientFinal = messagesOf(await peer.heard())[0]!.body.toString()
    const verdict = peerServer(pencil, { clientFirst, serverFirst, clientFinal })
    expect(verdict.right).toBe(true)
    peer.say(ask(12, verdict.message), ok, ready)
    await outcome
  }
})

test.each<[string, Partial<Credentials>, Buffer]>([
  ['cleartext, knowing a hash', { stored: parseStoredSecret('md5'.padEnd(35, '0')) }, ask(3)],
  ['cleartext, knowing nothing', { stored: parseStoredSecret(null) }, ask(3)],
  ['md5, knowing a verifier', { stored: parseStoredSecret(pencil.text) }, ask(5, 'salt')],
  ['SCRAM, knowing a hash', { stored: parseStoredSecret('md5'.padEnd(35, '0')) }, offer('SCRAM-SHA-256')],
  ['SCRAM, knowing a verifier without its keys', { stored: parseStoredSecret(pencil.text) }, offer('SCRAM-SHA-256')],
  ['an unknown mechanism', {}, offer('SCRAM-SHA-512')],
  ['no mechanism', {}, offer()],
  ['a list of mechanisms without an end', {}, ask(10, 'SCRAM-SHA-25')],
  ['md5 with no salt', {}, ask(5)],
  ['md5 with half a salt', {}, ask(5, 'ab')],
  ['md5 with too much salt', {}, ask(5, 'abcde')],
  ['GSSAPI', {}, ask(7)],
  ['something unknown', {}, ask(99)],
  ['something negative', {}, ask(-1)],
])('asked for %s it gives up, and sends no secret', async (_, credentials, request) => {
  const begun = await begin(credentials)
  const { peer } = begun
  peer.say(request)
  expect(await failureOf(begun)).toBe('server_login_wrong_password_type')
  expect(peer.unheard).toBe(0)
})

test.each<[string, Buffer]>([
  ['an AuthenticationRequest without a kind', message('R')],
  ['half an AuthenticationRequest', message('R', 'abc')],
  ['ReadyForQuery', ready],
  ['ParameterStatus', message('S', z('a'), z('b'))],
  ['BackendKeyData', key],
  ['a row', message('D', 'x')],
  ['a client’s message', message('p', 'x')],
])('%s before the login is refused', async (_, bytes) => {
  const begun = await begin()
  const { peer } = begun
  peer.say(bytes)
  expect(await failureOf(begun)).toBe('unknown_packet')
})

test.each<[string, Buffer]>([
  ['another AuthenticationRequest', ask(3)],
  ['another AuthenticationOk', ok],
  ['a row', message('D', 'x')],
  ['CommandComplete', message('C', z('SELECT 1'))],
])('%s after AuthenticationOk is refused', async (_, bytes) => {
  const begun = await begin()
  const { peer } = begun
  peer.say(ok, bytes)
  expect(await failureOf(begun)).toBe('unknown_packet')
  expect(peer.unheard).toBe(0)
})

// CVE-2026-6666: an ErrorResponse without SQLSTATE, at each stage
const errors: [string, string][] = [
  ['', 'unknown server error'],
  ['\0', 'unknown server error'],
  ['S', 'unknown server error'],
  ['SFATAL\0\0', 'unknown server error'],
  ['SFATAL\0Mgo away\0\0', 'go away'],
  ['Mgo away', 'go away'],
  ['SFATAL\0C28P01\0Mgo away\0\0', 'go away'],
  ['M\0\0', ''],
]

test.each(errors)('an error %j is the server’s refusal, whenever it comes', async (body, text) => {
  const error = message('E', body)
  const first = await begin()
  first.peer.say(error)
  expect(await failureOf(first)).toBe(`refused: ${text}`)

  const asked = await begin()
  asked.peer.say(ask(3))
  await asked.peer.heard()
  asked.peer.say(error)
  expect(await failureOf(asked)).toBe(`refused: ${text}`)

  const scram = await greeted()
  scram.peer.say(error)
  expect(await failureOf(scram)).toBe(`refused: ${text}`)

  const proven = await greeted()
  proven.peer.say(ask(11, challenge(proven.clientFirst)))
  await proven.peer.heard()
  proven.peer.say(error)
  expect(await failureOf(proven)).toBe(`refused: ${text}`)

  const late = await begin()
  late.peer.say(ok, error)
  expect(await failureOf(late)).toBe(`refused: ${text}`)
})

test('AuthenticationOk in the middle of SCRAM is refused: the server has not shown that it knows the password', async () => {
  const first = await greeted()
  first.peer.say(ok, ready)
  expect(await failureOf(first)).toBe('unknown_packet')

  const second = await greeted()
  second.peer.say(ask(11, challenge(second.clientFirst)))
  await second.peer.heard()
  second.peer.say(ok, ready)
  expect(await failureOf(second)).toBe('unknown_packet')
})

test('a server that is not what it should be is not logged in to', async () => {
  for (const wrong of ['v=', `v=${Buffer.alloc(32).toString('base64')}`, 'e=no', 'v=!', '', 'x'.repeat(60_000)]) {
    const begun = await greeted()
    const { peer, clientFirst } = begun
    peer.say(ask(11, challenge(clientFirst)))
    await peer.heard()
    peer.say(ask(12, wrong), ok, ready)
    expect(await failureOf(begun)).toBe('unknown_packet')
  }
})

// CVE-2026-6665: what a hostile server puts in its challenge
test.each<[string, Parameters<typeof challenge>[1]]>([
  ['a nonce of 60 kB', { nonce: 'n'.repeat(60_000) }],
  ['a nonce that is not ours', { nonce: 'stranger' }],
  ['an empty nonce', { nonce: '' }],
  ['a salt of 60 kB', { salt: 'A'.repeat(60_000) }],
  ['a salt that is no base64', { salt: '!!!!' }],
  ['no iterations', { iterations: '0' }],
  ['less than none', { iterations: '-1' }],
  ['iterations that are no number', { iterations: '1e9' }],
  ['iterations of a thousand digits', { iterations: '9'.repeat(1000) }],
  ['something behind it', { iterations: '16,x=y' }],
])('SCRAM: a challenge with %s is refused, and not computed', async (_, change) => {
  const begun = await greeted()
  const { peer, clientFirst } = begun
  const before = process.cpuUsage()
  peer.say(ask(11, challenge(clientFirst, change)))
  expect(await failureOf(begun)).toBe('unknown_packet')
  expect(process.cpuUsage(before).user / 1000, 'CPU time, ms').toBeLessThan(1000)
  expect(peer.unheard).toBe(0)
})

test.each(['2147483647', '1000001'])('SCRAM: %s iterations are refused, and not computed', async (iterations) => {
  const begun = await greeted()
  const { peer, clientFirst } = begun
  const before = process.cpuUsage()
  peer.say(ask(11, challenge(clientFirst, { iterations })))
  expect(await failureOf(begun)).toBe('server_login_failed')
  expect(process.cpuUsage(before).user / 1000, 'CPU time, ms').toBeLessThan(1000)
  expect(peer.unheard).toBe(0)
})

test('SCRAM: messages out of their order, or repeated, are refused', async () => {
  for (const request of [ask(11, 'r=x,s=AAAA,i=16'), ask(12, 'v=x')]) {
    const begun = await begin()
    const { peer } = begun
    peer.say(request)
    expect(await failureOf(begun), 'before it began').toBe('unknown_packet')
  }
  const again = await greeted()
  again.peer.say(offer('SCRAM-SHA-256'))
  expect(await failureOf(again), 'offered twice').toBe('unknown_packet')

  const early = await greeted()
  early.peer.say(ask(12, 'v=AAAA'))
  expect(await failureOf(early), 'final without a challenge').toBe('unknown_packet')

  const twice = await greeted()
  twice.peer.say(ask(11, challenge(twice.clientFirst)))
  await twice.peer.heard()
  twice.peer.say(ask(11, challenge(twice.clientFirst)))
  expect(await failureOf(twice), 'challenged twice').toBe('unknown_packet')
})

test.each<[string, Buffer]>([
  ['cleartext', ask(3)],
  ['md5', ask(5, 'salt')],
])('SCRAM: a server that asks for %s in the middle of it gets nothing', async (_, request) => {
  const first = await greeted()
  first.peer.say(request)
  expect(await failureOf(first)).toBe('unknown_packet')
  expect(first.peer.unheard).toBe(0)

  const second = await greeted()
  second.peer.say(ask(11, challenge(second.clientFirst)))
  await second.peer.heard()
  second.peer.say(request)
  expect(await failureOf(second)).toBe('unknown_packet')
  expect(second.peer.unheard).toBe(0)
})

test('a password is given once', async () => {
  for (const request of [ask(3), ask(5, 'salt')]) {
    const begun = await begin()
    const { peer } = begun
    peer.say(request)
    await peer.heard()
    peer.say(ask(3))
    expect(await failureOf(begun)).toBe('unknown_packet')
    expect(peer.unheard).toBe(0)
  }
})

test('a server that leaves, at each stage', async () => {
  const first = await begin()
  first.peer.leave()
  expect(await failureOf(first)).toBe('lost')
  const scram = await greeted()
  scram.peer.leave()
  expect(await failureOf(scram)).toBe('lost')
  const late = await begin()
  late.peer.say(ok)
  late.peer.leave()
  expect(await failureOf(late)).toBe('lost')
})

test('notices do not disturb a login', async () => {
  const { peer, outcome } = await begin()
  peer.say(message('N', z('Mhello')), ok, ready)
  await outcome
})

test.each([0, 2, 0x30000, 0x30002])(
  'a server that negotiates where nothing was asked for is given up: %i',
  async (version) => {
    const before = await begin()
    before.peer.say(message('v', i32(version), i32(0)), ok, ready)
    expect(await failureOf(before)).toBe('unknown_packet')
    const after = await begin()
    after.peer.say(ok, message('v', i32(version), i32(0)), ready)
    expect(await failureOf(after)).toBe('unknown_packet')
  },
)

test('ParameterStatus without an end is passed over', async () => {
  const { peer, outcome, parameters } = await begin()
  peer.say(ok, message('S', 'TimeZone'), message('S'), message('S', z('a')), ready)
  await outcome
  expect(parameters).toEqual([])
})
