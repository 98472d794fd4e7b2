// TLS on both sides of connections as the pooler makes them: accepted and opened with the shared read buffer.

import { createServer, type Socket as NetSocket, connect as netConnect } from 'node:net'
import type { Duplex } from 'node:stream'
import { type TLSSocket, connect as tlsConnect } from 'node:tls'
import { describe, expect, onTestFinished, test } from 'vitest'
import { Socket } from '../../src/io/socket.js'
import {
  acceptTls,
  type ClientCertificate,
  clientCertificate,
  connectTls,
  describeTls,
  HandshakeFailed,
  makeContext,
  type TlsMaterial,
  TlsMaterialError,
} from '../../src/io/tls.js'
import { Authority, type Issued, yesterday } from '../harness/certificates.js'
import { pipes } from '../harness/pipes.js'

const authority = new Authority('the authority')
const stranger = new Authority('another authority')
const server = authority.issue({ commonName: 'db.example', hosts: ['db.example'] })

const modern = ['TLSv1.2', 'TLSv1.3'] as const
const pem = (text: string): Buffer => Buffer.from(text)
const material = (issued: Issued, more: Partial<TlsMaterial> = {}): TlsMaterial => ({
  cert: pem(issued.cert),
  key: pem(issued.key),
  protocols: modern,
  ...more,
})
const trusting = (more: Partial<TlsMaterial> = {}): TlsMaterial => ({
  ca: pem(authority.cert),
  protocols: modern,
  ...more,
})
const nobody = { onBytes() {}, onDrain() {}, onGone() {} }

/** An accepted connection as the pooler has it, and its other end. */
async function dialled<T extends { destroy(): unknown }>(
  dial: (port: number) => T,
): Promise<{ accepted: Socket; opened: T }> {
  const listener = createServer({ pauseOnConnect: true })
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  const arriving = new Promise<NetSocket>((resolve) => listener.once('connection', resolve))
  const { port } = listener.address() as { port: number }
  const opened = dial(port)
  const accepted = Socket.accepted(await arriving, nobody)
  listener.close()
  onTestFinished(() => {
    opened.destroy()
    accepted.stream.destroy()
  })
  return { accepted, opened }
}

/** Both ends as the pooler has them. */
const connected = () =>
  dialled((port) => Socket.plain((onread) => netConnect({ port, host: '127.0.0.1', onread: onread as never }), nobody))

interface Sides {
  readonly accept?: TlsMaterial
  readonly open?: TlsMaterial
  readonly verify?: 'none' | 'ca' | 'full'
  readonly host?: string
  readonly asksCertificate?: boolean
}

interface Pair {
  readonly accepted: TLSSocket
  readonly opened: TLSSocket
}

async function handshake(sides: Sides): Promise<Pair> {
  const { accepted, opened } = await connected()
  const accepting = acceptTls(accepted.release(), {
    context: makeContext(sides.accept ?? material(server)),
    asksCertificate: sides.asksCertificate ?? false,
    begun: Buffer.alloc(0),
  })
  const opening = connectTls(opened.release(), {
    context: makeContext(sides.open ?? trusting()),
    host: sides.host ?? 'db.example',
    verify: sides.verify ?? 'full',
  })
  const ends = await Promise.allSettled([opening, accepting])
  for (const end of ends) if (end.status === 'rejected') throw end.reason
  return { accepted: await accepting, opened: await opening }
}

const refusal = (sides: Sides): Promise<string> =>
  handshake(sides).then(
    () => 'let in',
    (error: HandshakeFailed) => {
      expect(error).toBeInstanceOf(HandshakeFailed)
      return error.message
    },
  )

test('both ends agree, and name the host and the protocol', async () => {
  const { accepted, opened } = await handshake({})
  expect(describeTls(accepted)).toBe('TLSv1.3/TLS_AES_256_GCM_SHA384')
  expect(describeTls(opened)).toBe(describeTls(accepted))
  expect(accepted.servername).toBe('db.example')
  expect(accepted.alpnProtocol).toBe('postgresql')
})

test('an address is no server name', async () => {
  const address = authority.issue({ hosts: ['127.0.0.1'] })
  const { accepted } = await handshake({ accept: material(address), host: '127.0.0.1' })
  expect(accepted.servername).toBeFalsy()
})

describe('a server certificate', () => {
  const wrongHost = authority.issue({ commonName: 'other.example', hosts: ['other.example'] })
  const expired = authority.issue({ hosts: ['db.example'], notBefore: new Date(0), notAfter: yesterday() })
  const unknown = stranger.issue({ hosts: ['db.example'] })
  const forClients = authority.issue({ hosts: ['db.example'], usage: 'client' })

  test.each([
    ['of another host', wrongHost, { none: 'let in', ca: 'let in', full: /^certificate is not for db\.example$/ }],
    ['that has expired', expired, { none: 'let in', ca: /has expired/, full: /has expired/ }],
    ['of a stranger', unknown, { none: 'let in', ca: /unable to/, full: /unable to/ }],
    ['for clients only', forClients, { none: 'let in', ca: /purpose/, full: /purpose/ }],
  ])('%s', async (_what, issued, outcome) => {
    for (const verify of ['none', 'ca', 'full'] as const) {
      expect(await refusal({ accept: material(issued), verify })).toMatch(outcome[verify])
    }
  })

  test('is checked against nothing when there is no authority to check it', async () => {
    expect(await refusal({ open: { protocols: modern }, verify: 'ca' })).toMatch(/self-signed|unable to/)
  })
})

