// Entries with target_session_attrs, where hosts say of themselves what PostgreSQL rarely says, or do not say it any more.

import pg from 'pg'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { positionQuestion } from '../../src/server/topology/report.js'
import { FakeHost } from '../harness/fake-host.js'
import { FilePooler } from '../harness/file-pooler.js'
import { eventually, type Settings, startPooler, type TestPooler } from '../harness/pooler.js'
import { postgres } from '../harness/postgres.js'
import { query, type RawClient } from '../harness/raw-client.js'

/** Where `moving.test` leads to, and from when on that is told. */
const moving = vi.hoisted(() => ({
  address: '127.0.0.1',
  told: Promise.resolve(),
  /** @returns ends it */
  hold(): () => void {
    let tell = (): void => {}
    this.told = new Promise<void>((resolve) => {
      tell = resolve
    })
    return tell
  },
}))

vi.mock('node:dns/promises', async (original) => ({
  ...(await original<typeof import('node:dns/promises')>()),
  lookup: async () => {
    await moving.told
    return [{ address: moving.address, family: 4 }]
  },
}))

const on = (...hosts: readonly FakeHost[]) => ({
  host: hosts.map(({ host }) => host).join(),
  port: hosts.map(({ port }) => port).join(),
  dbname: 'postgres',
})

function start(attrs: string, hosts: readonly FakeHost[], settings: Settings = {}): Promise<TestPooler> {
  const entry = { ...on(...hosts), target_session_attrs: attrs }
  return startPooler({ host_check_period: 0.1, query_wait_timeout: 5, ...settings }, { databases: { app: entry } })
}

const seen = (pooler: TestPooler, { name }: FakeHost, state: object): Promise<unknown> =>
  pooler.until(
    'SHOW HOSTS',
    (row) => row.host === name && Object.entries(state).every(([key, value]) => row[key] === value),
  )

const insert = query('insert')
const inserted = ['C INSERT', 'Z I']

/** Hosts of which the pooler keeps nothing when a test is over. */
const hosts: FakeHost[] = []
async function host(...self: Parameters<typeof FakeHost.start>): Promise<FakeHost> {
  const started = await FakeHost.start(...self)
  hosts.push(started)
  return started
}

afterEach(async () => {
  for (const one of hosts.splice(0)) await one[Symbol.asyncDispose]()
})

const inBlock = async (client: RawClient) => {
  expect(await client.ask(query('begin'))).toEqual(['C BEGIN', 'Z T'])
  expect(await client.ask(insert)).toEqual(['C INSERT', 'Z T'])
}

test('a former primary that does not say any more what it is loses its servers when another is the primary', async () => {
  const [a, b] = [await host(), await host({ isInRecovery: true })]
  await using pooler = await start('read-write', [a, b])
  await using busy = await pooler.raw({ database: 'app' })
  await using idle = await pooler.raw({ database: 'app' })
  expect(await idle.ask(insert)).toEqual(inserted)
  await inBlock(busy)
  a.self.refusesProbe = '53300'
  a.dropProbes()
  await seen(pooler, a, { role: 'unknown', state: 'up' })
  Object.assign(b.self, { isInRecovery: false, timeline: 2 })
  await seen(pooler, b, { writes: 'yes' })
  const before = a.asked.length
  expect(await busy.ask(query('commit'))).toEqual(['E ERROR 40001', 'Z I'].map((line) => expect.stringContaining(line)))
  expect(await idle.ask(insert)).toEqual(inserted)
  expect(a.asked.slice(before)).toEqual([])
  expect(a.servers.size).toBe(0)
})

test('where probes are refused, the latest login tells what a host is', async () => {
  const a = await host({ refusesProbe: '28000' })
  await using pooler = await start('read-write', [a])
  await using client = await pooler.raw({ database: 'app' })
  expect(await client.ask(insert)).toEqual(inserted)
  a.self.isInRecovery = true // another server behind the address
  pooler.pooler.admin.reconnect(undefined)
  client.send(insert)
  await seen(pooler, a, { role: 'standby' })
  a.self.isInRecovery = false
  expect(await client.answer()).toEqual(inserted)
})

