// What an administrator stops for a while: PAUSE, KILL, DISABLE, SUSPEND, RECONNECT, and how it goes on.

import { expect, test } from 'vitest'
import { AdminError } from '../../src/control/status.js'
import { ManualClock } from '../harness/manual-clock.js'
import { eventually, startPooler, type TestPooler } from '../harness/pooler.js'
import { postgres } from '../harness/postgres.js'
import { cancel, query, type RawClient } from '../harness/raw-client.js'

const databases = () => {
  const { primary } = postgres()
  return { app: { ...primary, dbname: 'postgres' }, other: { ...primary, dbname: 'postgres' } }
}

const start = (settings = {}) => startPooler(settings, { databases: databases() })
const console = (pooler: TestPooler) => pooler.raw({ database: 'pgbouncer' })

async function states(pooler: TestPooler): Promise<unknown[]> {
  return (await pooler.show('servers')).map((row) => row.state)
}

/** Asks what will be answered later. */
async function asked(pooler: TestPooler, client: RawClient, text: string): Promise<RawClient> {
  client.send(query(text))
  await pooler.until('SHOW POOLS', (row) => Number(row.cl_waiting) > 0)
  return client
}

test('PAUSE answers when no server is in use, RESUME lets those who waited go on', async () => {
  await using pooler = await start()
  const [busy, late, idle] = [
    await pooler.raw({ database: 'app' }),
    await pooler.raw({ database: 'app' }),
    await pooler.raw({ database: 'other' }),
  ]
  await busy.ask(query('begin'))
  await idle.ask(query('select 1'))
  const admin = await console(pooler)
  admin.send(query('PAUSE'))
  await eventually(async () => (await states(pooler)).length === 1) // the idle one is closed at once
  await asked(pooler, late, 'select 2')
  expect(admin.unread).toEqual([])
  await busy.ask(query('commit'))
  expect(await admin.answer()).toEqual(['C PAUSE', 'Z I'])
  expect(await states(pooler)).toEqual([])
  expect(await pooler.show('state')).toContainEqual({ key: 'paused', value: 'yes' })
  expect(await admin.ask(query('PAUSE'))).toContain('E ERROR 08P01 already suspended/paused')
  expect(await admin.ask(query('RESUME'))).toEqual(['C RESUME', 'Z I'])
  expect(await late.answer()).toContain('D 2')
  expect(pooler.logged).toContainEqual(expect.stringContaining('closing because: pause mode'))
})

test('PAUSE in session mode waits for the clients to leave', async () => {
  await using pooler = await start({ pool_mode: 'session' })
  const client = await pooler.raw({ database: 'app' })
  await client.ask(query('select 1'))
  const admin = await console(pooler)
  admin.send(query('PAUSE app'))
  await pooler.until('SHOW DATABASES', (row) => row.name === 'app' && row.paused === 1)
  expect(await client.ask(query('select 2'))).toContain('D 2')
  expect(admin.unread).toEqual([])
  await client.end()
  expect(await admin.answer()).toEqual(['C PAUSE', 'Z I'])
})

test('PAUSE of one database leaves the others alone, and may be said twice', async () => {
  await using pooler = await start()
  const [app, other] = [await pooler.raw({ database: 'app' }), await pooler.raw({ database: 'other' })]
  const admin = await console(pooler)
  expect(await admin.ask(query('PAUSE app'))).toEqual(['C PAUSE', 'Z I'])
  expect(await admin.ask(query('PAUSE app'))).toEqual(['C PAUSE', 'Z I'])
  await asked(pooler, app, 'select 1')
  expect(await other.ask(query('select 2'))).toContain('D 2')
  expect(await admin.ask(query('SUSPEND'))).toContain('E ERROR 08P01 cannot suspend with paused databases')
  expect(await admin.ask(query('RESUME'))).toContain('E ERROR 08P01 pooler is not paused/suspended')
  expect(await admin.ask(query('RESUME other'))).toContain('E ERROR 08P01 database other is not paused')
  expect(await admin.ask(query('RESUME app'))).toEqual(['C RESUME', 'Z I'])
  expect(await app.answer()).toContain('D 1')
})

test('a PAUSE that is cancelled resumes; one whose client leaves stays', async () => {
  await using pooler = await start()
  const busy = await pooler.raw({ database: 'app' })
  await busy.ask(query('begin'))
  const [hasty, gone] = [await console(pooler), await console(pooler)]
  const isPaused = async () => (await pooler.show('state')).some((row) => row.key === 'paused' && row.value === 'yes')
  hasty.send(query('PAUSE'))
  await eventually(isPaused)
  await cancel(pooler.port, hasty.key)
  expect(await hasty.answer()).toEqual(['E ERROR 57014 canceling statement due to user request', 'Z I'])
  expect(await isPaused()).toBe(false)
  gone.send(query('PAUSE'))
  await eventually(isPaused)
  gone.vanish()
  await pooler.until('SHOW POOLS', (row) => row.database === 'pgbouncer' && row.cl_active === 1)
  expect(await isPaused()).toBe(true)
})

