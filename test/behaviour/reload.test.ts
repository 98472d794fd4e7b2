// A changed configuration in a running pooler: by RELOAD of a file, all or nothing, and by SET.

import { writeFile } from 'node:fs/promises'
import pg from 'pg'
import { expect, test } from 'vitest'
import { ConfigError } from '../../src/config/config-error.js'
import { settingNames, settings } from '../../src/config/settings.js'
import { FilePooler, type Files } from '../harness/file-pooler.js'
import { eventually, startPooler } from '../harness/pooler.js'
import { query as ask, needs, postgres } from '../harness/postgres.js'
import { query, RawClient } from '../harness/raw-client.js'

const lost = (client: pg.Client): Promise<Error> => new Promise((resolve) => client.once('error', resolve))

test('a database that is gone from the file is gone, and its clients are told', async () => {
  await using pooler = await FilePooler.start({
    databases: { app: 'dbname=postgres user=trust_user', old: 'dbname=postgres user=trust_user' },
  })
  const [leaving, staying] = [await pooler.connect('old'), await pooler.connect()]
  const told = lost(leaving)
  await leaving.query('begin')
  await pooler.change({
    databases: { app: 'dbname=postgres user=trust_user', fresh: 'dbname=postgres user=trust_user' },
  })
  expect(await told).toMatchObject({ severity: 'FATAL', code: '08P01', message: 'database removed' })
  expect((await pooler.pooler.show('databases')).map((row) => row.name)).toEqual(['app', 'fresh', 'pgbouncer'])
  expect((await pooler.pooler.show('servers')).map((row) => row.database)).toEqual(['app'])
  await expect(pooler.connect('old')).rejects.toThrow('no such database: old')
  await pooler.connect('fresh').then((client) => client.end())
  expect((await staying.query('select 1 as one')).rows).toEqual([{ one: 1 }])
  await staying.end()
})

test('a forced user that becomes another who has a pool already: that pool is given up, and nothing of it is left', async () => {
  await using pooler = await FilePooler.start({
    pgbouncer: { auth_type: 'trust' },
    secrets: { postgres: postgres().roles.postgres.password, trust_user: 'x' },
    databases: { app: 'dbname=postgres' },
  })
  const login = (user: string): Promise<RawClient> =>
    RawClient.connect({ host: '127.0.0.1', port: pooler.port, parameters: { user, database: 'app' } })
  const [one, other] = [await login('trust_user'), await login('postgres')]
  await other.ask(query('begin'))
  await pooler.change({ databases: { app: 'dbname=postgres user=trust_user' } })
  await one.ask(query('select 1'))
  await pooler.change({ databases: { app: 'dbname=postgres user=postgres' } })
  expect(await other.toTheEnd()).toEqual(['E FATAL 08P01 database configuration changed'])
  expect(await one.ask(query('select current_user as x'))).toContain('D postgres')
  expect((await pooler.pooler.show('servers')).map((row) => row.user)).toEqual(['postgres'])
  await one.end()
})

test('a database that is removed: who waited is not given what others leave', async () => {
  await using pooler = await FilePooler.start({
    pgbouncer: { pool_mode: 'session', default_pool_size: '1', server_reset_query: '' },
    databases: { app: 'dbname=postgres user=trust_user', old: 'dbname=postgres user=trust_user' },
  })
  await ask('create table removed (n int); grant all on removed to public')
  const holder = await pooler.connect('old')
  await holder.query('select 1')
  const waiting = [1, 2, 3].map(async (n) => {
    const client = await pooler.connect('old')
    client.on('error', () => {})
    return client.query(`insert into removed values (${n})`).catch((error: Error) => error.message)
  })
  holder.on('error', () => {})
  await eventually(async () => (await pooler.pooler.show('pools')).some((row) => row.cl_waiting === 3))
  await pooler.change({ databases: { app: 'dbname=postgres user=trust_user' } })
  expect(await Promise.all(waiting)).toEqual(Array(3).fill('database removed'))
  expect(await ask('table removed')).toEqual([])
  await ask('drop table removed')
})

test('an entry that * had stood for takes its clients over; with the entry *, those that it made go', async () => {
  const any = { '*': 'user=trust_user' }
  await using pooler = await FilePooler.start({ databases: any })
  const [named, made] = [await pooler.connect('postgres'), await pooler.connect('template1')]
  await named.query('select 1')
  const told = lost(made)
  await pooler.change({ databases: { postgres: 'dbname=template1 user=trust_user' } })
  expect(await told).toMatchObject({ message: 'database removed' })
  // Other servers: those of the entry.
  expect((await named.query('select current_database() as name')).rows).toEqual([{ name: 'template1' }])
  await named.end()
})

