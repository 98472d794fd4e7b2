// What clients could do to poolers in the past: each hole that was found in pgbouncer, PostgreSQL or their kin, tried on a
// running pooler. The numbers are those of the other two files as well: security-users.test.ts has who took whose part,
// security-servers.test.ts what servers could do.

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import { describe, expect, test } from 'vitest'
import { ManualClock } from '../harness/manual-clock.js'
import { startPooler, type TestPooler } from '../harness/pooler.js'
import { postgres } from '../harness/postgres.js'
import { parse, password, query, RawClient, saslInitialResponse, startup, sync } from '../harness/raw-client.js'
import { clientTlsFiles, Folder, openTls } from '../harness/tls.js'

const quick = { auth_failure_delay: 0 }
const i32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value | 0)
  return bytes
}
const sslRequest = Buffer.concat([i32(8), i32(80877103)])
const gssRequest = Buffer.concat([i32(8), i32(80877104)])

/** What the pooler says to these bytes, up to the end; each part is sent when the one before has been answered. */
async function told(pooler: TestPooler, ...parts: Buffer[]): Promise<string> {
  await using client = await RawClient.open(pooler.port)
  for (const [n, part] of parts.entries()) {
    client.send(part)
    if (n < parts.length - 1) await client.line()
  }
  return (await client.toTheEnd()).join()
}

async function isWell(pooler: TestPooler): Promise<void> {
  const client = await pooler.connect({ user: 'plain_user' })
  expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }])
  await client.end()
}

describe('1 (CVE-2012-4575): long names', () => {
  test.each([64, 127, 128, 1000, 9000, 20_000, 65_535])(
    'of %i bytes end one client, never the pooler',
    async (size) => {
      await using pooler = await startPooler(quick)
      await using other = await pooler.raw()
      const long = 'x'.repeat(size)
      for (const parameters of [
        { user: 'postgres', database: long },
        { user: long, database: 'postgres' },
        { user: long },
      ]) {
        expect(await told(pooler, startup(parameters as Record<string, string>))).toMatch(
          /^E FATAL 08P01 (no such database: x+|username too long|bad packet header: '[0-9a-f]+'|"trust" authentication failed)$/,
        )
      }
      expect(await other.ask(query('select 1'))).toContain('D 1')
    },
  )
})

describe('2 (CVE-2015-4054): every message in every state before the login is over', () => {
  const first = saslInitialResponse('n,,n=,r=abcdefgh')
  const states = {
    'at first': [],
    'after an SSLRequest': [sslRequest],
    'in place of the password': [startup({ user: 'plain_user', database: 'postgres' })],
    'within SCRAM': [startup({ user: 'plain_user', database: 'postgres' }), first],
  }
  const methods = { 'in place of the password': 'plain', 'within SCRAM': 'scram-sha-256' }

  /** Ends in one error at most, and in nothing else. */
  async function sendAfter(pooler: TestPooler, parts: readonly Buffer[], code: number): Promise<void> {
    for (const body of [Buffer.alloc(0), Buffer.from('x\0y\0')]) {
      const socket = connect(pooler.port, '127.0.0.1')
      const chunks: Buffer[] = []
      for (const part of parts) {
        socket.write(part)
        await once(socket, 'data')
      }
      socket.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', () => {})
      socket.end(Buffer.concat([Buffer.of(code), i32(body.length + 4), body]))
      await once(socket, 'close')
      expect(Buffer.concat(chunks).toString('latin1')).toMatch(/^(E[^E]*SFATAL\0C08P01\0M[^\0]+\0\0)?$/)
    }
  }

  test.each(Object.entries(states))('%s', async (state, parts) => {
    const auth_type = methods[state as keyof typeof methods] ?? 'md5'
    await using pooler = await startPooler({ ...quick, auth_type })
    const codes = Array.from({ length: 256 }, (_, code) => code)
    for (let at = 0; at < codes.length; at += 32) {
      await Promise.all(codes.slice(at, at + 32).map((code) => sendAfter(pooler, parts, code)))
    }
    await pooler.settles(async () => (await pooler.show('clients')).length === 0)
    await isWell(pooler)
  })
})

describe('4 (CVE-2021-3935): what comes in the clear along with a request for encryption', () => {
  test.each([
    ['SSLRequest', sslRequest, 'received unencrypted data after SSL request'],
    ['GSSENCRequest', gssRequest, 'received unencrypted data after GSSAPI encryption request'],
  ])('%s', async (_name, request, text) => {
    await using folder = await Folder.open(clientTlsFiles)
    await using pooler = await startPooler({ ...quick, client_tls_sslmode: 'prefer', ...folder.clientTls })
    const login = startup({ user: 'postgres', database: 'postgres' })
    expect(await told(pooler, Buffer.concat([request, login]))).toBe(`E FATAL 08P01 ${text}`)
  })
})

describe('7 (CVE-2026-6664): lengths in SASL messages', () => {
  test.each([0, -1, 15, 17, 1000, 0x7fff_ffff, -0x8000_0000, 0x7fff_fffb])('%i', async (length) => {
    await using pooler = await startPooler({ ...quick, auth_type: 'scram-sha-256' })
    const login = startup({ user: 'plain_user', database: 'postgres' })
    const answer = await told(pooler, login, saslInitialResponse('n,,n=,r=abcdefgh', length))
    expect(answer).toBe('E FATAL 08P01 SASL authentication failed')
    await isWell(pooler)
  })
})

