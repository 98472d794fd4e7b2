// How clients log in: every method with every kind of secret, and what they are told when it is wrong.

import { createHash } from 'node:crypto'
import { Duplex } from 'node:stream'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Settings, startPooler, type TestPooler } from '../harness/pooler.js'
import { needs, postgres } from '../harness/postgres.js'
import { copyData, parse, password, query, RawClient, startup, sync } from '../harness/raw-client.js'

const right = 'the right one'
const md5 = (user: string): string => `md5${createHash('md5').update(`${right}${user}`).digest('hex')}`

/** Clients of any name, each with another kind of secret; all of them use the servers as the same user. */
async function startWith(settings: Settings): Promise<TestPooler> {
  const { primary, roles } = postgres()
  return startPooler(settings, {
    databases: { shop: { ...primary, dbname: 'postgres', user: 'trust_user' } },
    secrets: { plain: right, md5: md5('md5'), scram: roles.scram_user.secret, empty: '' },
  })
}

const passwordOf = (kind: string): string => (kind === 'scram' ? postgres().roles.scram_user.password : right)

describe.each([
  ['plain', { plain: 'password', md5: 'password', scram: 'password', nobody: 'password' }],
  ['md5', { plain: 'password', md5: 'password', scram: 'SASL', nobody: 'password' }],
  ['scram-sha-256', { plain: 'SASL', md5: 'SASL', scram: 'SASL', nobody: 'SASL' }],
] as const)('auth_type %s', (method, exchanges) => {
  let pooler: TestPooler
  beforeAll(async () => {
    pooler = await startWith({ auth_type: method })
  })
  afterAll(() => pooler[Symbol.asyncDispose]())

  test.each(Object.entries(exchanges))('secret %s: only the right password is let in', async (user, exchange) => {
    const refused = { code: '08P01', severity: 'FATAL', message: `${exchange} authentication failed` }
    const lacksKey = user === 'nobody' || (method === 'scram-sha-256' && user === 'md5')
    const login = { user, database: 'shop' }
    if (lacksKey) {
      await expect(pooler.connect({ ...login, password: right })).rejects.toMatchObject(refused)
    } else {
      const client = await pooler.connect({ ...login, password: passwordOf(user) })
      expect((await client.query('select current_user')).rows).toEqual([{ current_user: 'trust_user' }])
    }
    await expect(pooler.connect({ ...login, password: 'a wrong one' })).rejects.toMatchObject(refused)
    // What is stored is not what is asked for.
    await expect(pooler.connect({ ...login, password: md5(user) })).rejects.toMatchObject(refused)
  })

  test('a user whose secret is empty is not let in with any text', async () => {
    const exchange = method === 'scram-sha-256' ? 'SASL' : 'password'
    for (const text of ['null', 'md5', 'x', md5('empty')]) {
      await expect(pooler.connect({ user: 'empty', database: 'shop', password: text })).rejects.toThrow(
        `${exchange} authentication failed`,
      )
    }
  })

  test('a database that is not there is told only to those who have proven themselves', async () => {
    const login = { user: 'plain', database: 'nowhere' }
    await expect(pooler.connect({ ...login, password: right })).rejects.toMatchObject({
      code: '08P01',
      message: 'no such database: nowhere',
    })
    await expect(pooler.connect({ ...login, password: 'wrong' })).rejects.toThrow('authentication failed')
  })
})

test('auth_type trust lets in whom it knows', async () => {
  await using pooler = await startWith({ auth_type: 'trust' })
  for (const user of ['plain', 'md5', 'scram']) await pooler.raw({ user, database: 'shop' })
  expect(await pooler.refusal({ user: 'nobody', database: 'shop' })).toBe('E FATAL 08P01 "trust" authentication failed')
})

test('auth_type any lets everybody in as the forced user of the database, and nobody without one', async () => {
  const { primary } = postgres()
  await using pooler = await startPooler(
    { auth_type: 'any' },
    {
      databases: {
        forced: { ...primary, dbname: 'postgres', user: 'trust_user' },
        free: { ...primary, dbname: 'postgres' },
      },
    },
  )
  const client = await pooler.connect({ user: 'whoever', database: 'forced' })
  expect((await client.query('select current_user')).rows).toEqual([{ current_user: 'trust_user' }])
  expect(await pooler.refusal({ user: 'postgres', database: 'free' })).toBe('E FATAL 08P01 bouncer config error')
})

