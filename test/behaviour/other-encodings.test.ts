// Names and passwords are bytes: a role, a database, a password in LATIN1, from the files to the server and back in SHOW.

import { createHash } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { loopback } from '../../src/demo/port.js'
import { createLog } from '../../src/observe/log.js'
import { createPooler, type Pooler } from '../../src/pooler.js'
import { peerClient } from '../auth/scram-peer.js'
import { startTestCluster, type TestCluster } from '../harness/cluster.js'
import { needs } from '../harness/postgres.js'
import { Ended, message, password, query, RawClient, startup } from '../harness/raw-client.js'

/** Bytes, where `é` is one of them; texts are joined with these. */
function latin1(...parts: (string | Buffer)[]): Buffer {
  return Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part, 'latin1') : part)))
}

const user = latin1('café')
const secret = latin1('péssÿ')
const place = latin1('dép')
/** What the same bytes would be if they had been read as UTF-8. */
const replaced = (bytes: Buffer): Buffer => Buffer.from(bytes.toString())
/** Another one of the same length: `è`. */
const other = (bytes: Buffer): Buffer => Buffer.from(bytes.map((byte) => (byte === 0xe9 ? 0xe8 : byte)))

let cluster: TestCluster
let folder: string
/** As PostgreSQL itself made it of these bytes. */
let verifier: string
const hash = `md5${createHash('md5').update(secret).update(user).digest('hex')}`

interface Login {
  readonly user: Buffer
  readonly database: Buffer
  readonly password: Buffer
  readonly parameters?: Readonly<Record<string, Buffer>>
}

/** Logs in by whatever method is asked for, with bytes. Rejects with Ended. */
async function logIn(port: number, login: Login): Promise<RawClient> {
  const client = await RawClient.open(port)
  client.send(startup({ user: login.user, database: login.database, ...login.parameters }))
  const scram = peerClient(login.password)
  for (;;) {
    const line = await client.line()
    const body = client.latestBody
    if (line.startsWith('E ')) throw new Ended(body.toString('latin1'))
    if (line.startsWith('Z ')) return client
    if (line === 'R 3') client.send(password(login.password))
    if (line === 'R 5') client.send(password(md5Answer(login, body.subarray(4))))
    if (line === 'R 10') client.send(message('p', latin1('SCRAM-SHA-256\0'), length(scram.first), latin1(scram.first)))
    if (line === 'R 11') client.send(message('p', latin1(scram.final(body.toString('latin1', 4)))))
    if (line.startsWith('S ')) reported.set(client, latin1(reported.get(client) ?? '', body))
  }
}

/** ParameterStatus of each login, one behind the other. */
const reported = new WeakMap<RawClient, Buffer>()

function md5Answer(login: Login, salt: Buffer): Buffer {
  const hex = createHash('md5').update(login.password).update(login.user).digest('hex')
  return latin1(`md5${createHash('md5').update(hex).update(salt).digest('hex')}`)
}

function length(text: string): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(text.length)
  return bytes
}

/** All that answers a query, as bytes. */
async function ask(client: RawClient, text: string | Buffer): Promise<Buffer> {
  client.send(query(latin1(text)))
  let bytes: Buffer = Buffer.alloc(0)
  for (;;) {
    const line = await client.line()
    bytes = latin1(bytes, client.latestBody)
    if (line.startsWith('E ')) throw new Error(client.latestBody.toString('latin1'))
    if (line.startsWith('Z ')) return bytes
  }
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tsbouncer-bytes-'))
  // Databases that ask for the password in other ways than by SCRAM.
  const methods = ['md5', 'password'].map((method) => `host by_${method} all ${loopback}/32 ${method}`)
  cluster = await startTestCluster({ hba: methods })
  const { primary, roles } = cluster.facts
  const superuser = { user: latin1('postgres'), password: latin1(roles.postgres.password) }
  const create = async (from: string, name: string | Buffer): Promise<void> => {
    await using client = await logIn(primary.port, { ...superuser, database: latin1(from) })
    await ask(client, latin1('CREATE DATABASE "', name, '" ENCODING LATIN1 TEMPLATE template0'))
  }
  await create('postgres', 'in_latin1')
  await create('postgres', 'by_md5')
  await create('postgres', 'by_password')
  await create('in_latin1', place) // there its name is valid
  await using own = await logIn(primary.port, { ...superuser, database: place })
  await ask(own, latin1('CREATE ROLE "', user, '" LOGIN PASSWORD \'', secret, "'"))
  const row = await ask(own, latin1("SELECT rolpassword FROM pg_authid WHERE rolname = '", user, "'"))
  verifier = /SCRAM-SHA-256\$\d+:[\w+/=]+\$[\w+/]{43}=:[\w+/]{43}=/.exec(row.toString('latin1'))![0]
}, 60_000)

afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

interface Files {
  /** Lines of [pgbouncer]. */
  readonly settings?: readonly Buffer[]
  readonly databases?: readonly Buffer[]
  readonly userlist?: Buffer
  readonly hba?: Buffer
}

/** A pooler whose files are bytes. */
async function start(method: string, files: Files = {}): Promise<Pooler & AsyncDisposable> {
  const [ini, list, hba, log] = ['pooler.ini', 'userlist.txt', 'hba.conf', 'log'].map((name) => join(folder, name))
  const { primary } = cluster.facts
  const entries = files.databases ?? [latin1(`* = host=${primary.host} port=${primary.port}`)]
  const settings = [
    latin1(`listen_addr = ${loopback}`),
    latin1('listen_port = 0'),
    latin1('unix_socket_dir ='),
    latin1(`auth_type = ${method}`),
    latin1(`auth_file = ${list}`),
    latin1(`auth_hba_file = ${hba}`),
    latin1('pool_mode = transaction'),
    latin1('server_tls_sslmode = disable'),
    latin1('stats_users = ', user),
    ...(files.settings ?? []),
  ]
  const lines = [latin1('[databases]'), ...entries, latin1('[pgbouncer]'), ...settings]
  await writeFile(ini!, latin1(...lines.flatMap((line) => [line, '\n'])))
  await writeFile(list!, files.userlist ?? latin1('"', user, '" "', secret, '"\n'))
  await writeFile(hba!, files.hba ?? '')
  await writeFile(log!, '')
  const pooler = createPooler({ config: ini!, log: createLog({ logfile: log!, stderr: 'nothing' }) })
  await pooler.listen()
  return Object.assign(pooler, { [Symbol.asyncDispose]: () => pooler.close() })
}

const who = 'select current_user, current_database()'

describe.each(['plain', 'md5', 'scram-sha-256'])('auth_type %s', (method) => {
  test.each(['dép', 'by_md5', 'by_password'])('a user and password of auth_file, database %s', async (name) => {
    await using pooler = await start(method)
    const port = pooler.port!
    // A role that stores a SCRAM secret is asked for SCRAM where md5 is said, too.
    const login = { user, database: latin1(name), password: secret }
    await using client = await logIn(port, login)
    const row = await ask(client, who)
    expect(row.includes(user)).toBe(true)
    expect(row.includes(latin1(name))).toBe(true)
    for (const wrong of [other(secret), replaced(secret), latin1('p?ss?')]) {
      await expect(logIn(port, { ...login, password: wrong })).rejects.toThrow('authentication failed')
    }
    for (const stranger of [other(user), replaced(user)]) {
      await expect(logIn(port, { ...login, user: stranger })).rejects.toThrow('authentication failed')
    }
  })

  test('the secret is what the server stores, in auth_file or looked up by auth_query', async () => {
    const { primary, roles } = cluster.facts
    const superuser = `"postgres" "${roles.postgres.password}"\n`
    const looking = {
      settings: [
        latin1('auth_user = postgres'),
        latin1('auth_query = select rolname, rolpassword from pg_authid where rolname = $1'),
      ],
      userlist: latin1(superuser),
    }
    const known = { userlist: latin1('"', user, `" "${method === 'md5' ? hash : verifier}"\n`) }
    for (const files of [looking, known]) {
      // By a hash alone no server is logged in to that asks for more: its database has a user.
      const forced = latin1(
        '"',
        place,
        `" = host=${primary.host} port=${primary.port} user=postgres password=${roles.postgres.password}`,
      )
      await using pooler = await start(method, { ...files, databases: [forced] })
      const login = { user, database: place, password: secret }
      await using client = await logIn(pooler.port!, login)
      expect((await ask(client, 'select session_user')).includes('postgres')).toBe(true)
      await expect(logIn(pooler.port!, { ...login, password: other(secret) })).rejects.toThrow('authentication failed')
      await expect(logIn(pooler.port!, { ...login, password: replaced(secret) })).rejects.toThrow(
        'authentication failed',
      )
    }
  })
})

