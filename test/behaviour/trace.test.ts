// The channels of node:diagnostics_channel: who subscribes is told of each event, and nobody else notices.

import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { expect, onTestFinished, test } from 'vitest'
import type { TraceEvents } from '../../src/index.js'
import { startPooler, untilItSleeps } from '../harness/pooler.js'
import { createDatabase, endBackends } from '../harness/postgres.js'
import { cancel, query } from '../harness/raw-client.js'

type Name = keyof TraceEvents
const names: Name[] = [
  'tsbouncer:client.connect',
  'tsbouncer:client.login',
  'tsbouncer:client.close',
  'tsbouncer:server.connect',
  'tsbouncer:server.close',
  'tsbouncer:exchange',
  'tsbouncer:cancel',
]
const user = 'trust_user'

function listen(name: Name, hear: (message: unknown) => void): void {
  subscribe(name, hear)
  onTestFinished(() => void unsubscribe(name, hear))
}

/** What was published since, in order. */
function listenToAll(): [name: string, message: unknown][] {
  const heard: [string, unknown][] = []
  for (const name of names) listen(name, (message) => heard.push([name.slice('tsbouncer:'.length), message]))
  return heard
}

test('a login, two queries and the end', async () => {
  await using pooler = await startPooler({ pool_mode: 'transaction' })
  const heard = listenToAll()
  const client = await pooler.raw({ user, parameters: { application_name: 'shop' } })
  await client.ask(query('begin'))
  await client.ask(query("select 'secret' where 1 / 0 = 1"))
  await client.ask(query('rollback'))
  const [server] = await pooler.show('servers')
  const [shown] = await pooler.show('clients')
  await client.end()
  await pooler.untilEmpty()

  const address = expect.stringMatching(/^127\.0\.0\.1:\d+$/)
  const unknown = { client: shown?.ptr, address, database: '(nodb)', user: '(nouser)', applicationName: '' }
  const known = { client: shown?.ptr, address, database: 'postgres', user, applicationName: 'shop' }
  const ms = expect.any(Number)
  const exchange = { client: shown?.ptr, server: server?.ptr, durationMs: ms, waitMs: ms }
  expect(heard).toEqual([
    ['client.connect', unknown],
    ['server.connect', { server: server?.ptr, address, database: 'postgres', user, durationMs: ms }],
    ['client.login', known],
    ['exchange', { ...exchange, status: 'transaction' }],
    ['exchange', { ...exchange, status: 'failed', waitMs: 0 }],
    ['exchange', { ...exchange, status: 'idle', waitMs: 0 }],
    ['client.close', { ...known, reason: 'client_close_request', ageMs: ms }],
  ])
  expect(JSON.stringify(heard)).not.toContain('secret')
})

test('how long a client waited for its server, and how long that took', async () => {
  await using pooler = await startPooler({ default_pool_size: 1 })
  const heard = listenToAll()
  const [first, second] = [await pooler.raw({ user }), await pooler.raw({ user })]
  const long = first.ask(query('select pg_sleep(0.2)'))
  await pooler.until('pools', (row) => row.sv_active === 1)
  await second.ask(query('select 1'))
  await long
  const waits = heard.flatMap(([name, message]) =>
    name === 'exchange' ? [message as TraceEvents['tsbouncer:exchange']] : [],
  )
  expect(waits.map(({ durationMs }) => durationMs >= 190)).toEqual([true, false])
  expect(waits.map(({ waitMs }) => waitMs > 100)).toEqual([false, true])
})

test('cancels, and a server that is lost', async () => {
  await using made = await createDatabase()
  const database = made.name
  await using pooler = await startPooler()
  const client = await pooler.raw({ user, database })
  const answer = client.ask(query('select pg_sleep(100)'))
  await untilItSleeps(database)
  const heard = listenToAll()
  const [server] = await pooler.show('servers')
  const [shown] = await pooler.show('clients')
  await cancel(pooler.port, client.key)
  expect((await answer).join()).toContain('57014')
  await cancel(pooler.port, { pid: 1, secret: Buffer.alloc(4) })
  await pooler.settles(() => heard.filter(([name]) => name === 'cancel').length === 2)
  await endBackends(`pid = ${server?.remote_pid}`)
  await pooler.settles(() => heard.some(([name]) => name === 'server.close'))

  const of = (wanted: string): unknown[] => heard.flatMap(([name, message]) => (name === wanted ? [message] : []))
  const address = expect.stringMatching(/^127\.0\.0\.1:\d+$/)
  expect(of('cancel')).toEqual([
    { address, client: shown?.ptr, server: server?.ptr, outcome: 'cancel_sent' },
    { address, client: undefined, server: undefined, outcome: 'cancel_unknown' },
  ])
  expect(of('server.close')).toEqual([
    { server: server?.ptr, address, database, user, reason: 'server_crashed', ageMs: expect.any(Number) },
  ])
  expect(of('client.close')).toEqual([])
})

test('a subscriber that throws harms nobody, but Node.js says so', async () => {
  await using pooler = await startPooler()
  const uncaught: unknown[] = []
  process.setUncaughtExceptionCaptureCallback((error) => uncaught.push(error))
  onTestFinished(() => process.setUncaughtExceptionCaptureCallback(null))
  for (const name of names) {
    listen(name, () => {
      throw new Error(name)
    })
  }
  const thrown = (): Set<string> => new Set(uncaught.map((error) => (error as Error).message))
  const heard = listenToAll()
  const client = await pooler.raw({ user })
  expect(await client.ask(query('select 1 as x'))).toEqual(['T x', 'D 1', 'C SELECT 1', 'Z I'])
  await cancel(pooler.port, client.key)
  await client.end()
  await pooler.untilEmpty()
  pooler.pooler.admin.kill('postgres')
  await pooler.settles(() => thrown().size === names.length)
  expect(thrown()).toEqual(new Set(names))
  expect(new Set(heard.map(([name]) => `tsbouncer:${name}`))).toEqual(new Set(names))
})

test('a subscriber that closes what it hears of finds nothing half done', async () => {
  await using pooler = await startPooler()
  const uncaught: unknown[] = []
  process.setUncaughtExceptionCaptureCallback((error) => uncaught.push(error))
  onTestFinished(() => process.setUncaughtExceptionCaptureCallback(null))
  const { admin } = pooler.pooler
  const heard: string[] = []
  listen('tsbouncer:server.connect', () => {
    heard.push('server')
    if (heard.length === 1) admin.reconnect('postgres')
  })
  listen('tsbouncer:client.login', (message) => {
    const { client, applicationName } = message as TraceEvents['tsbouncer:client.login']
    if (applicationName === 'unwanted') admin.killClient(admin.clients().find(({ ptr }) => ptr === client)!.id)
  })
  const client = await pooler.raw({ user })
  expect(await client.ask(query('select 1 as x'))).toEqual(['T x', 'D 1', 'C SELECT 1', 'Z I'])
  await pooler.raw({ user, parameters: { application_name: 'unwanted' } }).catch(() => {})
  await client.end()
  await pooler.untilEmpty()
  expect(uncaught).toEqual([])
  expect((await pooler.show('databases')).map((row) => row.current_client_connections)).not.toContain(1)
})
