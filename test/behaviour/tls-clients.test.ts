// TLS with clients: each mode with each kind of certificate, direct TLS, reload, and nothing taken for encrypted that was not.

import { once } from 'node:events'
import { connect as netConnect } from 'node:net'
import type { Duplex } from 'node:stream'
import { type ConnectionOptions, connect as tlsConnect } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Issued } from '../harness/certificates.js'
import { ManualClock } from '../harness/manual-clock.js'
import { pipes } from '../harness/pipes.js'
import { type Settings, startPooler, type TestPooler } from '../harness/pooler.js'
import { cancelRequest, query, RawClient, startup } from '../harness/raw-client.js'
import {
  authority,
  certified,
  clientTlsFiles,
  expired,
  Folder,
  openTls,
  startInterceptor,
  stranger,
} from '../harness/tls.js'

let folder: Folder
beforeAll(async () => {
  folder = await Folder.open(clientTlsFiles)
})
afterAll(() => folder[Symbol.asyncDispose]())

const start = (settings: Settings = {}, options: Parameters<typeof startPooler>[1] = {}): Promise<TestPooler> =>
  startPooler({ client_tls_sslmode: 'require', ...folder.clientTls, ...settings }, options)

const login = { user: 'postgres', database: 'postgres' }
const trusting = { ca: authority.cert, host: 'localhost' }
const sslRequest = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47])
const gssRequest = Buffer.from([0, 0, 0, 8, 4, 210, 22, 48])

const show = (issued: Issued): ConnectionOptions => ({ cert: issued.cert, key: issued.key })
const clients = {
  'in the clear': undefined,
  'without a certificate': {},
  'with a good one': show(certified('anna')),
  'with an expired one': show(expired('anna')),
  "with a stranger's": show(certified('anna', stranger)),
} satisfies Record<string, ConnectionOptions | undefined>

const inside = 'in'
const required = 'E FATAL 08P01 SSL required'
const refused = 'E FATAL 08P01 connection requires a valid client certificate'
const strict = {
  'in the clear': required,
  'without a certificate': refused,
  'with a good one': inside,
  'with an expired one': refused,
  "with a stranger's": refused,
}
const lenient = {
  'in the clear': inside,
  'without a certificate': inside,
  'with a good one': inside,
  'with an expired one': inside,
  "with a stranger's": inside,
}
const off = 'answered "N" to the SSLRequest'

describe.each([
  [
    'disable',
    {
      ...Object.fromEntries(Object.keys(clients).map((kind) => [kind, off])),
      'in the clear': inside,
    } as typeof lenient,
  ],
  ['allow', lenient],
  ['prefer', lenient],
  ['require', { ...lenient, 'in the clear': required }],
  ['verify-ca', strict],
  ['verify-full', strict],
] as const)('client_tls_sslmode = %s', (mode, outcomes) => {
  let pooler: TestPooler
  beforeAll(async () => {
    pooler = await start({ client_tls_sslmode: mode })
  })
  afterAll(() => pooler[Symbol.asyncDispose]())

  test.each(Object.entries(clients))('%s', async (kind, options) => {
    const outcome = async (): Promise<string> => {
      await using client = await (options === undefined ? RawClient.open(pooler.port) : openTls(pooler.port, options))
      await client.logIn({ parameters: login })
      expect(await client.ask(query('select 1'))).toEqual(['T ?column?', 'D 1', 'C SELECT 1', 'Z I'])
      return inside
    }
    expect(await outcome().catch((error: Error) => error.message)).toBe(outcomes[kind as keyof typeof outcomes])
  })
})

