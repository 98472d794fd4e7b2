// How the pooler logs in to servers: each method with what it knows of a user, and what happens where that fails.

import { describe, expect, test } from 'vitest'
import { type BackendConnection, errorResponse, FakeBackend } from '../harness/fake-backend.js'
import { ManualClock } from '../harness/manual-clock.js'
import { startPooler } from '../harness/pooler.js'
import { postgres, type TestRole } from '../harness/postgres.js'
import { message, query, RawClient, startup } from '../harness/raw-client.js'

type Kind = 'plain' | 'secret'
type Outcome = 'in' | 'wrong password type'

// The server asks the users by these methods; `secret` is what PostgreSQL itself has stored.
describe.each([
  ['trust_user', 'plain', 'trust', 'in'],
  ['trust_user', 'secret', 'trust', 'in'],
  ['plain_user', 'plain', 'trust', 'in'],
  ['plain_user', 'secret', 'plain', 'in'],
  ['plain_user', 'secret', 'scram-sha-256', 'wrong password type'],
  ['md5_user', 'plain', 'trust', 'in'],
  ['md5_user', 'secret', 'trust', 'in'],
  ['md5_user', 'secret', 'md5', 'in'],
  ['md5_user', 'secret', 'plain', 'in'],
  ['scram_user', 'plain', 'trust', 'in'],
  ['scram_user', 'plain', 'md5', 'in'],
  ['scram_user', 'plain', 'scram-sha-256', 'in'],
  ['scram_user', 'secret', 'scram-sha-256', 'in'], // by the keys that the client's own login has shown
  ['scram_user', 'secret', 'md5', 'in'],
  ['scram_user', 'secret', 'plain', 'in'],
  ['scram_user', 'secret', 'trust', 'wrong password type'],
] satisfies [TestRole, Kind, string, Outcome][])('%s', (user, kind, method, outcome) => {
  test(`known by ${kind} to auth_type ${method}: ${outcome}`, async () => {
    const { password, secret } = postgres().roles[user]
    const secrets = { [user]: kind === 'plain' ? password : secret }
    await using pooler = await startPooler({ auth_type: method as 'trust', default_pool_size: 2 }, { secrets })
    if (outcome === 'in') {
      // Two servers at a time: what the first login has taught serves the second.
      const clients = await Promise.all([pooler.connect({ user }), pooler.connect({ user })])
      for (const client of clients) await client.query('begin')
      for (const client of clients) {
        expect((await client.query('select current_user')).rows).toEqual([{ current_user: user }])
      }
      expect((await pooler.show('servers')).length).toBe(2)
    } else {
      await expect(pooler.connect({ user })).rejects.toMatchObject({
        code: '08P01',
        severity: 'FATAL',
        message: 'server login failed: wrong password type',
      })
    }
  })
})

test('the user and password of a database entry are used for everybody', async () => {
  const { primary, roles } = postgres()
  const { user, password } = roles.scram_user
  await using pooler = await startPooler(
    {},
    {
      databases: {
        by_password: { ...primary, dbname: 'postgres', user, password },
        by_file: { ...primary, dbname: 'postgres', user: 'md5_user' },
      },
      secrets: { anna: 'x', md5_user: roles.md5_user.secret },
    },
  )
  for (const [database, name] of [
    ['by_password', user],
    ['by_file', 'md5_user'],
  ] as const) {
    const client = await pooler.connect({ user: 'anna', database })
    expect((await client.query('select current_user as name')).rows).toEqual([{ name }])
  }
})

describe('what the server says against a login is passed on', () => {
  test.each([
    ['a wrong password', { user: 'scram_user' }, '28P01', 'password authentication failed for user "scram_user"'],
    ['no such database', { database: 'nowhere' }, '3D000', 'database "nowhere" does not exist'],
    ['a user that may not log in', { user: 'nologin_user' }, '28000', 'role "nologin_user" is not permitted to log in'],
  ])('%s', async (_what, login, code, text) => {
    const secrets = { scram_user: 'not it', nologin_user: 'nologin', postgres: 'postgres' }
    await using pooler = await startPooler({}, { secrets })
    expect(await pooler.refusal(login)).toBe(`E FATAL ${code} ${text}`)
    await pooler.settles(() => pooler.logged.some((line) => line.includes(`server login failed: FATAL ${text}`)))
    // Asked again before server_login_retry is over, it is told what it was then.
    expect(await pooler.refusal(login)).toBe(
      `E FATAL 08P01 server login has been failing, cached error: ${text} (server_login_retry)`.slice(0, 500),
    )
    await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 0 && row.sv_login === 0)
  })
})

test('after server_login_retry it is tried again, and who waits gets in', async () => {
  const clock = new ManualClock()
  let isUp = false
  await using server = await FakeBackend.start(async (connection) => {
    if (!isUp) throw new Error('not yet')
    await connection.welcome()
    await connection.message()
    connection.send(message('I'), message('Z', Buffer.from('I')))
  })
  await using pooler = await startPooler({ server_login_retry: 15 }, { clock, server })
  const waiting = pooler.raw()
  await pooler.settles(() => pooler.logged.some((line) => line.includes('closing because: server conn crashed?')))
  expect(await pooler.refusal({})).toBe(
    'E FATAL 08P01 server login has been failing, cached error: server conn crashed? (server_login_retry)',
  )
  isUp = true
  clock.advance(14)
  expect(server.connections.length).toBe(1)
  clock.advance(2)
  const client = await waiting
  expect(await client.ask(query(''))).toEqual(['I', 'Z I'])
})

