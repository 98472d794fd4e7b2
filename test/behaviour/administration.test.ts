// What an administrator does while clients are at work: they are served, or told, and never wrongly.

import { describe, expect, test } from 'vitest'
import { startPooler, type TestPooler } from '../harness/pooler.js'
import { query as ask, createDatabase, postgres } from '../harness/postgres.js'
import { cancel, query, RawClient, startup } from '../harness/raw-client.js'

const user = 'trust_user'

/** Clients that ask one thing after the other, and compare; `stop` tells how many answers there were. */
function startLoad(pooler: TestPooler, clients: number): { count(): number; stop(): Promise<void> } {
  let isOver = false
  let answers = 0
  const work = Array.from({ length: clients }, async (_, n) => {
    await using client = await pooler.raw({ user })
    for (let round = 0; !isOver; round++) {
      const token = `${n}.${round}`
      if (round % 3 > 0) {
        expect(await client.ask(query(`select '${token}' as x`))).toEqual(['T x', `D ${token}`, 'C SELECT 1', 'Z I'])
      } else {
        client.send(query('begin'), query(`select '${token}' as x`))
        expect(await client.answer(2)).toEqual(['C BEGIN', 'Z T', 'T x', `D ${token}`, 'C SELECT 1', 'Z T'])
        expect(await client.ask(query('commit'))).toEqual(['C COMMIT', 'Z I'])
      }
      answers++
    }
    expect(client.unread).toEqual([])
  })
  return {
    count: () => answers,
    async stop() {
      isOver = true
      await Promise.all(work)
    },
  }
}

const goesOn = async (load: { count(): number }, pooler: TestPooler): Promise<void> => {
  const before = load.count()
  await pooler.settles(() => load.count() > before + 50)
}

test('a client of the console is idle, counts for its user, and is told what every login is told', async () => {
  await using pooler = await startPooler({ login_notify_message: 'mind the gap' }, { users: { postgres: {} } })
  await pooler.raw({ database: 'pgbouncer' })
  expect(await pooler.show('clients')).toMatchObject([{ database: 'pgbouncer', user: 'postgres', state: 'idle' }])
  expect(await pooler.show('users')).toContainEqual(
    expect.objectContaining({ name: 'postgres', current_client_connections: 1 }),
  )
  await using fresh = await RawClient.open(pooler.port)
  fresh.send(startup({ user: 'postgres', database: 'pgbouncer' }))
  expect(await fresh.answer()).toContain('N NOTICE 00000 mind the gap')
})

describe('under load', () => {
  test('PAUSE waits for what is under way, and RESUME lets everybody go on', async () => {
    await using pooler = await startPooler({ default_pool_size: 4 })
    const console = await pooler.connect({ database: 'pgbouncer' })
    const load = startLoad(pooler, 12)
    for (const database of ['', ' postgres', '']) {
      await goesOn(load, pooler)
      expect((await console.query(`PAUSE${database}`)).command).toBe('PAUSE')
      const before = load.count()
      expect(await pooler.show('servers')).toEqual([])
      await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 12)
      if (database === '') await expect(console.query('PAUSE')).rejects.toThrow('already suspended/paused')
      expect(load.count()).toBe(before)
      expect((await console.query(`RESUME${database}`)).command).toBe('RESUME')
    }
    await goesOn(load, pooler)
    await load.stop()
  })

  test('a PAUSE that is cancelled is no PAUSE', async () => {
    await using pooler = await startPooler({ default_pool_size: 1 })
    const [holder, console] = [await pooler.raw({ user }), await pooler.raw({ database: 'pgbouncer' })]
    await holder.ask(query('begin'))
    console.send(query('PAUSE'))
    await pooler.until('SHOW STATE', (row) => row.key === 'paused' && row.value === 'yes')
    await cancel(pooler.port, console.key)
    expect((await console.answer()).at(-1)).toBe('Z I')
    await pooler.until('SHOW STATE', (row) => row.key === 'paused' && row.value === 'no')
    const other = await pooler.raw({ user })
    other.send(query('select 1 as x'))
    await holder.ask(query('commit'))
    expect(await other.answer()).toContain('D 1')
  })

  test('RECONNECT and WAIT_CLOSE give everybody new servers', async () => {
    await using pooler = await startPooler({ default_pool_size: 4 })
    const console = await pooler.connect({ database: 'pgbouncer' })
    const load = startLoad(pooler, 12)
    for (let round = 0; round < 3; round++) {
      await goesOn(load, pooler)
      const before = (await pooler.show('servers')).map((row) => row.remote_pid)
      await console.query('RECONNECT')
      await console.query('WAIT_CLOSE')
      await goesOn(load, pooler)
      const after = (await pooler.show('servers')).map((row) => row.remote_pid)
      expect(before.filter((pid) => after.includes(pid))).toEqual([])
    }
    await load.stop()
  })

  test('KILL ends all clients and servers of a database, and of no other', async () => {
    const { primary } = postgres()
    await using database = await createDatabase()
    await ask('create table t (n int); grant all on t to public', { database: database.name })
    await using pooler = await startPooler(
      { default_pool_size: 1 },
      { databases: { victim: { ...primary, dbname: database.name }, '*': primary } },
    )
    const console = await pooler.connect({ database: 'pgbouncer' })
    const load = startLoad(pooler, 4)
    const victims = await Promise.all([1, 2, 3, 4, 5].map(() => pooler.raw({ user, database: 'victim' })))
    await victims[0]!.ask(query('begin; insert into t values (0)'))
    for (const victim of victims.slice(1)) victim.send(query('insert into t values (1)'))
    await pooler.until('SHOW POOLS', (row) => row.database === 'victim' && row.cl_waiting === 4)
    await console.query('KILL victim')
    for (const victim of victims) expect(await victim.toTheEnd()).toEqual(['E FATAL 08P01 database removed'])
    // Those who waited had their statement not carried out, for they have been told so.
    await pooler.settles(async () => (await pooler.show('servers')).every((row) => row.database !== 'victim'))
    expect(await ask('select * from t', { database: database.name })).toEqual([])
    await goesOn(load, pooler)
    const waiting = pooler.raw({ user, database: 'victim' })
    await console.query('RESUME victim')
    expect(await (await waiting).ask(query('select 1 as x'))).toContain('D 1')
    await load.stop()
  })

  test('KILL_CLIENT ends one', async () => {
    await using pooler = await startPooler({ default_pool_size: 2 })
    const console = await pooler.connect({ database: 'pgbouncer' })
    const load = startLoad(pooler, 4)
    const victim = await pooler.raw({ user, parameters: { application_name: 'victim' } })
    await victim.ask(query('begin'))
    const row = await pooler.until('SHOW CLIENTS', (client) => client.application_name === 'victim')
    await console.query(`KILL_CLIENT ${String(row.id)}`)
    expect(await victim.toTheEnd()).toEqual(['E FATAL 08P01 admin forced disconnect'])
    await expect(console.query('KILL_CLIENT 99999999')).rejects.toThrow('client not found')
    await goesOn(load, pooler)
    await load.stop()
  })

  test('settings that are SET hold at once', async () => {
    await using pooler = await startPooler({ default_pool_size: 1 })
    const console = await pooler.connect({ database: 'pgbouncer' })
    const load = startLoad(pooler, 12)
    await goesOn(load, pooler)
    await console.query('SET default_pool_size = 5')
    await pooler.until('SHOW POOLS', (row) => row.database === 'postgres' && Number(row.sv_active) > 1)
    await console.query('SET default_pool_size = 2')
    await pooler.settles(async () => (await pooler.show('servers')).length <= 2)
    await goesOn(load, pooler)
    await load.stop()
  })
})

