// What clients could do to poolers in the past: each hole that was found in pgbouncer, PostgreSQL or their kin, tried on a
// running pooler. security-servers.test.ts has what servers could do.

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { verbs } from '../../src/admin/commands.js'
import { FakeBackend } from '../harness/fake-backend.js'
import { ManualClock } from '../harness/manual-clock.js'
import { type Settings, startPooler, type TestPooler } from '../harness/pooler.js'
import { createDatabase, postgres, query as queryServer } from '../harness/postgres.js'
import { cancel, Ended, message, parse, password, query, RawClient, startup, sync } from '../harness/raw-client.js'
import { clientTlsFiles, Folder, openTls } from '../harness/tls.js'

const { roles } = postgres()
const quick = { auth_failure_delay: 0 }
const i32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value | 0)
  return bytes
}
const sslRequest = Buffer.concat([i32(8), i32(80877103)])
const gssRequest = Buffer.concat([i32(8), i32(80877104)])

/** What the pooler says to these bytes, up to the end; each part is sent when the one before has been answered. */
async function told(pooler: TestPooler, ...parts: Buffer[]): Promise<string> {
  await using client = await RawClient.open(pooler.port)
  for (const [n, part] of parts.entries()) {
    client.send(part)
    if (n < parts.length - 1) await client.line()
  }
  return (await client.toTheEnd()).join()
}

async function isWell(pooler: TestPooler): Promise<void> {
  await using client = await pooler.raw({ user: 'plain_user', password: roles.plain_user.password })
  expect(await client.ask(query('select 1'))).toEqual(['T ?column?', 'D 1', 'C SELECT 1', 'Z I'])
  await client.end()
}

const sasl = (text: string | Buffer, length?: number): Buffer => {
  const body = Buffer.from(text as string)
  return message('p', Buffer.from('SCRAM-SHA-256\0'), i32(length ?? body.length), body)
}

describe('1 (CVE-2012-4575): long names', () => {
  test.each([64, 127, 128, 1000, 9000, 20_000, 65_535])(
    'of %i bytes end one client, never the pooler',
    async (size) => {
      await using pooler = await startPooler(quick)
      await using other = await pooler.raw()
      const long = 'x'.repeat(size)
      for (const parameters of [
        { user: 'postgres', database: long },
        { user: long, database: 'postgres' },
        { user: long },
      ]) {
        expect(await told(pooler, startup(parameters as Record<string, string>))).toMatch(
          /^E FATAL 08P01 (no such database: x+|username too long|bad packet header: '[0-9a-f]+'|"trust" authentication failed)$/,
        )
      }
      expect(await other.ask(query('select 1'))).toContain('D 1')
    },
  )
})

describe('2 (CVE-2015-4054): every message in every state before the login is over', () => {
  const first = sasl('n,,n=,r=abcdefgh')
  const states = {
    'at first': [],
    'after an SSLRequest': [sslRequest],
    'in place of the password': [startup({ user: 'plain_user', database: 'postgres' })],
    'within SCRAM': [startup({ user: 'plain_user', database: 'postgres' }), first],
  }
  const methods = { 'in place of the password': 'plain', 'within SCRAM': 'scram-sha-256' }

  /** Ends in one error at most, and in nothing else. */
  async function sendAfter(pooler: TestPooler, parts: readonly Buffer[], code: number): Promise<void> {
    for (const body of [Buffer.alloc(0), Buffer.from('x\0y\0')]) {
      const socket = connect(pooler.port, '127.0.0.1')
      const chunks: Buffer[] = []
      for (const part of parts) {
        socket.write(part)
        await once(socket, 'data')
      }
      socket.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', () => {})
      socket.end(Buffer.concat([Buffer.of(code), i32(body.length + 4), body]))
      await once(socket, 'close')
      expect(Buffer.concat(chunks).toString('latin1')).toMatch(/^(E[^E]*SFATAL\0C08P01\0M[^\0]+\0\0)?$/)
    }
  }

  test.each(Object.entries(states))('%s', async (state, parts) => {
    const auth_type = methods[state as keyof typeof methods] ?? 'md5'
    await using pooler = await startPooler({ ...quick, auth_type })
    const codes = Array.from({ length: 256 }, (_, code) => code)
    for (let at = 0; at < codes.length; at += 32) {
      await Promise.all(codes.slice(at, at + 32).map((code) => sendAfter(pooler, parts, code)))
    }
    await pooler.settles(async () => (await pooler.show('clients')).length === 0)
    await isWell(pooler)
  })
})

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