test('an entry of the ini: names, forced user, password, connect_query; given percent-encoded in a URL, too', async () => {
  const { primary } = cluster.facts
  const at = `host=${primary.host} port=${primary.port}`
  const pairs = latin1(
    `'né' = ${at} dbname=`,
    place,
    ' user=',
    user,
    ' password=',
    secret,
    " connect_query='select ''né'''",
  )
  const url = latin1(`'èn' = postgres://caf%E9:p%e9ss%ff@${primary.host}:${primary.port}/d%E9p`)
  await using pooler = await start('trust', { databases: [pairs, url], userlist: latin1('"x" ""\n') })
  for (const database of [latin1('né'), latin1('èn')]) {
    await using client = await logIn(pooler.port!, { user: latin1('x'), database, password: secret })
    const row = await ask(client, who)
    expect([row.includes(user), row.includes(place)]).toEqual([true, true])
  }
  await expect(
    logIn(pooler.port!, { user: latin1('x'), database: replaced(latin1('né')), password: secret }),
  ).rejects.toThrow('no such database')
})

test('an HBA rule is for the very bytes', async () => {
  await using pooler = await start('hba', {
    hba: latin1('host "', place, '" "', user, '" 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 reject\n'),
  })
  await using client = await logIn(pooler.port!, { user, database: place, password: secret })
  expect((await ask(client, who)).includes(user)).toBe(true)
  await expect(logIn(pooler.port!, { user, database: other(place), password: secret })).rejects.toThrow(
    'login rejected',
  )
  await expect(logIn(pooler.port!, { user: replaced(user), database: place, password: secret })).rejects.toThrow(
    'login rejected',
  )
})

test('the console takes and shows the bytes, and so do errors; the log is legible', async () => {
  await using pooler = await start('scram-sha-256', {
    settings: [latin1('admin_users = x,', user), latin1('server_check_query = select 1 -- é')],
  })
  const port = pooler.port!
  await using client = await logIn(port, { user, database: place, password: secret })
  await ask(client, who)
  await using admin = await logIn(port, { user, database: latin1('pgbouncer'), password: secret })
  for (const show of ['clients', 'servers', 'pools', 'users', 'databases', 'stats', 'config']) {
    const rows = await ask(admin, `show ${show}`)
    expect(rows.includes(Buffer.from('\ufffd')), show).toBe(false)
    const isByUser = !['databases', 'stats'].includes(show)
    expect(rows.includes(isByUser ? user : place), show).toBe(true)
  }
  await ask(admin, latin1('pause ', place))
  expect((await ask(admin, 'show databases')).toString('latin1')).toMatch(/dép.*1/s)
  await ask(admin, latin1('resume ', place))
  await ask(admin, latin1("set server_check_query = 'select 2 -- ", other(user), "'"))
  expect((await ask(admin, 'show config')).includes(latin1('-- cafè'))).toBe(true)
  await expect(ask(admin, latin1('nonsense "', other(place), '"'))).rejects.toThrow('dèp')
  // In the server's own words, passed on.
  await expect(logIn(port, { user, database: other(place), password: secret })).rejects.toThrow('"dèp" does not exist')
  const log = await readFile(join(folder, 'log'), 'utf8')
  expect(log).toContain('d\\xE9p/caf\\xE9@')
  expect(log).not.toContain('\ufffd')
})

test('what a client of another encoding sets goes along with it as it is, and is told as it is', async (context) => {
  needs(16, 'it escapes what is not ASCII in application_name', context)
  await using pooler = await start('scram-sha-256', { settings: [latin1('default_pool_size = 1')] })
  const login = { user, database: place, password: secret }
  const named = (name: string) => logIn(pooler.port!, { ...login, parameters: { application_name: latin1(name) } })
  await using first = await named('prémier')
  await using second = await named('sècond')
  const shown = "select convert_to(current_setting('application_name'), 'latin1')"
  for (let i = 0; i < 2; i++) {
    // PostgreSQL writes what is not ASCII as an escape, so that it is seen what it was told.
    expect((await ask(first, shown)).toString('latin1')).toContain(`\\x${latin1('pr\\xe9mier').toString('hex')}`)
    expect((await ask(second, shown)).toString('latin1')).toContain(`\\x${latin1('s\\xe8cond').toString('hex')}`)
  }
  expect(reported.get(first)!.includes(Buffer.from('\ufffd'))).toBe(false)
})

test('a client of another encoding than its database logs in and works, whatever its application is called', async () => {
  await using pooler = await start('trust', {
    userlist: latin1('"trust_user" ""\n'),
    settings: [latin1('default_pool_size = 1')],
  })
  const login = { user: latin1('trust_user'), database: latin1('postgres'), password: secret }
  const parameters = { client_encoding: latin1('LATIN1'), application_name: latin1('prémier') }
  await using first = await logIn(pooler.port!, { ...login, parameters })
  await using second = await logIn(pooler.port!, login)
  for (let i = 0; i < 2; i++) {
    expect((await ask(first, "select ascii('é'), current_setting('client_encoding')")).includes('LATIN1')).toBe(true)
    expect((await ask(second, "select current_setting('client_encoding')")).includes('UTF8')).toBe(true)
  }
})
