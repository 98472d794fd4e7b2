// TLS files read again while clients and servers are there; and psql with all that it can check.

import { execFile } from 'node:child_process'
import { rm } from 'node:fs/promises'
import type { TLSSocket } from 'node:tls'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Settings, startPooler, type TestPooler } from '../harness/pooler.js'
import { postgres } from '../harness/postgres.js'
import { query, type RawClient } from '../harness/raw-client.js'
import {
  authority,
  certified,
  clientTlsFiles,
  Folder,
  openTls,
  ours,
  serveEmptyQueries,
  startTlsBackend,
  stranger,
} from '../harness/tls.js'

let folder: Folder
beforeAll(async () => {
  folder = await Folder.open(clientTlsFiles)
})
afterAll(() => folder[Symbol.asyncDispose]())

const start = (settings: Settings = {}, options: Parameters<typeof startPooler>[1] = {}): Promise<TestPooler> =>
  startPooler({ client_tls_sslmode: 'require', ...folder.clientTls, ...settings }, options)

const login = { user: 'postgres', database: 'postgres' }
const required = 'E FATAL 08P01 SSL required'
const refused = 'E FATAL 08P01 connection requires a valid client certificate'
const off = 'answered "N" to the SSLRequest'

describe('a reload of what clients are shown', () => {
  const serial = async (port: number): Promise<string> => {
    await using client = await openTls(port, { ca: [authority.cert, stranger.cert] })
    return (client.stream as TLSSocket).getPeerX509Certificate()?.serialNumber ?? ''
  }

  test('takes a new certificate for those who come, and keeps those who are there', async () => {
    await using own = await Folder.open({ crt: ours.cert, key: ours.key })
    await using pooler = await start({ client_tls_cert_file: own.file('crt'), client_tls_key_file: own.file('key') })
    await using client = await openTls(pooler.port)
    await client.logIn({ parameters: login })
    expect(await serial(pooler.port)).toBe(ours.x509.serialNumber)
    const renewed = stranger.issue({ hosts: ['localhost'] })
    await own.write('crt', renewed.cert)
    await own.write('key', renewed.key)
    await pooler.pooler.reload()
    expect(await serial(pooler.port)).toBe(renewed.x509.serialNumber)
    expect(await client.ask(query('select 1'))).toContain('D 1')
    // The binding is to the new one, too.
    const driver = { ssl: { ca: stranger.cert, host: 'localhost' }, enableChannelBinding: true }
    const console = await pooler.connect({ database: 'pgbouncer', driver: { ssl: driver.ssl } })
    await console.query("SET auth_type = 'scram-sha-256'")
    await using bound = await pooler.connect({ driver })
    expect((await bound.query('select 1 as one')).rows).toEqual([{ one: 1 }])
  })

  test('takes away the trust in an authority', async () => {
    await using own = await Folder.open({ ca: authority.cert })
    await using pooler = await start({ client_tls_sslmode: 'verify-full', client_tls_ca_file: own.file('ca') })
    const anna = shownBy('anna')
    await using client = await openTls(pooler.port, anna)
    await client.logIn({ parameters: login })
    await own.write('ca', stranger.cert)
    await pooler.pooler.reload()
    await using another = await openTls(pooler.port, anna)
    expect(await another.toTheEnd()).toEqual([refused])
    await using newcomer = await openTls(pooler.port, shownBy('anna', stranger))
    await newcomer.logIn({ parameters: login })
    expect(await client.ask(query('select 1'))).toContain('D 1')
  })

  test.each([
    ['crt', 'no certificate', /^TLS setup failed: client_tls_cert_file: no start line$/],
    ['key', certified('other').key, /^TLS setup failed: client_tls_key_file: key values mismatch$/],
    ['ca', '', /^TLS setup failed: client_tls_ca_file: /],
    ['key', undefined, /^could not open client_tls_key_file .*: no such file or directory$/],
  ])('with a mistake in %s changes nothing, and says what is wrong', async (name, content, message) => {
    await using own = await Folder.open({ crt: ours.cert, key: ours.key, ca: authority.cert })
    await using pooler = await start({
      client_tls_cert_file: own.file('crt'),
      client_tls_key_file: own.file('key'),
      client_tls_ca_file: own.file('ca'),
    })
    if (content === undefined) await rm(own.file(name))
    else await own.write(name, content)
    await expect(pooler.pooler.reload()).rejects.toThrow(message)
    expect(await serial(pooler.port)).toBe(ours.x509.serialNumber)
  })

  test('turns TLS on and off', async () => {
    await using pooler = await start({ client_tls_sslmode: 'disable' })
    const console = await pooler.connect({ database: 'pgbouncer' })
    await console.query("SET client_tls_sslmode = 'require'")
    expect(await pooler.refusal({})).toBe(required)
    await using client = await openTls(pooler.port)
    await client.logIn({ parameters: login })
    await console.query("SET client_tls_sslmode = 'disable'")
    await expect(openTls(pooler.port)).rejects.toThrow(off)
    expect(await client.ask(query('select 1'))).toContain('D 1')
  })
})

