// Whom a pooler took for somebody else, or let do what was not theirs to do, in the past: each hole tried on a running pooler.

import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { verbs } from '../../src/admin/commands.js'
import { FakeBackend } from '../harness/fake-backend.js'
import { type Settings, startPooler, type TestPooler } from '../harness/pooler.js'
import { createDatabase, postgres, query as queryServer } from '../harness/postgres.js'
import {
  cancel,
  Ended,
  message,
  password,
  query,
  RawClient,
  saslInitialResponse,
  startup,
} from '../harness/raw-client.js'

const { roles } = postgres()
const quick = { auth_failure_delay: 0 }
describe('3 (CVE-2015-6817): a name that auth_query does not know', () => {
  const ask = async (row: 'none' | 'error' | 'end'): Promise<string> => {
    await using server = await FakeBackend.start(async (connection) => {
      await connection.welcome()
      for (;;) {
        const { code } = await connection.message()
        if (code !== 'S') continue
        if (row === 'end') throw new Error('the server goes')
        if (row === 'error') connection.send(message('E', Buffer.from('SERROR\0C42601\0Mno\0\0')))
        else connection.send(message('1'), message('2'), message('n'), message('C', Buffer.from('SELECT 0\0')))
        connection.send(message('Z', Buffer.from('I')))
      }
    })
    await using pooler = await startPooler(
      { ...quick, auth_type: 'plain', auth_user: 'keeper' },
      { server, secrets: { keeper: 'keeper pw' } },
    )
    const told = await pooler.refusal({ user: 'mallory', password: 'keeper pw' })
    expect((await pooler.show('clients')).length).toBe(0)
    return told
  }

  test.each([
    ['without a row', 'none', /password authentication failed|no such user|bouncer config error/],
    ['with an error', 'error', /bouncer config error/],
    ['with the end of the connection', 'end', /server conn crashed|bouncer config error/],
  ] as const)('%s is not let in with the password of the auth_user', async (_how, row, expected) => {
    expect(await ask(row)).toMatch(expected)
  })
})

test('5 (CVE-2025-2291): the default auth_query knows VALID UNTIL', async () => {
  const settings = { ...quick, auth_type: 'md5', auth_user: 'postgres' }
  await using pooler = await startPooler(settings, { secrets: { postgres: roles.postgres.password } })
  expect((await pooler.connect({ user: 'scram_user' })).user).toBe('scram_user')
  await expect(pooler.connect({ user: 'expired_user' })).rejects.toThrow('password authentication failed')
})

test('6 (CVE-2025-12819): the search_path of a client is not that of auth_query', async () => {
  await using database = await createDatabase()
  const forged =
    "select 'postgres'::name as rolname, null::timestamptz as rolvaliduntil, 'forged' as rolpassword, true as rolcanlogin"
  await queryServer(`create schema evil; create view evil.pg_authid as ${forged}`, { database: database.name })
  const settings = { ...quick, auth_type: 'plain', auth_user: 'pgbouncer', track_extra_parameters: 'search_path' }
  await queryServer('grant usage on schema evil to public; grant select on evil.pg_authid to public', {
    database: database.name,
  })
  await using pooler = await startPooler(settings, { secrets: { pgbouncer: roles.pgbouncer.password } })
  for (const parameters of [{ search_path: 'evil, pg_catalog' }, { options: '-c search_path=evil,pg_catalog' }]) {
    const login = { user: 'postgres', password: 'forged', database: database.name, parameters }
    expect(await pooler.refusal(login)).toMatch(/bouncer config error|password authentication failed/)
  }
})