describe('a client with TLS', () => {
  let pooler: TestPooler
  beforeAll(async () => {
    pooler = await start({ auth_type: 'scram-sha-256' })
  })
  afterAll(() => pooler[Symbol.asyncDispose]())

  const driver = { ssl: { ...trusting } }

  test('is shown and logged as such', async () => {
    const client = await pooler.connect({ driver })
    expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }])
    const row = await pooler.until('SHOW CLIENTS', ({ tls }) => tls !== '')
    expect(row.tls).toBe('TLSv1.3/TLS_AES_256_GCM_SHA384')
    expect(pooler.logged.some((line) => line.includes(`user=postgres tls=${String(row.tls)} replication=no`))).toBe(
      true,
    )
    await client.end()
  })

  test.each(['negotiated', 'direct'])('proves itself by SCRAM with channel binding: %s', async (how) => {
    const direct = how === 'direct' ? ({ sslnegotiation: 'direct' } as const) : {}
    const client = await pooler.connect({ driver: { ...driver, ...direct, enableChannelBinding: true } })
    expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }])
    await client.end()
  })

  test('is offered channel binding, and a client in the clear is not', async () => {
    await using encrypted = await openTls(pooler.port)
    encrypted.send(startup(login))
    expect(await encrypted.line()).toBe('R 10')
    expect(encrypted.latestBody.toString('latin1', 4)).toBe('SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0')
  })

  test('that binds itself to the certificate of somebody in between is refused', async () => {
    await using between = await startInterceptor(authority.issue({ hosts: ['localhost'] }), pooler.port)
    const through = { ...driver, port: between.port }
    await using unaware = await pooler.connect({ driver: through })
    expect((await unaware.query('select 1 as one')).rows).toEqual([{ one: 1 }])
    await expect(pooler.connect({ driver: { ...through, enableChannelBinding: true } })).rejects.toMatchObject({
      code: '08P01',
      message: 'SASL authentication failed',
    })
  })

  test('may send its CancelRequest the same way', async () => {
    const client = await pooler.connect({ driver })
    const sleeping = expect(client.query('select pg_sleep(61)')).rejects.toMatchObject({ code: '57014' })
    await pooler.until('SHOW SERVERS', (row) => row.state === 'active')
    const { processID: pid, secretKey } = client as unknown as { processID: number; secretKey: number }
    const secret = Buffer.alloc(4)
    secret.writeInt32BE(secretKey)
    for (const direct of [false, true]) {
      await using request = await openTls(pooler.port, { direct, ALPNProtocols: ['postgresql'] })
      request.send(cancelRequest({ pid, secret }))
      await request.ended
    }
    await sleeping
    await client.end()
  })
})

describe('direct TLS', () => {
  let pooler: TestPooler
  beforeAll(async () => {
    pooler = await start()
  })
  afterAll(() => pooler[Symbol.asyncDispose]())

  test('is served with ALPN postgresql', async () => {
    await using client = await openTls(pooler.port, { direct: true, ALPNProtocols: ['postgresql'] })
    await client.logIn({ parameters: login })
    expect(await client.ask(query('select 1'))).toEqual(['T ?column?', 'D 1', 'C SELECT 1', 'Z I'])
  })

  test('is closed without a word where there is no ALPN', async () => {
    await using client = await openTls(pooler.port, { direct: true })
    client.send(startup(login))
    expect(await client.toTheEnd()).toEqual([])
    await pooler.settles(() =>
      pooler.logged.some((line) => line.includes('TLS handshake failed: direct TLS without ALPN')),
    )
  })

  test('is refused with an alert where another protocol is meant', async () => {
    for (const direct of [true, false]) {
      await expect(openTls(pooler.port, { direct, ALPNProtocols: ['http/1.1'] })).rejects.toMatchObject({
        code: expect.stringMatching(/ALERT_NO_APPLICATION_PROTOCOL/),
      })
    }
  })

  test('is no more than a strange packet on a pooler without TLS', async () => {
    await using plain = await startPooler()
    await expect(openTls(plain.port, { direct: true, ALPNProtocols: ['postgresql'] })).rejects.toThrow()
    await using client = await plain.raw()
    expect(await client.ask(query('select 1'))).toContain('D 1')
  })

  test('is served wherever its first bytes are cut', async () => {
    for (const cut of [1, 2, 5, 50, 300]) {
      const [near, far] = pipes()
      const socket = netConnect({ port: pooler.port, host: '127.0.0.1', noDelay: true })
      far.once('data', (hello: Buffer) => {
        socket.write(hello.subarray(0, cut))
        setImmediate(() => setImmediate(() => socket.write(hello.subarray(cut))))
        far.pipe(socket).pipe(far)
      })
      const secured = tlsConnect({ socket: near, ...trusting, ALPNProtocols: ['postgresql'] })
      await once(secured, 'secureConnect')
      await using client = new RawClient(secured)
      await client.logIn({ parameters: login })
      socket.destroy()
    }
  })
})

