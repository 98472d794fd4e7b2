// Who is let in, and what the others are told.

import { postgres } from '../../harness/postgres.js'
import { RawClient, startup } from '../../harness/raw-client.js'
import type { Login, RunningProgram } from '../program.js'
import type { Answers, Scene } from '../scene.js'

/** Each login by its name, in order. */
async function logins(pooler: RunningProgram, attempts: Readonly<Record<string, Login>>): Promise<Answers> {
  const answers: Answers = {}
  await pooler.newLog()
  for (const [name, login] of Object.entries(attempts)) {
    answers[name] = await pooler.login(login)
    answers[`${name}, log`] = await pooler.newLog()
  }
  return answers
}

/** A startup packet, and all that comes of it. */
async function startups(pooler: RunningProgram, packets: Readonly<Record<string, Buffer>>): Promise<Answers> {
  const answers: Answers = {}
  for (const [name, packet] of Object.entries(packets)) {
    await using client = await RawClient.open(pooler.port)
    client.send(packet)
    answers[name] = await client.toTheEnd()
  }
  return answers
}

const methods: readonly Scene[] = (['trust', 'plain', 'md5', 'scram-sha-256'] as const).map((method) => ({
  name: `auth_type ${method}`,
  ini: { pgbouncer: { auth_type: method } },
  play: (pooler) =>
    logins(pooler, {
      'right password': { user: 'plain', password: 'secret' },
      'wrong password': { user: 'plain', password: 'wrong' },
      'empty password': { user: 'plain', password: '' },
      'unknown user': { user: 'nobody', password: 'x' },
      'unknown database': { user: 'plain', password: 'secret', database: 'nowhere' },
      'unknown database, wrong password': { user: 'plain', password: 'wrong', database: 'nowhere' },
      'no secret': { user: 'trust_user', password: '' },
    }),
}))

export const loginScenes: readonly Scene[] = [
  ...methods,
  {
    name: 'auth_type any',
    ini: {
      pgbouncer: { auth_type: 'any' },
      databases: { app: 'dbname=postgres user=trust_user', free: 'dbname=postgres' },
    },
    play: (pooler) =>
      logins(pooler, {
        'forced user': { user: 'whoever' },
        'no forced user': { user: 'trust_user', database: 'free' },
      }),
  },
  {
    name: 'auth_query',
    ini: {
      pgbouncer: { auth_type: 'md5', auth_user: 'postgres' },
      databases: { app: 'dbname=postgres' },
      secrets: { postgres: 'postgres' },
    },
    play: (pooler) => {
      const { scram_user, md5_user } = postgres().roles
      return logins(pooler, {
        scram: { user: scram_user.user, password: scram_user.password },
        'scram, wrong password': { user: scram_user.user, password: 'wrong' },
        md5: { user: md5_user.user, password: md5_user.password },
        'unknown user': { user: 'nobody', password: 'x' },
      })
    },
  },
  {
    name: 'startup parameters',
    ini: { pgbouncer: { ignore_startup_parameters: 'extra_float_digits' } },
    play: async (pooler) => ({
      ...(await logins(pooler, {
        tracked: { parameters: { datestyle: 'ISO, DMY', TimeZone: 'UTC', client_encoding: 'UTF8' } },
        ignored: { parameters: { extra_float_digits: '3' } },
        unknown: { parameters: { search_path: 'x' } },
        'in options': { parameters: { options: '-c work_mem=1' } },
        'ignored in options': { parameters: { options: '-c extra_float_digits=3' } },
        'odd options': { parameters: { options: 'nonsense' } },
      })),
      ...(await startups(pooler, {
        'no user': startup({ database: 'app' }),
        'protocol 2': Buffer.from([0, 0, 0, 9, 0, 2, 0, 0, 0]),
        'no terminator': Buffer.from([0, 0, 0, 10, 0, 3, 0, 0, 65, 65]),
        'password at once': Buffer.from([0x70, 0, 0, 0, 6, 65, 0]),
      })),
    }),
  },
  {
    name: 'limits of clients',
    ini: { pgbouncer: { max_client_conn: 2 } },
    play: async (pooler) => {
      await using _one = await pooler.connect()
      await using _two = await pooler.connect()
      return {
        third: await pooler.login({}),
        console: await pooler.login({ user: 'admin', database: 'pgbouncer' }),
      }
    },
  },
  {
    name: 'limits of clients by database',
    since: '1.24',
    ini: { databases: { app: 'dbname=postgres user=trust_user max_db_client_connections=1' } },
    play: async (pooler) => {
      await using _one = await pooler.connect()
      return { second: await pooler.login({}) }
    },
  },
  {
    name: 'limits of clients by user',
    since: '1.24',
    ini: { users: { trust_user: 'max_user_client_connections=1' } },
    play: async (pooler) => {
      await using _one = await pooler.connect()
      return { second: await pooler.login({}), other: await pooler.login({ user: 'plain' }) }
    },
  },
  {
    name: 'probe',
    async play(pooler) {
      await pooler.newLog()
      const client = await RawClient.open(pooler.port)
      await client[Symbol.asyncDispose]()
      await using half = await RawClient.open(pooler.port)
      half.send(Buffer.from([0, 0]))
      half.stream.end()
      await half.ended
      return { log: await pooler.newLog() }
    },
  },
]
