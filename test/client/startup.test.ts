import { expect, test } from 'vitest'
import type { Arrival } from '../../src/client/arrivals.js'
import { negotiateStartup } from '../../src/client/startup.js'
import { mustEncrypt, type SslMode } from '../../src/config/choices.js'
import { silentLog } from '../../src/observe/log.js'
import { ConnectionLost } from '../../src/protocol/conversation.js'
import { PgError } from '../../src/protocol/errors.js'
import { MessageReader } from '../../src/relay/message-reader.js'
import type { Context } from '../../src/server/context.js'
import { i32 } from '../protocol/wire.js'
import { FakeSocket } from '../relay/fake-socket.js'

const packet = (...parts: (Buffer | string)[]): Buffer => {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part as string)))
  return Buffer.concat([i32(body.length + 4), body])
}
const sslRequest = packet(i32(80877103))
const gssRequest = packet(i32(80877104))
const startup = packet(i32(3 << 16), 'user\0sam\0\0')
const cancel = packet(i32(80877102), i32(7), 'abcd')

const arrival = { kind: 'tcp', tls: '' } as Arrival

function begin(options: { sslmode?: SslMode; kind?: 'tcp' | 'unix' } = {}) {
  const socket = new FakeSocket()
  const context = {
    config: { settings: { ignore_startup_parameters: [] } },
    tls: { clients: undefined, mustEncrypt: mustEncrypt(options.sslmode ?? 'disable') },
    log: silentLog,
  } as unknown as Context
  const who = { logPrefix: 'C-0x0', ptr: '0x0' }
  const outcome = negotiateStartup(
    new MessageReader(socket.asSocket),
    { ...arrival, kind: options.kind ?? 'tcp' },
    context,
    who as never,
  )
  outcome.catch(() => {})
  return { socket, outcome }
}

/** Each piece once the one before has been read. */
async function send(socket: FakeSocket, ...pieces: Buffer[]): Promise<void> {
  for (const piece of pieces) {
    for (let n = 0; n < 100 && socket.paused; n++) await Promise.resolve()
    socket.deliver(piece)
    for (let n = 0; n < 100; n++) await Promise.resolve()
  }
}

async function conditionOf(outcome: Promise<unknown>): Promise<string> {
  const error: unknown = await outcome.then(
    () => new Error('it was let in'),
    (reason: unknown) => reason,
  )
  if (error instanceof PgError) return error.condition
  if (error instanceof ConnectionLost) return 'lost'
  throw error
}

test('a StartupMessage is all it takes', async () => {
  const { socket, outcome } = begin()
  await send(socket, startup)
  expect((await outcome).packet).toMatchObject({ kind: 'startup', parameters: new Map([['user', 'sam']]) })
  expect(socket.taken().length).toBe(0)
})

test('it may come in single bytes', async () => {
  const { socket, outcome } = begin()
  await send(socket, ...[...startup].map((byte) => Buffer.of(byte)))
  expect((await outcome).packet.kind).toBe('startup')
})

test('without TLS, SSLRequest and GSSENCRequest are answered N', async () => {
  const { socket, outcome } = begin()
  await send(socket, gssRequest, sslRequest, startup)
  expect((await outcome).packet.kind).toBe('startup')
  expect(socket.taken().toString()).toBe('NN')
})

test('a CancelRequest needs no more', async () => {
  for (const before of [[], [sslRequest]]) {
    const { socket, outcome } = begin()
    await send(socket, ...before, cancel)
    expect((await outcome).packet).toMatchObject({ kind: 'cancel', pid: 7 })
  }
})

// PostgreSQL CVE-2026-6479: any number of requests
test('a second SSLRequest or GSSENCRequest is refused', async () => {
  for (const requests of [
    [sslRequest, sslRequest],
    [gssRequest, gssRequest],
    [sslRequest, gssRequest, sslRequest],
  ]) {
    const { socket, outcome } = begin()
    await send(socket, ...requests)
    expect(await conditionOf(outcome)).toBe('startup_twice')
  }
})

// CVE-2021-3935: bytes behind SSLRequest
test('bytes that come with an SSLRequest or GSSENCRequest are refused, not read later', async () => {
  for (const more of [startup, Buffer.from('x'), sslRequest]) {
    const ssl = begin()
    await send(ssl.socket, Buffer.concat([sslRequest, more]))
    expect(await conditionOf(ssl.outcome)).toBe('bytes_after_ssl_request')
    const gss = begin()
    await send(gss.socket, Buffer.concat([gssRequest, more]))
    expect(await conditionOf(gss.outcome)).toBe('bytes_after_gss_request')
    expect([ssl.socket.taken().length, gss.socket.taken().length]).toEqual([0, 0])
  }
})

// pgcat allocated what an unauthenticated length said
test('a startup packet has 10,000 bytes at most', async () => {
  const fits = begin()
  await send(fits.socket, packet(i32(3 << 16), `user\0${'u'.repeat(10_000 - 15)}\0\0`))
  expect((await fits.outcome).packet.kind).toBe('startup')
  for (const length of [10_001, 65_536, 0x7fffffff, -1, 0, 4, 7]) {
    const { socket, outcome } = begin()
    await send(socket, i32(length))
    expect(await conditionOf(outcome)).toBe('bad_packet_header')
  }
})

// CVE-2015-4054: a password message before the startup packet
test('messages of a later stage are refused, whatever they are', async () => {
  for (const code of ['p', 'Q', 'X', 'P', 'S', 'R', 'G']) {
    const { socket, outcome } = begin()
    await send(socket, Buffer.concat([Buffer.from(code), i32(11), Buffer.from('secret\0')]))
    expect(await conditionOf(outcome)).toBe(code === 'p' ? 'password_before_startup' : 'bad_packet_header')
  }
})

test('direct TLS is refused where TLS is off', async () => {
  const { socket, outcome } = begin()
  await send(socket, Buffer.from([0x16, 3, 1, 2, 0, 1]))
  await expect(outcome).rejects.toThrow()
  expect(socket.taken().length).toBe(0)
})

test.each(['require', 'verify-ca', 'verify-full'] as const)(
  'client_tls_sslmode=%s: a client without TLS is refused, over a Unix socket it is not',
  async (sslmode) => {
    const plain = begin({ sslmode })
    await send(plain.socket, startup)
    expect(await conditionOf(plain.outcome)).toBe('ssl_required')
    const local = begin({ sslmode, kind: 'unix' })
    await send(local.socket, startup)
    expect((await local.outcome).packet.kind).toBe('startup')
  },
)

test.each(['disable', 'allow', 'prefer'] as const)(
  'client_tls_sslmode=%s: a client without TLS is let in',
  async (sslmode) => {
    const { socket, outcome } = begin({ sslmode })
    await send(socket, startup)
    expect((await outcome).packet.kind).toBe('startup')
  },
)

test('a client that leaves, at each stage', async () => {
  for (const before of [[], [sslRequest], [startup.subarray(0, 3)], [startup.subarray(0, 9)]]) {
    const { socket, outcome } = begin()
    await send(socket, ...before)
    socket.owner.onGone()
    expect(await conditionOf(outcome)).toBe('lost')
  }
})