describe('a reload of what servers are shown and checked against', () => {
  const idle = async (pooler: TestPooler): Promise<RawClient> => {
    const client = await pooler.raw()
    expect(await client.ask(query(''))).toEqual(['I', 'Z I'])
    return client
  }

  test('replaces the servers, those in use when they are free', async () => {
    await using server = await startTlsBackend(ours, serveEmptyQueries)
    await using own = await Folder.open({ 'root.crt': authority.cert })
    const settings = {
      server_tls_sslmode: 'verify-full',
      server_tls_ca_file: own.file('root.crt'),
      pool_mode: 'session',
    }
    await using pooler = await startPooler(settings, { server })
    const [busy, quiet] = [await idle(pooler), await idle(pooler)]
    expect(server.connections.length).toBe(2)
    await quiet.end()
    await pooler.until('SHOW POOLS', (row) => row.sv_idle === 1 && row.sv_active === 1)

    await pooler.pooler.reload() // the same files, the same bytes
    await pooler.until('SHOW POOLS', (row) => row.sv_idle === 1 && row.sv_active === 1)

    await own.write('root.crt', `${authority.cert}${stranger.cert}`)
    await pooler.pooler.reload()
    await pooler.until('SHOW POOLS', (row) => row.sv_idle === 0 && row.sv_active === 1)
    expect(await busy.ask(query(''))).toEqual(['I', 'Z I'])
    await busy.end()
    await pooler.until('SHOW POOLS', (row) => row.sv_idle === 0 && row.sv_active === 0)
    await idle(pooler)
    expect(server.connections.length).toBe(3)
    expect(pooler.logged.some((line) => line.includes('closing because: database configuration changed'))).toBe(true)

    await own.write('root.crt', stranger.cert)
    await pooler.pooler.reload()
    const late = await pooler.raw()
    late.send(query(''))
    await pooler.settles(() => pooler.logged.some((line) => /TLS handshake failed: unable to verify/.test(line)))
  })

  test('by SET does the same', async () => {
    await using server = await startTlsBackend(ours, serveEmptyQueries)
    await using pooler = await startPooler({ server_tls_sslmode: 'require' }, { server })
    await idle(pooler)
    await using console = await pooler.connect({ database: 'pgbouncer' })
    await console.query("SET server_tls_protocols = 'tlsv1.2'")
    await idle(pooler)
    const rows = await pooler.show('servers')
    expect(rows.map((row) => String(row.tls).split('/')[0])).toEqual(['TLSv1.2'])
  })

  test('leaves alone the databases that it does not concern', async () => {
    await using server = await startTlsBackend(ours, serveEmptyQueries)
    await using own = await Folder.open({ 'root.crt': authority.cert })
    const { host, port } = server
    await using pooler = await startPooler(
      { server_tls_sslmode: 'require' },
      {
        databases: {
          one: { host, port, sslrootcert: own.file('root.crt'), sslmode: 'verify-ca' },
          other: { host, port },
        },
      },
    )
    for (const database of ['one', 'other']) await pooler.raw({ database })
    await own.write('root.crt', `${authority.cert}${stranger.cert}`)
    await pooler.pooler.reload()
    const left = (await pooler.show('servers')).map((row) => row.database)
    expect(left).toEqual(['other'])
  })

  test.each([
    [
      { sslrootcert: '/no/such/file' },
      /^could not open sslrootcert of database "one" \(databases\.one\) .*: no such file or directory$/,
    ],
    [{ sslcert: 'a' }, /^sslcert and sslkey belong together: one of them is missing/],
    [{ sslnegotiation: 'direct' }, /^sslnegotiation=direct needs sslmode=require or stronger, not prefer/],
    [{ sslnegotiation: 'direct', sslmode: 'allow' }, /^sslnegotiation=direct needs sslmode=require or stronger/],
    [{ sslmode: 'strict' }, /^invalid value for sslmode in configuration \(databases\.one\.sslmode\)/],
  ])('a mistake is told by name: %j', async (keys, message) => {
    const databases = { one: { host: '127.0.0.1', sslmode: 'prefer', ...keys } }
    await expect(startPooler({}, { databases })).rejects.toThrow(message)
  })
})

