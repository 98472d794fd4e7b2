// Settings that stand on their own: sockets, message sizes, statistics, peers, and those that have no effect here.

import { execFileSync } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import { describe, expect, onTestFinished, test } from 'vitest'
import { loadConfig } from '../../src/config/load.js'
import { type Setting, settingNames, settings } from '../../src/config/settings.js'
import { findFreePort } from '../../src/demo/port.js'
import { canReusePort } from '../../src/io/listener.js'
import { ManualClock } from '../harness/manual-clock.js'
import { eventually, startPooler } from '../harness/pooler.js'
import { query as ask, postgres } from '../harness/postgres.js'
import { cancel, message, query, RawClient, startup } from '../harness/raw-client.js'
import { clientTlsFiles, Folder, openTls, ours, serveEmptyQueries, startTlsBackend } from '../harness/tls.js'

const isLinux = process.platform === 'linux'

test('a client that sends a message over max_packet_size is cut off', async () => {
  await using pooler = await startPooler({ max_packet_size: 1000 })
  const client = await pooler.raw()
  expect(await client.ask(query(`select 1 -- ${'x'.repeat(900)}`))).toContain('D 1')
  client.send(query(`select 1 -- ${'x'.repeat(1000)}`))
  expect(await client.toTheEnd()).toEqual([
    expect.stringMatching(/^E FATAL 08P01 bad packet header: '51[0-9a-f]{14}'$/),
  ])
})

test('scram_iterations holds for secrets made of plaintext passwords, also after a reload', async () => {
  await using pooler = await startPooler(
    { auth_type: 'scram-sha-256', scram_iterations: 1234 },
    { secrets: { plain: 'secret' } },
  )
  const iterations = async (): Promise<string | undefined> => {
    await using client = await RawClient.open(pooler.port)
    client.send(startup({ user: 'plain', database: 'postgres' }))
    expect(await client.line()).toBe('R 10')
    const first = Buffer.from('n,,n=,r=nonce')
    const length = Buffer.of(0, 0, 0, first.length)
    client.send(message('p', Buffer.from('SCRAM-SHA-256\0'), length, first))
    expect(await client.line()).toBe('R 11')
    return /,i=(\d+)$/.exec(client.latestBody.toString())?.[1]
  }
  expect(await iterations()).toBe('1234')
  await pooler.pooler.admin.set('scram_iterations', '5000')
  expect(await iterations()).toBe('5000')
})

describe.skipIf(!isLinux)('sockets, as Linux sees them', () => {
  /** Seconds until the next keepalive probe of connections with this local and remote port; undefined without one. */
  function keepalive(end: 'local' | 'remote', port: number): number | undefined {
    const hex = port.toString(16).toUpperCase().padStart(4, '0')
    for (const line of readFileSync('/proc/self/net/tcp', 'utf8').split('\n').slice(1)) {
      const [, local = '', remote = '', state, , timer = ''] = line.trim().split(/\s+/)
      if (state !== '01' || !(end === 'local' ? local : remote).endsWith(`:${hex}`)) continue
      const [kind, ticks = ''] = timer.split(':')
      if (kind === '02') return Number.parseInt(ticks, 16) / 100
    }
    return undefined
  }

  test('tcp_keepalive and tcp_keepidle hold for clients and servers that come from now on', async () => {
    await using pooler = await startPooler({ tcp_keepalive: 1, tcp_keepidle: 1000 })
    const client = await pooler.raw()
    expect(keepalive('local', pooler.port)).toBeGreaterThan(900)
    expect(keepalive('local', pooler.port)).toBeLessThanOrEqual(1000)
    const [server] = await pooler.show('servers')
    expect(keepalive('local', Number(server?.local_port))).toBeGreaterThan(900)
    await client.end()
    await pooler.pooler.admin.set('tcp_keepalive', '0')
    const other = await pooler.raw()
    await pooler.settles(() => keepalive('local', pooler.port) === undefined)
    await other.end()
  })

  test('unix_socket_dir, unix_socket_mode and unix_socket_group make the socket', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tsbouncer-unix-'))
    onTestFinished(() => rm(folder, { recursive: true, force: true }))
    const port = await findFreePort()
    const group = String(process.getgid?.())
    await using pooler = await startPooler({
      listen_addr: '',
      listen_port: port,
      unix_socket_dir: folder,
      unix_socket_mode: '0700',
      unix_socket_group: group,
    })
    const path = join(folder, `.s.PGSQL.${port}`)
    const { mode, gid } = statSync(path)
    expect([mode & 0o777, gid]).toEqual([0o700, process.getgid?.()])
    expect((await pooler.show('config')).find((row) => row.key === 'unix_socket_mode')?.value).toBe('448')
    const client = new RawClient(connect(path))
    await client.logIn({ parameters: { user: 'postgres', database: 'postgres' } })
    expect(await pooler.show('clients')).toMatchObject([{ addr: 'unix', local_port: port }])
    await client.end()
  })

  const ss = (() => {
    try {
      return execFileSync('ss', ['-V'], { encoding: 'utf8' })
    } catch {
      return undefined
    }
  })()

  test.skipIf(ss === undefined)('listen_backlog is the length of the queue', async () => {
    await using pooler = await startPooler({ listen_backlog: 17 })
    const listening = execFileSync('ss', ['-Hltn', `sport = :${pooler.port}`], { encoding: 'utf8' })
    expect(listening.trim().split(/\s+/)[2]).toBe('17')
  })
})

