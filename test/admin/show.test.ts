import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { rowsOf, type Table } from '../../src/admin/table.js'
import { tableNamed, tables } from '../../src/admin/tables.js'
import type { ConfigInput } from '../../src/config/input.js'
import { loadConfig } from '../../src/config/load.js'
import { settingNames } from '../../src/config/settings.js'
import { pgbouncerVersion } from '../../src/observe/version.js'
import { ConsoleClient } from './console-client.js'
import { counters, FakeAdministration, fakeConfig, pool, socket } from './fake-administration.js'
import { columnsOf, extended, query, textsOf } from './wire.js'

/** pgbouncer's columns, in order, with its letters for the types: s text, i int4, q int8, N numeric, T a time as text. */
const sockets =
  'type s, user s, database s, replication s, state s, addr s, port i, local_addr s, local_port i, connect_time T, ' +
  'request_time T, wait i, wait_us i, close_needed i, ptr s, link s, remote_pid i, tls s, application_name s, ' +
  'prepared_statements i, id i'
const debugSockets = `${sockets}, recv_pos i, pkt_pos i, pkt_remain i, send_pos i, send_remain i, pkt_avail i, send_avail i`
const expected: Record<string, string> = {
  ACTIVE_SOCKETS: debugSockets,
  CLIENTS: sockets,
  HOSTS:
    'host s, role s, state s, writes s, timeline q, lag_ms q, since s, sv_active i, sv_idle i, sv_other i, ' +
    'failovers N, system_identifier s, last_error s', // not in pgbouncer
  CLOSES: 'kind s, database s, user s, reason s, count N', // not in pgbouncer
  CONFIG: 'key s, value s, default s, changeable s',
  DATABASES:
    'name s, host s, port i, database s, force_user s, pool_size i, min_pool_size i, reserve_pool_size i, ' +
    'server_lifetime i, pool_mode s, load_balance_hosts s, max_connections i, current_connections i, ' +
    'max_client_connections i, current_client_connections i, paused i, disabled i',
  DNS_HOSTS: 'hostname s, ttl q, addrs s',
  DNS_ZONES: 'zonename s, serial q, count i',
  LISTS: 'list s, items i',
  MEM: 'name s, size i, used i, free i, memtotal i',
  PEERS: 'peer_id i, host s, port i, pool_size i',
  PEER_POOLS: 'peer_id i, cl_active_cancel_req i, cl_waiting_cancel_req i, sv_active_cancel i, sv_login i',
  POOLS:
    'database s, user s, cl_active i, cl_waiting i, cl_active_cancel_req i, cl_waiting_cancel_req i, sv_active i, ' +
    'sv_active_cancel i, sv_being_canceled i, sv_idle i, sv_used i, sv_tested i, sv_login i, maxwait i, maxwait_us i, ' +
    'pool_mode s, load_balance_hosts s',
  SERVERS: sockets,
  SOCKETS: debugSockets,
  STATE: 'key s, value s',
  STATS:
    'database s, total_server_assignment_count N, total_xact_count N, total_query_count N, total_received N, ' +
    'total_sent N, total_xact_time N, total_query_time N, total_wait_time N, total_client_parse_count N, ' +
    'total_server_parse_count N, total_bind_count N, total_client_login_count N, avg_server_assignment_count N, ' +
    'avg_xact_count N, avg_query_count N, avg_recv N, avg_sent N, avg_xact_time N, avg_query_time N, avg_wait_time N, ' +
    'avg_client_parse_count N, avg_server_parse_count N, avg_bind_count N, avg_client_login_count N',
  STATS_AVERAGES:
    'database s, server_assignment_count N, xact_count N, query_count N, bytes_received N, bytes_sent N, xact_time N, ' +
    'query_time N, wait_time N, avg_client_parse_count N, avg_server_parse_count N, avg_bind_count N, ' +
    'avg_client_login_count N',
  STATS_TOTALS:
    'database s, server_assignment_count N, xact_count N, query_count N, bytes_received N, bytes_sent N, xact_time N, ' +
    'query_time N, wait_time N, client_parse_count N, server_parse_count N, bind_count N, client_login_count N',
  TOTALS: 'name s, value N',
  USERS:
    'name s, pool_size s, reserve_pool_size s, pool_mode s, max_user_connections i, current_connections i, ' +
    'max_user_client_connections i, current_client_connections i',
  VERSION: 'version s',
}
const types: Record<string, [oid: number, size: number]> = {
  s: [25, -1],
  T: [25, -1],
  i: [23, 4],
  q: [20, 8],
  N: [1700, -1],
}