test.each([
  ['dbname', 'dbname=template1 user=trust_user'],
  ['user', 'dbname=postgres user=scram_user password=scram secret'.replace('scram secret', "'scram secret'")],
  ['connect_query', "dbname=postgres user=trust_user connect_query='select 1'"],
  ['host', 'dbname=postgres user=trust_user host=localhost'],
])('a changed %s: idle servers are closed, busy ones when they are released', async (_, text) => {
  await using pooler = await FilePooler.start()
  const [busy, idle] = [await pooler.connect(), await pooler.connect()]
  const what = 'select pg_backend_pid() as pid, current_database() as database, current_user as user'
  await busy.query('begin')
  const [before, other] = [(await busy.query(what)).rows[0], (await idle.query(what)).rows[0]]
  await pooler.change({ databases: { app: text } })
  expect(await pooler.pooler.show('servers')).toMatchObject([{ state: 'active', close_needed: 1 }])
  expect((await busy.query(what)).rows[0]).toEqual(before)
  await busy.query('commit')
  const after = (await busy.query(what)).rows[0]
  expect([before.pid, other.pid]).not.toContain(after.pid)
  expect(after).toMatchObject({
    database: text.includes('template1') ? 'template1' : 'postgres',
    user: text.includes('scram_user') ? 'scram_user' : 'trust_user',
  })
  expect(pooler.logged).toContainEqual(expect.stringMatching(/closing because: database configuration changed/))
  await Promise.all([busy.end(), idle.end()])
})

test('sizes, limits and modes that are changed leave servers as they are', async () => {
  await using pooler = await FilePooler.start()
  const client = await pooler.connect()
  const pid = async () => (await client.query('select pg_backend_pid() as pid')).rows[0].pid
  const before = await pid()
  await pooler.change({
    pgbouncer: { default_pool_size: 3, query_wait_timeout: 7 },
    databases: { app: 'dbname=postgres user=trust_user pool_size=9 max_db_connections=8 pool_mode=session' },
    users: { plain: 'max_user_connections=4' },
  })
  expect(await pid()).toBe(before)
  expect(await pooler.pooler.show('databases')).toContainEqual(
    expect.objectContaining({ name: 'app', pool_size: 9, max_connections: 8, pool_mode: 'session' }),
  )
  expect(await pooler.pooler.show('users')).toContainEqual(
    expect.objectContaining({ name: 'plain', max_user_connections: 4 }),
  )
  expect(await pooler.value('query_wait_timeout')).toBe('7')
  await client.end()
})

test('after a change of servers, clients are welcomed with what the new ones say', async (context) => {
  needs(14, 'it reports in_hot_standby', context)
  const { primary, standby } = postgres()
  const hot = async (port: number) => {
    await using client = await RawClient.connect({ port, parameters: { user: 'trust_user', database: 'app' } })
    return client.reported.get('in_hot_standby')
  }
  await using pooler = await FilePooler.start({ pgbouncer: { auth_type: 'trust' } })
  expect(await hot(pooler.port)).toBe('off')
  await pooler.change({ databases: { app: `dbname=postgres user=trust_user port=${standby.port}` } })
  // Who comes first is welcomed with what is known, and brings a new server up.
  await using client = await RawClient.connect({
    port: pooler.port,
    parameters: { user: 'trust_user', database: 'app' },
  })
  await client.ask(query('select 1'))
  expect(await hot(pooler.port)).toBe('on')
  expect(primary.port).not.toBe(standby.port)
})

test('secrets are those of the file: changed ones, and none of users who are not there any more', async () => {
  await using pooler = await FilePooler.start({ databases: { app: 'dbname=postgres' }, secrets: { plain: 'secret' } })
  const wrong = 'password authentication failed'
  await expect(pooler.connect('app', 'other')).rejects.toThrow(wrong)
  await pooler.change({ secrets: { plain: 'other' }, databases: { app: 'dbname=postgres user=trust_user' } })
  await expect(pooler.connect()).rejects.toThrow(wrong)
  await pooler.connect('app', 'other').then((client) => client.end())
  await pooler.change({ secrets: {} })
  await expect(pooler.connect('app', 'other')).rejects.toThrow(wrong)
})