describe('what comes in the clear is not taken for encrypted', () => {
  let pooler: TestPooler
  beforeAll(async () => {
    pooler = await start({ client_tls_sslmode: 'prefer' })
  })
  afterAll(() => pooler[Symbol.asyncDispose]())

  const toTheEnd = async (...bytes: Buffer[]): Promise<string> => {
    const socket = netConnect(pooler.port, '127.0.0.1')
    for (const part of bytes) socket.write(part)
    return (await text(socket)).replaceAll('\0', ' ')
  }
  const error = (message: string): string => `SFATAL C08P01 M${message}`

  test('bytes along with an SSLRequest', async () => {
    for (const more of [startup(login), Buffer.of(0x16), Buffer.alloc(3)]) {
      const answer = await toTheEnd(Buffer.concat([sslRequest, more]))
      expect(answer).toContain(error('received unencrypted data after SSL request'))
      expect(answer.startsWith('S')).toBe(false)
    }
  })

  test('bytes along with a GSSENCRequest', async () => {
    const answer = await toTheEnd(Buffer.concat([gssRequest, startup(login)]))
    expect(answer).toContain(error('received unencrypted data after GSSAPI encryption request'))
  })

  test('bytes that come while the pooler waits for a handshake', async () => {
    await using client = await RawClient.open(pooler.port)
    client.stream.removeAllListeners('data')
    client.send(sslRequest)
    const [answer] = (await once(client.stream, 'data')) as [Buffer]
    expect(answer.toString()).toBe('S')
    client.send(startup(login), query('select 1'))
    const rest = await text(client.stream)
    // At most an alert: nothing is served, nothing explained.
    expect(rest.length).toBeLessThanOrEqual(7)
    await pooler.settles(() => pooler.logged.some((line) => /TLS handshake failed: wrong version number/.test(line)))
  })

  test.each([
    ['two SSLRequests without TLS between', async () => toTheEndAfter(gssRequest, gssRequest)],
    ['a GSSENCRequest within TLS', async () => insideTls(gssRequest)],
    ['an SSLRequest within TLS', async () => insideTls(sslRequest)],
    ['a TLS handshake within TLS', async () => insideTls(Buffer.from('16030100', 'hex'))],
  ])('%s', async (_what, ask) => {
    expect(await ask()).toMatch(/re-sent startup pkt|bad packet header: '16030100'/)
  })

  /** The second follows the answer to the first. */
  async function toTheEndAfter(first: Buffer, second: Buffer): Promise<string> {
    const socket = netConnect(pooler.port, '127.0.0.1')
    socket.write(first)
    await once(socket, 'data')
    socket.write(second)
    return text(socket)
  }

  async function insideTls(bytes: Buffer): Promise<string> {
    await using client = await openTls(pooler.port)
    return (await client.send(bytes).toTheEnd()).join()
  }
})

describe('a client that falls silent is closed after client_login_timeout', () => {
  const hello = Buffer.from('1603010200010001fc0303', 'hex')

  test.each([
    ['before its first byte', []],
    ['within its SSLRequest', [sslRequest.subarray(0, 4)]],
    ['after its SSLRequest', [sslRequest]],
    ['within the handshake', [sslRequest, hello]],
    ['within a direct handshake', [hello]],
  ])('%s', async (_when, parts) => {
    const clock = new ManualClock()
    await using pooler = await start({ client_login_timeout: 60 }, { clock })
    const socket = netConnect(pooler.port, '127.0.0.1')
    socket.on('error', () => {})
    for (const part of parts) {
      socket.write(part)
      if (part === sslRequest) await once(socket, 'data')
    }
    const ended = text(socket)
    await pooler.until('SHOW LISTS', (row) => row.list === 'login_clients' && row.items === 1)
    clock.advance(61)
    await ended
    await pooler.until('SHOW LISTS', (row) => row.list === 'login_clients' && row.items === 0)
  })

  test('after the handshake', async () => {
    const clock = new ManualClock()
    await using pooler = await start({ client_login_timeout: 60 }, { clock })
    // With TLS 1.2 the pooler is the one to end the handshake, so it has when the client has.
    await using client = await openTls(pooler.port, { maxVersion: 'TLSv1.2' })
    clock.advance(61)
    expect(await client.toTheEnd()).toEqual(['E FATAL 08P01 client_login_timeout'])
  })
})

/** All that comes until the end. */
async function text(socket: Duplex): Promise<string> {
  let all = ''
  socket.on('data', (chunk: Buffer) => {
    all += chunk.toString('latin1')
  })
  socket.on('error', () => {})
  await new Promise((resolve) => socket.once('close', resolve))
  return all
}