test.runIf(canReusePort && isLinux)('so_reuseport: two poolers on one port', async () => {
  const port = await findFreePort()
  await using one = await startPooler({ listen_port: port, so_reuseport: 1 })
  await using two = await startPooler({ listen_port: port, so_reuseport: 1 })
  expect([one.port, two.port]).toEqual([port, port])
})

test.skipIf(canReusePort)('so_reuseport is refused by name where this Node.js does not know it', async () => {
  await expect(startPooler({ so_reuseport: 1 })).rejects.toThrow('so_reuseport needs Node.js 22.12, 23.1 or later')
})

test('log_stats and stats_period: a line of averages at the end of each period', async () => {
  const clock = new ManualClock()
  await using pooler = await startPooler({ stats_period: 10 }, { clock })
  const lines = () => pooler.logged.filter((line) => line.startsWith('LOG stats: '))
  const client = await pooler.raw()
  for (let n = 0; n < 20; n++) await client.ask(query('select 1'))
  clock.advance(9)
  expect(lines()).toEqual([])
  const average = async () => (await pooler.show('stats')).find((row) => row.database === 'postgres')?.avg_query_count
  expect(await average()).toBe(2) // 20 in the 9 seconds since the start, and the one before it
  clock.advance(1)
  expect(lines()).toEqual([
    expect.stringMatching(
      /^LOG stats: 2 xacts\/s, 2 queries\/s, 0 client parses\/s, 0 server parses\/s, 0 binds\/s, 0 client logins\/s, in \d+ B\/s, out \d+ B\/s, xact \d+ us, query \d+ us, wait \d+ us$/,
    ),
  ])
  clock.advance(10)
  expect(lines()[1]).toMatch(/^LOG stats: 0 xacts\/s, 0 queries\/s/)
  expect(await average()).toBe(0)
  await pooler.pooler.admin.set('log_stats', '0')
  clock.advance(10)
  expect(lines()).toHaveLength(2)
  await pooler.pooler.admin.set('log_stats', '1')
  await pooler.pooler.admin.set('stats_period', '2')
  clock.advance(14) // the period under way, and two new ones
  expect(lines()).toHaveLength(5)
})