test('a pool logs in with the secret that auth_file has now, and with none that it had', async () => {
  const { user, password } = postgres().roles.scram_user
  const login = { port: 0, user, password, database: 'postgres' }
  await using pooler = await FilePooler.start({ databases: { postgres: '' }, secrets: { [user]: password } })
  const client = new pg.Client({ ...login, host: '127.0.0.1', port: pooler.port })
  client.on('error', () => {})
  await client.connect()
  await client.query('select 1')
  await pooler.change({ secrets: {} })
  pooler.pooler.admin.reconnect(undefined)
  const query = client.query('select 1').catch(() => {})
  await eventually(() => pooler.logged.some((line) => line.includes('server login failed')))
  await client.end()
  await query
})

test('a mistake changes nothing, and is told with file and line', async () => {
  await using pooler = await FilePooler.start({ pgbouncer: { default_pool_size: 3 } })
  const client = await pooler.connect()
  const mistakes: readonly Files[] = [
    { pgbouncer: { default_pool_size: 5, query_timeout: 'soon' } },
    { pgbouncer: { default_pool_size: 5, nonsense: 1 } },
    { pgbouncer: { default_pool_size: 5 }, databases: { other: 'colour=red' } },
    { pgbouncer: { default_pool_size: 5 }, users: { plain: 'pool_mode=fast' } },
  ]
  for (const files of mistakes) {
    await pooler.write(files)
    const error = await pooler.pooler.reload().catch((problem: unknown) => problem)
    expect(error).toBeInstanceOf(ConfigError)
    expect((error as Error).message).toMatch(new RegExp(`\\(${pooler.file('pooler.ini')}:\\d+\\)`))
    expect(await pooler.value('default_pool_size')).toBe('3')
    await pooler.write({
      pgbouncer: { default_pool_size: 3 },
      databases: { app: 'dbname=postgres user=trust_user' },
      users: {},
    })
  }
  for (const [key, file] of Object.entries({ auth_file: 'no-such-file', client_tls_cert_file: 'none.pem' })) {
    const tls = key === 'auth_file' ? {} : { client_tls_sslmode: 'require', client_tls_key_file: 'none.pem' }
    await pooler.write({ pgbouncer: { default_pool_size: 5, [key]: pooler.file(file), ...tls } })
    await expect(pooler.pooler.reload()).rejects.toThrow(file)
    expect(await pooler.value('default_pool_size')).toBe('3')
  }
  expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }])
  expect((await pooler.pooler.show('databases')).map((row) => row.name)).toEqual(['app', 'pgbouncer'])
  await client.end()
})

test('a setting that needs a restart is named in the answer and in the log, and the others are applied', async () => {
  await using pooler = await FilePooler.start()
  const told = await pooler.change({ pgbouncer: { listen_backlog: 5, pkt_buf: 8192, default_pool_size: 4 } })
  expect(told).toEqual([
    `listen_backlog is changed in ${pooler.file('pooler.ini')}: it needs a restart to take effect`,
    `pkt_buf is changed in ${pooler.file('pooler.ini')}: it needs a restart to take effect`,
  ])
  expect(pooler.logged).toEqual(expect.arrayContaining(told.map((text) => `WARNING ${text}`)))
  expect([await pooler.value('listen_backlog'), await pooler.value('default_pool_size')]).toEqual(['128', '4'])
})

test('RELOAD brings back what SET has changed', async () => {
  await using pooler = await FilePooler.start()
  await pooler.pooler.admin.set('default_pool_size', '3')
  expect(await pooler.value('default_pool_size')).toBe('3')
  await pooler.pooler.reload()
  expect(await pooler.value('default_pool_size')).toBe('20')
})

test('conffile names the file of the next reload', async () => {
  await using pooler = await FilePooler.start()
  const other = pooler.file('other.ini')
  await writeFile(other, `[pgbouncer]\nauth_type = trust\ndefault_pool_size = 7\n`)
  await pooler.pooler.admin.set('conffile', other)
  await pooler.pooler.reload()
  expect(await pooler.value('default_pool_size')).toBe('7')
  expect(await pooler.value('conffile')).toBe(other)
})