describe('4 (CVE-2021-3935): what comes in the clear along with a request for encryption', () => {
  test.each([
    ['SSLRequest', sslRequest, 'received unencrypted data after SSL request'],
    ['GSSENCRequest', gssRequest, 'received unencrypted data after GSSAPI encryption request'],
  ])('%s', async (_name, request, text) => {
    await using folder = await Folder.open(clientTlsFiles)
    await using pooler = await startPooler({ ...quick, client_tls_sslmode: 'prefer', ...folder.clientTls })
    const login = startup({ user: 'postgres', database: 'postgres' })
    expect(await told(pooler, Buffer.concat([request, login]))).toBe(`E FATAL 08P01 ${text}`)
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

describe('7 (CVE-2026-6664): lengths in SASL messages', () => {
  test.each([0, -1, 15, 17, 1000, 0x7fff_ffff, -0x8000_0000, 0x7fff_fffb])('%i', async (length) => {
    await using pooler = await startPooler({ ...quick, auth_type: 'scram-sha-256' })
    const login = startup({ user: 'plain_user', database: 'postgres' })
    const answer = await told(pooler, login, sasl('n,,n=,r=abcdefgh', length))
    expect(answer).toBe('E FATAL 08P01 SASL authentication failed')
    await isWellBySasl(pooler)
  })

  async function isWellBySasl(pooler: TestPooler): Promise<void> {
    const client = await pooler.connect({ user: 'plain_user' })
    expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }])
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
        client.send(sasl('n,,n=,r=abcdefgh'))
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
      await client.send(sasl('n,,n=,r=abcdefgh')).line()
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

describe('14 (PostgreSQL CVE-2026-6479): requests for encryption', () => {
  test('are answered once each, in either order', async () => {
    await using pooler = await startPooler(quick)
    for (const order of [
      [sslRequest, gssRequest],
      [gssRequest, sslRequest],
    ]) {
      for (const third of [sslRequest, gssRequest]) {
        await using client = await RawClient.open(pooler.port)
        const { stream } = client
        stream.removeAllListeners('data')
        for (const request of order) {
          stream.write(request)
          expect(((await once(stream, 'data')) as Buffer[])[0]?.toString()).toBe('N')
        }
        stream.write(third)
        expect(((await once(stream, 'data')) as Buffer[])[0]?.toString()).toContain('client re-sent startup pkt')
      }
    }
  })
})

describe('15: lengths and numbers before a login', () => {
  test('a length is not believed: it is refused before anything is put aside for it', async () => {
    await using pooler = await startPooler({ ...quick, auth_type: 'plain' })
    const before = process.memoryUsage()
    for (let n = 0; n < 200; n++) {
      await using client = await RawClient.open(pooler.port)
      client.send(i32(n % 2 === 0 ? 0x7fff_ffff : 10_001))
      expect((await client.toTheEnd()).join()).toMatch(/^E FATAL 08P01 bad packet header: /)
      await using late = await RawClient.open(pooler.port)
      late.send(startup({ user: 'plain_user', database: 'postgres' }))
      await late.line()
      late.send(Buffer.concat([Buffer.from('p'), i32(0x7fff_ffff)]))
      expect((await late.toTheEnd()).join()).toMatch(/^E FATAL 08P01 bad packet header: /)
    }
    expect(process.memoryUsage().arrayBuffers - before.arrayBuffers).toBeLessThan(50_000_000)
  })

  test('who does not log in leaves after client_login_timeout, and counts among max_client_conn until then', async () => {
    const clock = new ManualClock()
    await using pooler = await startPooler({ ...quick, client_login_timeout: 60, max_client_conn: 2 }, { clock })
    const silent = [await RawClient.open(pooler.port), await RawClient.open(pooler.port)]
    await pooler.settles(async () =>
      (await pooler.show('lists')).some((row) => row.list === 'login_clients' && row.items === 2),
    )
    expect(await pooler.refusal({})).toBe('E FATAL 08P01 no more connections allowed (max_client_conn)')
    clock.advance(61)
    for (const client of silent) expect((await client.toTheEnd()).join()).toBe('E FATAL 08P01 client_login_timeout')
    await using _client = await pooler.raw()
  })
})

test('16: a recorded md5 login is worth nothing', async () => {
  const databases = { shop: { ...postgres().primary, dbname: 'postgres', user: 'trust_user' } }
  await using pooler = await startPooler({ ...quick, auth_type: 'md5' }, { databases, secrets: { anna: 'anna pw' } })
  const md5 = (...parts: (string | Buffer)[]): string =>
    createHash('md5')
      .update(Buffer.concat(parts.map((part) => Buffer.from(part as string))))
      .digest('hex')
  const salts = new Set<string>()
  let recorded: Buffer | undefined
  for (let n = 0; n < 20; n++) {
    await using client = await RawClient.open(pooler.port)
    client.send(startup({ user: 'anna', database: 'shop' }))
    expect(await client.line()).toBe('R 5')
    const salt = client.latestBody.subarray(4)
    salts.add(salt.toString('hex'))
    const right = password(`md5${md5(md5('anna pw', 'anna'), salt)}`)
    recorded ??= right
    const first = await client.send(n === 0 ? right : recorded).line()
    expect(first).toBe(n === 0 ? 'R 0' : 'E FATAL 08P01 password authentication failed')
  }
  expect(salts.size).toBe(20)
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

describe('18: direct TLS', () => {
  test('needs ALPN: without it nothing is said, with another protocol there is an alert', async () => {
    await using folder = await Folder.open(clientTlsFiles)
    await using pooler = await startPooler({ client_tls_sslmode: 'prefer', ...folder.clientTls })
    await using client = await openTls(pooler.port, { direct: true })
    client.send(startup({ user: 'postgres', database: 'postgres' }), parse('select 1'), sync)
    expect(await client.toTheEnd()).toEqual([])
    await expect(openTls(pooler.port, { direct: true, ALPNProtocols: ['h2'] })).rejects.toThrow(
      /no application protocol/,
    )
  })
})