test('the console counts its commands, and each database what its clients do', async () => {
  await using pooler = await startPooler()
  const console = await pooler.raw({ database: 'pgbouncer' })
  const counts = async (database: string) => {
    const row = (await pooler.show('stats')).find((found) => found.database === database)
    return [row?.total_query_count, row?.total_xact_count, row?.total_client_login_count]
  }
  for (let n = 0; n < 3; n++) await console.ask(query('SHOW VERSION'))
  expect(await counts('pgbouncer')).toEqual([3, 3, 1])
  const client = await pooler.raw()
  await client.ask(query('begin'))
  await client.ask(query('select 1'))
  await client.ask(query('commit'))
  expect(await counts('postgres')).toEqual([3, 1, 1])
})

test('admin_users may do everything on the console, stats_users may look, others may not come in', async () => {
  await using pooler = await startPooler({ admin_users: 'postgres', stats_users: 'md5_user,plain_user' })
  const database = 'pgbouncer'
  const [admin, stats] = [await pooler.raw({ database }), await pooler.raw({ database, user: 'plain_user' })]
  expect(await stats.ask(query('SHOW POOLS'))).toContain('C SHOW')
  expect(await stats.ask(query('PAUSE'))).toContain('E ERROR 08P01 admin access needed')
  expect(await admin.ask(query('PAUSE'))).toContain('C PAUSE')
  expect(await pooler.refusal({ database, user: 'trust_user' })).toBe('E FATAL 08P01 not allowed')
})

/** In front of the primary; CancelRequests are taken, and nothing comes of them. */
async function startDeafToCancels(): Promise<number> {
  const { primary } = postgres()
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    sockets.add(client)
    client.on('error', () => {})
    client.once('data', (first) => {
      if (first.length === 16) return
      const onward = connect(primary.port, primary.host).on('error', () => {})
      onward.write(first)
      client.pipe(onward).pipe(client)
    })
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return (server.address() as { port: number }).port
}

test('cancel_wait_timeout: a cancel that the server does not take is given up', async () => {
  const clock = new ManualClock()
  const port = await startDeafToCancels()
  await using pooler = await startPooler({ cancel_wait_timeout: 10 }, { clock, server: { host: '127.0.0.1', port } })
  const client = await pooler.raw()
  client.send(query('select pg_sleep(0.3)'))
  await pooler.until('SHOW POOLS', (row) => row.sv_active === 1)
  const asked = cancel(pooler.port, client.key)
  await pooler.until('SHOW POOLS', (row) => row.sv_active_cancel === 1)
  expect(await client.answer()).toContain('C SELECT 1') // it is done; its server is not to be had yet
  await pooler.until('SHOW POOLS', (row) => row.sv_being_canceled === 1 && row.sv_active === 0)
  expect(await pooler.show('servers')).toMatchObject([{ state: 'being_canceled' }])
  clock.advance(9)
  expect(await pooler.show('pools')).toContainEqual(expect.objectContaining({ cl_active_cancel_req: 1 }))
  clock.advance(2)
  await asked
  expect(pooler.logged).toContainEqual(expect.stringContaining('cancel request failed: cancel_wait_timeout'))
})

test('peer_id: a cancel that comes to another peer finds its way', async () => {
  const [portOfOne, portOfTwo] = [await findFreePort(), await findFreePort()]
  const peers = { 1: { host: '127.0.0.1', port: portOfOne }, 2: { host: '127.0.0.1', port: portOfTwo } }
  await using one = await startPooler({ listen_port: portOfOne, peer_id: 1 }, { peers })
  await using two = await startPooler({ listen_port: portOfTwo, peer_id: 2 }, { peers })
  const client = await one.raw()
  client.send(query('select pg_sleep(61)'))
  const running = "select 1 from pg_stat_activity where state = 'active' and query = 'select pg_sleep(61)'"
  await eventually(async () => (await ask(running)).length === 1)
  await cancel(two.port, client.key)
  expect(await client.answer()).toContain('E ERROR 57014 canceling statement due to user request')
  expect(await two.show('peers')).toEqual([
    { peer_id: 1, host: '127.0.0.1', port: portOfOne, pool_size: 20 },
    { peer_id: 2, host: '127.0.0.1', port: portOfTwo, pool_size: 20 },
  ])
})

