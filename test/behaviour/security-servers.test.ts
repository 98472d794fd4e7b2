// What servers, or whoever passes for one, could do to poolers in the past, tried on a running pooler.

import { describe, expect, test } from 'vitest'
import { type BackendConnection, FakeBackend, readyForQuery } from '../harness/fake-backend.js'
import { ManualClock } from '../harness/manual-clock.js'
import { startPooler } from '../harness/pooler.js'
import { message, query } from '../harness/raw-client.js'

const i32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}
const z = (text: string): Buffer => Buffer.from(`${text}\0`)
const request = (kind: number, text = ''): Buffer => message('R', i32(kind), Buffer.from(text))

/** What a client is told whose server behaves like this at each login. */
async function outcome(serve: (connection: BackendConnection) => Promise<void>, settings = {}): Promise<string> {
  await using server = await FakeBackend.start(serve)
  await using pooler = await startPooler(settings, { server, secrets: { postgres: 'its password' } })
  const first = pooler.refusal({}).catch(() => 'ended')
  await pooler.settles(() => pooler.logged.some((line) => /S-.*closing because/.test(line)))
  const answer = await Promise.race([first, pooler.refusal({})])
  // Whatever it was: the pooler is there, and holds nothing.
  expect((await pooler.show('version')).length).toBe(1)
  await pooler.until('SHOW POOLS', (row) => row.database === 'postgres' && row.sv_login === 0)
  return answer
}

describe('4 (CVE-2021-3935, CVE-2021-23222): what a server sends in the clear along with its answer to the SSLRequest', () => {
  test.each(['S', 'N'])('%s', async (answer) => {
    const told = await outcome(
      async (connection) => {
        await connection.packet()
        connection.send(Buffer.from(answer), request(0), readyForQuery())
        await connection.ended
      },
      { server_tls_sslmode: 'prefer' },
    )
    expect(told).toContain('received unencrypted data after SSL response')
  })
})

describe('8 (CVE-2026-6665): a server that plays SCRAM badly', () => {
  const offer = message('R', i32(10), z('SCRAM-SHA-256'), Buffer.of(0))
  /** The nonce of the client, for a challenge that goes on with it. */
  const play = (challenges: (nonce: string) => Buffer[]) => async (connection: BackendConnection) => {
    await connection.packet()
    connection.send(offer)
    const { body } = await connection.message()
    connection.send(...challenges(/r=(.*)$/.exec(body.toString('latin1'))?.[1] ?? ''))
    for (;;) await connection.message()
  }
  const salt = 'QSXCR+Q6sek8bf92'

  test.each([
    ['a huge nonce', (nonce: string) => [request(11, `r=${nonce}${'x'.repeat(60_000)},s=${salt},i=4096`)]],
    ['a huge salt', (nonce: string) => [request(11, `r=${nonce}x,s=${'QSXC'.repeat(10_000)},i=4096`)]],
    ['iterations without end', (nonce: string) => [request(11, `r=${nonce}x,s=${salt},i=2000000000`)]],
    ['no iterations', (nonce: string) => [request(11, `r=${nonce}x,s=${salt},i=0`)]],
    ['a negative number of them', (nonce: string) => [request(11, `r=${nonce}x,s=${salt},i=-1`)]],
    ['a salt that is no base64', (nonce: string) => [request(11, `r=${nonce}x,s=***,i=4096`)]],
    ['a nonce of its own', () => [request(11, `r=other,s=${salt},i=4096`)]],
    ['our nonce and nothing added', (nonce: string) => [request(11, `r=${nonce},s=${salt},i=4096`)]],
    ['an empty challenge', () => [request(11)]],
    [
      'two challenges',
      (nonce: string) => [request(11, `r=${nonce}x,s=${salt},i=1`), request(11, `r=${nonce}x,s=${salt},i=1`)],
    ],
    ['the end before the middle', () => [request(12, 'v=AAAA')]],
    [
      'a wrong signature',
      (nonce: string) => [
        request(11, `r=${nonce}x,s=${salt},i=1`),
        request(12, `v=${Buffer.alloc(32).toString('base64')}`),
        request(0),
      ],
    ],
    ['no signature', (nonce: string) => [request(11, `r=${nonce}x,s=${salt},i=1`), request(0), readyForQuery()]],
    ['AuthenticationOk in the middle', () => [request(0), readyForQuery()]],
    ['the offer again', () => [offer]],
    ['a message longer than any', () => [Buffer.concat([Buffer.from('R'), i32(0x7fff_ffff)])]],
  ])('%s', async (_what, challenges) => {
    expect(await outcome(play(challenges))).toMatch(
      /^E FATAL 08P01 (server login has been failing|unknown pkt|bad packet header|server login failed)/,
    )
  })
})

describe('9 (CVE-2026-6666): an ErrorResponse that lacks something', () => {
  const reports = {
    'no SQLSTATE': z('SFATAL\0Mno code\0'),
    'no message': z('SFATAL\0C28000\0'),
    'no severity': z('C28000\0Mno severity\0'),
    'nothing at all': Buffer.of(0),
    'no terminator': Buffer.from('SFATAL\0C28000\0Munterminated'),
    'no bytes': Buffer.alloc(0),
    'bytes that are no text': Buffer.from([0x4d, 0xff, 0xfe, 0, 0]),
  }
  const stages = {
    'in place of the authentication request': async (connection: BackendConnection) => {
      await connection.packet()
    },
    'after it': async (connection: BackendConnection) => {
      await connection.packet()
      connection.send(request(3))
      await connection.message()
    },
    'after AuthenticationOk': async (connection: BackendConnection) => {
      await connection.packet()
      connection.send(request(0))
    },
  }

  test.each(
    Object.entries(stages).flatMap(([stage, play]) =>
      Object.entries(reports).map(([what, body]) => [stage, what, play, body] as const),
    ),
  )('%s: %s', async (_stage, _what, play, body) => {
    const told = await outcome(async (connection) => {
      await play(connection)
      connection.send(message('E', body))
      await connection.ended
    })
    expect(told).toMatch(/^E FATAL [0-9A-Z]{5} ./)
  })

  test.each(Object.entries(reports))('in answer to a query: %s', async (_what, body) => {
    await using server = await FakeBackend.start(async (connection) => {
      await connection.welcome()
      for (;;) {
        await connection.message()
        connection.send(message('E', body), readyForQuery())
      }
    })
    await using pooler = await startPooler({}, { server })
    await using client = await pooler.raw()
    const { stream } = client
    stream.removeAllListeners('data')
    const answered = new Promise<Buffer>((resolve) => {
      let all = Buffer.alloc(0)
      stream.on('data', (chunk: Buffer) => {
        all = Buffer.concat([all, chunk])
        if (all.includes('Z\0\0\0\x05I')) resolve(all)
      })
    })
    stream.write(query('select 1'))
    expect(await answered).toEqual(Buffer.concat([message('E', body), readyForQuery()])) // as it came
    expect((await pooler.show('version')).length).toBe(1)
  })
})

test('a server that says nothing holds a login for server_connect_timeout at most', async () => {
  const clock = new ManualClock()
  await using server = await FakeBackend.start(async (connection) => connection.ended)
  await using pooler = await startPooler(
    { server_connect_timeout: 15, server_tls_sslmode: 'require' },
    { server, clock },
  )
  const waiting = pooler.refusal({})
  await pooler.settles(() => (server.connections[0]?.unread.length ?? 0) > 0)
  clock.advance(16)
  await server.connections[0]!.ended
  clock.advance(60)
  expect(await waiting).toMatch(/client_login_timeout|connect timeout/)
})