describe('by SET, which changes one of them at a time', () => {
  const pending = 'TLS settings could not be applied, still using old configuration'

  /** Notices of a console's SET, with their details. */
  async function consoleOf(pooler: TestPooler) {
    const client = await pooler.connect({ database: 'pgbouncer' })
    let heard: string[] = []
    client.on('notice', ({ message, detail }) => heard.push(`${message}: ${detail}`))
    const set = async (name: string, value: string): Promise<string[]> => {
      heard = []
      await client.query(`SET ${name} = '${value}'`)
      return heard
    }
    return { set }
  }

  test.each([
    ['key', 'cert', 'client_tls_key_file: key values mismatch'],
    ['cert', 'key', 'client_tls_key_file: key values mismatch'],
  ] as const)('the %s first: it is told of, kept, and taken with its fellow', async (first, second, reason) => {
    const renewed = stranger.issue({ hosts: ['localhost'] })
    await using own = await Folder.open({ cert: renewed.cert, key: renewed.key })
    await using pooler = await start({ client_tls_sslmode: 'prefer' })
    const serial = async (): Promise<string | undefined> => {
      await using client = await openTls(pooler.port, { ca: [authority.cert, stranger.cert] })
      return (client.stream as TLSSocket).getPeerX509Certificate()?.serialNumber
    }
    const { set } = await consoleOf(pooler)
    const old = await serial()
    expect(await set(`client_tls_${first}_file`, own.file(first))).toEqual([`${pending}: TLS setup failed: ${reason}`])
    expect(await serial()).toBe(old)
    expect(pooler.logged).toContain(`WARNING ${pending}: TLS setup failed: ${reason}`)
    const config = await pooler.show('config')
    expect(config.find((row) => row.key === `client_tls_${first}_file`)?.value).toBe(own.file(first))
    // What has nothing to do with TLS is set all the same.
    expect(await set('query_timeout', '7')).toEqual([])
    expect(await set(`client_tls_${second}_file`, own.file(second))).toEqual([])
    expect(await serial()).toBe(renewed.x509.serialNumber)
  })

  test('from no TLS at all, in any order', async () => {
    await using own = await Folder.open({ cert: ours.cert, key: ours.key, ca: authority.cert })
    await using pooler = await start({
      client_tls_sslmode: 'disable',
      client_tls_cert_file: '',
      client_tls_key_file: '',
    })
    const { set } = await consoleOf(pooler)
    const missing = 'To allow TLS connections from clients, client_tls_key_file and client_tls_cert_file must be set.'
    expect(await set('client_tls_sslmode', 'require')).toEqual([`${pending}: ${missing}`])
    // What is not in force locks nobody out.
    await (await pooler.raw()).end()
    expect(await set('client_tls_cert_file', own.file('cert'))).toEqual([`${pending}: ${missing}`])
    expect(await set('client_tls_key_file', '/no/such/key')).toEqual([
      `${pending}: could not open client_tls_key_file /no/such/key: no such file or directory`,
    ])
    expect(await set('client_tls_key_file', own.file('key'))).toEqual([])
    expect(await pooler.refusal({})).toBe(required)
    await using client = await openTls(pooler.port)
    await client.logIn({ parameters: login })
  })

  test('what would let nobody in is not in force before all of it is there', async () => {
    await using pooler = await start({ client_tls_sslmode: 'prefer', client_tls_ca_file: '' })
    const { set } = await consoleOf(pooler)
    const missing = 'client_tls_sslmode=verify-full requires client_tls_ca_file'
    expect(await set('client_tls_sslmode', 'verify-full')).toEqual([`${pending}: ${missing}`])
    await (await pooler.raw()).end()
    await using client = await openTls(pooler.port)
    await client.logIn({ parameters: login })
    await expect(set('client_tls_sslmode', 'verify-some')).rejects.toThrow('SET failed')
    expect(await set('client_tls_ca_file', folder.clientTls.client_tls_ca_file)).toEqual([])
    expect(await pooler.refusal({})).toBe(required)
  })

  test('certificate and key for servers; those that are there are replaced when both are', async () => {
    const shown = certified('anna')
    await using server = await startTlsBackend(ours, serveEmptyQueries)
    await using own = await Folder.open({ cert: shown.cert, key: shown.key })
    await using pooler = await startPooler({ server_tls_sslmode: 'require' }, { server })
    await (await pooler.raw()).ask(query(''))
    const { set } = await consoleOf(pooler)
    expect(await set('server_tls_key_file', own.file('key'))).toEqual([
      `${pending}: server_tls_key_file requires server_tls_cert_file`,
    ])
    expect(await pooler.show('servers')).toHaveLength(1)
    expect(await set('server_tls_cert_file', own.file('cert'))).toEqual([])
    expect(await pooler.show('servers')).toHaveLength(0)
    expect(pooler.logged.some((line) => line.includes('closing because: database configuration changed'))).toBe(true)
    expect(await set('server_tls_sslnegotiation', 'direct')).toEqual([])
    expect(await set('server_tls_sslmode', 'prefer')).toEqual([
      `${pending}: server_tls_sslnegotiation=direct requires server_tls_sslmode=require or stronger`,
    ])
    expect(await set('server_tls_sslnegotiation', 'postgres')).toEqual([])
  })

  test('a RELOAD with a pair that does not match is refused, as it always was', async () => {
    const renewed = stranger.issue({ hosts: ['localhost'] })
    await using own = await Folder.open({ key: renewed.key })
    await using pooler = await start({ client_tls_sslmode: 'prefer' })
    const { set } = await consoleOf(pooler)
    await set('client_tls_key_file', own.file('key'))
    await expect(pooler.pooler.reload()).rejects.toThrow('key values mismatch')
    await set('client_tls_key_file', folder.clientTls.client_tls_key_file)
    await pooler.pooler.reload()
  })
})