test('a host of another cluster is not used when it does not say any more which it is of', async () => {
  const [a, other] = [await host(), await host({ systemId: '8' })]
  await using pooler = await start('read-write', [a, other], { query_wait_timeout: 1 })
  await using client = await pooler.raw({ database: 'app' })
  expect(await client.ask(insert)).toEqual(inserted)
  await seen(pooler, other, { state: 'foreign' })
  other.self.refusesProbe = '53300'
  other.dropProbes()
  await eventually(async () =>
    (await pooler.show('hosts')).some((row) => row.host === other.name && `${row.last_error}`.includes('refused')),
  )
  await a[Symbol.asyncDispose]()
  client.send(insert)
  expect((await client.toTheEnd()).at(-1)).toBe('E FATAL 08P01 query_wait_timeout')
  expect(other.asked).toEqual([])
})

test('a host of another cluster is not accepted while the primary is there, but in its place', async () => {
  const [a, other] = [await host(), await host({ systemId: '8' })]
  await using pooler = await start('read-write', [a, other])
  await using client = await pooler.raw({ database: 'app' })
  expect(await client.ask(insert)).toEqual(inserted)
  await seen(pooler, other, { state: 'foreign' })
  const { admin } = pooler.pooler
  expect(() => admin.unbanHost(other.name)).toThrow(`another system identifier than the primary ${a.name}`)
  expect(await client.ask(insert)).toEqual(inserted)
  admin.banHost(a.name, 0)
  await seen(pooler, a, { writes: 'no' })
  admin.unbanHost(other.name)
  expect(await client.ask(insert)).toEqual(inserted)
  expect(other.asked).toEqual(['insert'])
})

test('a host that one entry has fenced is not used by another that names it alone', async () => {
  const [a, b] = [await host(), await host({ isInRecovery: true })]
  const both = { ...on(a, b), target_session_attrs: 'read-write' }
  const alone = { ...on(a), target_session_attrs: 'primary' }
  await using pooler = await startPooler({ host_check_period: 0.1 }, { databases: { both, alone } })
  await using client = await pooler.raw({ database: 'both' })
  await using other = await pooler.raw({ database: 'alone' })
  expect([await client.ask(insert), await other.ask(insert)]).toEqual([inserted, inserted])
  await inBlock(other)
  Object.assign(b.self, { isInRecovery: false, timeline: 2 })
  await seen(pooler, a, { state: 'fenced' })
  expect(pooler.pooler.admin.unbanHost(a.name)).toEqual({
    text: `${a.name} is fenced again`,
    detail: `It says that it is a primary, but ${b.name} is the primary.`,
  })
  expect(pooler.pooler.admin.unbanHost(b.name)).toBeUndefined()
  const before = a.asked.length
  expect((await other.ask(query('commit')))[0]).toContain('E ERROR 40001')
  other.send(insert)
  await pooler.until('SHOW POOLS', (row) => row.database === 'alone' && row.cl_waiting === 1)
  expect(await client.ask(insert)).toEqual(inserted)
  expect(a.asked.slice(before)).toEqual([])
  Object.assign(a.self, { isInRecovery: true, timeline: 2 }) // it comes back as a standby, and is promoted in its turn
  await seen(pooler, a, { state: 'up', role: 'standby' })
  Object.assign(a.self, { isInRecovery: false, timeline: 3 })
  expect(await other.answer()).toEqual(inserted)
})

