// The first packets of a client, right and wrong, byte by byte: what a pooler answers to strangers.

import {
  cancelRequest,
  message,
  parse,
  password,
  query,
  RawClient,
  saslInitialResponse,
  startup,
} from '../../harness/raw-client.js'
import type { RunningProgram } from '../program.js'
import type { Answers, Scene } from '../scene.js'

const i32 = (...values: number[]): Buffer => {
  const bytes = Buffer.alloc(4 * values.length)
  values.forEach((value, at) => {
    bytes.writeInt32BE(value, 4 * at)
  })
  return bytes
}

const sslRequest = i32(8, 80877103)
const gssRequest = i32(8, 80877104)
const who = { user: 'trust_user', database: 'app' }

/** A StartupMessage of any version, with this behind its header. */
function packet(version: number, body: Buffer): Buffer {
  return Buffer.concat([i32(8 + body.length, version), body])
}

/** Sends these bytes, ends its side, and gives all that comes. */
async function sendAndEnd(pooler: RunningProgram, ...bytes: Buffer[]): Promise<string[]> {
  await using client = await RawClient.open(pooler.port)
  client.send(...bytes)
  return await client.toTheEnd()
}

/** The same for a client that waits for one byte after each request, as for `S` or `N`. */
async function negotiate(pooler: RunningProgram, requests: readonly Buffer[], last?: Buffer): Promise<string[]> {
  await using client = await RawClient.open(pooler.port)
  const bytes: number[] = []
  let wake = (): void => {}
  client.stream.removeAllListeners('data')
  client.stream.on('data', (chunk: Buffer) => {
    bytes.push(...chunk)
    wake()
  })
  void client.ended.then(() => wake())
  for (const [at, request] of requests.entries()) {
    client.send(request)
    while (bytes.length <= at && !client.stream.closed) {
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
  }
  if (last !== undefined) client.send(last)
  if (last !== undefined || requests.length > 1) await client.ended
  const text = Buffer.from(bytes).toString('latin1')
  return [text.slice(0, requests.length), text.slice(requests.length).replaceAll('\0', ' ').trim()]
}

/** The server's side of the conversation in SASL, then whatever these answers bring. */
async function sasl(pooler: RunningProgram, ...answers: readonly Buffer[]): Promise<string[]> {
  await using client = await RawClient.open(pooler.port)
  client.send(startup({ user: 'plain', database: 'app' }))
  const lines = [await client.line()]
  for (const answer of answers) {
    client.send(answer)
    const line = await client.line().catch(() => 'closed')
    lines.push(line)
    if (line === 'closed' || line.startsWith('E ')) return lines
  }
  client.stream.end()
  return [...lines, ...(await client.toTheEnd())]
}

const clientFirst = saslInitialResponse('n,,n=,r=clientnonce')

export const startupScenes: readonly Scene[] = [
  {
    name: 'startup packets',
    since: '1.24',
    ini: { pgbouncer: { client_login_timeout: 2 } },
    async play(pooler) {
      const z = (text: string): Buffer => Buffer.from(`${text}\0`)
      const pairs = Buffer.concat([z('user'), z('trust_user'), z('database'), z('app')])
      const packets: Record<string, Buffer> = {
        'no user': startup({ database: 'app' }),
        'an empty user': startup({ user: '', database: 'app' }),
        'a user of 127 bytes': startup({ user: 'u'.repeat(127), database: 'app' }),
        'a user of 128 bytes': startup({ user: 'u'.repeat(128), database: 'app' }),
        'a database of 64 bytes': startup({ user: 'trust_user', database: 'd'.repeat(64) }),
        'a database of 200 bytes': startup({ user: 'trust_user', database: 'd'.repeat(200) }),
        'no database': startup({ user: 'trust_user' }),
        'protocol 2': packet(0x20000, pairs),
        'protocol 2, nothing else': i32(8, 0x20000),
        'nothing behind the version': packet(0x30000, Buffer.alloc(0)),
        'no terminator': packet(0x30000, pairs),
        'half a pair': packet(0x30000, Buffer.concat([pairs, z('application_name'), Buffer.of(0)])),
        'bytes behind the terminator': packet(0x30000, Buffer.concat([pairs, Buffer.from('\0more')])),
        'a huge packet': startup({ ...who, application_name: 'x'.repeat(9000) }),
        'a length of 0': i32(0, 0x30000),
        'a length of 7': i32(7, 0x30000),
        'a length below 0': i32(-1, 0x30000),
        'a length of 2^30': i32(1 << 30, 0x30000),
        'a query first': query('select 1'),
        'a password first': password('secret'),
        'a parse first': parse('select 1'),
        HTTP: Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'),
        'a wrong cancel key': cancelRequest({ pid: 1234, secret: i32(5678) }),
        'a cancel without key': i32(8, 80877102),
      }
      const answers: Answers = {}
      for (const [name, bytes] of Object.entries(packets)) {
        await pooler.newLog()
        const lines = await sendAndEnd(pooler, bytes, message('X'))
        answers[name] = lines.filter((line) => !line.startsWith('S ') && line !== 'K')
        answers[`${name}, log`] = (await pooler.newLog()).filter((line) => line.includes(' C-PTR'))
      }
      return answers
    },
  },
  {
    name: 'protocol versions',
    since: '1.24',
    async play(pooler) {
      const answers: Answers = {}
      for (const minor of [0, 1, 2, 3, 9]) {
        await using client = await RawClient.open(pooler.port)
        await client.logIn({ parameters: who, minor })
        answers[`3.${minor}`] = await client.ask(query('select 1'))
      }
      for (const [name, parameters] of Object.entries({
        'an option of the protocol': { '_pq_.nonsense': '1' },
        'an option of the protocol, and more': { '_pq_.nonsense': '1', application_name: 'x' },
      })) {
        await using client = await RawClient.open(pooler.port)
        client.send(startup({ ...who, ...parameters }))
        answers[name] = (await client.answer()).filter((line) => !line.startsWith('S '))
      }
      answers['4.0'] = (await sendAndEnd(pooler, packet(0x40000, Buffer.from('user\0trust_user\0\0')))).slice(0, 1)
      return answers
    },
  },
  {
    name: 'requests for encryption',
    async play(pooler) {
      return {
        ssl: await negotiate(pooler, [sslRequest]),
        gss: await negotiate(pooler, [gssRequest]),
        'gss, then ssl': await negotiate(pooler, [gssRequest, sslRequest], startup({ user: 'nobody' })),
        'ssl, then login': await negotiate(pooler, [sslRequest], startup({ user: 'nobody' })),
      }
    },
  },
  {
    name: 'the handshake of SCRAM',
    since: '1.24',
    ini: { pgbouncer: { auth_type: 'scram-sha-256', client_login_timeout: 5 } },
    async play(pooler) {
      const data = (text: string): Buffer => message('p', Buffer.from(text))
      const otherMechanism = message('p', Buffer.from('PLAIN\0'), i32(2), Buffer.from('xy'))
      return {
        'another mechanism': await sasl(pooler, otherMechanism),
        'a wrong length': await sasl(pooler, saslInitialResponse('n,,n=,r=clientnonce', 1000)),
        'a length below 0': await sasl(pooler, saslInitialResponse('n,,n=,r=clientnonce', -2)),
        nonsense: await sasl(pooler, saslInitialResponse('nonsense')),
        'channel binding asked for': await sasl(pooler, saslInitialResponse('p=tls-unique,,n=,r=clientnonce')),
        'no nonce in the end': await sasl(pooler, clientFirst, data('c=biws,p=AAAA')),
        'another nonce in the end': await sasl(pooler, clientFirst, data('c=biws,r=another,p=AAAA')),
        'an empty message in the end': await sasl(pooler, clientFirst, data('')),
        'a query instead': await sasl(pooler, query('select 1')),
        'a second startup packet': await sasl(pooler, startup({ user: 'admin', database: 'app' })),
        'a second startup packet, later': await sasl(pooler, clientFirst, startup({ user: 'admin', database: 'app' })),
      }
    },
  },
  {
    name: 'the handshake of md5 and plain',
    ini: { pgbouncer: { auth_type: 'md5', client_login_timeout: 5 } },
    async play(pooler) {
      return {
        'a query instead': await sasl(pooler, query('select 1')),
        'a second startup packet': await sasl(pooler, startup({ user: 'admin', database: 'app' })),
        'a password without its end': await sasl(pooler, message('p', Buffer.from('md5'))),
      }
    },
  },
  {
    name: 'options',
    since: '1.24',
    ini: { pgbouncer: { ignore_startup_parameters: 'extra_float_digits, geqo' } },
    async play(pooler) {
      const answers: Answers = {}
      for (const options of [
        '-c datestyle=German',
        '--datestyle=German',
        '-c datestyle=German -c timezone=Europe/Berlin',
        '-cdatestyle=German',
        '  -c   datestyle=ISO  ',
        '-c application_name=a\\ b',
        '-c extra_float_digits=1',
        '--extra-float-digits=1',
        '-c work_mem=1MB',
        '-c geqo=off -c work_mem=1MB',
        '-c',
        '-c ',
        '-c=',
        '-c =x',
        '-c x',
        '--',
        '-d 5',
        'nonsense',
        '-c datestyle=',
        '',
      ]) {
        try {
          await using client = await pooler.connect({ parameters: { options } })
          answers[`<${options}>`] = [
            client.reported.get('DateStyle') ?? '',
            ...(await client.ask(
              query('select current_setting($$datestyle$$), current_setting($$application_name$$)'),
            )),
          ]
        } catch (error) {
          answers[`<${options}>`] = String(error)
        }
      }
      return answers
    },
  },
  {
    name: 'options ignored',
    since: '1.24',
    ini: { pgbouncer: { ignore_startup_parameters: 'options, work_mem' } },
    async play(pooler) {
      return {
        unknown: await pooler.login({ parameters: { options: '-c geqo=off' } }),
        known: await pooler.login({ parameters: { options: '-c datestyle=German -c geqo=off' } }),
        odd: await pooler.login({ parameters: { options: 'nonsense' } }),
        'beside it': await pooler.login({ parameters: { geqo: 'off' } }),
        'ignored beside it': await pooler.login({ parameters: { work_mem: '1MB' } }),
      }
    },
  },
  {
    name: 'login to the console',
    ini: { pgbouncer: { auth_type: 'md5', admin_users: 'admin, ghost', stats_users: 'stats' } },
    async play(pooler) {
      const login = (user: string, secret: string) => pooler.login({ user, password: secret, database: 'pgbouncer' })
      return {
        admin: await login('admin', 'admin'),
        'admin, wrong password': await login('admin', 'wrong'),
        stats: await login('stats', 'stats'),
        'an administrator without secret': await login('ghost', 'x'),
        pgbouncer: await login('pgbouncer', 'x'),
        'a parameter that is not known': await pooler.login({
          user: 'stats',
          password: 'stats',
          database: 'pgbouncer',
          parameters: { work_mem: '1MB' },
        }),
      }
    },
  },
  {
    name: 'replication',
    since: '1.24',
    ini: { databases: { app: 'dbname=postgres user=trust_user', other: 'dbname=postgres' } },
    async play(pooler) {
      const answers: Answers = {}
      for (const replication of ['database', 'true', 'on', 'yes', '1', 'false', 'off', 'no', '0', 'maybe', '']) {
        await pooler.newLog()
        answers[replication] = await pooler.login({ parameters: { replication } })
        answers[`${replication}, log`] = (await pooler.newLog()).filter((line) => line.includes('login attempt'))
      }
      answers.console = await pooler.login({
        user: 'admin',
        password: 'admin',
        database: 'pgbouncer',
        parameters: { replication: 'database' },
      })
      return answers
    },
  },
  {
    name: 'the notice of a login',
    since: '1.26',
    ini: { pgbouncer: { login_notify_message: 'hello from here' } },
    async play(pooler) {
      const answers: Answers = {}
      for (const [name, parameters] of [
        ['client', who],
        ['console', { user: 'admin', database: 'pgbouncer' }],
      ] as const) {
        await using client = await RawClient.open(pooler.port)
        client.send(startup(parameters))
        answers[name] = (await client.answer()).filter((line) => !line.startsWith('S '))
      }
      return answers
    },
  },
]
