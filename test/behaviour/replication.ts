// What walsenders and their clients say within a CopyBoth, for the tests of replication connections.
// https://www.postgresql.org/docs/current/protocol-replication.html

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { EmbeddedPostgres } from '../../src/demo/embedded.js'
import { loopback } from '../../src/demo/port.js'
import { type ConnectOptions, eventually, type TestPooler } from '../harness/pooler.js'
import { query as ask, postgres } from '../harness/postgres.js'
import { copyData, query, type RawClient } from '../harness/raw-client.js'

export const logicalLogin = (database: string): ConnectOptions => ({
  user: 'replicator',
  database,
  parameters: { replication: 'database' },
})

/** As libpq does it: physical replication has no database, but libpq names one, and poolers go by it. */
export const physicalLogin: ConnectOptions = {
  user: 'replicator',
  database: 'replication',
  parameters: { replication: 'true' },
}

/** The CommandComplete of a walsender's own command; before 13 it has the same tag for all of them. */
export const completed = (command: string): string => `C ${postgres().version < 13 ? 'SELECT' : command}`

/** What a walsender sends. Positions are LSNs. */
export type WalMessage =
  | { readonly kind: 'data'; readonly start: bigint; readonly bytes: Buffer }
  | { readonly kind: 'keepalive'; readonly end: bigint; readonly wantsReply: boolean }

/** The next CopyData; fails at anything else but a notice or parameter. */
export async function nextWal(client: RawClient): Promise<WalMessage> {
  const line = await client.line()
  const body = client.latestBody
  if (!line.startsWith('d ')) throw new Error(`not a CopyData: ${line}`)
  const code = String.fromCharCode(body[0]!)
  if (code === 'w') return { kind: 'data', start: body.readBigUInt64BE(1), bytes: body.subarray(25) }
  if (code === 'k') return { kind: 'keepalive', end: body.readBigUInt64BE(1), wantsReply: body[17] === 1 }
  throw new Error(`not a message of a walsender: ${code}`)
}

/** The next that is so; the others are skipped. */
export async function untilWal(client: RawClient, isIt: (message: WalMessage) => boolean): Promise<WalMessage> {
  for (;;) {
    const found = await nextWal(client)
    if (isIt(found)) return found
  }
}

/** The changes that test_decoding tells of, up to and including the one that says `last`. */
export async function changesUpTo(client: RawClient, last: string): Promise<string[]> {
  const changes: string[] = []
  do {
    const found = await nextWal(client)
    if (found.kind === 'data') changes.push(found.bytes.toString())
  } while (!changes.at(-1)?.includes(last))
  return changes
}

/** All up to here has been written, flushed and applied. */
export function standbyStatus(position: bigint, wantsReply = false): Buffer {
  const body = Buffer.alloc(34)
  body.write('r')
  for (const at of [1, 9, 17]) body.writeBigUInt64BE(position, at)
  body[33] = wantsReply ? 1 : 0
  return copyData(body)
}

/** `0/16B3748` as a number. */
export function lsnOf(text: string): bigint {
  const [high, low] = text.split('/')
  return (BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`)
}

export function textOf(position: bigint): string {
  return `${(position >> 32n).toString(16)}/${(position & 0xffffffffn).toString(16)}`.toUpperCase()
}

/** A logical client that streams from a slot of its own, which goes with its connection. */
export async function streamChanges(pooler: TestPooler, database: string, slot: string): Promise<RawClient> {
  const client = await pooler.raw(logicalLogin(database))
  await client.ask(query(`CREATE_REPLICATION_SLOT ${slot} TEMPORARY LOGICAL test_decoding`))
  client.send(query(`START_REPLICATION SLOT ${slot} LOGICAL 0/0 ("skip-empty-xacts" 'on')`))
  await client.line().then((line) => {
    if (line !== 'W') throw new Error(`no CopyBoth: ${line}`)
  })
  return client
}

/** A physical client that streams from where the server is now. */
export async function streamWal(pooler: TestPooler, login = physicalLogin): Promise<RawClient> {
  const client = await pooler.raw(login)
  const [, row] = await client.ask(query('IDENTIFY_SYSTEM'))
  const [, , position] = row!.slice(2).split('|')
  client.send(query(`START_REPLICATION PHYSICAL ${position}`))
  await client.line().then((line) => {
    if (line !== 'W') throw new Error(`no CopyBoth: ${line}`)
  })
  return client
}

/** PIDs of the processes that serve replication connections with this application_name. */
export async function walsenders(name: string): Promise<number[]> {
  const rows = await ask(
    "select pid from pg_stat_activity where backend_type = 'walsender' and application_name = $1",
    {
      values: [name],
    },
  )
  return rows.map((row) => Number(row.pid))
}

/** As `pg_ctl promote` does it, which servers before 12 have no function for. */
export async function promote(standby: EmbeddedPostgres): Promise<void> {
  const on = { host: loopback, port: standby.plan.port }
  await writeFile(join(standby.plan.data, 'promote'), '')
  process.kill(standby.pid!, 'SIGUSR1')
  await eventually(async () => (await ask('select pg_is_in_recovery() as is', { on }))[0]?.is === false)
}