test('a server that is starting up (57P03) keeps clients waiting', async () => {
  const clock = new ManualClock()
  let isUp = false
  await using server = await FakeBackend.start(async (connection) => {
    if (isUp) return connection.welcome()
    await connection.packet()
    connection.send(errorResponse('57P03', 'the database system is starting up', 'FATAL'))
    connection.socket.end()
  })
  await using pooler = await startPooler({ server_login_retry: 1 }, { clock, server })
  const waiting = pooler.raw()
  await pooler.settles(() => pooler.logged.some((line) => line.includes('the database system is starting up')))
  await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 1)
  isUp = true
  clock.advance(2)
  await waiting
})

test('a server that does not answer is given up after server_connect_timeout', async () => {
  const clock = new ManualClock()
  await using server = await FakeBackend.start(async (connection) => connection.ended)
  await using pooler = await startPooler({ server_connect_timeout: 15, client_login_timeout: 60 }, { clock, server })
  const waiting = pooler.refusal({})
  await pooler.settles(() => server.connections.length === 1)
  clock.advance(14.9)
  await pooler.until('SHOW POOLS', (row) => row.sv_login === 1)
  clock.advance(0.2)
  await pooler.settles(() => pooler.logged.some((line) => line.includes('closing because: connect timeout')))
  await server.connections[0]!.ended
  expect(await pooler.refusal({})).toBe(
    'E FATAL 08P01 server login has been failing, cached error: connect timeout (server_login_retry)',
  )
  clock.advance(60)
  expect(await waiting).toBe('E FATAL 08P01 client_login_timeout (server down)')
  await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 0)
})

test('why a server cannot be reached is in the log', async () => {
  const databases = { refused: 'host=127.0.0.1 port=1', absent: 'host=/nowhere', unknown: 'host=no-such-host.invalid' }
  await using pooler = await startPooler({ server_login_retry: 60 }, { databases })
  for (const [database, reason] of [
    ['refused', 'connect failed: ECONNREFUSED'],
    ['absent', 'connect failed: ENOENT'],
    ['unknown', 'server DNS lookup failed: '],
  ] as const) {
    const client = await RawClient.open(pooler.port)
    client.send(startup({ user: 'trust_user', database }))
    await pooler.settles(() => pooler.logged.some((line) => new RegExp(`^WARNING S-.* ${reason}`).test(line)))
    client.vanish()
  }
})

test('several clients at once make several logins at once', async () => {
  const arrived: BackendConnection[] = []
  await using server = await FakeBackend.start(async (connection) => {
    arrived.push(connection)
    if (arrived.length === 1) return connection.welcome()
    await connection.ended // the others never finish
  })
  await using pooler = await startPooler({ default_pool_size: 4 }, { server })
  const clients = await Promise.all([1, 2, 3, 4].map(() => pooler.raw()))
  for (const client of clients) client.send(query('select 1'))
  await pooler.until('SHOW POOLS', (row) => row.sv_login === 3 && row.sv_active === 1 && row.cl_waiting === 3)
})

describe('a hostile server', () => {
  test.each([
    ['an error without any field', message('E', Buffer.of(0))],
    ['an error without its end', message('E', Buffer.from('SFATAL'))],
    ['an empty error', message('E')],
    ['a message that does not belong there', message('D', Buffer.of(0, 0))],
    ['a length under four', Buffer.from([0x52, 0, 0, 0, 3])],
    ['a length of two gigabytes', Buffer.from([0x52, 0x7f, 0xff, 0xff, 0xff])],
    ['an unknown kind of authentication', message('R', Buffer.of(0, 0, 0, 99))],
    ['authentication of no kind', message('R')],
    ['SASL that goes on before it has begun', message('R', Buffer.of(0, 0, 0, 11), Buffer.from('r=x'))],
    ['SASL that is over before it has begun', message('R', Buffer.of(0, 0, 0, 12), Buffer.from('v=x'))],
    ['SASL without a mechanism we know', message('R', Buffer.of(0, 0, 0, 10), Buffer.from('X\0\0'))],
    ['a salt that is too short', message('R', Buffer.of(0, 0, 0, 5, 1))],
  ])('%s fails that login, and nothing else', async (_what, bytes) => {
    await using server = await FakeBackend.start(async (connection) => {
      await connection.packet()
      connection.send(bytes)
      await connection.ended
    })
    const { primary } = postgres()
    await using pooler = await startPooler(
      { client_login_timeout: 1 },
      { databases: { bad: { host: server.host, port: server.port }, '*': primary } },
    )
    expect(await pooler.refusal({ database: 'bad' })).toMatch(/^E FATAL /)
    await using client = await pooler.connect()
    expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }])
  })
})
