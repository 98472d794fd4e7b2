import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ScramError, type ScramFailure } from '../../src/auth/scram-text.js'
import { peerClient, peerServer } from './scram-peer.js'
import { certificate, failure, newClient, newServer, pencil, salt } from './scram-roles.js'

test.each<[string, string, ScramFailure]>([
  ['nothing', '', 'malformed'],
  ['a zero byte', 'n,,n=,r=a\0', 'malformed'],
  ['a zero byte in the user name', 'n,,n=\0,r=a', 'malformed'],
  ['no flag', 'x,,n=,r=a', 'malformed'],
  ['only a flag', 'n', 'malformed'],
  ['no comma', 'n;,n=,r=a', 'malformed'],
  ['an authorization identity', 'n,a=admin,n=,r=a', 'unsupported'],
  ['something else for it', 'n,b=admin,n=,r=a', 'malformed'],
  ['a mandatory extension', 'n,,m=x,n=,r=a', 'unsupported'],
  ['no user', 'n,,r=a', 'malformed'],
  ['no nonce', 'n,,n=', 'malformed'],
  ['attributes in the wrong order', 'n,,r=a,n=', 'malformed'],
  ['a nonce that is not printable', 'n,,n=,r=a b', 'malformed'],
  ['a nonce that is not ASCII', 'n,,n=,r=ä', 'malformed'],
  ['a broken extension', 'n,,n=,r=a,1=x', 'malformed'],
  ['too much', `n,,n=,r=${'a'.repeat(1017)}`, 'malformed'],
])('client-first with %s is refused', async (_, message, expected) => {
  const server = newServer()
  expect(await failure(() => server.start('SCRAM-SHA-256', message))).toBe(expected)
  expect(await failure(() => server.finish('c=biws,r=a,p='))).toBe('out_of_order')
})

test('client-first may have extensions', () => {
  expect(newServer({ nonce: 'N' }).start('SCRAM-SHA-256', 'n,,n=,r=a,x=y,Z=')).toMatch(/^r=aN,/)
})

const proof = Buffer.alloc(32).toString('base64')
test.each<[string, string, ScramFailure]>([
  ['nothing', '', 'malformed'],
  ['another nonce', `c=biws,r=clientnonceM,p=${proof}`, 'nonce'],
  ['only the client nonce', `c=biws,r=clientnonce,p=${proof}`, 'nonce'],
  ['no binding', `r=clientnonceN,p=${proof}`, 'malformed'],
  ['no nonce', `c=biws,p=${proof}`, 'malformed'],
  ['no proof', 'c=biws,r=clientnonceN', 'malformed'],
  ['no proof, but a comma', 'c=biws,r=clientnonceN,', 'malformed'],
  ['an empty proof', 'c=biws,r=clientnonceN,p=', 'malformed'],
  ['a short proof', `c=biws,r=clientnonceN,p=${proof.slice(4)}`, 'malformed'],
  ['a long proof', `c=biws,r=clientnonceN,p=AAAA${proof}`, 'malformed'],
  ['a proof that is not base64', `c=biws,r=clientnonceN,p=${proof.replace('A', '!')}`, 'malformed'],
  ['something after the proof', `c=biws,r=clientnonceN,p=${proof},x=y`, 'malformed'],
  ['too much', `c=biws,r=clientnonceN,x=${'y'.repeat(1000)},p=${proof}`, 'malformed'],
])('client-final with %s is refused', async (_, message, expected) => {
  const server = newServer({ nonce: 'N' })
  server.start('SCRAM-SHA-256', 'n,,n=,r=clientnonce')
  expect(await failure(() => server.finish(message))).toBe(expected)
})

test('a proof of zeros is wrong, and an exchange has one try', async () => {
  const server = newServer({ nonce: 'N' })
  expect(await failure(() => server.finish('c=biws'))).toBe('out_of_order')
  const peer = peerClient('pencil')
  const challenge = server.start('SCRAM-SHA-256', peer.first)
  expect(await failure(() => server.start('SCRAM-SHA-256', peer.first))).toBe('out_of_order')
  const wrong = server.finish(`c=biws,r=clientnonceN,p=${proof}`)
  expect(await failure(() => server.finish(peer.final(challenge)))).toBe('out_of_order')
  expect(await wrong).toEqual({ right: false })
  expect(await failure(() => server.finish(peer.final(challenge)))).toBe('out_of_order')
})

test('extensions in client-final are signed and otherwise ignored', async () => {
  const finish = (change: (final: string) => string, extension?: string) => {
    const server = newServer()
    const peer = peerClient('pencil')
    return server.finish(change(peer.final(server.start('SCRAM-SHA-256', peer.first), extension)))
  }
  expect((await finish((final) => final, ',x=y,z=p=')).right).toBe(true)
  expect((await finish((final) => final.replace(',p=', ',x=y,p='))).right).toBe(false)
})