describe('10 (CVE-2026-6667): commands of the console', () => {
  let pooler: TestPooler
  beforeAll(async () => {
    pooler = await startPooler({ admin_users: 'postgres', stats_users: 'md5_user' })
  })
  afterAll(() => pooler[Symbol.asyncDispose]())

  const console = (user: string) => pooler.raw({ user, database: 'pgbouncer' })

  test.each(verbs.map((verb) => verb.name))('%s is for admin_users', async (verb) => {
    await using client = await console('md5_user')
    for (const argument of ['', ' postgres', ' 1', ' WAIT_FOR_CLIENTS']) {
      const answer = await client.ask(query(`${verb}${argument};`))
      expect(answer[0]).toMatch(/^E ERROR 08P01 (admin access needed|invalid command|bad arguments)/)
      expect(answer.slice(1)).toEqual(['Z I'])
    }
    expect((await client.ask(query(`${verb} postgres`)))[0]).not.toMatch(/^C /)
  })

  test('SET is for admin_users, SHOW for stats_users as well, and nothing for anybody else', async () => {
    await using client = await console('md5_user')
    expect((await client.ask(query('SET verbose = 3')))[0]).toBe('E ERROR 08P01 admin access needed')
    expect((await client.ask(query('SHOW POOLS'))).at(-2)).toBe('C SHOW')
    expect(await pooler.refusal({ user: 'scram_user', database: 'pgbouncer' })).toBe('E FATAL 08P01 not allowed')
    await using admin = await console('postgres')
    expect(await admin.ask(query('SET verbose = 0'))).toContain('C SET verbose=0')
  })
})

describe('11: names cannot be found out', () => {
  /** The messages of a login with a wrong password; of SCRAM, what the salt is. */
  async function exchange(settings: Settings, user: string): Promise<{ lines: string[]; salt: string }> {
    await using pooler = await startPooler({ ...quick, ...settings }, { secrets: { known: 'its password' } })
    const seen: { lines: string[]; salt: string }[] = []
    for (let round = 0; round < 2; round++) {
      await using client = await RawClient.open(pooler.port)
      client.send(startup({ user, database: 'postgres' }))
      const lines = [await client.line()]
      let salt = ''
      if (lines[0] === 'R 10') {
        client.send(saslInitialResponse('n,,n=,r=abcdefgh'))
        lines.push(await client.line())
        const first = client.latestBody.toString('latin1', 4)
        salt = /,s=([^,]+),i=\d+$/.exec(first)?.[1] ?? first
        const final = Buffer.from(`c=biws,r=${/r=([^,]+)/.exec(first)?.[1]},p=${Buffer.alloc(32).toString('base64')}`)
        client.send(message('p', final))
      } else {
        client.send(password('wrong'))
      }
      lines.push(...(await client.toTheEnd()))
      seen.push({ lines, salt })
    }
    expect(seen[0]).toEqual(seen[1]) // the salt of a name is always the same
    return seen[0]!
  }

  test.each(['plain', 'md5', 'scram-sha-256'])('by auth_type %s', async (auth_type) => {
    const known = await exchange({ auth_type }, 'known')
    const unknown = await exchange({ auth_type }, 'unknown')
    expect(unknown.lines).toEqual(known.lines)
    expect(unknown.salt.length).toBe(known.salt.length)
  })

  test('by salts that are the same for all', async () => {
    await using pooler = await startPooler({ ...quick, auth_type: 'scram-sha-256' }, { secrets: {} })
    const salts = new Set<string>()
    for (const user of ['a', 'b', 'c']) {
      await using client = await RawClient.open(pooler.port)
      client.send(startup({ user, database: 'postgres' }))
      await client.line()
      await client.send(saslInitialResponse('n,,n=,r=abcdefgh')).line()
      salts.add(/,s=([^,]+),/.exec(client.latestBody.toString('latin1'))?.[1] ?? '')
    }
    expect(salts.size).toBe(3)
  })
})

