// Ways to log in that are not a password in auth_file: certificates, LDAP, HBA rules; and how wrong passwords are slowed.

import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { LdapServer } from '../harness/ldap-server.js'
import { ManualClock } from '../harness/manual-clock.js'
import { type PoolerOptions, type Settings, startPooler, type TestPooler } from '../harness/pooler.js'
import { postgres } from '../harness/postgres.js'
import { password as passwordMessage, query, RawClient, startup } from '../harness/raw-client.js'
import { authority, certified, clientTlsFiles, Folder, openTls, stranger } from '../harness/tls.js'

let folder: Folder
beforeAll(async () => {
  folder = await Folder.open(clientTlsFiles)
})
afterAll(() => folder[Symbol.asyncDispose]())

const secrets = { anna: 'unused', bert: 'unused' }

/** Clients of any name, who use the servers as one and the same user. */
async function start(settings: Settings, options: PoolerOptions = {}): Promise<TestPooler> {
  const databases = { shop: { ...postgres().primary, dbname: 'postgres', user: 'trust_user' } }
  return startPooler(
    { client_tls_sslmode: 'prefer', ...folder.clientTls, ...settings },
    { databases, secrets, ...options },
  )
}

const hba = async (lines: string, settings: Settings = {}): Promise<TestPooler> =>
  start({
    auth_type: 'hba',
    auth_hba_file: await folder.write('hba.conf', lines),
    ...settings,
  })

/** `in`, or the error. */
async function outcome(
  pooler: TestPooler,
  user: string,
  certificate?: { cert: string; key: string } | 'none',
): Promise<string> {
  await using client = await (certificate === undefined
    ? RawClient.open(pooler.port)
    : openTls(pooler.port, certificate === 'none' ? {} : { cert: certificate.cert, key: certificate.key }))
  try {
    await client.logIn({ parameters: { user, database: 'shop' }, password: 'wrong' })
    expect(await client.ask(query('select current_user'))).toContain('D trust_user')
    return 'in'
  } catch (error) {
    return (error as Error).message.replace('E FATAL 08P01 ', '')
  }
}

describe('auth_type = cert', () => {
  let pooler: TestPooler
  beforeAll(async () => {
    pooler = await start({ auth_type: 'cert', client_tls_sslmode: 'verify-full' })
  })
  afterAll(() => pooler[Symbol.asyncDispose]())

  const failed = 'certificate authentication failed'
  test.each([
    ['the common name is the user', 'anna', certified('anna'), 'in'],
    ['the common name is another', 'bert', certified('anna'), failed],
    ['the user is not known', 'cleo', certified('cleo'), failed],
    ['the name only begins like it', 'anna', certified('anna2'), failed],
    ['there are two common names', 'anna', authority.issue({ commonName: ['anna', 'bert'] }), failed],
    ['there is a zero in it', 'anna', certified('anna\0.example'), failed],
    ['it is of a stranger', 'anna', certified('anna', stranger), 'connection requires a valid client certificate'],
    ['there is none', 'anna', 'none', 'connection requires a valid client certificate'],
    ['there is no TLS', 'anna', undefined, 'SSL required'],
  ] as const)('%s', async (_what, user, certificate, expected) => {
    expect(await outcome(pooler, user, certificate)).toBe(expected)
  })

  test('needs client_tls_sslmode = verify-full, and an authority', async () => {
    const wrong = (settings: Settings) => expect(start({ auth_type: 'cert', ...settings })).rejects
    await wrong({ client_tls_sslmode: 'verify-ca' }).toThrow('auth_type=cert requires client_tls_sslmode=verify-full')
    await wrong({ client_tls_sslmode: 'verify-full', client_tls_ca_file: '' }).toThrow(
      'client_tls_sslmode=verify-full requires client_tls_ca_file',
    )
  })
})

