// The stage itself, without a pooler: what the drill does to its hosts is what happens to them.

import { connect } from 'node:net'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { eventually } from '../harness/pooler.js'
import { database, FailoverCluster } from './cluster.js'
import type { Host } from './host.js'
import { whyNotRouted } from './routed-link.js'

let cluster: FailoverCluster

beforeAll(async () => {
  cluster = await FailoverCluster.start()
})

beforeEach(() => cluster.settle())

afterAll(() => cluster?.[Symbol.asyncDispose]())

/** What comes of a connection through the host's link within a second: bytes of an answer, a reset, or silence. */
function knock(host: Host): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(host.link.address)
    const end = (how: string): void => {
      socket.destroy()
      resolve(how)
    }
    socket.on('connect', () => socket.write(Buffer.from([0, 0, 0, 8, 4, 210, 22, 47])))
    socket.on('data', () => end('answered'))
    socket.on('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message))
    socket.setTimeout(1000, () => end(socket.connecting ? 'no connection' : 'no answer'))
  })
}

async function timeline(host: Host): Promise<unknown> {
  const [row] = await host.query('SELECT pg_walfile_name(pg_current_wal_lsn()) AS name')
  return Number.parseInt(String(row?.name).slice(0, 8), 16)
}

test('a promoted standby begins a timeline, the other follows it, and the old primary is cloned from it', async () => {
  const old = cluster.primary
  const before = (await timeline(old)) as number
  await old.kill()
  await cluster.promote()
  expect(cluster.primary).not.toBe(old)
  expect(await timeline(cluster.primary)).toBe(before + 1)
  await cluster.settle()
  await cluster.primary.query("INSERT INTO tokens VALUES ('here')", database)
  for (const standby of cluster.standbys) {
    await eventually(
      async () => (await standby.query("SELECT FROM tokens WHERE token = 'here'", database)).length === 1,
    )
  }
})

test('who has ended in good order follows without being cloned', async () => {
  const old = cluster.primary
  await old.stop('fast')
  await cluster.promote()
  await old.startAsStandby(cluster.primary)
  await old.untilStreaming()
})

test('an old primary that is started again takes writes of its own timeline', async () => {
  const old = cluster.primary
  await old.kill()
  await cluster.promote()
  await old.start()
  await old.query("INSERT INTO tokens VALUES ('astray')", database)
  expect(await cluster.primary.query("SELECT FROM tokens WHERE token = 'astray'", database)).toEqual([])
})

test('synchronous commits wait for a standby', async () => {
  await cluster.setSynchronous(true)
  for (const standby of cluster.standbys) await standby.stop('fast')
  await using session = await cluster.primary.session(database)
  const written = session.query('INSERT INTO polls DEFAULT VALUES')
  await eventually(
    async () => (await cluster.primary.query("SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'")).length === 1,
  )
  await cluster.setSynchronous(false)
  await written
})

test('a late standby shows nothing new until it goes on', async () => {
  const [late] = cluster.standbys as [Host]
  await late.pauseReplay()
  await cluster.primary.query("INSERT INTO tokens VALUES ('later')", database)
  await cluster.primary.query('SELECT pg_sleep(0.3)')
  expect(await late.query("SELECT FROM tokens WHERE token = 'later'", database)).toEqual([])
  await late.resumeReplay()
  await eventually(async () => (await late.query("SELECT FROM tokens WHERE token = 'later'", database)).length === 1)
})

test('a link that is cut is silent to old and new connections, and goes on where it was', async () => {
  const { primary } = cluster
  const socket = connect(primary.link.address)
  const said: Buffer[] = []
  socket.on('data', (chunk) => said.push(chunk))
  await new Promise((resolve) => socket.once('connect', resolve))
  await primary.link.cut()
  expect(await knock(primary)).toBe('no connection')
  socket.write(Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]))
  expect(await knock(primary)).toBe('no connection')
  expect(said).toEqual([])
  await primary.link.restore()
  await eventually(() => Buffer.concat(said).toString() === 'S')
  expect(await knock(primary)).toBe('answered')
  socket.destroy()
})

test('a link that refuses resets old connections and refuses new ones', async () => {
  const { primary } = cluster
  const socket = connect(primary.link.address)
  await new Promise((resolve) => socket.once('connect', resolve))
  const ended = new Promise((resolve) => socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code)))
  await primary.link.refuse()
  expect(await ended).toBe('ECONNRESET')
  expect(await knock(primary)).toBe('ECONNREFUSED')
  await primary.link.restore()
  expect(await knock(primary)).toBe('answered')
})

test('a frozen host takes connections and answers none', async () => {
  const [frozen] = cluster.standbys as [Host]
  await frozen.freeze()
  expect(await knock(frozen)).toBe('no answer')
  await frozen.thaw()
  expect(await knock(frozen)).toBe('answered')
})

test('a routed link drops packets', async (context) => {
  const why = await whyNotRouted()
  if (why !== undefined) return context.skip(why)
  await using routed = await FailoverCluster.start({ routed: true })
  const { primary } = routed
  expect(await knock(primary)).toBe('answered')
  await primary.link.cut()
  expect(await knock(primary)).toBe('no connection')
  await primary.link.restore()
  expect(await knock(primary)).not.toBe('no answer')
})