async function rows(show: string, administration = new FakeAdministration()): Promise<(string | null)[][]> {
  const messages = await new ConsoleClient('stats', administration).messages(query(`SHOW ${show}`))
  return messages.filter(({ code }) => code === 'D').map(textsOf)
}

test('there is a table for each SHOW of pgbouncer that has rows, FDS apart, and CLOSES and HOSTS', () => {
  expect(tables.map((table) => table.name).sort()).toEqual(Object.keys(expected).sort())
})

test.each(Object.entries(expected))(
  'SHOW %s has the columns of pgbouncer, by both protocols',
  async (name, columns) => {
    const wanted = columns.split(', ').map((column) => {
      const [name, type] = column.split(' ') as [string, string]
      const [oid, size] = types[type]!
      return { name, oid, size, typmod: -1, format: 0 }
    })
    for (const messages of [[query(`show ${name.toLowerCase()};`)], extended(`SHOW ${name}`)]) {
      const answer = await new ConsoleClient('stats').messages(...messages)
      const description = answer.find(({ code }) => code === 'T')
      expect(columnsOf(description!)).toEqual(wanted)
      for (const row of answer.filter(({ code }) => code === 'D')) expect(textsOf(row)).toHaveLength(wanted.length)
      expect(answer.at(-2)?.body.toString()).toBe('SHOW\0')
    }
  },
)

test('a client is shown as pgbouncer shows it', async () => {
  process.env.TZ = 'UTC'
  const [row] = await rows('CLIENTS')
  expect(row?.join('|')).toBe(
    'C|sam|pg|none|active|10.0.0.1|51234|127.0.0.1|6432|2026-11-23 02:44:40 UTC|2026-01-05 12:00:00 UTC|1|234567|0|' +
      '0x7f00|0x7f01|0|TLSv1.3/TLS_AES_256_GCM_SHA384|psql|3|7',
  )
})

test('a client without user and database, in login, is in SOCKETS only', async () => {
  const administration = new FakeAdministration()
  administration.clientRows = [{ ...socket, state: 'login', user: '', database: '' }]
  expect(await rows('CLIENTS', administration)).toEqual([])
  const [row] = await rows('SOCKETS', administration)
  expect(row?.slice(0, 5)).toEqual(['C', '(nouser)', '(nodb)', 'none', 'cl_login'])
})

test('SOCKETS has its own words for states, and leaves the sockets of cancel requests out', async () => {
  const administration = new FakeAdministration()
  const states = ['active', 'idle', 'waiting', 'active_cancel_req', 'waiting_cancel_req', 'login']
  const serverStates = ['active', 'idle', 'used', 'tested', 'new', 'active_cancel', 'being_canceled']
  administration.clientRows = states.map((state) => ({ ...socket, state }))
  administration.serverRows = serverStates.map((state) => ({ ...socket, type: 'S', state }))
  expect((await rows('SOCKETS', administration)).map((row) => row[4])).toEqual([
    ...['cl_active', 'cl_active', 'cl_waiting', 'cl_login'],
    ...['sv_active', 'sv_idle', 'sv_used', 'sv_tested', 'sv_login'],
  ])
})