describe('auth_type = hba', () => {
  test('method cert, with and without a map', async () => {
    await using ident = await Folder.open({ map: 'staff anna bert\nstaff "cleo example" all\n' })
    await using pooler = await hba('hostssl shop bert all cert map=staff\nhostssl shop all all cert\n', {
      auth_ident_file: ident.file('map'),
    })
    expect(await outcome(pooler, 'anna', certified('anna'))).toBe('in')
    expect(await outcome(pooler, 'bert', certified('anna'))).toBe('in')
    expect(await outcome(pooler, 'bert', certified('cleo example'))).toBe('in')
    const failed = 'certificate authentication failed'
    expect(await outcome(pooler, 'bert', certified('bert'))).toBe(failed)
    expect(await outcome(pooler, 'anna', certified('cleo example'))).toBe(failed)
    expect(await outcome(pooler, 'anna', certified('anna', stranger))).toBe(failed)
    expect(await outcome(pooler, 'anna', 'none')).toBe(failed)
    expect(await outcome(pooler, 'anna')).toBe('no authentication method is found')
  })

  test('hostssl and hostnossl tell apart who has TLS', async () => {
    await using pooler = await hba('hostssl all all all trust\nhostnossl all anna all reject\n')
    expect(await outcome(pooler, 'anna', 'none')).toBe('in')
    expect(await outcome(pooler, 'anna')).toBe('login rejected')
    expect(await outcome(pooler, 'bert')).toBe('no authentication method is found')
  })

  test('methods that can hardly ever succeed are warned about', async () => {
    await using pooler = await hba('local all all peer\nhostssl all all all cert\n', { client_tls_ca_file: '' })
    expect(pooler.logged).toContain(
      "WARNING hba line 1: method peer lets in the pooler's own user only, by a Unix socket that is closed to all others (see docs/operations.md)",
    )
    expect(pooler.logged).toContain('WARNING hba line 2: method cert refuses everybody: client_tls_ca_file is not set')
  })

  test('method peer refuses, rather than let a line below decide', async () => {
    await using sockets = await Folder.open()
    await using pooler = await hba('local all all peer\nlocal all all trust\n', {
      unix_socket_dir: sockets.path,
      listen_addr: '',
      listen_port: 6543,
    })
    await using client = new RawClient(connect(`${sockets.path}/.s.PGSQL.6543`))
    client.send(startup({ user: 'anna', database: 'shop' }))
    expect(await client.toTheEnd()).toEqual(['E FATAL 08P01 unix socket login rejected'])
    expect(pooler.logged.some((line) => line.includes('closing because: unix socket login rejected'))).toBe(true)
  })

  test('auth_type = peer is refused with the reason', async () => {
    await expect(start({ auth_type: 'peer' })).rejects.toThrow(
      /Node\.js does not tell who is at the other end of a Unix socket/,
    )
  })
})

