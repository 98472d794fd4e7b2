// Parameters that belong to a client go with it to whatever server it gets.

import { beforeEach, describe, expect, test } from 'vitest'
import { startPooler, type TestPooler } from '../harness/pooler.js'
import { query as ask, needs, postgres } from '../harness/postgres.js'
import { bind, execute, extended, message, parse, query, RawClient, startup, sync } from '../harness/raw-client.js'
import { Recorder } from '../harness/recorder.js'

const user = 'trust_user'

async function shown(client: RawClient, name: string): Promise<string> {
  const lines = await client.ask(query(`select current_setting('${name}') as x`))
  return lines.find((line) => line.startsWith('D '))!.slice(2)
}

describe.each([
  ['client_encoding', 'LATIN1', 'UTF8'],
  ['DateStyle', 'SQL, DMY', 'German, DMY'],
  ['TimeZone', 'Asia/Tokyo', 'America/New_York'],
  ['standard_conforming_strings', 'off', 'on'],
  ['application_name', "it's mine\\", 'yours'],
  ['IntervalStyle', 'iso_8601', 'sql_standard'],
  ['search_path', 'pg_catalog', '"Sales", public'],
  ['default_transaction_read_only', 'on', 'off'],
])('%s', (name, one, other) => {
  beforeEach((context) => {
    if (name === 'search_path') needs(18, 'it reports search_path', context)
    if (name === 'default_transaction_read_only') needs(14, 'it reports default_transaction_read_only', context)
  })

  test('given at login, is each client’s own on one server', async () => {
    await using pooler = await startPooler({ default_pool_size: 1 })
    const first = await pooler.raw({ user, parameters: { [name]: one } })
    const second = await pooler.raw({ user, parameters: { [name]: other } })
    const third = await pooler.raw({ user })
    expect(first.reported.get(name)).toBe(one)
    expect(second.reported.get(name)).toBe(other)
    const usual = (await ask(`select reset_val from pg_settings where name ilike '${name}'`))[0]!.reset_val
    for (let round = 0; round < 2; round++) {
      expect(await shown(first, name)).toBe(one)
      expect(await shown(second, name)).toBe(other)
      if (name !== 'application_name' && name !== 'client_encoding') expect(await shown(third, name)).toBe(usual)
    }
    expect((await pooler.show('servers')).length).toBe(1)
  })

  test('set later, goes along to other servers, and stays behind on none', async () => {
    await using pooler = await startPooler({ default_pool_size: 2, server_round_robin: true })
    const [first, second] = [await pooler.raw({ user }), await pooler.raw({ user })]
    const before = await shown(second, name)
    const quoted = one.replaceAll("'", "''")
    const answer = await first.ask(query(`set ${name} = '${quoted}'`))
    expect(answer.sort()).toEqual(['C SET', `S ${name}=${one}`, 'Z I']) // before 14, the report comes first
    for (let round = 0; round < 4; round++) {
      await second.ask(query('begin')) // so that two servers are used, in turn
      expect(await shown(first, name)).toBe(one)
      expect(await shown(second, name)).toBe(before)
      await second.ask(query('commit'))
      expect(await shown(first, name)).toBe(one)
    }
    expect(second.unread).toEqual([])
  })
})

test.each([
  ['DateStyle', 'ISO'],
  ['client_encoding', 'utf-8'],
])('%s = %s is not set again and again', async (name, value) => {
  const { primary } = postgres()
  await using recorder = await Recorder.start(primary)
  await using pooler = await startPooler({ default_pool_size: 1 }, { server: recorder })
  const client = await pooler.raw({ user, parameters: { [name]: value } })
  await client.ask(query('select 1'))
  recorder.clear()
  for (let round = 0; round < 3; round++) await client.ask(query('select 1'))
  expect(recorder.said.map(({ bytes }) => bytes.toString('latin1')).join('')).not.toMatch(/\bSET\b/)
})

