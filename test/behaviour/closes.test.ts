// SHOW CLOSES: each end of a client or server is counted once, under its reason, where its pool is.

import { readdirSync, readFileSync } from 'node:fs'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { cancelOutcomes } from '../../src/cancel/cancel.js'
import { clientCloseTexts } from '../../src/client/close-reason.js'
import { serverCloseTexts } from '../../src/server/close-reason.js'
import { startPooler, type TestPooler } from '../harness/pooler.js'
import { endBackends } from '../harness/postgres.js'
import { cancel, query } from '../harness/raw-client.js'

const user = 'trust_user'

/** `client postgres/trust_user client_close_request 2`; `-` where there is no pool. */
async function closes(pooler: TestPooler): Promise<string[]> {
  const rows = await pooler.show('closes')
  return rows.map((row) => {
    const place = typeof row.database === 'string' ? `${row.database}/${String(row.user)}` : '-'
    return [row.kind, place, row.reason, row.count].join(' ')
  })
}

test('clients and servers are counted with their pool', async () => {
  await using pooler = await startPooler({ default_pool_size: 1 })
  for (let round = 0; round < 2; round++) {
    const client = await pooler.raw({ user })
    await client.ask(query('select 1'))
    await client.end()
  }
  const reset = await pooler.raw({ user })
  reset.stream.destroy()
  await pooler.untilEmpty()
  expect(await closes(pooler)).toEqual([
    `client postgres/${user} client_close_request 2`,
    `client postgres/${user} client_unexpected_eof 1`,
  ])

  const sleeper = await pooler.raw({ user })
  sleeper.send(query('select pg_sleep(100)'))
  await pooler.until('pools', (row) => row.sv_active === 1)
  const { stream } = sleeper
  if (stream instanceof Socket) stream.resetAndDestroy()
  await pooler.untilEmpty()
  const lost = await pooler.raw({ user })
  const pid = Number((await lost.ask(query('select pg_backend_pid() as pid')))[1]!.slice(2))
  await endBackends(`pid = ${pid}`)
  await pooler.settles(async () => (await pooler.show('servers')).length === 0)
  await lost.ask(query('select 1'))
  pooler.pooler.admin.kill('postgres')
  await pooler.untilEmpty()
  expect(await closes(pooler)).toEqual([
    `client postgres/${user} client_close_request 2`,
    `client postgres/${user} client_unexpected_eof 2`,
    `client postgres/${user} database_removed 1`,
    `server postgres/${user} client_disconnect 1`,
    `server postgres/${user} database_removed 1`,
    `server postgres/${user} server_crashed 1`,
  ])
})

test('who was not let in, cancel requests and the console have no pool, or their own', async () => {
  await using pooler = await startPooler({ auth_type: 'plain' })
  expect(await pooler.refusal({ user: 'nobody_knows', password: 'x' })).toContain('password authentication failed')
  const console = await pooler.connect({ database: 'pgbouncer' })
  await console.end()
  const client = await pooler.raw({ user: 'postgres' })
  await cancel(pooler.port, client.key)
  await pooler.settles(async () => (await closes(pooler)).includes('client - cancel_idle 1'))
  expect(await closes(pooler)).toEqual([
    'client - auth_failed 1',
    'client - cancel_idle 1',
    'client pgbouncer/pgbouncer client_close_request 1',
  ])
})

test('a server that cannot be connected to is counted, whatever became of it', async () => {
  const free = { host: '127.0.0.1', port: 1 }
  await using pooler = await startPooler({ server_login_retry: 60 }, { databases: { gone: free } })
  const waiting = pooler.refusal({ user, database: 'gone' })
  await pooler.settles(async () => (await closes(pooler)).includes(`server gone/${user} connect_failed 1`))
  pooler.pooler.admin.kill('gone')
  expect(await waiting).toContain('database removed')
})

test('every reason is given somewhere', () => {
  const root = new URL('../../src', import.meta.url).pathname
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))
  const code = files.map((file) => readFileSync(join(root, file), 'utf8')).join('\n')
  const given = (name: string): boolean => code.includes(`'${name}'`) || code.includes(`\`${name.slice(0, 7)}$`)
  const names = [serverCloseTexts, clientCloseTexts, cancelOutcomes].flatMap((table) => Object.keys(table))
  expect(names.filter((name) => !given(name))).toEqual([])
})