describe('ldap', () => {
  const entries = [
    { dn: 'cn=reader', password: 'r' },
    { dn: 'uid=anna,dc=x', password: 'anna pw', attributes: { uid: 'anna' } },
    // A user of PostgreSQL who has the same password there.
    { dn: 'uid=plain,dc=x', password: postgres().roles.plain_user.password, attributes: { uid: 'plain_user' } },
  ]
  let server: LdapServer
  beforeAll(async () => {
    server = await LdapServer.start({ entries })
  })
  afterAll(() => server[Symbol.asyncDispose]())

  const search = (): string =>
    `ldapurl="ldap://127.0.0.1:${server.port}/dc=x?uid?sub" ldapbinddn=cn=reader ldapbindpasswd=r`
  const simple = (): string => `ldapserver=127.0.0.1 ldapport=${server.port} ldapprefix="uid=" ldapsuffix=",dc=x"`
  const failed = { code: '08P01', severity: 'FATAL', message: 'LDAP authentication failed' }

  test.each([
    ['search and bind', search],
    ['simple bind', simple],
  ])('auth_type = ldap: %s', async (_how, options) => {
    await using pooler = await start({ auth_type: 'ldap', auth_ldap_options: options() })
    const client = await pooler.connect({ user: 'anna', password: 'anna pw', database: 'shop' })
    expect((await client.query('select current_user as name')).rows).toEqual([{ name: 'trust_user' }])
    for (const [user, password] of [
      ['anna', 'wrong'],
      ['nobody', 'anna pw'],
      ['anna)(uid=*', 'anna pw'],
    ]) {
      await expect(pooler.connect({ user, password, database: 'shop' } as object)).rejects.toMatchObject(failed)
    }
    expect(await pooler.refusal({ user: 'anna', password: '', database: 'shop' })).toBe(
      'E FATAL 08P01 empty password returned by client',
    )
    expect((await pooler.show('config')).find((row) => row.key === 'auth_ldap_options')?.value).toBe('[hidden]')
    expect(pooler.logged.join('\n')).not.toContain('anna pw')
  })

  test('the password serves for the server, too, and auth_file need not know the user', async () => {
    await using pooler = await start(
      { auth_type: 'ldap', auth_ldap_options: search() },
      { databases: { '*': postgres().primary }, secrets: {} },
    )
    const client = await pooler.connect({ user: 'plain_user', database: 'postgres' })
    expect((await client.query('select current_user as name')).rows).toEqual([{ name: 'plain_user' }])
  })

  test('an HBA line has options of its own', async () => {
    await using pooler = await hba(`host shop all all ldap ${simple()}\n`)
    await using _client = await pooler.raw({ user: 'anna', password: 'anna pw', database: 'shop' })
    expect(await pooler.refusal({ user: 'anna', password: 'x', database: 'shop' })).toBe(
      'E FATAL 08P01 LDAP authentication failed',
    )
  })

  test('a directory that is not there refuses, and the log says why', async () => {
    const options = 'ldapserver=127.0.0.1 ldapport=1 ldapprefix=uid='
    await using pooler = await start({ auth_type: 'ldap', auth_ldap_options: options })
    const login = { user: 'anna', password: 'anna pw', database: 'shop' }
    expect(await pooler.refusal(login)).toBe('E FATAL 08P01 LDAP authentication failed')
    const why = /^WARNING C-.*: shop\/anna@.* LDAP server ldap:\/\/127\.0\.0\.1:1: connect ECONNREFUSED/
    expect(pooler.logged.some((line) => why.test(line))).toBe(true)
  })

  test('a directory that does not answer is given up', async () => {
    const clock = new ManualClock()
    await using silent = await LdapServer.start({ entries, silentOn: 'bind' })
    const options = `ldapserver=127.0.0.1 ldapport=${silent.port} ldapprefix=uid=`
    await using pooler = await start(
      { auth_type: 'ldap', auth_ldap_options: options, auth_failure_delay: 0 },
      { clock },
    )
    const refusal = pooler.refusal({ user: 'anna', password: 'anna pw', database: 'shop' })
    await pooler.settles(() => silent.asked.length > 0)
    clock.advance(11)
    expect(await refusal).toBe('E FATAL 08P01 LDAP authentication failed')
    await pooler.settles(() => silent.connections === 0)
  })

  test('over TLS, whom to trust is what an LDAP library would take from the environment, read again by RELOAD', async () => {
    const certificate = authority.issue({ hosts: ['127.0.0.1'] })
    const entries = [{ dn: 'uid=anna,dc=x', password: 'anna pw' }]
    await using encrypted = await LdapServer.start({ entries, certificate, ldaps: true })
    const options = `ldapserver=127.0.0.1 ldapport=${encrypted.port} ldapscheme=ldaps ldapprefix="uid=" ldapsuffix=",dc=x"`
    await using files = await Folder.open({ ca: authority.cert, stranger: stranger.cert })
    vi.stubEnv('LDAPTLS_CACERT', files.file('stranger'))
    try {
      await using pooler = await start({ auth_type: 'ldap', auth_ldap_options: options, auth_failure_delay: 0 })
      const login = { user: 'anna', password: 'anna pw', database: 'shop' }
      await expect(pooler.connect(login)).rejects.toThrow('LDAP authentication failed')
      expect(pooler.logged.some((line) => /LDAP server ldaps:.*: .*certificate/.test(line))).toBe(true)
      vi.stubEnv('LDAPTLS_CACERT', files.file('ca'))
      vi.stubEnv('LDAPTLS_CIPHER_SUITE', 'SECURE256')
      await pooler.pooler.reload()
      expect(pooler.logged).toContain('WARNING TLS_CIPHER_SUITE of ldap.conf has no effect')
      expect((await (await pooler.connect(login)).query('select 1 as one')).rows).toEqual([{ one: 1 }])
    } finally {
      vi.unstubAllEnvs()
    }
  })

  test('what is not UTF-8 is no user of a directory', async () => {
    await using pooler = await start({ auth_type: 'ldap', auth_ldap_options: simple(), auth_failure_delay: 0 })
    await using client = await RawClient.open(pooler.port)
    client.send(startup({ user: Buffer.from('ann\xe9', 'latin1'), database: 'shop' }))
    expect(await client.line()).toBe('R 3')
    client.send(passwordMessage('anna pw'))
    expect(await client.toTheEnd()).toEqual(['E FATAL 08P01 LDAP authentication failed'])
  })

  test.each([
    ['ldapserver=h', /auth_ldap_options: authentication method "ldap" requires argument/],
    ['ldapbindpasswd=secret x', /auth_ldap_options: LDAP options are not in name=value format$/],
  ])('a mistake in the options is told at start: %s', async (options, message) => {
    await expect(start({ auth_type: 'ldap', auth_ldap_options: options })).rejects.toThrow(message)
  })
})