test('what connect_query sets is what clients have that ask for nothing', async () => {
  const { primary } = postgres()
  const app = `host=${primary.host} port=${primary.port} dbname=postgres connect_query='set search_path = app, public'`
  await using pooler = await startPooler({ default_pool_size: 1 }, { databases: { app } })
  const [client, other] = [
    await pooler.raw({ user, database: 'app' }),
    await pooler.raw({ user, database: 'app', parameters: { search_path: 'other' } }),
  ]
  for (let round = 0; round < 2; round++) {
    expect(await shown(client, 'search_path')).toBe('app, public')
    expect(await shown(other, 'search_path')).toBe('other')
  }
})

describe('a parameter that servers do not report', () => {
  const settings = { default_pool_size: 1, track_extra_parameters: 'work_mem' }
  const parameters = { work_mem: '7MB' }

  test('given at login, is that client’s alone', async () => {
    await using pooler = await startPooler(settings)
    const [own, other] = [await pooler.raw({ user, parameters }), await pooler.raw({ user })]
    for (let round = 0; round < 3; round++) {
      expect(await shown(own, 'work_mem')).toBe('7MB')
      expect(await shown(other, 'work_mem')).toBe('4MB')
    }
  })

  test('stands again after the reset of a server', async () => {
    await using pooler = await startPooler({ ...settings, server_reset_query_always: true })
    const [own, other] = [await pooler.raw({ user, parameters }), await pooler.raw({ user })]
    for (let round = 0; round < 3; round++) {
      expect(await shown(own, 'work_mem')).toBe('7MB')
      expect(await shown(own, 'work_mem')).toBe('7MB')
      expect(await shown(other, 'work_mem')).toBe('4MB')
    }
  })

  test.each(['RESET ALL', 'DISCARD ALL', 'RESET work_mem'])('stands again after a client’s %s', async (text) => {
    await using pooler = await startPooler(settings)
    const [own, other] = [await pooler.raw({ user, parameters }), await pooler.raw({ user })]
    for (let round = 0; round < 2; round++) {
      for (const bytes of [query(text), Buffer.concat([extended(text), sync])]) {
        for (const client of [own, other]) {
          expect(await shown(own, 'work_mem')).toBe('7MB')
          await client.ask(bytes)
          expect(await shown(own, 'work_mem')).toBe('7MB')
          expect(await shown(other, 'work_mem')).toBe('4MB')
        }
      }
    }
  })

  test('and session_state = track do not get in each other’s way', async () => {
    await using pooler = await startPooler({ ...settings, session_state: 'track' })
    const [own, other] = [await pooler.raw({ user, parameters }), await pooler.raw({ user })]
    await other.ask(query("set work_mem = '9MB'"))
    for (let round = 0; round < 3; round++) {
      expect(await shown(own, 'work_mem')).toBe('7MB')
      expect(await shown(other, 'work_mem')).toBe('9MB')
    }
    await other.ask(query('reset work_mem'))
    expect(await shown(own, 'work_mem')).toBe('7MB')
    expect(await shown(other, 'work_mem')).toBe('4MB')
  })
})

test('a parameter set in a transaction that is rolled back is what it was', async () => {
  await using pooler = await startPooler({ default_pool_size: 1 })
  const [client, other] = [await pooler.raw({ user }), await pooler.raw({ user })]
  await client.ask(query("begin; set timezone = 'Asia/Tokyo'"))
  expect(await client.ask(query('rollback'))).toContain('S TimeZone=UTC')
  expect(await shown(client, 'TimeZone')).toBe('UTC')
  await client.ask(query("begin; set local timezone = 'Asia/Tokyo'; commit"))
  expect(await shown(client, 'TimeZone')).toBe('UTC')
  expect(await shown(other, 'TimeZone')).toBe('UTC')
})

test('a client that leaves in the middle of such a transaction leaves no parameter behind', async () => {
  await using pooler = await startPooler({ default_pool_size: 1 })
  const client = await pooler.raw({ user })
  await client.ask(query("begin; set timezone = 'Asia/Tokyo'; set application_name = 'gone'"))
  client.vanish()
  const next = await pooler.raw({ user })
  expect(await shown(next, 'TimeZone')).toBe('UTC')
  expect(await shown(next, 'application_name')).toBe('')
})