test('ACTIVE_SOCKETS has those that are linked or have bytes to send', async () => {
  const administration = new FakeAdministration()
  administration.clientRows = [
    { ...socket, id: 1 },
    { ...socket, id: 2, state: 'idle', link: '' },
    { ...socket, id: 3, state: 'idle', link: '', unsentBytes: 99 },
  ]
  administration.serverRows = []
  const active = await rows('ACTIVE_SOCKETS', administration)
  expect(active.map((row) => [row[20], row.at(-1)])).toEqual([
    ['1', '0'],
    ['3', '99'],
  ])
})

test('a pool is shown with the wait of its first client in whole seconds and microseconds', async () => {
  const [row] = await rows('POOLS')
  expect(row).toEqual(['pg', 'sam', ...'1 2 3 4 5 6 7 8 9 10 11 2 500250 transaction'.split(' '), null])
})

test("the console's own pool is in POOLS, with its clients that have logged in", async () => {
  const administration = new FakeAdministration()
  const console = { ...socket, database: 'pgbouncer' }
  administration.clientRows = [socket, console, console, { ...console, state: 'login' }]
  const row = (await rows('POOLS', administration)).at(-1)
  expect(row?.join('|')).toBe('pgbouncer|pgbouncer|2|0|0|0|0|0|0|0|0|0|0|0|0|statement|')
})

test('a database is shown with NULL where it has no value of its own', async () => {
  const [row] = await rows('DATABASES')
  expect(row).toEqual([
    ...['pg', 'a,b', '5432', 'pgdb', null, '20', '1', '2', '3600', 'transaction', 'round-robin'],
    ...['30', '4', '50', '6', '0', '1'],
  ])
})

test("the console's own database is in DATABASES", async () => {
  const administration = new FakeAdministration()
  administration.clientRows = [{ ...socket, database: 'pgbouncer' }]
  expect((await rows('DATABASES', administration)).at(-1)).toEqual([
    ...['pgbouncer', null, '6432', 'pgbouncer', 'pgbouncer', '2', '0', '0', '3600', 'statement', null],
    ...['0', '0', '0', '1', '0', '0'],
  ])
})

test('load_balance_hosts is NULL for a database with one host, and for its pools', async () => {
  const administration = new FakeAdministration()
  const [several] = administration.databases()
  const shown = async (show: string): Promise<unknown[]> =>
    rowsOf(tableNamed(show)!, administration).map((row) => Object(row).load_balance_hosts)
  administration.poolRows = [{ ...pool, loadBalanceHosts: 'round-robin' }]
  expect([await shown('POOLS'), await shown('DATABASES')]).toEqual([
    ['round-robin', null],
    ['round-robin', null],
  ])
  for (const host of ['one', undefined]) {
    administration.databases = () => [{ ...several!, host }]
    expect([await shown('POOLS'), await shown('DATABASES')]).toEqual([
      [null, null],
      [null, null],
    ])
  }
})

test('sizes of a user are padded, or empty where it has none', async () => {
  expect(await rows('USERS')).toEqual([['sam', '       12', '', null, '1', '2', '3', '4']])
})

test('LISTS, STATE, PEERS, PEER_POOLS, MEM, DNS_HOSTS, DNS_ZONES and VERSION have their rows', async () => {
  expect((await rows('LISTS')).map((row) => row.join(' '))).toEqual([
    ...['databases 1', 'users 2', 'peers 3', 'pools 4', 'peer_pools 5', 'free_clients 6', 'used_clients 7'],
    ...['login_clients 8', 'free_servers 9', 'used_servers 10', 'dns_names 11', 'dns_zones 12', 'dns_queries 13'],
    'dns_pending 14',
  ])
  expect(await rows('STATE')).toEqual([
    ['active', 'yes'],
    ['paused', 'no'],
    ['suspended', 'no'],
  ])
  expect(await rows('PEERS')).toEqual([['2', '10.0.0.2', '6432', '5']])
  expect(await rows('PEER_POOLS')).toEqual([['2', '1', '2', '3', '4']])
  expect(await rows('MEM')).toEqual([['heap', '1', '2', '3', '4']])
  expect(await rows('DNS_HOSTS')).toEqual([['db.example', '15', '10.0.0.1:5432,10.0.0.2:5432']])
  expect(await rows('DNS_ZONES')).toEqual([])
  expect(await rows('VERSION')).toEqual([['PgBouncer 1.26.1 (tsbouncer 0.1.0)']])
})