test('settings that do less than they seem to are warned about', async () => {
  await using pooler = await start({ client_tls_ecdhcurve: 'none', server_tls_sslmode: 'verify-ca' })
  expect(pooler.logged).toContain(
    'WARNING client_tls_ecdhcurve = none has no effect: TLS 1.3 needs a curve; one is chosen as with auto',
  )
  expect(pooler.logged).toContain(
    'WARNING server_tls_ca_file is not set: with verify-ca, any public certificate will do; use verify-full',
  )
})

describe('psql', () => {
  let pooler: TestPooler
  beforeAll(async () => {
    pooler = await start({ client_tls_sslmode: 'verify-full', auth_type: 'scram-sha-256' })
  })
  afterAll(() => pooler[Symbol.asyncDispose]())

  test.skipIf(postgres().psql === undefined)('logs in with verify-full and channel binding', async () => {
    const anna = certified('anna')
    await using own = await Folder.open({ 'root.crt': authority.cert, 'anna.crt': anna.cert, 'anna.key': anna.key })
    const { user, password } = postgres().roles.scram_user
    const conninfo = [
      `host=localhost hostaddr=127.0.0.1 port=${pooler.port} user=${user} dbname=postgres`,
      `sslmode=verify-full sslrootcert=${own.file('root.crt')} channel_binding=require`,
      `sslcert=${own.file('anna.crt')} sslkey=${own.file('anna.key')}`,
    ].join(' ')
    const environment = { env: { ...process.env, PGPASSWORD: password } }
    const ran = await promisify(execFile)(postgres().psql!, [conninfo, '-Atc', 'select current_user'], environment)
    expect(ran.stdout).toBe(`${user}\n`)
  })
})

function shownBy(commonName: string, by = authority) {
  const { cert, key } = certified(commonName, by)
  return { cert, key }
}