describe('12: a cancel request', () => {
  test('that comes late does not hit the query of the next client', async () => {
    await using pooler = await startPooler({ default_pool_size: 1 })
    await using first = await pooler.raw()
    await using second = await pooler.raw()
    for (let round = 0; round < 20; round++) {
      const answer = first.ask(query('select 1'))
      const late = answer.then(() => cancel(pooler.port, first.key))
      const next = answer.then(() => second.ask(query('select pg_sleep(0.01), 2')))
      await late
      expect((await next)[1]).toBe('D |2')
    }
  })

  test('with a key that is wrong by one bit does nothing, and keys cannot be foreseen', async () => {
    await using pooler = await startPooler()
    await using client = await pooler.raw()
    const answer = client.ask(query('select pg_sleep(0.3), 3'))
    await pooler.until('SHOW SERVERS', (row) => row.state === 'active')
    const { pid, secret } = client.key
    for (let bit = 0; bit < 32; bit++) {
      const wrong = Buffer.from(secret)
      wrong[bit >> 3]! ^= 1 << (bit & 7)
      await cancel(pooler.port, { pid, secret: wrong })
      await cancel(pooler.port, { pid: pid ^ (1 << (bit % 31)), secret })
    }
    expect((await answer)[1]).toBe('D |3')
    const others = await Promise.all(Array.from({ length: 20 }, () => pooler.raw()))
    expect(new Set(others.map((one) => one.key.secret.toString('hex'))).size).toBe(20)
    expect(new Set(others.map((one) => one.key.pid)).size).toBe(20)
  })
})

describe('13: a user without a password', () => {
  test.each(['plain', 'md5', 'scram-sha-256'])('is not let in by any text: %s', async (auth_type) => {
    const settings = { ...quick, auth_type, auth_user: 'postgres' }
    await using pooler = await startPooler(settings, { secrets: { postgres: roles.postgres.password, empty: '' } })
    for (const user of ['nopassword_user', 'empty']) {
      for (const text of [
        'null',
        'NULL',
        'md5',
        'x',
        'none',
        ' ',
        `md5${createHash('md5').update(user).digest('hex')}`,
      ]) {
        await expect(pooler.connect({ user, password: text })).rejects.toThrow(/authentication failed|no such user/)
      }
    }
  })
})

describe('17: secrets', () => {
  test('are neither in the log, nor in SHOW, nor in what clients are told', async () => {
    const secrets = { anna: 'plain-TOPSECRET', scram: roles.scram_user.secret, keeper: 'keeper-TOPSECRET' }
    const databases = {
      postgres: { ...postgres().primary, user: 'trust_user', password: 'db-TOPSECRET' },
      broken: { ...postgres().primary, user: 'scram_user', password: 'wrong-TOPSECRET' },
    }
    const ldap = 'ldapserver=h ldapbasedn=x ldapbinddn=y ldapbindpasswd=ldap-TOPSECRET'
    await using pooler = await startPooler(
      { ...quick, auth_type: 'plain', auth_ldap_options: ldap, verbose: 3 },
      { databases, secrets },
    )
    const said: unknown[] = []
    await using client = await pooler.raw({ user: 'anna', password: secrets.anna })
    said.push(await client.ask(query('select 1')))
    said.push(await pooler.refusal({ user: 'anna', password: 'client-TOPSECRET' }))
    said.push(await pooler.refusal({ user: 'anna', password: secrets.anna, database: 'broken' }))
    const console = await pooler.raw({ user: 'postgres', database: 'pgbouncer' }).catch((error: Error) => error)
    expect(console).toBeInstanceOf(Ended)
    for (const name of ['clients', 'servers', 'sockets', 'databases', 'users', 'config', 'pools', 'mem', 'lists']) {
      said.push(await pooler.show(name))
    }
    const all = JSON.stringify([said, pooler.logged])
    expect(all).toContain('password authentication failed')
    for (const secret of ['TOPSECRET', secrets.scram.split(':')[1]!, client.key.secret.toString('hex')]) {
      expect(all).not.toContain(secret)
    }
    await expect(pooler.show('fds')).rejects.toThrow()
    await expect(startPooler({}, { databases: { bad: 'host=h password=TOPSECRET nonsense' } })).rejects.not.toThrow(
      /TOPSECRET/,
    )
  })
})