test('each counter of STATS, STATS_TOTALS and STATS_AVERAGES is in its place', async () => {
  const count = (first: number) => Array.from({ length: 12 }, (_, at) => String(first + at))
  expect(await rows('STATS')).toEqual([['pg', ...count(100), ...count(10)]])
  expect(await rows('STATS_TOTALS')).toEqual([['pg', ...count(100)]])
  expect(await rows('STATS_AVERAGES')).toEqual([['pg', ...count(10)]])
})

/** The columns that versions of pgbouncer have added to SHOW STATS, each as a total and an average: tools go by the version. */
const additions: readonly [since: string, columns: readonly string[]][] = [
  ['1.8', ['xact_count', 'query_count', 'received', 'sent', 'xact_time', 'query_time', 'wait_time']],
  ['1.23', ['server_assignment_count']],
  ['1.24', ['client_parse_count', 'server_parse_count', 'bind_count']],
  ['1.26', ['client_login_count']],
]

test('STATS has the columns of the very pgbouncer that the version names', () => {
  const [major = 0, minor = 0] = pgbouncerVersion.split('.').map(Number)
  const isThere = (since: string): boolean => {
    const [sinceMajor = 0, sinceMinor = 0] = since.split('.').map(Number)
    return major > sinceMajor || (major === sinceMajor && minor >= sinceMinor)
  }
  const wanted = additions.flatMap(([since, columns]) => (isThere(since) ? columns : []))
  const totals = tableNamed('STATS')!
    .columns.map(({ name }) => name)
    .filter((name) => name.startsWith('total_'))
  expect(totals.toSorted()).toEqual(wanted.map((name) => `total_${name}`).toSorted())
})

test('TOTALS adds the databases up; average times are weighed by what they are the average of', async () => {
  const administration = new FakeAdministration()
  const zero = { ...counters(0), serverAssignments: 0 }
  administration.statsRows = [
    { database: 'a', total: counters(100), average: { ...zero, xacts: 30, xactTime: 100, received: 5 } },
    { database: 'b', total: counters(1000), average: { ...zero, xacts: 10, xactTime: 500, received: 7 } },
  ]
  const totals = new Map((await rows('TOTALS', administration)) as [string, string][])
  const names = [
    ...['server_assignment_count', 'xact_count', 'query_count', 'client_bytes', 'server_bytes', 'xact_time'],
    ...['query_time', 'wait_time', 'ps_client_parse_count', 'ps_server_parse_count', 'ps_bind_count'],
    'client_login_count',
  ]
  expect([...totals.keys()]).toEqual([...names.map((n) => `total_${n}`), ...names.map((n) => `avg_${n}`)])
  expect(totals.get('total_client_login_count')).toBe(String(111 + 1011))
  expect(totals.get('avg_client_bytes')).toBe('12')
  expect(totals.get('avg_xact_time')).toBe('200')
})

test('an average time is not lost when its rate rounds to 0 a second', async () => {
  const administration = new FakeAdministration()
  const average = { ...counters(0), xacts: 0, xactTime: 700 }
  administration.statsRows = [{ database: 'a', total: counters(0), average }]
  expect(new Map((await rows('TOTALS', administration)) as [string, string][]).get('avg_xact_time')).toBe('700')
})

test('CONFIG has every setting in the order of the table, secrets hidden', async () => {
  const config = await rows('CONFIG')
  expect(config.map(([key]) => key)).toEqual(settingNames)
  const byKey = new Map(config.map(([key, ...rest]) => [key, rest]))
  expect(byKey.get('max_client_conn')).toEqual(['500', '100', 'yes'])
  expect(byKey.get('listen_port')).toEqual([fakeConfig.raw.get('listen_port'), '6432', 'no'])
  expect(byKey.get('auth_user')).toEqual([null, null, 'yes'])
  expect(byKey.get('auth_ldap_options')?.[0]).toBe('[hidden]')
  expect(JSON.stringify(config)).not.toContain('hunter2')
})