describe('wrong passwords', () => {
  const right = 'the right one'
  /** Begins a login; resolves with what it ends with. */
  const attempt = async (pooler: TestPooler, user: string, password: string): Promise<string> => {
    await using client = await RawClient.open(pooler.port)
    client.send(startup({ user, database: 'shop' }), passwordMessage(password))
    for (;;) {
      const line = await client.line()
      if (line.startsWith('E ') || line.startsWith('Z ')) return line
    }
  }
  const wrong = 'E FATAL 08P01 password authentication failed'

  test('are answered later each time, while right ones and other users are not', async () => {
    const clock = new ManualClock()
    const settings = { auth_type: 'plain', auth_failure_delay: 2 }
    await using pooler = await start(settings, { clock, secrets: { anna: right, bert: right } })
    const waited: number[] = []
    for (let n = 0; n < 8; n++) {
      const before = clock.now()
      let answer: string | undefined
      void attempt(pooler, 'anna', `guess ${n}`).then((line) => {
        answer = line
      })
      await pooler.until('SHOW LISTS', (row) => row.list === 'login_clients' && row.items === 1)
      if (n === 7) {
        expect(await attempt(pooler, 'anna', right)).toBe('Z I')
        expect(await attempt(pooler, 'bert', right)).toBe('Z I')
        expect(answer).toBeUndefined()
      }
      await pooler.settles(() => {
        if (answer === undefined) clock.advance(0.005)
        return answer !== undefined
      })
      expect(answer).toBe(wrong)
      waited.push(clock.now() - before)
    }
    // Time goes on while an answer is on its way, so these are lower bounds.
    for (const [n, least] of [25, 50, 100, 200, 400, 800, 1600, 2000].entries()) {
      expect(waited[n]).toBeGreaterThanOrEqual(least)
    }
  })

  test('are answered at once with auth_failure_delay = 0', async () => {
    const settings = { auth_type: 'plain', auth_failure_delay: 0 }
    await using pooler = await start(settings, { clock: new ManualClock(), secrets: { anna: right } })
    for (let n = 0; n < 10; n++) expect(await attempt(pooler, 'anna', 'x')).toBe(wrong)
  })
})