test('a standby that is late is shown and logged as that, and who reads waits until it has caught up', async () => {
  const [a, b] = [await host(), await host({ isInRecovery: true })]
  await using pooler = await start('standby', [a, b], { max_replica_lag: 0.3 })
  await using client = await pooler.raw({ database: 'app' })
  expect(await client.ask(query('select'))).toEqual(['C SELECT', 'Z I'])
  a.self.lsn = '0/2000'
  await seen(pooler, b, { state: 'late' })
  const lines = () => pooler.logged.filter((line) => line.includes(' behind'))
  expect(lines()).toEqual([
    expect.stringMatching(/^WARNING host \S+: 0\.\d s behind, too late to be read from \(.*app\)$/),
  ])
  client.send(query('select'))
  await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 1)
  b.self.lsn = '0/2000'
  expect(await client.answer()).toEqual(['C SELECT', 'Z I'])
  await seen(pooler, b, { state: 'up' })
  expect(lines().slice(1)).toEqual([expect.stringContaining('0.0 s behind, read from again')])
})

test.each(['28000', '53300', '3D000'])(
  'a standby that refuses a login (%s) keeps nobody from another one',
  async (sqlstate) => {
    const [a, b] = [await host({ isInRecovery: true }), await host({ isInRecovery: true })]
    await using pooler = await start('standby', [a, b], { query_wait_timeout: 2 })
    a.self.refusesServers = sqlstate
    for (let round = 0; round < 4; round++) {
      await using client = await pooler.raw({ database: 'app' })
      expect(await client.ask(query('select'))).toEqual(['C SELECT', 'Z I'])
      pooler.pooler.admin.reconnect(undefined)
    }
    b.self.refusesServers = sqlstate
    const isTold = sqlstate !== '53300' // else it is full, and who waits waits
    const told = isTold ? `E FATAL ${sqlstate} not now` : 'E FATAL 08P01 query_wait_timeout'
    expect(await pooler.refusal({ database: 'app', user: 'trust_user' })).toBe(told)
  },
)

test.each([
  ['fits', true],
  ['is not there', false],
])('a standby that refuses a login before the other has spoken, which %s', async (_what, isThere) => {
  const [a, b] = [await host({ isInRecovery: true, refusesServers: '28000' }), await host({ isInRecovery: true })]
  if (!isThere) await b[Symbol.asyncDispose]()
  // Of another one that is looked up meanwhile, nothing is known yet.
  const names = { host: `${a.host},moving.test`, port: `${a.port},${b.port}`, dbname: 'postgres' }
  const entry = { ...names, target_session_attrs: 'standby' }
  const lookUp = moving.hold()
  await using pooler = await startPooler({ host_check_period: 0.1 }, { databases: { app: entry } })
  const client = pooler.raw({ database: 'app' })
  await seen(pooler, a, { state: 'up' })
  await eventually(() => a.refusals > 0)
  lookUp()
  if (isThere) expect(await (await client).ask(query('select'))).toEqual(['C SELECT', 'Z I'])
  else await expect(client).rejects.toThrow('E FATAL 28000 not now')
})

test('a host that ends the connection behind each answer is asked no more often for that', async () => {
  const a = await host()
  await using pooler = await start('read-write', [a], { host_check_period: 0.5 })
  await using client = await pooler.raw({ database: 'app' })
  expect(await client.ask(insert)).toEqual(inserted)
  a.self.isBrief = true
  a.dropProbes()
  const before = a.logins
  await new Promise((resolve) => setTimeout(resolve, 2000))
  expect(a.logins - before).toBeLessThan(8)
  expect(await client.ask(insert)).toEqual(inserted)
})

test('when a server was started is told the same to whoever asks', async () => {
  const told = await Promise.all(
    [-10, 0, 3].map(async (digits) => {
      const { primary, roles } = postgres()
      const client = new pg.Client({ ...primary, ...roles.postgres, database: 'postgres' })
      await client.connect()
      await client.query(`set extra_float_digits = ${digits}; set DateStyle = 'SQL, DMY'; set TimeZone = 'Asia/Tokyo'`)
      const { rows } = await client.query({ text: positionQuestion, rowMode: 'array' })
      await client.end()
      return `${rows[0]?.at(-1)}`
    }),
  )
  expect(new Set(told).size).toBe(1)
})