describe('a value that the server does not take', () => {
  async function nextIsServed(pooler: TestPooler): Promise<void> {
    const next = await pooler.raw({ user })
    expect(await shown(next, 'TimeZone')).toBe('UTC')
    await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 0 && row.sv_active === 0 && row.sv_idle === 1)
  }

  test.each([
    ['TimeZone', 'Nowhere/AtAll'],
    ['client_encoding', 'no such encoding'],
    ['DateStyle', "'; drop table x; --"],
  ])('%s: the client is refused as by PostgreSQL, and nobody else is', async (name, value) => {
    await using pooler = await startPooler({ default_pool_size: 1 })
    await (await pooler.raw({ user })).ask(query('select 1'))
    const refusal = await pooler.refusal({ user, parameters: { [name]: value } })
    expect(refusal).toBe(`E FATAL 22023 invalid value for parameter "${name}": "${value}"`)
    await nextIsServed(pooler)
  })

  test('where no server was free to be asked, it is told when it gets one', async () => {
    await using pooler = await startPooler({ default_pool_size: 1 })
    const other = await pooler.raw({ user })
    await other.ask(query('begin'))
    const client = await pooler.raw({ user, parameters: { TimeZone: 'Nowhere/AtAll' } })
    client.send(extended('select 1'), sync)
    await other.ask(query('commit'))
    expect(await client.toTheEnd()).toEqual(['E FATAL 08P01 invalid server parameter'])
    await nextIsServed(pooler)
  })

  test('one that is too long for PostgreSQL is what PostgreSQL makes of it', async () => {
    await using pooler = await startPooler({ default_pool_size: 1 })
    const client = await pooler.raw({ user, parameters: { application_name: 'x'.repeat(200) } })
    expect(await shown(client, 'application_name')).toBe('x'.repeat(63))
    await nextIsServed(pooler)
  })
})

describe('values are carried as they are', () => {
  const tenants = { default_pool_size: 1, track_extra_parameters: 'app.tenant' }

  test.each([
    ['by case', 'acme', 'ACME'],
    ['by case, within search_path', '"a"', '"A"'],
    ['far behind', `${'x'.repeat(4000)}a`, `${'x'.repeat(4000)}b`],
    ['beyond ASCII', 'é', 'É'],
  ])('where they differ %s', async (_, one, other) => {
    await using pooler = await startPooler(tenants)
    for (const name of ['app.tenant', 'search_path']) {
      const first = await pooler.raw({ user, parameters: { [name]: one } })
      const second = await pooler.raw({ user, parameters: { [name]: other } })
      for (let round = 0; round < 2; round++) {
        expect(await shown(first, name)).toBe(one)
        expect(await shown(second, name)).toBe(other)
      }
    }
  })

  test('whatever client_encoding the client before had', async () => {
    await using pooler = await startPooler(tenants)
    const other = await pooler.raw({ user, parameters: { client_encoding: 'LATIN1' } })
    const client = await pooler.raw({ user, parameters: { search_path: 'café', 'app.tenant': 'café' } })
    for (let round = 0; round < 2; round++) {
      await other.ask(query('select 1'))
      expect(await shown(client, 'search_path')).toBe('café')
      expect(await shown(client, 'app.tenant')).toBe('café')
    }
  })

  test('one that can’t be is refused at login, by name', async () => {
    await using pooler = await startPooler(tenants)
    const client = await RawClient.open(pooler.port)
    const bytes = startup({ user, database: 'postgres', search_path: '@' })
    bytes[bytes.indexOf('@')] = 0xff
    client.send(bytes)
    expect(await client.toTheEnd()).toEqual(['E FATAL 08P01 invalid value for startup parameter: search_path'])
  })

  const warning = 'N WARNING 01000 value of parameter "search_path" cannot go along to another server connection'

  test.for([
    ['too long', (name: string) => query(`set search_path = ${`${name}, `.repeat(4000)}${name}`)],
    [
      'too long to be read',
      (name: string) => query(`select set_config('search_path', repeat(' ', 1200000) || '${name}', false) is null`),
    ],
    ['not in UTF-8', (name: string) => message('Q', Buffer.from(`set search_path = ${name}é\0`, 'latin1'))],
  ] as const)('one set later that is %s: its client is told, and keeps its server', async ([, set], context) => {
    needs(18, 'it reports search_path', context)
    await using pooler = await startPooler({ default_pool_size: 2 })
    const client = await pooler.raw({ user })
    const length = "select md5(current_setting('search_path')) as x"
    await client.ask(query('set client_encoding = latin1'))
    await client.ask(set('a'))
    expect(await client.line()).toBe(warning)
    const wanted = await client.ask(query(length))
    for (let round = 0; round < 3; round++) {
      const other = await pooler.raw({ user, parameters: round === 1 ? { search_path: 'own' } : {} })
      expect(await shown(other, 'search_path')).toBe(round === 1 ? 'own' : '"$user", public')
      expect(await client.ask(query(length))).toEqual(wanted)
      await pooler.until('SHOW POOLS', (row) => row.database === 'postgres' && row.sv_active === 1)
    }
    expect(client.unread).toEqual([])
    await client.ask(query("set search_path = 'short'"))
    await pooler.until('SHOW POOLS', (row) => row.database === 'postgres' && row.sv_active === 0)
    await client.ask(set('b'))
    expect(await client.line()).toBe(warning)
    client.vanish()
    await pooler.until('SHOW POOLS', (row) => row.database === 'postgres' && row.sv_active === 0)
    for (let round = 0; round < 3; round++) {
      const other = await pooler.raw({ user, parameters: round === 1 ? { search_path: 'own' } : {} })
      await other.ask(query('begin'))
      expect(await shown(other, 'search_path')).toBe(round === 1 ? 'own' : '"$user", public')
      if (round > 0) await other.ask(query('commit'))
    }
  })
})

