// Peers that are pgbouncers: cancels find their way from ours to theirs and back.

import { spawn } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, expect, type TestContext, test } from 'vitest'
import { findFreePort } from '../../src/demo/port.js'
import { pgbouncer, pgbouncerVersion } from '../compat/program.js'
import { startPooler, type TestPooler } from '../harness/pooler.js'
import { postgres } from '../harness/postgres.js'
import { cancel, query, RawClient } from '../harness/raw-client.js'
import { asUser, makeFolder, Running } from '../process/command.js'
import { Balancer, canceled, keyOfPeer, sleep } from './peers.js'

/** pgbouncer knows peers since 1.19. */
function isOld(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return major < 1 || (major === 1 && minor < 19)
}

const host = '127.0.0.1'
const ourId = 1
const theirId = 2

/** Both behind one address, each other's peers. */
interface Pair {
  readonly ours: TestPooler
  readonly theirs: number
  readonly balancer: Balancer
}

let leaving: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const leave of leaving.reverse()) await leave()
  leaving = []
})

async function startPair(context: TestContext): Promise<Pair> {
  const version = pgbouncerVersion()
  if (version === undefined) context.skip('pgbouncer is not installed')
  else if (isOld(version)) context.skip(`pgbouncer ${version} knows no peers: set PGBOUNCER_BIN to 1.19 or later`)
  const port = await findFreePort()
  const theirs = await findFreePort(port)
  const peers = { [ourId]: { host, port }, [theirId]: { host, port: theirs } }

  const folder = makeFolder()
  leaving.push(async () => folder[Symbol.dispose]())
  const { primary } = postgres()
  const file = join(folder.path, 'pooler.ini')
  const users = join(folder.path, 'userlist.txt')
  writeFileSync(users, '"trust_user" ""\n')
  const peerLines = Object.entries(peers).map(([id, peer]) => `${id} = host=${peer.host} port=${peer.port}\n`)
  writeFileSync(
    file,
    `[databases]\n* = host=${primary.host} port=${primary.port}\n[peers]\n${peerLines.join('')}[pgbouncer]
listen_addr = ${host}\nlisten_port = ${theirs}\nunix_socket_dir =\npeer_id = ${theirId}
auth_type = trust\nauth_file = ${users}\nadmin_users = trust_user\npool_mode = transaction\nserver_tls_sslmode = disable\n`,
  )
  for (const path of [file, users]) chmodSync(path, 0o644)
  const running = new Running(spawn(pgbouncer, [...asUser, file]))
  leaving.push(() => running[Symbol.asyncDispose]())
  await running.says('process up: ')

  const ours = await startPooler({ listen_port: port, peer_id: ourId }, { peers })
  leaving.push(() => ours[Symbol.asyncDispose]())
  const balancer = await Balancer.start([port, theirs])
  leaving.push(() => balancer[Symbol.asyncDispose]())
  return { ours, theirs, balancer }
}

const logIn = (port: number, minor = 0): Promise<RawClient> =>
  RawClient.connect({ port, minor, parameters: { user: 'trust_user', database: 'postgres' } })

test.for([0, 2])(
  'ours passes a cancel on to pgbouncer, and pgbouncer to ours; protocol 3.%i',
  async (minor, context) => {
    const { ours, theirs } = await startPair(context)
    for (const [owner, other] of [
      [ours.port, theirs],
      [theirs, ours.port],
    ] as const) {
      const [client, bystander] = [await logIn(owner, minor), await logIn(owner, minor)]
      await sleep(client)
      await sleep(bystander)
      await cancel(other, client.key)
      expect((await client.answer()).slice(-2)).toEqual(canceled)
      expect(bystander.unread.filter((line) => !line.startsWith('T '))).toEqual([])
      await cancel(owner, bystander.key)
      expect((await bystander.answer()).slice(-2)).toEqual(canceled)
      for (const one of [client, bystander]) await one.end()
    }
  },
)

test('a client that waits for a server is told, wherever its cancel arrives', async (context) => {
  const { ours, theirs } = await startPair(context)
  await ours.pooler.admin.set('default_pool_size', '1')
  const [holder, client] = [await logIn(ours.port), await logIn(ours.port)]
  await holder.ask(query('begin'))
  client.send(query("select 'never'"))
  await ours.until('SHOW POOLS', (row) => row.cl_waiting === 1)
  await cancel(theirs, client.key)
  expect(await client.answer()).toEqual(canceled)
})

test('behind one address, any of them gets the connection, and any the cancel', async (context) => {
  const { balancer, theirs } = await startPair(context)
  const seen = new Set<number>()
  for (let round = 0; round < 8; round++) {
    const client = await logIn(balancer.port)
    const key = Buffer.alloc(4)
    key.writeInt32BE(client.key.pid)
    seen.add(key.readUInt16LE(1))
    await sleep(client)
    // A connection in between, every other time: so all four ways are taken.
    if (round % 4 > 1) await (await logIn(balancer.port)).end()
    await cancel(balancer.port, client.key)
    expect((await client.answer()).slice(-2)).toEqual(canceled)
    await client.end()
  }
  expect([...seen].sort()).toEqual([ourId, theirId])
  expect(theirs).toBeGreaterThan(0)
})

test('keys of nobody make no rounds: pgbouncer and ours both stop them', async (context) => {
  const { ours, theirs } = await startPair(context)
  for (const port of [ours.port, theirs]) {
    for (const id of [ourId, theirId, 77]) for (const hops of [0, 1, 2, 3]) await cancel(port, keyOfPeer(id, hops))
  }
  expect(await ours.show('peer_pools')).toEqual([
    { peer_id: theirId, cl_active_cancel_req: 0, cl_waiting_cancel_req: 0, sv_active_cancel: 0, sv_login: 0 },
  ])
  const client = await logIn(ours.port)
  expect(await client.ask(query('select 1 as x'))).toContain('D 1')
})

test('SHOW PEERS, PEER_POOLS and LISTS say the same in both', async (context) => {
  const { ours, theirs } = await startPair(context)
  const client = await logIn(theirs)
  await sleep(client)
  await cancel(ours.port, client.key)
  await client.answer()
  const mine = await logIn(ours.port)
  await sleep(mine)
  await cancel(theirs, mine.key)
  await mine.answer()

  const console = await RawClient.connect({ port: theirs, parameters: { user: 'trust_user', database: 'pgbouncer' } })
  const told = async (sql: string): Promise<string[]> =>
    (await console.ask(query(sql))).filter((line) => line.startsWith('D '))
  const own = async (name: string): Promise<string[]> =>
    (await ours.show(name)).map((row) => `D ${Object.values(row).join('|')}`)
  expect(await own('peers')).toEqual(await told('SHOW PEERS'))
  expect(await own('peer_pools')).toEqual([`D ${theirId}|0|0|0|0`])
  expect(await told('SHOW PEER_POOLS')).toEqual([`D ${ourId}|0|0|0|0`])
  const peersOf = (lines: string[]): string[] => lines.filter((line) => /^D peer/.test(line))
  expect(peersOf(await own('lists'))).toEqual(peersOf(await told('SHOW LISTS')))
})