test('changes that come at the same time are made one after the other', async () => {
  await using pooler = await FilePooler.start()
  const { admin } = pooler.pooler
  await Promise.all([
    admin.set('default_pool_size', '3'),
    admin.set('min_pool_size', '2'),
    admin.set('nonsense', '1').catch(() => {}),
    admin.set('query_timeout', '4'),
  ])
  const names = ['default_pool_size', 'min_pool_size', 'query_timeout']
  expect(await Promise.all(names.map((name) => pooler.value(name)))).toEqual(['3', '2', '4'])
})

test('SET takes every setting that a reload changes, and refuses the others', async () => {
  await using pooler = await startPooler()
  const { admin } = pooler.pooler
  for (const name of settingNames) {
    const setting = settings[name]
    const value = (await pooler.show('config')).find((row) => row.key === name)?.value
    const set = admin.set(name, typeof value === 'string' ? value : '')
    if (setting.reloadable) await set
    else await expect(set).rejects.toThrow(`parameter ${name} cannot be changed without a restart`)
  }
})

test('SET holds for clients that are there and for those that come', async () => {
  await using pooler = await startPooler({ default_pool_size: 1 })
  const { admin } = pooler.pooler
  const [holder, waiting] = [await pooler.raw(), await pooler.raw()]
  await holder.ask(query('begin'))
  waiting.send(query('select 2'))
  await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 1)
  await admin.set('default_pool_size', '2') // at once, for who waits already
  expect(await waiting.answer()).toContain('D 2')

  await admin.set('max_client_conn', '2')
  expect(await pooler.refusal({})).toBe('E FATAL 08P01 no more connections allowed (max_client_conn)')
  await admin.set('max_client_conn', '10')

  await admin.set('login_notify_message', 'mind the gap')
  const notices: string[] = []
  const client = await pooler.connect()
  client.on('notice', ({ message }) => notices.push(message ?? ''))
  await client.query('select 1')

  await admin.set('pool_mode', 'session')
  await waiting.ask(query('select 1'))
  expect(await pooler.show('pools')).toContainEqual(
    expect.objectContaining({ database: 'postgres', pool_mode: 'session' }),
  )
  await pooler.until('SHOW POOLS', (row) => row.database === 'postgres' && Number(row.sv_active) > 0)

  await admin.set('idle_transaction_timeout', '0.2')
  expect(await holder.toTheEnd()).toEqual(['E FATAL 08P01 idle transaction timeout'])
  await admin.set('admin_users', 'md5_user')
  expect(await pooler.refusal({ database: 'pgbouncer' })).toBe('E FATAL 08P01 not allowed')
})

test('log_* settings are looked at when there is something to log', async () => {
  await using pooler = await startPooler({ log_connections: 0, log_disconnections: 0, log_pooler_errors: 0 })
  const { admin } = pooler.pooler
  const session = async () => {
    const before = pooler.logged.length
    const client = await pooler.raw({ database: 'template1' })
    await client.ask(query('select 1'))
    client.send(Buffer.from([0x79, 0, 0, 0, 4])) // no such message
    await client.ended
    admin.reconnect(undefined)
    await pooler.settles(async () => (await pooler.show('servers')).length === 0)
    return pooler.logged.slice(before).map((line) => line.replace(/ \S+ \S+@\S+ /, ' ').replace(/\(.*/, ''))
  }
  await session() // registers the database
  expect(await session()).toEqual([])
  await admin.set('log_connections', '1')
  expect(await session()).toEqual([expect.stringContaining('login attempt'), 'LOG new connection to server '])
  await admin.set('log_connections', '0')
  await admin.set('log_disconnections', '1')
  expect(await session()).toEqual([
    'LOG closing because: unknown pkt ',
    'LOG closing because: database configuration changed ',
  ])
  await admin.set('log_disconnections', '0')
  await admin.set('log_pooler_errors', '1')
  expect(await session()).toEqual(['WARNING pooler error: unknown pkt'])
})

test('who connects and leaves without a byte leaves nothing in the log', async () => {
  await using pooler = await startPooler()
  const before = pooler.logged.length
  for (let n = 0; n < 3; n++) {
    const probe = await RawClient.open(pooler.port)
    if (n === 1) probe.vanish()
    else probe.stream.end()
    await probe.ended
  }
  const sslProbe = await RawClient.open(pooler.port)
  sslProbe.stream.end(Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]))
  await sslProbe.ended
  await eventually(async () =>
    (await pooler.show('lists')).some((row) => row.list === 'used_clients' && row.items === 0),
  )
  expect(pooler.logged.slice(before)).toEqual([])
})