test('a client that leaves while its parameters are being set takes nothing with it', async () => {
  await using pooler = await startPooler({ default_pool_size: 1 })
  for (let round = 0; round < 20; round++) {
    const client = await pooler.raw({ user, parameters: { application_name: `round ${round}` } })
    client.send(query('select 1'))
    if (round % 2 === 0) client.vanish()
    else client.stream.end()
  }
  const next = await pooler.raw({ user })
  expect(await shown(next, 'application_name')).toBe('')
  await pooler.until('SHOW POOLS', (row) => row.cl_active === 1 && row.sv_active === 0 && row.sv_idle === 1)
  expect((await pooler.show('servers')).length).toBe(1)
})

test('text that is not UTF-8 passes as it is', async () => {
  await using pooler = await startPooler({ default_pool_size: 1 })
  const client = await pooler.raw({ user, parameters: { client_encoding: 'LATIN1' } })
  const other = await pooler.raw({ user })
  const latin1 = Buffer.from("select ascii('é') as x\0", 'latin1')
  expect(await client.ask(message('Q', latin1))).toContain('D 233')
  await client.ask(message('P', Buffer.from('s\0'), latin1, Buffer.of(0, 0)), sync)
  for (let round = 0; round < 2; round++) {
    expect(await client.ask(bind([], 's'), execute(), sync)).toContain('D 233')
    expect(await other.ask(query("select ascii('é') as x"))).toContain('D 233')
    await other.ask(parse("select ascii('é') as x", 's'), sync)
    expect(await other.ask(bind([], 's'), execute(), sync)).toContain('D 233')
  }
})

test('application_name_add_host tells where a client is', async () => {
  await using pooler = await startPooler({ application_name_add_host: true })
  const named = await pooler.raw({ user, parameters: { application_name: 'shop' } })
  const nameless = await pooler.raw({ user })
  expect(await shown(named, 'application_name')).toMatch(/^shop - 127\.0\.0\.1:\d+$/)
  expect(await shown(nameless, 'application_name')).toMatch(/^app - 127\.0\.0\.1:\d+$/)
})