const s = salt.toString('base64')
test.each<[string, string, ScramFailure]>([
  ['nothing', '', 'malformed'],
  ['a zero byte', `r=cN\0,s=${s},i=1`, 'malformed'],
  ['another nonce', `r=dN,s=${s},i=1`, 'nonce'],
  ['a nonce without its own part', `r=c,s=${s},i=1`, 'nonce'],
  ['a nonce that is not printable', `r=cN\u0001,s=${s},i=1`, 'malformed'],
  ['a huge nonce', `r=c${'N'.repeat(100_000)},s=${s},i=1`, 'malformed'],
  ['a huge salt', `r=cN,s=${'AAAA'.repeat(100_000)},i=1`, 'malformed'],
  ['a mandatory extension', `m=x,r=cN,s=${s},i=1`, 'malformed'],
  ['no salt', 'r=cN,i=1', 'malformed'],
  ['a salt that is not base64', 'r=cN,s=abc,i=1', 'malformed'],
  ['no iterations', `r=cN,s=${s}`, 'malformed'],
  ['0 iterations', `r=cN,s=${s},i=0`, 'malformed'],
  ['-1 iterations', `r=cN,s=${s},i=-1`, 'malformed'],
  ['iterations that are no number', `r=cN,s=${s},i=1e3`, 'malformed'],
  ['iterations for a second', `r=cN,s=${s},i=1000001`, 'too_costly'],
  ['iterations without end', `r=cN,s=${s},i=99999999999999`, 'malformed'],
  ['something after them', `r=cN,s=${s},i=1,x=y`, 'malformed'],
])('server-first with %s is refused', async (_, message, expected) => {
  const client = newClient({ nonce: 'c' })
  client.start()
  expect(await failure(() => client.prove(message))).toBe(expected)
  expect(await failure(() => client.prove(`r=cN,s=${s},i=1`))).toBe('out_of_order')
  expect(client.trusted).toBe(false)
})

test.each<[string, (right: string) => string, ScramFailure]>([
  ['an error', () => 'e=invalid-proof', 'refused'],
  ['an error in terminal codes', () => 'e=\x1b[2J', 'refused'],
  ['a broken error', () => 'e', 'malformed'],
  ['nothing', () => '', 'malformed'],
  ['another signature', () => `v=${proof}`, 'signature'],
  ['a short signature', () => 'v=AAAA', 'malformed'],
  ['no base64', () => 'v=!', 'malformed'],
  ['something after it', (right) => `${right},x=y`, 'malformed'],
  ['something before it', (right) => `x=y,${right}`, 'malformed'],
])('server-final with %s is refused', async (_, message, expected) => {
  const client = newClient({ nonce: 'c' })
  const clientFirst = client.start()
  const serverFirst = `r=cN,s=${s},i=16`
  const clientFinal = await client.prove(serverFirst)
  const right = peerServer(pencil, { clientFirst, serverFirst, clientFinal }).message
  expect(await failure(() => client.finish(message(right)))).toBe(expected)
  expect(await failure(() => client.finish(right))).toBe('out_of_order')
  expect(client.trusted).toBe(false)
})

test('a client is asked in order', async () => {
  expect(await failure(() => newClient({ mechanisms: [] }))).toBe('unsupported')
  expect(await failure(() => newClient({ mechanisms: ['SCRAM-SHA-256-PLUS'] }))).toBe('unsupported')
  const client = newClient({ nonce: 'c' })
  expect(await failure(() => client.prove(`r=cN,s=${s},i=1`))).toBe('out_of_order')
  expect(await failure(() => client.finish(`v=${proof}`))).toBe('out_of_order')
  client.start()
  expect(await failure(() => client.start())).toBe('out_of_order')
  const proven = client.prove(`r=cN,s=${s},i=1`)
  expect(await failure(() => client.prove(`r=cN,s=${s},i=1`))).toBe('out_of_order')
  expect(await failure(() => client.finish(`v=${proof}`))).toBe('out_of_order')
  await proven
})

/** A message as it should be, with some of it replaced. */
const mutated = fc
  .record({
    message: fc.constantFrom(
      'n,,n=,r=c',
      'p=tls-server-end-point,,n=,r=c',
      `c=biws,r=cN,p=${proof}`,
      `r=cN,s=${s},i=16`,
      `v=${proof}`,
    ),
    at: fc.nat({ max: 70 }),
    less: fc.nat({ max: 3 }),
    more: fc.string({ maxLength: 3 }),
  })
  .map(({ message, at, less, more }) => message.slice(0, at) + more + message.slice(at + less))

const anyMessage = fc.oneof(
  mutated,
  mutated,
  fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
  fc
    .array(
      fc.constantFrom(
        'n',
        'y',
        'p=tls-server-end-point',
        ',',
        'n=',
        'r=',
        'c=',
        'p=',
        's=',
        'i=',
        'v=',
        'e=',
        'biws',
        'cN',
        s,
        proof,
        '1',
        'a=',
        'm=',
        '=',
        '\0',
        'ä',
      ),
      { maxLength: 20 },
    )
    .map((parts) => parts.join('')),
)

test('whatever a peer sends, the outcome is a ScramError or an answer', async () => {
  await fc.assert(
    fc.asyncProperty(anyMessage, anyMessage, fc.boolean(), async (first, second, bound) => {
      const server = newServer({ nonce: 'N', channelBinding: bound ? certificate : undefined })
      const steps: (() => unknown)[] = [
        () => server.start(bound ? 'SCRAM-SHA-256-PLUS' : 'SCRAM-SHA-256', first),
        () => server.finish(second),
      ]
      const client = newClient({ nonce: 'c' })
      client.start()
      steps.push(() => client.prove(first))
      for (const step of steps) {
        try {
          await step()
        } catch (error) {
          expect(error).toBeInstanceOf(ScramError)
        }
      }
      try {
        client.finish(second)
      } catch (error) {
        expect(error).toBeInstanceOf(ScramError)
      }
      expect(client.trusted).toBe(false)
    }),
    { numRuns: 1000 },
  )
})