test('an empty password is refused by name', async () => {
  await using pooler = await startWith({ auth_type: 'plain' })
  expect(await pooler.refusal({ user: 'plain', database: 'shop', password: '' })).toBe(
    'E FATAL 08P01 empty password returned by client',
  )
})

describe('before a client is let in', () => {
  let pooler: TestPooler
  beforeAll(async () => {
    pooler = await startWith({ auth_type: 'plain', ignore_startup_parameters: 'extra_float_digits' })
  })
  afterAll(() => pooler[Symbol.asyncDispose]())

  const plain = { user: 'plain', database: 'shop' }

  test.each([
    [{ ...plain, work_mem: '1MB' }, 'unsupported startup parameter: work_mem'],
    [{ ...plain, options: '-c work_mem=1' }, 'unsupported startup parameter in options: work_mem'],
    [
      { ...plain, options: 'nonsense' },
      "unsupported options startup parameter: only '-c config=val' and '--config=val' are allowed",
    ],
    [{ ...plain, replication: 'perhaps' }, 'invalid value for startup parameter: replication'],
    [{ database: 'shop' }, 'no username supplied'],
    [{ ...plain, user: 'u'.repeat(128) }, 'username too long'],
  ])('%j is refused', async (parameters, text) => {
    await using client = await RawClient.open(pooler.port)
    client.send(startup(parameters as Record<string, string>))
    expect(await client.toTheEnd()).toEqual([`E FATAL 08P01 ${text}`])
  })

  test('what is to be ignored is ignored', async () => {
    for (const parameters of [{ extra_float_digits: '3' }, { options: '-c extra_float_digits=3' }]) {
      await using _client = await pooler.raw({ ...plain, password: right, parameters })
    }
  })

  test.each([
    ['protocol 2', Buffer.from([0, 0, 0, 9, 0, 2, 0, 0, 0]), 'old V2 protocol not supported'],
    ['protocol 4', Buffer.from([0, 0, 0, 9, 0, 4, 0, 0, 0]), 'unsupported protocol version 4.0'],
    ['a packet that is too long', Buffer.from([0, 0, 0x40, 0, 0, 3, 0, 0]), "bad packet header: '0000400000030000'"],
    ['a negative length', Buffer.from([255, 255, 255, 255, 0, 3, 0, 0]), "bad packet header: 'ffffffff00030000'"],
    [
      'a packet without an end',
      Buffer.from([0, 0, 0, 10, 0, 3, 0, 0, 65, 65]),
      'invalid startup packet layout: expected terminator as last byte',
    ],
  ])('%s is refused', async (_what, bytes, text) => {
    await using client = await RawClient.open(pooler.port)
    client.send(bytes)
    expect(await client.toTheEnd()).toEqual([`E FATAL 08P01 ${text}`])
  })

  test.each([
    ['Query', query('select 1')],
    ['Parse', parse('select 1')],
    ['Sync', sync],
    ['CopyData', copyData('x')],
  ])('%s in place of the password is refused', async (_name, bytes) => {
    await using client = await RawClient.open(pooler.port)
    client.send(startup(plain))
    expect(await client.line()).toBe('R 3')
    client.send(bytes)
    expect(await client.toTheEnd()).toEqual(['E FATAL 08P01 unknown pkt'])
  })

  test('a second startup packet in place of the password is refused at once', async () => {
    await using client = await RawClient.open(pooler.port)
    client.send(startup(plain))
    expect(await client.line()).toBe('R 3')
    client.send(startup({ user: 'postgres' }))
    expect(await client.toTheEnd()).toEqual(['E FATAL 08P01 client re-sent startup pkt'])
  })

  // 3.9999 is what libpq 19 asks for, to see that servers can negotiate.
  test.for([
    [0, {}],
    [1, {}],
    [2, {}],
    [3, {}],
    [9999, {}],
    [0, { '_pq_.novelty': 'on' }],
    [2, { '_pq_.novelty': 'on' }],
    [9999, { '_pq_.novelty': 'on', '_pq_.another': '' }],
  ] as const)('protocol 3.%i is negotiated as by PostgreSQL, options: %o', async ([minor, options], context) => {
    if (minor > 0) needs(18, 'it knows protocol 3.2', context)
    const { primary, roles } = postgres()
    await using itself = await RawClient.open(primary.port, primary.host)
    itself.send(startup({ user: roles.trust_user.user, database: 'postgres', ...options }, minor))
    const first = await itself.line()
    const wanted = first === 'v' ? itself.latestBody : undefined

    await using client = await RawClient.open(pooler.port)
    client.send(startup({ ...plain, ...options }, minor))
    if (wanted !== undefined) {
      expect(await client.line()).toBe('v')
      expect(client.latestBody).toEqual(wanted)
    }
    expect(await client.line()).toBe('R 3')
    expect(await client.send(password(right)).line()).toBe('R 0')
  })

  test('messages sent along with the startup packet are served after the login', async () => {
    await using client = await RawClient.open(pooler.port)
    client.send(startup(plain), password(right), query("select 'early'"))
    const lines = await client.answer(2)
    expect(lines.slice(-4)).toEqual(['T ?column?', 'D early', 'C SELECT 1', 'Z I'])
  })

  test('a client that leaves at any byte of its login leaves nothing behind', async () => {
    const packet = Buffer.concat([startup(plain), password(right), query('select 1')])
    for (let cut = 0; cut <= packet.length; cut++) {
      for (const how of ['reset', 'end'] as const) {
        const client = await RawClient.open(pooler.port)
        client.send(packet.subarray(0, cut))
        if (how === 'reset') client.vanish()
        else client.stream.end()
        await client.ended
      }
    }
    await isEmpty(pooler)
  })
})