describe('what TLS is made of', () => {
  const chacha = 'TLS_CHACHA20_POLY1305_SHA256'
  const cipher = 'ECDHE-ECDSA-AES128-GCM-SHA256'
  const ways = [
    [{ protocols: 'tlsv1.2', ciphers: cipher }, `TLSv1.2/${cipher}`],
    [{ '13_ciphers': chacha }, `TLSv1.3/${chacha}`],
    [{ protocols: '!tlsv1.3', ciphers: 'secure' }, /^TLSv1\.2\//],
  ] as const
  const named = (side: 'client' | 'server', settings: object) =>
    Object.fromEntries(
      Object.entries(settings).map(([name, value]) => [`${side}_tls${name === '13_ciphers' ? '' : '_'}${name}`, value]),
    )

  // client_tls_protocols, client_tls_ciphers, client_tls13_ciphers
  test.each(ways)('with clients: %j', async (settings, expected) => {
    await using folder = await Folder.open(clientTlsFiles)
    await using pooler = await startPooler({
      client_tls_sslmode: 'require',
      ...folder.clientTls,
      ...named('client', settings),
    })
    await using client = await openTls(pooler.port)
    await client.logIn({ parameters: { user: 'postgres', database: 'postgres' } })
    expect((await pooler.show('clients'))[0]?.tls).toMatch(expected)
  })

  // server_tls_protocols, server_tls_ciphers, server_tls13_ciphers
  test.each(ways)('with servers: %j', async (settings, expected) => {
    await using server = await startTlsBackend(ours, serveEmptyQueries)
    await using pooler = await startPooler({ server_tls_sslmode: 'require', ...named('server', settings) }, { server })
    await pooler.raw()
    expect((await pooler.show('servers'))[0]?.tls).toMatch(expected)
  })

  test.each([
    ['auto', /^X25519/], // X25519MLKEM768 in newer versions of Node.js
    ['P-384', /^secp384r1$/],
  ])('client_tls_ecdhcurve = %s', async (curve, name) => {
    await using folder = await Folder.open(clientTlsFiles)
    await using pooler = await startPooler({
      client_tls_sslmode: 'require',
      client_tls_ecdhcurve: curve,
      ...folder.clientTls,
    })
    await using client = await openTls(pooler.port)
    // Node.js before 26 has nothing to say of X25519MLKEM768.
    const hybrid = Number.parseInt(process.versions.node, 10) < 26 ? 'X25519MLKEM768' : ''
    const key: { readonly name?: string } | null = (client.stream as TLSSocket).getEphemeralKeyInfo() as object
    expect(key?.name ?? hybrid).toMatch(name)
  })
})

/** Accepted so that a file works as it is; another value than what happens anyway gives a warning. */
const withoutEffect = {
  client_tls_dheparams: 'none',
  dns_zone_check_period: '5',
  job_name: 'another',
  pkt_buf: '8192',
  resolv_conf: '/etc/other.conf',
  sbuf_loopcnt: '1',
  tcp_defer_accept: '45',
  tcp_keepcnt: '3',
  tcp_keepintvl: '5',
  tcp_socket_buffer: '65536',
  tcp_user_timeout: '100',
} as const

test('what has no effect is warned about by name, and only where it would have one', async () => {
  const table: Readonly<Record<string, Setting<unknown>>> = settings
  const warned = settingNames.filter((name) => table[name]?.support.kind === 'warned')
  expect(warned).toEqual(Object.keys(withoutEffect))
  const { warnings } = await loadConfig({ pgbouncer: withoutEffect })
  expect(warnings.map((text) => /^parameter (\w+) \(pgbouncer\.\w+\) has no effect: \w/.exec(text)?.[1])).toEqual(
    warned,
  )
  const usual = Object.fromEntries(warned.map((name) => [name, String(table[name]?.fallback)]))
  expect((await loadConfig({ pgbouncer: usual })).warnings).toEqual([])
})