test('nobody is sent away because the primary is full', async () => {
  const a = await host()
  await using pooler = await start('read-write', [a])
  await using client = await pooler.raw({ database: 'app' })
  expect(await client.ask(insert)).toEqual(inserted)
  a.self.refusesServers = '53300'
  pooler.pooler.admin.reconnect(undefined)
  client.send(insert)
  await eventually(() => pooler.logged.some((line) => line.includes('not now')))
  a.self.refusesServers = ''
  expect(await client.answer()).toEqual(inserted)
})

test('what the former primary has refused does not keep anyone from the new one', async () => {
  const [a, b] = [await host(), await host({ isInRecovery: true })]
  await using pooler = await start('read-write', [a, b])
  await using client = await pooler.raw({ database: 'app' })
  a.self.refusesServers = '28000'
  pooler.pooler.admin.reconnect(undefined)
  expect(await pooler.refusal({ database: 'app', user: 'trust_user' })).toBe('E FATAL 28000 not now')
  await a[Symbol.asyncDispose]()
  Object.assign(b.self, { isInRecovery: false, timeline: 2 })
  expect(await client.ask(insert)).toEqual(inserted)
  await using late = await pooler.raw({ database: 'app', user: 'trust_user' })
  expect(await late.ask(insert)).toEqual(inserted)
})

test.each([
  ['another server', {}, ['E ERROR 40001 ', 'Z I']],
  ['the same server', { startedAt: '7.5', timeline: 1 }, ['C COMMIT', 'Z I']],
])('the name of the primary leads to another address: %s', async (_, other, told) => {
  const a = await host({ startedAt: '7.5' })
  const b = await host({ timeline: 2, ...other }, '127.0.0.2', a.port)
  moving.address = '127.0.0.1'
  const entry = { host: 'moving.test', port: a.port, dbname: 'postgres', target_session_attrs: 'read-write' }
  await using pooler = await startPooler({ host_check_period: 0.1, dns_max_ttl: 0 }, { databases: { app: entry } })
  await using client = await pooler.raw({ database: 'app' })
  await inBlock(client)
  moving.address = '127.0.0.2'
  await pooler.until('SHOW HOSTS', (row) => row.host === `127.0.0.2:${a.port}` && row.writes === 'yes')
  expect(await client.ask(query('commit'))).toEqual(told.map((line) => expect.stringContaining(line)))
  expect(await client.ask(insert)).toEqual(inserted)
  expect(b.asked).toContain('insert')
})

describe('RELOAD', () => {
  const keys = (...all: readonly FakeHost[]) => {
    const { host: names, port } = on(...all)
    return `host=${names} port=${port} dbname=postgres user=trust_user target_session_attrs`
  }

  test('a fence holds for an entry that has a host of it, and others', async () => {
    const [a, b, c] = [await host(), await host({ timeline: 2 }), await host({ isInRecovery: true })]
    await using pooler = await FilePooler.start({
      pgbouncer: { host_check_period: 0.1, query_wait_timeout: 1 },
      databases: { app: `${keys(a, b)}=read-write`, reads: `${keys(a, b)}=prefer-standby` },
    })
    const client = await pooler.connect()
    await client.query('insert')
    await b[Symbol.asyncDispose]()
    await eventually(async () => (await pooler.pooler.show('hosts')).some((row) => row.state === 'down'))
    await pooler.change({ databases: { app: `${keys(a, b, c)}=read-write`, reads: `${keys(a, b)}=prefer-standby` } })
    await eventually(async () => (await pooler.pooler.show('hosts')).length === 3)
    await client.query('insert').catch(() => {})
    expect(a.asked).toEqual([])
    await client.end()
  })

  test('WAIT PRIMARY is told of the hosts that its database has now', async () => {
    const [a, b] = [await host({ isInRecovery: true }), await host()]
    await using pooler = await FilePooler.start({
      pgbouncer: { host_check_period: 0.1 },
      databases: { app: `${keys(a)}=read-write` },
    })
    const waiting = pooler.pooler.admin.waitPrimary('app', 5, new AbortController().signal)
    await pooler.change({ databases: { app: `${keys(b)}=read-write` } })
    await waiting
  })
})
