// TLS with servers: each mode with each kind of certificate, real PostgreSQL with TLS, per-database settings, and what a
// server may say before the handshake.

import { chmod } from 'node:fs/promises'
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { findServerUser, giveTo } from '../../src/demo/server-user.js'
import type { Issued } from '../harness/certificates.js'
import { startTestCluster, type TestCluster } from '../harness/cluster.js'
import { type BackendConnection, FakeBackend } from '../harness/fake-backend.js'
import { ManualClock } from '../harness/manual-clock.js'
import { type PoolerOptions, type Settings, startPooler, type TestPooler } from '../harness/pooler.js'
import { needs, postgres } from '../harness/postgres.js'
import { cancel, message, query } from '../harness/raw-client.js'
import {
  authority,
  certified,
  Folder,
  ours,
  serveEmptyQueries,
  startInterceptor,
  startTlsBackend,
  stranger,
  wrongServers,
} from '../harness/tls.js'

let folder: Folder
beforeAll(async () => {
  folder = await Folder.open({ 'root.crt': authority.cert, 'other.crt': stranger.cert })
})
afterAll(() => folder[Symbol.asyncDispose]())

/** How servers are connected to: `tls`, `clear`, or the error that stands in the way. */
async function outcome(settings: Settings, options: PoolerOptions): Promise<string> {
  await using pooler = await startPooler({ server_tls_ca_file: folder.file('root.crt'), ...settings }, options)
  return await connection(pooler)
}

async function connection(pooler: TestPooler, database = 'postgres'): Promise<string> {
  const first = pooler.raw({ database }).then(
    () => 'in',
    () => 'ended',
  )
  const lost = new RegExp(`S-\\w+: ${database}/.*closing because`)
  const failed = pooler.settles(() => pooler.logged.some((line) => lost.test(line))).then(() => 'failed')
  if ((await Promise.race([first, failed])) === 'in') {
    const row = await pooler.until('SHOW SERVERS', (server) => server.database === database)
    return row.tls === '' ? 'clear' : 'tls'
  }
  const told = await pooler.refusal({ database })
  return /cached error: (.*) \(server_login_retry\)/.exec(told)?.[1] ?? told
}