test('KILL drops clients and servers of a database and leaves it paused; RESUME goes on', async () => {
  await using pooler = await start()
  const [one, two, other] = [
    await pooler.raw({ database: 'app' }),
    await pooler.raw({ database: 'app' }),
    await pooler.raw({ database: 'other' }),
  ]
  await one.ask(query('begin'))
  const admin = await console(pooler)
  expect(await admin.ask(query('KILL app'))).toEqual(['C KILL', 'Z I'])
  for (const client of [one, two]) expect(await client.toTheEnd()).toEqual(['E FATAL 08P01 database removed'])
  expect(await other.ask(query('select 1'))).toContain('D 1')
  const login = pooler.raw({ database: 'app' }).then((client) => asked(pooler, client, 'select 2'))
  const waiting = await login
  expect((await pooler.show('servers')).map((row) => row.database)).toEqual(['other'])
  expect(await admin.ask(query('RESUME app'))).toEqual(['C RESUME', 'Z I'])
  expect(await waiting.answer()).toContain('D 2')
})

test('KILL of everything is refused while paused, and ends with one RESUME or with one for each database', async () => {
  await using pooler = await start()
  const { admin } = pooler.pooler
  await admin.pause(undefined, new AbortController().signal)
  expect(() => admin.kill(undefined)).toThrow(new AdminError('already suspended/paused'))
  admin.resume(undefined)
  await admin.pause('other', new AbortController().signal)
  admin.kill(undefined)
  const paused = async () => (await pooler.show('databases')).filter((row) => row.paused === 1).map((row) => row.name)
  expect(await paused()).toEqual(['app', 'other'])
  admin.resume(undefined)
  expect(await paused()).toEqual(['other']) // paused before, for a reason of its own
  admin.kill(undefined)
  admin.resume('app')
  admin.resume('other')
  expect(await paused()).toEqual([])
  expect(() => admin.resume(undefined)).toThrow(new AdminError('pooler is not paused/suspended'))
})

test('DISABLE lets nobody in and leaves those who are there; ENABLE ends it', async () => {
  await using pooler = await start()
  const { admin } = pooler.pooler
  const client = await pooler.raw({ database: 'app' })
  admin.disable('app')
  expect(await pooler.refusal({ database: 'app' })).toBe('E FATAL 08P01 database "app" is disabled')
  expect(await client.ask(query('select 1'))).toContain('D 1')
  admin.enable('app')
  await pooler.raw({ database: 'app' })
})

test('verbs that stop make up a database for *, those that end it do not', async () => {
  await using pooler = await startPooler()
  const { admin } = pooler.pooler
  for (const verb of ['resume', 'enable'] as const) {
    expect(() => admin[verb]('made_up')).toThrow(new AdminError('no such database: made_up'))
  }
  admin.disable('made_up')
  expect((await pooler.show('databases')).map((row) => row.name)).toEqual(['made_up', 'pgbouncer'])
})

test('KILL_CLIENT ends one client', async () => {
  await using pooler = await start()
  const [victim, other] = [await pooler.raw({ database: 'app' }), await pooler.raw({ database: 'app' })]
  const [row] = await pooler.show('clients')
  const admin = await console(pooler)
  expect(await admin.ask(query(`KILL_CLIENT ${String(row?.id)}`))).toEqual(['C KILL_CLIENT', 'Z I'])
  expect(await victim.toTheEnd()).toEqual(['E FATAL 08P01 admin forced disconnect'])
  expect(await other.ask(query('select 1'))).toContain('D 1')
})

test('RECONNECT closes servers as they become free, and WAIT_CLOSE answers when that is done', async () => {
  await using pooler = await start()
  const [busy, idle] = [await pooler.raw({ database: 'app' }), await pooler.raw({ database: 'other' })]
  await busy.ask(query('begin'))
  await idle.ask(query('select 1'))
  const admin = await console(pooler)
  await admin.ask(query('RECONNECT'))
  expect(await pooler.show('servers')).toMatchObject([{ database: 'app', close_needed: 1 }])
  admin.send(query('WAIT_CLOSE'))
  await idle.ask(query('select 2')) // a new one, which nobody waits for
  expect(admin.unread).toEqual([])
  await busy.ask(query('commit'))
  expect(await admin.answer()).toEqual(['C WAIT_CLOSE', 'Z I'])
  expect(await pooler.show('servers')).toMatchObject([{ database: 'other', close_needed: 0 }])
})