test('a client whose connection breaks while it waits for the first server is forgotten', async () => {
  class Brittle extends Duplex {
    override _read(): void {}
    override _write(_chunk: Buffer, _encoding: string, done: () => void): void {
      this.destroy()
      done()
    }
  }
  await using pooler = await startWith({ auth_type: 'plain' })
  const stream = new Brittle()
  const closed = new Promise((resolve) => stream.once('close', resolve))
  stream.push(Buffer.concat([startup({ user: 'plain', database: 'shop' }), password(right)]))
  pooler.pooler.accept(stream) // breaks as the password is asked for
  await closed
  await pooler.until('SHOW POOLS', (row) => row.sv_idle === 1)
  await isEmpty(pooler)
})

/** Resolves when there is no client, and nothing is left of those that were there. */
async function isEmpty(pooler: TestPooler): Promise<void> {
  await pooler.untilEmpty()
  expect((await pooler.show('databases'))[0]).toMatchObject({ current_client_connections: 0 })
  await pooler.until('SHOW POOLS', (row) => row.cl_active === 0 && row.cl_waiting === 0 && row.sv_active === 0)
}

test('limits on the number of clients are told by their names', async () => {
  const { primary } = postgres()
  await using pooler = await startPooler(
    { max_client_conn: 3, max_user_client_connections: 2 },
    { databases: { small: { ...primary, dbname: 'postgres', max_db_client_connections: 1 }, '*': primary } },
  )
  const first = await pooler.raw({ database: 'small' })
  expect(await pooler.refusal({ database: 'small', user: 'md5_user' })).toBe(
    'E FATAL 08P01 client connections exceeded (max_db_client_connections)',
  )
  await pooler.raw()
  expect(await pooler.refusal({})).toBe('E FATAL 08P01 client connections exceeded (max_user_client_connections)')
  await pooler.raw({ user: 'md5_user' })
  expect(await pooler.refusal({ user: 'scram_user' })).toBe(
    'E FATAL 08P01 no more connections allowed (max_client_conn)',
  )
  await pooler.raw({ database: 'pgbouncer' }) // the console is always there
  await first.end()
  await pooler.settles(async () => (await pooler.show('clients')).length === 3)
  await pooler.raw({ database: 'small', user: 'scram_user' })
})

test('a disabled database takes no logins until it is enabled', async () => {
  const { primary } = postgres()
  await using pooler = await startPooler({}, { databases: { shop: { ...primary, dbname: 'postgres' } } })
  const console = await pooler.connect({ database: 'pgbouncer' })
  await console.query('DISABLE shop')
  expect(await pooler.refusal({ database: 'shop' })).toBe('E FATAL 08P01 database "shop" is disabled')
  await console.query('ENABLE shop')
  await pooler.raw({ database: 'shop' })
})