const modes = ['allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const
type Outcomes = Readonly<Record<(typeof modes)[number], string>>

const unchecked = { allow: 'tls', prefer: 'tls', require: 'tls' }
const expiry = 'TLS handshake failed: certificate has expired'
const unknown = 'TLS handshake failed: unable to verify the first certificate'
const wrongName = 'TLS handshake failed: certificate is not for 127.0.0.1'
const without = 'server refused SSL'

describe.each([
  ['a good certificate', ours, { ...unchecked, 'verify-ca': 'tls', 'verify-full': 'tls' }],
  ['an expired one', wrongServers.expired!, { ...unchecked, 'verify-ca': expiry, 'verify-full': expiry }],
  ['one of another host', wrongServers['wrong host']!, { ...unchecked, 'verify-ca': 'tls', 'verify-full': wrongName }],
  [
    'one of a stranger',
    wrongServers['wrong authority']!,
    { ...unchecked, 'verify-ca': unknown, 'verify-full': unknown },
  ],
] satisfies [string, Issued, Outcomes][])('a server with %s', (_what, issued, outcomes) => {
  test.each(modes)('server_tls_sslmode = %s', async (mode) => {
    await using server = await startTlsBackend(issued, serveEmptyQueries)
    expect(await outcome({ server_tls_sslmode: mode }, { server })).toBe(outcomes[mode])
  })
})

describe('a server without TLS', () => {
  test.each([
    ['disable', 'clear'],
    ['allow', 'clear'],
    ['prefer', 'clear'],
    ['require', without],
    ['verify-ca', without],
    ['verify-full', without],
  ] as const)('server_tls_sslmode = %s', async (mode, expected) => {
    expect(await outcome({ server_tls_sslmode: mode }, {})).toBe(expected)
  })
})

describe('the name of the server', () => {
  test('is told to it (SNI), and is the one that is checked, not the address', async () => {
    const names: unknown[] = []
    const shown = authority.issue({ hosts: ['localhost'] })
    await using server = await startTlsBackend(
      shown,
      async (connection, secured) => {
        names.push(secured.servername, secured.alpnProtocol)
        await serveEmptyQueries(connection)
      },
      { host: 'localhost' },
    )
    const { port } = server
    expect(await outcome({ server_tls_sslmode: 'verify-full' }, { server: { host: 'localhost', port } })).toBe('tls')
    expect(names).toEqual(['localhost', 'postgresql'])
  })
})

describe('before the handshake', () => {
  const told = async (answer: Buffer, settings: Settings = {}): Promise<string> => {
    await using server = await FakeBackend.start(async (connection) => {
      await connection.packet()
      connection.send(answer)
      await connection.ended
    })
    return await outcome({ server_tls_sslmode: 'prefer', ...settings }, { server })
  }
  const lie = message('R', Buffer.alloc(4))

  test.each(['prefer', 'require'])('bytes along with its answer end the connection: %s', async (mode) => {
    const settings = { server_tls_sslmode: mode }
    const text = 'received unencrypted data after SSL response'
    expect(await told(Buffer.concat([Buffer.from('S'), lie]), settings)).toBe(text)
    expect(await told(Buffer.concat([Buffer.from('N'), lie]), settings)).toBe(text)
  })

  test('an ErrorResponse is neither passed on nor a reason to go on in the clear', async () => {
    const error = message('E', Buffer.from('SFATAL\0C28P01\0Mgive me your password\0\0'))
    expect(await told(error)).toBe('unexpected answer to the SSL request')
    expect(await told(Buffer.from('x'))).toBe('unexpected answer to the SSL request')
  })

  test('plain bytes in place of the handshake are not taken for the login', async () => {
    await using server = await FakeBackend.start(async (connection) => {
      await connection.packet()
      connection.send(Buffer.from('S'))
      await connection.take(100) // the ClientHello
      connection.send(lie, message('Z', Buffer.from('I')))
      await connection.ended
    })
    expect(await outcome({ server_tls_sslmode: 'prefer' }, { server })).toBe(
      'TLS handshake failed: wrong version number',
    )
  })

  test.each([
    ['does not answer', async (connection: BackendConnection) => connection.ended],
    [
      'is willing and then silent',
      async (connection: BackendConnection) => {
        await connection.packet()
        connection.send(Buffer.from('S'))
        await connection.ended
      },
    ],
  ])('a server that %s is given up after server_connect_timeout', async (_what, silence) => {
    const clock = new ManualClock()
    await using server = await FakeBackend.start(silence)
    await using pooler = await startPooler(
      { server_tls_sslmode: 'require', server_connect_timeout: 15 },
      { clock, server },
    )
    const first = pooler.refusal({})
    await pooler.settles(() => server.connections[0]?.unread !== undefined && server.connections[0].unread.length > 0)
    clock.advance(16)
    await server.connections[0]!.ended
    expect(await pooler.refusal({})).toContain('cached error: connect timeout')
    clock.advance(60)
    expect(await first).toMatch(/client_login_timeout/)
  })
})

describe('PostgreSQL with TLS', () => {
  let cluster: TestCluster
  let own: Folder
  beforeAll(async () => {
    const user = await findServerUser()
    own = await Folder.open({ 'server.crt': ours.cert, 'server.key': ours.key, 'clients.crt': authority.cert })
    await chmod(own.path, 0o711)
    for (const file of ['server.crt', 'server.key', 'clients.crt']) await giveTo(own.file(file), user)
    cluster = await startTestCluster({
      settings: {
        ssl: 'on',
        ssl_cert_file: own.file('server.crt'),
        ssl_key_file: own.file('server.key'),
        ssl_ca_file: own.file('clients.crt'),
      },
      hba: [
        'hostnossl all scram_user 127.0.0.1/32 reject',
        'hostssl all trust_user 127.0.0.1/32 cert',
        'hostnossl all plain_user 127.0.0.1/32 trust',
      ],
    })
  })
  afterAll(async () => {
    await cluster[Symbol.asyncDispose]()
    await own[Symbol.asyncDispose]()
  })

  const secure = (settings: Settings = {}): Settings => ({
    server_tls_sslmode: 'verify-full',
    server_tls_ca_file: folder.file('root.crt'),
    ...settings,
  })
  const ssl = `select ssl, version, cipher from pg_stat_ssl where pid = pg_backend_pid()`

  test.for(['postgres', 'direct'])(
    'sslnegotiation = %s: verified, and SCRAM with channel binding',
    async (how, context) => {
      if (how === 'direct') needs(17, 'direct TLS', context)
      const settings = secure({ server_tls_sslnegotiation: how })
      await using pooler = await startPooler(settings, { server: cluster.facts.primary })
      const client = await pooler.connect({ user: 'scram_user' })
      expect((await client.query(ssl)).rows).toEqual([
        { ssl: true, version: 'TLSv1.3', cipher: 'TLS_AES_256_GCM_SHA384' },
      ])
      const row = await pooler.until('SHOW SERVERS', (server) => server.user === 'scram_user')
      expect(row.tls).toBe('TLSv1.3/TLS_AES_256_GCM_SHA384')
      const established =
        /^LOG S-.*: postgres\/scram_user@127\.0\.0\.1:\d+ SSL established: TLSv1\.3\/TLS_AES_256_GCM_SHA384$/
      expect(pooler.logged.some((line) => established.test(line))).toBe(true)
    },
  )

  test('somebody in between with a certificate that is good gets no further: the server notices', async (context) => {
    needs(11, 'SCRAM with channel binding', context)
    await using between = await startInterceptor(authority.issue({ hosts: ['127.0.0.1'] }), cluster.facts.primary.port)
    await using pooler = await startPooler(secure(), { server: { host: '127.0.0.1', port: between.port } })
    expect(await connection(pooler)).toMatch(/SCRAM channel binding/)
  })

  test('the pooler shows its own certificate', async () => {
    const trusted = certified('trust_user')
    await using files = await Folder.open({ crt: trusted.cert, key: trusted.key })
    const options = { server: cluster.facts.primary }
    const shown = { server_tls_cert_file: files.file('crt'), server_tls_key_file: files.file('key') }
    await using pooler = await startPooler(secure(shown), options)
    const client = await pooler.connect({ user: 'trust_user' })
    expect((await client.query('select current_user as name')).rows).toEqual([{ name: 'trust_user' }])
    const unwelcome = certified('trust_user', stranger)
    await using wrong = await Folder.open({ crt: unwelcome.cert, key: unwelcome.key })
    const unknown = { server_tls_cert_file: wrong.file('crt'), server_tls_key_file: wrong.file('key') }
    expect(await outcome(secure(unknown), options)).toBe('TLS handshake failed: tlsv1 alert unknown ca')
    await using bare = await startPooler(secure(), options)
    expect(await bare.refusal({ user: 'trust_user' })).toBe(
      'E FATAL 28000 connection requires a valid client certificate',
    )
  })

  test('a cancel request is encrypted as the connection is', async (context) => {
    needs(17, 'direct TLS', context)
    const { port } = cluster.facts.primary
    const seen: number[] = []
    await using between = await FakeBackend.start(async (near) => {
      const [first] = await near.take(1)
      seen.push(first!)
      const far = connect(port, '127.0.0.1')
      far.on('error', () => {})
      near.socket.removeAllListeners('data')
      far.write(Buffer.concat([Buffer.of(first!), near.unread]))
      near.socket.pipe(far).pipe(near.socket)
    })
    const settings = secure({ server_tls_sslnegotiation: 'direct' })
    await using pooler = await startPooler(settings, { server: { host: '127.0.0.1', port: between.port } })
    await using client = await pooler.raw()
    const sleeping = client.ask(query('select pg_sleep(61)'))
    await pooler.until('SHOW SERVERS', (row) => row.state === 'active')
    await cancel(pooler.port, client.key)
    expect((await sleeping)[1]).toBe('E ERROR 57014 canceling statement due to user request')
    expect(seen).toEqual([0x16, 0x16])
  })

  test('each database may have its own way', async (context) => {
    needs(17, 'direct TLS', context)
    const { primary } = cluster.facts
    const entry = { ...primary, dbname: 'postgres' }
    const trusted = certified('trust_user')
    await using files = await Folder.open({ crt: trusted.cert, key: trusted.key })
    await using pooler = await startPooler(
      { server_tls_sslmode: 'disable', server_login_retry: 1000 },
      {
        databases: {
          clear: { ...entry, user: 'plain_user' },
          required: { ...entry, sslmode: 'require' },
          direct: { ...entry, sslmode: 'require', sslnegotiation: 'direct' },
          checked: { ...entry, sslmode: 'verify-full', sslrootcert: folder.file('root.crt') },
          distrusted: { ...entry, sslmode: 'verify-full', sslrootcert: folder.file('other.crt') },
          system: { ...entry, sslmode: 'verify-full', sslrootcert: 'system' },
          shown: {
            ...entry,
            sslmode: 'require',
            sslcert: files.file('crt'),
            sslkey: files.file('key'),
            user: 'trust_user',
          },
          '*': { ...primary, sslmode: 'require', dbname: 'template1' },
        },
      },
    )
    const ways = ['clear', 'required', 'direct', 'checked', 'shown', 'another'].map((name) => connection(pooler, name))
    expect(await Promise.all(ways)).toEqual(['clear', 'tls', 'tls', 'tls', 'tls', 'tls'])
    expect(await connection(pooler, 'distrusted')).toMatch(/^TLS handshake failed: (unable to|self-signed)/)
    expect(await connection(pooler, 'system')).toMatch(/^TLS handshake failed: (unable to|self-signed)/)
  })

  test('direct TLS is not begun with a server that does not answer with ALPN', async () => {
    await using server = await startTlsBackend(ours, serveEmptyQueries, { direct: true, alpn: false })
    const direct = secure({ server_tls_sslnegotiation: 'direct' })
    expect(await outcome(direct, { server })).toBe('direct TLS connection was established without ALPN')
  })

  test('and not at all with a server that has none', async () => {
    const direct = secure({ server_tls_sslnegotiation: 'direct' })
    expect(await outcome(direct, { server: postgres().primary })).toMatch(/^TLS handshake failed: /)
  })

  test('the answers are those of PostgreSQL', async () => {
    await using pooler = await startPooler(secure(), { server: cluster.facts.primary })
    await using client = await pooler.raw()
    expect(await client.ask(query('select 1'))).toEqual(['T ?column?', 'D 1', 'C SELECT 1', 'Z I'])
  })
})