test('SHOW SERVERS tells when a server was last asked something', async () => {
  await using pooler = await startPooler({ default_pool_size: 1 })
  const client = await pooler.raw({ user })
  await pooler.settles(async () => {
    await client.ask(query('select 1 as x'))
    const [server] = await pooler.show('servers')
    return String(server!.request_time) > String(server!.connect_time)
  })
})

describe('SHUTDOWN', () => {
  test('WAIT_FOR_SERVERS: what is under way ends, who waits is told, and it is over', async () => {
    await using pooler = await startPooler({ default_pool_size: 1 })
    const [busy, waiting, idle] = [await pooler.raw({ user }), await pooler.raw({ user }), await pooler.raw({ user })]
    const console = await pooler.raw({ database: 'pgbouncer' })
    await busy.ask(query('begin'))
    waiting.send(query('select 1'))
    await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 1)
    console.send(query('SHUTDOWN WAIT_FOR_SERVERS'))
    expect(await waiting.toTheEnd()).toEqual(['E FATAL 08P01 server shutting down'])
    await expect(pooler.raw({ user })).rejects.toThrow(/ECONNREFUSED|ECONNRESET|pooler is shutting down/)
    expect(await busy.ask(query('commit'))).toEqual(['C COMMIT', 'Z I'])
    await pooler.pooler.stopped
    await Promise.all([busy.ended, idle.ended, console.ended])
  })

  test('WAIT_FOR_CLIENTS: those who are in go on for as long as they like', async () => {
    await using pooler = await startPooler({ default_pool_size: 1 })
    const clients = [await pooler.raw({ user }), await pooler.raw({ user })]
    const console = await pooler.raw({ database: 'pgbouncer' })
    console.send(query('SHUTDOWN WAIT_FOR_CLIENTS'))
    await expect(pooler.raw({ user })).rejects.toThrow(/ECONNREFUSED|ECONNRESET|pooler is shutting down/)
    let isStopped = false
    const stopped = pooler.pooler.stopped.then(() => {
      isStopped = true
    })
    for (const client of clients) {
      expect(await client.ask(query('select 1 as x'))).toContain('D 1')
      expect(isStopped).toBe(false)
      await client.end()
    }
    await stopped
  })

  test('at once: nobody is given a server any more', async () => {
    await using database = await createDatabase()
    await ask('create table t (n int); grant all on t to public', { database: database.name })
    await using pooler = await startPooler({ default_pool_size: 1 })
    const clients = await Promise.all([1, 2, 3, 4, 5].map(() => pooler.raw({ user, database: database.name })))
    await clients[0]!.ask(query('begin'))
    for (const client of clients.slice(1)) client.send(query('insert into t values (1)'))
    await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 4)
    await pooler.pooler.close()
    for (const client of clients) expect(await client.toTheEnd()).toEqual(['E FATAL 08P01 server shutting down'])
    await pooler.settles(async () => {
      const activity = 'select 1 from pg_stat_activity where datname = $1'
      return (await ask(activity, { values: [database.name] })).length === 0
    })
    expect(await ask('select * from t', { database: database.name })).toEqual([])
  })
})