describe('a client certificate', () => {
  const present = (issued: Issued): TlsMaterial => trusting({ cert: pem(issued.cert), key: pem(issued.key) })
  const verdict = async (open: TlsMaterial): Promise<ClientCertificate> => {
    const asking = material(server, { ca: pem(authority.cert) })
    return clientCertificate((await handshake({ accept: asking, open, asksCertificate: true })).accepted)
  }

  test('that is good tells its common name', async () => {
    expect(await verdict(present(authority.issue({ commonName: 'anna' })))).toEqual({
      verdict: 'trusted',
      commonName: 'anna',
    })
  })

  test.each([
    ['that is not there', () => trusting(), 'absent'],
    ['of a stranger', () => present(stranger.issue({ commonName: 'anna' })), 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
    [
      'that has expired',
      () => present(authority.issue({ commonName: 'anna', notBefore: new Date(0), notAfter: yesterday() })),
      'CERT_HAS_EXPIRED',
    ],
    [
      'that is not valid yet',
      () => present(authority.issue({ notBefore: new Date(Date.now() + 3_600_000) })),
      'CERT_NOT_YET_VALID',
    ],
    ['for servers only', () => present(authority.issue({ commonName: 'anna', usage: 'server' })), 'INVALID_PURPOSE'],
  ])('%s tells why, and no name', async (_what, open, expected) => {
    expect(await verdict(open())).toEqual({ verdict: expected, commonName: undefined })
  })

  test('with several common names, or with a zero in it, does not stand for the first of them', async () => {
    expect(await verdict(present(authority.issue({ commonName: ['anna', 'bert'] })))).toEqual({
      verdict: 'trusted',
      commonName: undefined,
    })
    const { commonName } = await verdict(present(authority.issue({ commonName: 'anna\0.example' })))
    expect(commonName).not.toBe('anna')
  })
})

describe('what was configured', () => {
  test.each(['TLSv1.2', 'TLSv1.3'] as const)('only %s', async (version) => {
    const { opened } = await handshake({ accept: material(server, { protocols: [version] }) })
    expect(opened.getProtocol()).toBe(version)
  })

  test('versions without one in the middle', async () => {
    const accept = material(server, { protocols: ['TLSv1', 'TLSv1.1', 'TLSv1.3'] })
    expect(await refusal({ accept, open: trusting({ protocols: ['TLSv1.2'] }) })).not.toBe('let in')
    expect((await handshake({ accept })).opened.getProtocol()).toBe('TLSv1.3')
  })

  test('old versions, where the ciphers allow them', async () => {
    const old = { protocols: ['TLSv1', 'TLSv1.1'], ciphers: 'DEFAULT:@SECLEVEL=0' } as const
    const { opened } = await handshake({ accept: material(server, old), open: trusting(old) })
    expect(opened.getProtocol()).toBe('TLSv1.1')
    expect(await refusal({ accept: material(server), open: trusting(old) })).not.toBe('let in')
  })

  test('ciphers of TLS 1.2, which leave TLS 1.3 alone', async () => {
    const accept = material(server, { ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' })
    expect((await handshake({ accept })).opened.getProtocol()).toBe('TLSv1.3')
    const { opened } = await handshake({ accept, open: trusting({ protocols: ['TLSv1.2'] }) })
    expect(opened.getCipher().name).toBe('ECDHE-ECDSA-AES128-GCM-SHA256')
  })

  test('suites of TLS 1.3, which leave TLS 1.2 alone', async () => {
    const accept = material(server, { tls13Ciphers: 'TLS_CHACHA20_POLY1305_SHA256' })
    expect((await handshake({ accept })).opened.getCipher().name).toBe('TLS_CHACHA20_POLY1305_SHA256')
    const { opened } = await handshake({ accept, open: trusting({ protocols: ['TLSv1.2'] }) })
    expect(opened.getProtocol()).toBe('TLSv1.2')
  })

  test('the order of the ciphers is ours', async () => {
    const [one, other] = ['ECDHE-ECDSA-AES128-GCM-SHA256', 'ECDHE-ECDSA-AES256-GCM-SHA384']
    const accept = material(server, { ciphers: `${one}:${other}` })
    const open = trusting({ protocols: ['TLSv1.2'], ciphers: `${other}:${one}` })
    expect((await handshake({ accept, open })).opened.getCipher().name).toBe(one)
  })

  test('the curve', async () => {
    const { opened } = await handshake({ accept: material(server, { curve: 'secp384r1' }) })
    expect(opened.getEphemeralKeyInfo()).toMatchObject({ type: 'ECDH', name: 'secp384r1' })
  })

  const other = authority.issue()
  test.each([
    ['ca', { ca: pem('no certificate') }],
    ['cert', { cert: pem('no certificate') }],
    ['key', { key: pem('no key') }],
    ['key', { key: pem(other.key) }],
    ['ciphers', { ciphers: 'NO-SUCH-CIPHER' }],
    ['tls13Ciphers', { tls13Ciphers: 'TLS_NO_SUCH_SUITE' }],
    ['tls13Ciphers', { tls13Ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' }],
    ['curve', { curve: 'no-such-curve' }],
  ] as const)('a mistake in %s is told by name: %j', (part, wrong) => {
    expect(() => makeContext(material(server, wrong))).toThrow(TlsMaterialError)
    expect(() => makeContext(material(server, wrong))).toThrow(expect.objectContaining({ part }))
  })
})

describe('a handshake', () => {
  test('that does not begin with TLS fails', async () => {
    const { accepted, opened } = await connected()
    const accepting = acceptTls(accepted.release(), { ...plainly(), begun: Buffer.alloc(0) })
    opened.write(Buffer.from('GET / HTTP/1.1\r\n\r\n'))
    await expect(accepting).rejects.toMatchObject({ name: 'HandshakeFailed', message: 'http request' })
    expect(accepted.stream.destroyed).toBe(true)
  })

  test.each([
    ['the other side leaves', (sides: { opened: Socket }) => sides.opened.destroy()],
    ['its owner destroys it', (sides: { accepted: Socket }) => sides.accepted.destroy()],
    ['its owner ends it', (sides: { accepted: Socket }) => sides.accepted.end()],
  ])('of which %s fails, and leaves nothing open', async (_who, act) => {
    const sides = await connected()
    const accepting = acceptTls(sides.accepted.release(), { ...plainly(), begun: Buffer.alloc(0) })
    const closed = new Promise((resolve) => sides.accepted.stream.once('close', resolve))
    act(sides)
    await expect(accepting).rejects.toBeInstanceOf(HandshakeFailed)
    await closed
  })

  test('of which some bytes were read before goes on with them, wherever they were cut', async () => {
    const hello = await helloBytes()
    for (const cut of [1, 4, 5, 6, 100, hello.length - 1, hello.length]) {
      const { accepted, opened } = await dialled((port) => netConnect(port, '127.0.0.1'))
      const [near, far] = pipes()
      opened.pipe(far)
      const opening = connectTls(near, { context: makeContext(trusting()), host: 'db.example', verify: 'full' })
      const [begun] = await Promise.all([readOnce(accepted), sendInTwo(far, opened, cut, accepted)])
      expect(begun.length).toBe(cut)
      const accepting = acceptTls(accepted.release(), { ...plainly(), begun })
      const [inside, outside] = await Promise.all([accepting, opening])
      inside.write('through')
      expect(await firstBytes(outside)).toBe('through')
    }
  })

  test('with another application protocol is refused', async () => {
    const { accepted, opened } = await connected()
    const accepting = acceptTls(accepted.release(), { ...plainly(), begun: Buffer.alloc(0) })
    const client = tlsConnect({
      socket: opened.release() as NetSocket,
      ALPNProtocols: ['http/1.1'],
      rejectUnauthorized: false,
    })
    const refused = new Promise<Error & { code?: string }>((resolve) => client.once('error', resolve))
    await expect(accepting).rejects.toMatchObject({ message: 'no application protocol' })
    expect((await refused).code).toMatch(/ALERT_NO_APPLICATION_PROTOCOL/)
  })

  test('over a stream that is no socket works as well', async () => {
    const [near, far] = pipes()
    const accepting = acceptTls(far, { ...plainly(), begun: Buffer.alloc(0) })
    const opening = connectTls(near, { context: makeContext(trusting()), host: 'db.example', verify: 'full' })
    const [inside, outside] = await Promise.all([accepting, opening])
    outside.write('through')
    expect(await firstBytes(inside)).toBe('through')
  })
})

const plainly = () => ({ context: makeContext(material(server)), asksCertificate: false })

/** The first record of a client. */
async function helloBytes(): Promise<Buffer> {
  const { accepted, opened } = await connected()
  const opening = connectTls(opened.release(), { context: makeContext(trusting()), host: 'db.example', verify: 'none' })
  opening.catch(() => {})
  return readOnce(accepted)
}

/** What comes with the first read; the socket is paused then. */
function readOnce(socket: Socket): Promise<Buffer> {
  return new Promise((resolve) => {
    const onBytes = (chunk: Buffer): void => {
      socket.pause()
      resolve(Buffer.from(chunk))
    }
    socket.owner = { ...nobody, onBytes }
    socket.resume()
  })
}

/** Passes all on; of the first bytes only so many until `reader` has read them. */
async function sendInTwo(from: Duplex, to: Duplex, cut: number, reader: Socket): Promise<void> {
  const first = await new Promise<Buffer>((resolve) => from.once('data', resolve))
  to.write(first.subarray(0, cut))
  while (!reader.paused) await new Promise(setImmediate)
  to.write(first.subarray(cut))
  from.pipe(to)
}

function firstBytes(stream: Duplex): Promise<string> {
  return new Promise((resolve) => stream.once('data', (chunk: Buffer) => resolve(chunk.toString())))
}
