// What an entry of [databases] says of its servers, and which of database, user and global setting has the last word.

import { expect, test } from 'vitest'
import { ManualClock } from '../harness/manual-clock.js'
import { type Row, startPooler, type TestPooler } from '../harness/pooler.js'
import { postgres } from '../harness/postgres.js'
import { query } from '../harness/raw-client.js'

const entry = (more: Record<string, string | number> = {}) => ({ ...postgres().primary, dbname: 'postgres', ...more })

async function answer(pooler: TestPooler, text: string, login = {}): Promise<string[]> {
  await using client = await pooler.raw({ database: 'app', ...login })
  return (await client.ask(query(text))).filter((line) => line.startsWith('D '))
}

test('client_encoding, datestyle, timezone and application_name are told to the server at its login', async () => {
  const told = {
    client_encoding: 'LATIN1',
    datestyle: 'German, DMY',
    timezone: 'Asia/Tokyo',
    application_name: 'reports',
  }
  await using pooler = await startPooler({}, { databases: { app: entry(told) } })
  const settings = Object.keys(told).map((name) => `current_setting('${name}')`)
  expect(await answer(pooler, `select ${settings.join()}`)).toEqual([`D ${Object.values(told).join('|')}`])
  // What a client asks for itself has the last word, for that client.
  const own = { parameters: { timezone: 'UTC' } }
  expect(await answer(pooler, "select current_setting('timezone')", own)).toEqual(['D UTC'])
  expect(await answer(pooler, "select current_setting('timezone')")).toEqual(['D Asia/Tokyo'])
})

test('connect_query is run once on each new server; its errors are logged, and that is all', async () => {
  await using pooler = await startPooler(
    {},
    {
      databases: {
        app: entry({ connect_query: 'create temporary table made_once ()' }),
        wrong: entry({ connect_query: 'select 1/0' }),
      },
    },
  )
  const count = "select count(*) from pg_class where relname = 'made_once' and relnamespace = pg_my_temp_schema()"
  for (let n = 0; n < 2; n++) expect(await answer(pooler, count)).toEqual(['D 1'])
  expect(await answer(pooler, 'select 2', { database: 'wrong' })).toEqual(['D 2'])
  expect(pooler.logged).toContainEqual(expect.stringContaining('connect_query: division by zero'))
})

test('host may be a Unix socket, and dbname, user and password say who and where', async () => {
  const { primary, socketDir, roles } = postgres()
  const { user, password } = roles.scram_user
  await using pooler = await startPooler(
    {},
    { databases: { app: { host: socketDir, port: primary.port, dbname: 'template1', user, password } } },
  )
  const what = 'select current_database(), current_user, inet_server_addr() is null'
  expect(await answer(pooler, what)).toEqual(['D template1|scram_user|t'])
  expect(await pooler.show('databases')).toContainEqual(
    expect.objectContaining({ name: 'app', host: socketDir, database: 'template1', force_user: 'scram_user' }),
  )
  expect(await pooler.show('servers')).toMatchObject([{ addr: 'unix', port: primary.port }])
})

test('query_wait_timeout: the user beats the database, which beats the global setting', async () => {
  const clock = new ManualClock()
  await using pooler = await startPooler(
    { query_wait_timeout: 100, query_wait_notify: 0, default_pool_size: 1 },
    {
      clock,
      databases: { app: entry({ query_wait_timeout: 50, user: 'trust_user' }), other: entry({ user: 'trust_user' }) },
      users: { md5_user: { query_wait_timeout: 20 } },
    },
  )
  for (const database of ['app', 'other']) await (await pooler.raw({ database })).ask(query('begin'))
  const waiting = {
    global: await pooler.raw({ database: 'other' }),
    database: await pooler.raw({ database: 'app' }),
    user: await pooler.raw({ database: 'app', user: 'md5_user' }),
  }
  for (const client of Object.values(waiting)) client.send(query('select 1'))
  await pooler.until('SHOW POOLS', (row) => row.database === 'app' && row.cl_waiting === 2)
  await pooler.until('SHOW POOLS', (row) => row.database === 'other' && row.cl_waiting === 1)
  const left = async () => (await pooler.show('clients')).filter((row) => row.state === 'waiting').length
  const told = ['E FATAL 08P01 query_wait_timeout']
  clock.advance(21)
  expect([await waiting.user.toTheEnd(), await left()]).toEqual([told, 2])
  clock.advance(30)
  expect([await waiting.database.toTheEnd(), await left()]).toEqual([told, 1])
  clock.advance(50)
  expect(await waiting.global.toTheEnd()).toEqual(told)
})

test('reserve_pool_size: the user beats the database, which beats the global setting', async () => {
  await using pooler = await startPooler(
    { default_pool_size: 1, reserve_pool_size: 9, reserve_pool_timeout: 0.01 },
    {
      databases: { app: entry({ reserve_pool_size: 2 }), global: entry() },
      users: { md5_user: { reserve_pool_size: 0 } },
    },
  )
  const most = async (login: { user: string; database: string }) => {
    const clients = []
    for (let n = 0; n < 4; n++) {
      const client = await pooler.raw(login)
      client.send(query('begin'))
      clients.push(client)
    }
    return (row: Row) => row.database === login.database && row.user === login.user
  }
  const [user, database] = [
    await most({ user: 'md5_user', database: 'app' }),
    await most({ user: 'trust_user', database: 'app' }),
  ]
  await pooler.until('SHOW POOLS', (row) => database(row) && row.sv_active === 3 && row.cl_waiting === 1)
  await pooler.until('SHOW POOLS', (row) => user(row) && row.sv_active === 1 && row.cl_waiting === 3)
  const global = await most({ user: 'trust_user', database: 'global' })
  await pooler.until('SHOW POOLS', (row) => global(row) && row.sv_active === 4)
})

test('SHOW POOLS has one row for each database and user, whatever the servers are for', async () => {
  await using pooler = await startPooler({}, { databases: { app: entry() } })
  const login = { user: 'replicator', database: 'app' }
  const clients = [await pooler.raw(login)]
  for (let n = 0; n < 2; n++) clients.push(await pooler.raw({ ...login, parameters: { replication: 'database' } }))
  await clients[0]!.ask(query('begin'))
  await clients[1]!.ask(query('IDENTIFY_SYSTEM'))
  const rows = (await pooler.show('pools')).filter((row) => row.database === 'app')
  expect(rows).toMatchObject([{ user: 'replicator', cl_active: 3, sv_active: 3, pool_mode: 'transaction' }])
  expect(await pooler.show('lists')).toContainEqual({ list: 'pools', items: 2 })
  expect((await pooler.show('clients')).map((row) => row.replication).sort()).toEqual(['logical', 'logical', 'none'])
})