test('a library gets the rows as objects with numbers, texts, Dates and nulls', () => {
  const administration = new FakeAdministration()
  const table = (name: string): Table => tableNamed(name)!
  expect(rowsOf(table('clients'), administration)[0]).toMatchObject({
    user: 'sam',
    port: 51234,
    connect_time: socket.connectedAt,
  })
  expect(rowsOf(table('POOLS'), administration)[0]).toMatchObject({ cl_active: 1, load_balance_hosts: null })
  expect(tableNamed('nonsense')).toBeUndefined()
})

test('a library gets whole numbers, as the console shows them', () => {
  const administration = new FakeAdministration()
  const total = { ...counters(0), xactTime: 2996722.609999997 }
  administration.statsRows = [{ database: 'a', total, average: { ...total, waitTime: Number.NaN } }]
  const [row] = rowsOf(tableNamed('stats')!, administration)
  expect(row).toMatchObject({ total_xact_time: 2996722, avg_wait_time: 0 })
})

test.each<[string, ConfigInput]>([
  ['everywhere', { pgbouncer: { session_state: 'warn' } }],
  ['for a database', { databases: { a: 'session_state=track' } }],
  ['for databases without an entry', { databases: { '*': 'session_state=warn' } }],
  ['for a user', { users: { sam: 'session_state=track' } }],
])('session state that is looked after %s has columns of its own behind those of pgbouncer', async (_, config) => {
  const administration = new FakeAdministration()
  administration.clientRows = [{ ...socket, session: 'pinned: listen' }, socket]
  const shown = async (show: string) => {
    const messages = await new ConsoleClient('stats', administration).messages(query(`SHOW ${show}`))
    const head = columnsOf(messages.find(({ code }) => code === 'T')!).map(({ name }) => name)
    return [head, ...messages.filter(({ code }) => code === 'D').map(textsOf)]
  }
  const [plainClients] = await shown('CLIENTS')
  const [plainStats] = await shown('STATS')
  administration.configNow = await loadConfig({ databases: {}, ...config })
  const [clients, pinned, other] = await shown('CLIENTS')
  expect(clients).toEqual([...plainClients!, 'session'])
  expect([pinned?.at(-1), other?.at(-1)]).toEqual(['pinned: listen', ''])
  const [stats, row] = await shown('STATS')
  const kinds = ['setting', 'listen', 'lock', 'temp', 'cursor']
  expect(stats).toEqual([...plainStats!, ...kinds.map((kind) => `total_session_${kind}_count`)])
  expect(row?.slice(-5)).toEqual(['112', '113', '114', '115', '116'])
  expect(rowsOf(tableNamed('clients')!, administration)[0]).toHaveProperty('session', 'pinned: listen')
  const described = await new ConsoleClient('stats', administration).messages(...extended('SHOW CLIENTS'))
  expect(columnsOf(described.find(({ code }) => code === 'T')!).at(-1)?.name).toBe('session')
})

test('the page tells of the columns for session state', async () => {
  const page = await readFile(new URL('../../docs/admin.md', import.meta.url), 'utf8')
  const config = await loadConfig({ pgbouncer: { session_state: 'track' }, databases: {} })
  for (const table of tables) {
    const own = table.under(config).columns.slice(table.columns.length)
    for (const { name } of own) expect(page).toContain(`\`${name}\``)
  }
})

test('a name that is not UTF-8 gives its bytes back, as text and in binary', async () => {
  const administration = new FakeAdministration()
  administration.poolRows = [{ ...pool, database: 'd\udce9p' }]
  for (const formats of [[0], [1]]) {
    const messages = await new ConsoleClient('stats', administration).messages(...extended('SHOW POOLS', formats))
    expect(messages.find(({ code }) => code === 'D')?.body.includes(Buffer.from('d\xe9p', 'latin1'))).toBe(true)
  }
})