describe('14 (PostgreSQL CVE-2026-6479): requests for encryption', () => {
  test('are answered once each, in either order', async () => {
    await using pooler = await startPooler(quick)
    for (const order of [
      [sslRequest, gssRequest],
      [gssRequest, sslRequest],
    ]) {
      for (const third of [sslRequest, gssRequest]) {
        await using client = await RawClient.open(pooler.port)
        const { stream } = client
        stream.removeAllListeners('data')
        for (const request of order) {
          stream.write(request)
          expect(((await once(stream, 'data')) as Buffer[])[0]?.toString()).toBe('N')
        }
        stream.write(third)
        expect(((await once(stream, 'data')) as Buffer[])[0]?.toString()).toContain('client re-sent startup pkt')
      }
    }
  })
})

describe('15: lengths and numbers before a login', () => {
  test('a length is not believed: it is refused before anything is put aside for it', async () => {
    await using pooler = await startPooler({ ...quick, auth_type: 'plain' })
    const before = process.memoryUsage()
    for (let n = 0; n < 200; n++) {
      await using client = await RawClient.open(pooler.port)
      client.send(i32(n % 2 === 0 ? 0x7fff_ffff : 10_001))
      expect((await client.toTheEnd()).join()).toMatch(/^E FATAL 08P01 bad packet header: /)
      await using late = await RawClient.open(pooler.port)
      late.send(startup({ user: 'plain_user', database: 'postgres' }))
      await late.line()
      late.send(Buffer.concat([Buffer.from('p'), i32(0x7fff_ffff)]))
      expect((await late.toTheEnd()).join()).toMatch(/^E FATAL 08P01 bad packet header: /)
    }
    expect(process.memoryUsage().arrayBuffers - before.arrayBuffers).toBeLessThan(50_000_000)
  })

  test('who does not log in leaves after client_login_timeout, and counts among max_client_conn until then', async () => {
    const clock = new ManualClock()
    await using pooler = await startPooler({ ...quick, client_login_timeout: 60, max_client_conn: 2 }, { clock })
    const silent = [await RawClient.open(pooler.port), await RawClient.open(pooler.port)]
    await pooler.settles(async () =>
      (await pooler.show('lists')).some((row) => row.list === 'login_clients' && row.items === 2),
    )
    expect(await pooler.refusal({})).toBe('E FATAL 08P01 no more connections allowed (max_client_conn)')
    clock.advance(61)
    for (const client of silent) expect((await client.toTheEnd()).join()).toBe('E FATAL 08P01 client_login_timeout')
    await using _client = await pooler.raw()
  })
})

test('16: a recorded md5 login is worth nothing', async () => {
  const databases = { shop: { ...postgres().primary, dbname: 'postgres', user: 'trust_user' } }
  await using pooler = await startPooler({ ...quick, auth_type: 'md5' }, { databases, secrets: { anna: 'anna pw' } })
  const md5 = (...parts: (string | Buffer)[]): string =>
    createHash('md5')
      .update(Buffer.concat(parts.map((part) => Buffer.from(part as string))))
      .digest('hex')
  const salts = new Set<string>()
  let recorded: Buffer | undefined
  for (let n = 0; n < 20; n++) {
    await using client = await RawClient.open(pooler.port)
    client.send(startup({ user: 'anna', database: 'shop' }))
    expect(await client.line()).toBe('R 5')
    const salt = client.latestBody.subarray(4)
    salts.add(salt.toString('hex'))
    const right = password(`md5${md5(md5('anna pw', 'anna'), salt)}`)
    recorded ??= right
    const first = await client.send(n === 0 ? right : recorded).line()
    expect(first).toBe(n === 0 ? 'R 0' : 'E FATAL 08P01 password authentication failed')
  }
  expect(salts.size).toBe(20)
})

describe('18: direct TLS', () => {
  test('needs ALPN: without it nothing is said, with another protocol there is an alert', async () => {
    await using folder = await Folder.open(clientTlsFiles)
    await using pooler = await startPooler({ client_tls_sslmode: 'prefer', ...folder.clientTls })
    await using client = await openTls(pooler.port, { direct: true })
    client.send(startup({ user: 'postgres', database: 'postgres' }), parse('select 1'), sync)
    expect(await client.toTheEnd()).toEqual([])
    await expect(openTls(pooler.port, { direct: true, ALPNProtocols: ['h2'] })).rejects.toThrow(
      /no application protocol/,
    )
  })
})

describe('of 2026, pgbouncer 1.26', () => {
  test.each(['plain_user', 'nobody'])(
    '(CVE-2026-107350): %s cannot become another in the middle of SCRAM',
    async (user) => {
      await using pooler = await startPooler({ ...quick, auth_type: 'scram-sha-256' })
      for (const database of ['postgres', 'nowhere']) {
        await using client = await RawClient.open(pooler.port)
        client.send(startup({ user, database }))
        expect(await client.line()).toBe('R 10')
        client.send(saslInitialResponse('n,,n=,r=abcdefgh'))
        expect(await client.line()).toBe('R 11')
        client.send(startup({ user: 'postgres', database: 'postgres' }))
        expect(await client.toTheEnd()).toEqual(['E FATAL 08P01 client re-sent startup pkt'])
      }
      await isWell(pooler)
    },
  )

  test.each(['-c=', '-c =', '--=', '-c', '--', '-c = -c ='])(
    '(CVE-2026-107349): options without a name, %s',
    async (options) => {
      await using pooler = await startPooler({ ...quick, ignore_startup_parameters: 'extra_float_digits' })
      const login = startup({ user: 'postgres', database: 'postgres', options })
      expect(await told(pooler, login)).toMatch(
        /^E FATAL 08P01 unsupported (options startup parameter|startup parameter in options)/,
      )
      await isWell(pooler)
    },
  )
})