test('server_fast_close: sessions are not waited for, once their transaction is over', async () => {
  await using pooler = await start({ pool_mode: 'session', server_fast_close: 1 })
  const [quiet, busy] = [await pooler.raw({ database: 'app' }), await pooler.raw({ database: 'app' })]
  await quiet.ask(query('select 1'))
  await busy.ask(query('begin'))
  pooler.pooler.admin.reconnect('app')
  expect(await quiet.toTheEnd()).toEqual(['E FATAL 08P01 database configuration changed'])
  expect(await busy.ask(query('select 2'))).toContain('D 2')
  busy.send(query('commit'))
  expect((await busy.toTheEnd()).at(-1)).toBe('E FATAL 08P01 database configuration changed')
})

test('SUSPEND: nothing is read and nobody comes in until it ends', async () => {
  await using pooler = await start()
  const [client, busy] = [await pooler.raw({ database: 'app' }), await pooler.raw({ database: 'app' })]
  const admin = await console(pooler)
  busy.send(query('select pg_sleep(0.2)'))
  await pooler.until('SHOW POOLS', (row) => row.sv_active === 1)
  expect(await admin.ask(query('SUSPEND'))).toEqual(['C SUSPEND', 'Z I'])
  expect(await busy.answer()).toContain('C SELECT 1') // what was asked before has been answered
  client.send(query('select 1'))
  const newcomer = pooler.raw({ database: 'app' })
  expect(await admin.ask(query('SHOW STATE'))).toContain('D suspended|yes')
  expect((await pooler.show('clients')).length).toBe(3)
  expect(client.unread).toEqual([])
  expect(await admin.ask(query('RESUME'))).toEqual(['C RESUME', 'Z I'])
  expect(await client.answer()).toContain('D 1')
  expect(await (await newcomer).ask(query('select 2'))).toContain('D 2')
})

test('SUSPEND: who waited for a server has its answer, and is not read on', async () => {
  await using pooler = await start({ default_pool_size: 1 })
  const [busy, waiting] = [await pooler.raw({ database: 'app' }), await pooler.raw({ database: 'app' })]
  busy.send(query('select pg_sleep(0.3)'))
  await pooler.until('SHOW POOLS', (row) => row.sv_active === 1)
  waiting.send(query('select 1'))
  await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 1)
  const admin = await console(pooler)
  expect(await admin.ask(query('SUSPEND'))).toEqual(['C SUSPEND', 'Z I'])
  await busy.answer()
  expect(await waiting.answer()).toContain('D 1')
  for (const client of [busy, waiting]) client.send(query('select 2'))
  const [sent] = (await pooler.show('stats_totals')).map((row) => row.query_count)
  for (let n = 0; n < 20; n++) await admin.ask(query('SHOW STATE')) // the event loop turns
  expect((await pooler.show('stats_totals')).map((row) => row.query_count)[0]).toBe(sent)
  expect([busy.unread, waiting.unread]).toEqual([[], []])
  await admin.ask(query('RESUME'))
  for (const client of [busy, waiting]) expect(await client.answer()).toContain('D 2')
})

test.each(['WAIT_FOR_CLIENTS', 'WAIT_FOR_SERVERS'])(
  'SHUTDOWN %s ends a SUSPEND, and comes to its end',
  async (mode) => {
    await using pooler = await start()
    const client = await pooler.raw({ database: 'app' })
    await client.ask(query('begin'))
    const [admin, other] = [await console(pooler), await console(pooler)]
    expect((await admin.ask(query('SUSPEND'))).at(-1)).toBe('Z I')
    await other.ask(query(`SHUTDOWN ${mode}`))
    expect((await client.ask(query('commit'))).at(0)).toBe('C COMMIT')
    await client.end()
    await pooler.pooler.stopped
  },
)

test('SUSPEND ends with the client that asked for it, and does not wait longer than suspend_timeout', async () => {
  const clock = new ManualClock()
  await using pooler = await startPooler({ suspend_timeout: 5 }, { clock, databases: databases() })
  const slow = await pooler.raw({ database: 'app' })
  slow.send(query('select pg_sleep(60)'))
  await pooler.until('SHOW POOLS', (row) => row.sv_active === 1)
  const admin = await console(pooler)
  admin.send(query('SUSPEND'))
  await pooler.until('SHOW STATE', (row) => row.key === 'suspended' && row.value === 'yes')
  clock.advance(6)
  expect(await slow.toTheEnd()).toEqual(['E FATAL 08P01 suspend_timeout'])
  expect(await admin.answer()).toEqual(['C SUSPEND', 'Z I'])
  admin.vanish()
  await pooler.until('SHOW STATE', (row) => row.key === 'active' && row.value === 'yes')
})
