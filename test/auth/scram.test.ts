import { createRequire } from 'node:module'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseStoredSecret } from '../../src/auth/secrets.js'
import { Secret } from '../../src/config/secret.js'
import { peerClient, peerServer, verifierOf } from './scram-peer.js'
import { certificate, failure, keyring, newClient, newServer, pencil, salt } from './scram-roles.js'

interface PgSession {
  mechanism: string
  response: string
}
interface PgSasl {
  startSession(mechanisms: readonly string[]): PgSession
  continueSession(session: PgSession, password: string, serverData: string): Promise<void>
  finalizeSession(session: PgSession, serverData: string): void
}
const pgSasl: PgSasl = createRequire(import.meta.url)('pg/lib/crypto/sasl')

test('the exchange of RFC 7677', async () => {
  const rfc = verifierOf('pencil', Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64'), 4096)
  const server = newServer({ stored: parseStoredSecret(rfc.text), nonce: '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0' })
  expect(server.start('SCRAM-SHA-256', 'n,,n=user,r=rOprNGfwEbeRWgbNEkqO')).toBe(
    'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
  )
  const outcome = await server.finish(
    'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
  )
  if (!outcome.right) throw new Error('wrong')
  expect(outcome.message).toBe('v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=')
  expect(outcome.keys?.clientKey).toEqual(rfc.clientKey)
  expect(outcome.keys?.serverKey).toEqual(rfc.serverKey)
})

/** Any pair of passwords that are the same now and then, any way to store the server's. */
const anyExchange = fc.record({
  password: fc.string({ unit: 'grapheme', minLength: 1 }),
  other: fc.option(fc.string({ unit: 'grapheme', minLength: 1 })),
  storedAsScram: fc.boolean(),
  bound: fc.boolean(),
  iterations: fc.integer({ min: 1, max: 50 }),
})

test('both roles understand each other, and tell right passwords from wrong ones', async () => {
  await fc.assert(
    fc.asyncProperty(anyExchange, async ({ password, other, storedAsScram, bound, iterations }) => {
      const keys = await keyring.keysFor(password, salt, iterations)
      const verifier = [keys.storedKey, keys.serverKey].map((key) => key.toString('base64')).join(':')
      const scram = `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${verifier}`
      const stored = parseStoredSecret(storedAsScram ? scram : password)
      const channelBinding = bound ? certificate : undefined
      const server = newServer({ stored, iterations, channelBinding })
      const credential = new Secret(other ?? password)
      const client = newClient({ credential, mechanisms: server.mechanisms, channelBinding })
      const challenge = server.start(client.mechanism, client.start())
      const outcome = await server.finish(await client.prove(challenge))
      const theirs = await keyring.keysFor(other ?? password, salt, iterations)
      expect(outcome.right).toBe(theirs.serverKey.equals(keys.serverKey))
      expect(client.trusted).toBe(false)
      if (!outcome.right) return
      client.finish(outcome.message)
      expect(client.trusted).toBe(true)
      expect(outcome.keys?.clientKey).toEqual(storedAsScram ? keys.clientKey : undefined)
    }),
    { numRuns: 200 },
  )
})

test('the client of node-postgres logs in, and is told when its password is wrong', async () => {
  await fc.assert(
    fc.asyncProperty(anyExchange, async ({ password, other, storedAsScram, iterations }) => {
      const ascii = (text: string) => Buffer.from(text).toString('hex')
      const stored = parseStoredSecret(
        storedAsScram ? verifierOf(ascii(password), salt, iterations).text : ascii(password),
      )
      const server = newServer({ stored, iterations })
      const session = pgSasl.startSession(server.mechanisms)
      const challenge = server.start(session.mechanism, session.response)
      await pgSasl.continueSession(session, ascii(other ?? password), challenge)
      const outcome = await server.finish(session.response)
      expect(outcome.right).toBe(other === null || other === password)
      if (outcome.right) pgSasl.finalizeSession(session, outcome.message)
    }),
  )
})

test('a login gives the keys for a login elsewhere, where the same verifier is stored', async () => {
  const server = newServer()
  const peer = peerClient('pencil')
  const outcome = await server.finish(peer.final(server.start('SCRAM-SHA-256', peer.first)))
  if (!outcome.right || outcome.keys === undefined) throw new Error('no keys')
  expect(outcome.message).toBe(peer.expected)

  const client = newClient({ credential: outcome.keys })
  const clientFirst = client.start()
  const serverFirst = `r=${clientFirst.slice('n,,n=,r='.length)}more,s=${salt.toString('base64')},i=16`
  const verdict = peerServer(pencil, { clientFirst, serverFirst, clientFinal: await client.prove(serverFirst) })
  expect(verdict.right).toBe(true)
  client.finish(verdict.message)
  expect(client.trusted).toBe(true)
})

test('a plaintext secret gives no keys for elsewhere: its salt is only ours', async () => {
  const server = newServer({ stored: parseStoredSecret('pencil') })
  const peer = peerClient('pencil')
  const outcome = await server.finish(peer.final(server.start('SCRAM-SHA-256', peer.first)))
  expect(outcome).toEqual({ right: true, message: peer.expected, keys: undefined })
})

test('signatures are over the bytes of the peer, be they UTF-8 or not', async () => {
  for (const user of ['жук', '\xff\xfe']) {
    const encoding = user === 'жук' ? 'utf8' : 'latin1'
    const server = newServer()
    const peer = peerClient('pencil', 'n,,', Buffer.alloc(0), user)
    const serverFirst = server.start('SCRAM-SHA-256', Buffer.from(peer.first, encoding))
    const final = Buffer.from(peer.final(serverFirst))
    expect((await server.finish(final)).right, encoding).toBe(encoding === 'utf8')
  }
})

test.each([
  ['unknown', null],
  ['with an md5 hash', 'md531dcc6c3366b993fb4b6c619e63776f2'],
])('a user %s gets a challenge that looks like any other and fails in the end', async (_, text) => {
  const stored = parseStoredSecret(text)
  const salts = new Set<string>()
  for (const password of ['pencil', 'md531dcc6c3366b993fb4b6c619e63776f2', 'null', 'md5', 'x']) {
    const server = newServer({ stored, user: 'nobody', iterations: 77 })
    const peer = peerClient(password)
    const challenge = server.start('SCRAM-SHA-256', peer.first)
    expect(challenge).toMatch(/^r=clientnonce[\w+/]{24},s=[\w+/]{22}==,i=77$/)
    salts.add(challenge.split(',')[1]!)
    expect(await server.finish(peer.final(challenge))).toEqual({ right: false })
  }
  expect(salts.size).toBe(1)
  const plain = newServer({ stored: parseStoredSecret('pencil'), user: 'nobody', iterations: 77 })
  expect(plain.start('SCRAM-SHA-256', peerClient('x').first)).toContain([...salts][0])
})

test('channel binding is offered where there is something to bind to, and the better mechanism is taken', () => {
  expect(newServer().mechanisms).toEqual(['SCRAM-SHA-256'])
  expect(newServer({ channelBinding: certificate }).mechanisms).toEqual(['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256'])
  const both = ['SCRAM-SHA-256', 'SCRAM-SHA-256-PLUS']
  const bound = newClient({ mechanisms: both, channelBinding: certificate })
  expect(bound.mechanism).toBe('SCRAM-SHA-256-PLUS')
  expect(bound.start()).toMatch(/^p=tls-server-end-point,,n=,r=/)
  const unbound = newClient({ mechanisms: both })
  expect(unbound.mechanism).toBe('SCRAM-SHA-256')
  expect(unbound.start()).toMatch(/^n,,n=,r=/)
  const notOffered = newClient({ channelBinding: certificate })
  expect(notOffered.mechanism).toBe('SCRAM-SHA-256')
  expect(notOffered.start()).toMatch(/^y,,n=,r=/)
})

// What PostgreSQL's backend checks: mechanism chosen, what is offered, gs2 header, and then `c=`.
const binding = (header: string, data = Buffer.alloc(0)) => ({ header, data })
test.each([
  ['plain', undefined, 'SCRAM-SHA-256', binding('n,,'), undefined],
  ['plain though -PLUS is offered', certificate, 'SCRAM-SHA-256', binding('n,,'), undefined],
  ['would have bound, but was not offered', undefined, 'SCRAM-SHA-256', binding('y,,'), undefined],
  ['bound', certificate, 'SCRAM-SHA-256-PLUS', binding('p=tls-server-end-point,,', certificate), undefined],
  ['offer cut away', certificate, 'SCRAM-SHA-256', binding('y,,'), 'channel_binding'],
  [
    'bound to another certificate',
    certificate,
    'SCRAM-SHA-256-PLUS',
    binding('p=tls-server-end-point,,', salt),
    'channel_binding',
  ],
  ['bound to nothing', certificate, 'SCRAM-SHA-256-PLUS', binding('p=tls-server-end-point,,'), 'channel_binding'],
  [
    '-PLUS not offered',
    undefined,
    'SCRAM-SHA-256-PLUS',
    binding('p=tls-server-end-point,,', certificate),
    'unsupported',
  ],
  ['-PLUS without binding', certificate, 'SCRAM-SHA-256-PLUS', binding('n,,'), 'malformed'],
  ['-PLUS with "y"', certificate, 'SCRAM-SHA-256-PLUS', binding('y,,'), 'malformed'],
  [
    'binding without -PLUS',
    certificate,
    'SCRAM-SHA-256',
    binding('p=tls-server-end-point,,', certificate),
    'malformed',
  ],
  ['binding type unknown', certificate, 'SCRAM-SHA-256-PLUS', binding('p=tls-unique,,', certificate), 'unsupported'],
  ['plain with data in c=', undefined, 'SCRAM-SHA-256', binding('n,,', certificate), 'malformed'],
  ['unknown mechanism', undefined, 'SCRAM-SHA-1', binding('n,,'), 'unsupported'],
] as const)('gs2 header: %s', async (_, channelBinding, mechanism, { header, data }, expected) => {
  const run = async () => {
    const server = newServer({ channelBinding })
    const peer = peerClient('pencil', header, data)
    return server.finish(peer.final(server.start(mechanism, peer.first)))
  }
  if (expected) expect(await failure(run)).toBe(expected)
  else expect((await run()).right).toBe(true)
})

test('a "y" in client-first may not become an "n" in client-final', async () => {
  const server = newServer()
  const challenge = server.start('SCRAM-SHA-256', 'y,,n=,r=clientnonce')
  expect(await failure(() => server.finish(peerClient('pencil').final(challenge)))).toBe('malformed')
})

test('nothing of an exchange is printed', async () => {
  for (const text of ['hunter2', verifierOf('hunter2', salt, 16).text]) {
    const server = newServer({ stored: parseStoredSecret(text) })
    const client = newClient({ credential: new Secret('hunter2') })
    const outcome = await server.finish(await client.prove(server.start(client.mechanism, client.start())))
    expect(outcome.right).toBe(true)
    for (const value of [server, client, outcome] as unknown[]) {
      const options = { showHidden: true, getters: true, depth: Number.POSITIVE_INFINITY }
      const printed = `${inspect(value, options)} ${JSON.stringify(value)} ${String(value)}`
      expect(printed).not.toMatch(/hunter2|<Buffer|"data"/)
    }
  }
})
