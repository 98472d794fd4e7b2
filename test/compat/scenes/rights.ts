// Every verb of the console by every kind of user, and by the extended protocol.

import { bind, describe, execute, parse, query, type RawClient, sync } from '../../harness/raw-client.js'
import type { RunningProgram } from '../program.js'
import type { Answers, Scene } from '../scene.js'

/** Those that end nothing come first. */
const texts = [
  'SHOW HELP',
  'SHOW ACTIVE_SOCKETS',
  'SHOW CLIENTS',
  'SHOW CONFIG',
  'SHOW DATABASES',
  'SHOW DNS_HOSTS',
  'SHOW DNS_ZONES',
  'SHOW FDS',
  'SHOW LISTS',
  'SHOW MEM',
  'SHOW PEERS',
  'SHOW PEER_POOLS',
  'SHOW POOLS',
  'SHOW SERVERS',
  'SHOW SOCKETS',
  'SHOW STATE',
  'SHOW STATS',
  'SHOW STATS_AVERAGES',
  'SHOW STATS_TOTALS',
  'SHOW TOTALS',
  'SHOW USERS',
  'SHOW VERSION',
  'SHOW client_encoding',
  'SELECT version',
  'SET query_timeout = 7',
  "SET client_encoding = 'UTF8'",
  'SET extra_float_digits = 3',
  'RELOAD',
  'PAUSE spare',
  'RESUME spare',
  'DISABLE spare',
  'ENABLE spare',
  'RECONNECT spare',
  'WAIT_CLOSE spare',
  'KILL spare',
  'RESUME spare',
  'KILL_CLIENT 99999',
  'KILL_CLIENT',
  'SUSPEND',
  'RESUME',
  'SHUTDOWN nonsense',
  'SHUTDOWN WAIT_FOR_NOBODY',
] as const

/** Rows are left out: only what frames them is compared. */
async function verbs(client: RawClient): Promise<Answers> {
  const answers: Answers = {}
  for (const text of texts) {
    const lines = await client.ask(query(text))
    const name = answers[text] === undefined ? text : `${text} again`
    answers[name] = lines.filter((line) => !/^[DT] /.test(line))
  }
  return answers
}

const databases = { app: 'dbname=postgres user=trust_user', spare: 'dbname=postgres user=trust_user' }

async function as(pooler: RunningProgram, user: string): Promise<Answers> {
  await using client = await pooler.console(user)
  return await verbs(client)
}

export const rightsScenes: readonly Scene[] = [
  { name: 'verbs by an administrator', ini: { databases }, play: (pooler) => as(pooler, 'admin') },
  { name: 'verbs by a user of stats_users', ini: { databases }, play: (pooler) => as(pooler, 'stats') },
  {
    name: 'verbs with auth_type any, by anybody',
    ini: { databases, pgbouncer: { auth_type: 'any' } },
    play: (pooler) => as(pooler, 'whoever'),
  },
  {
    name: 'verbs with auth_type any, by an administrator',
    ini: { databases, pgbouncer: { auth_type: 'any' } },
    play: (pooler) => as(pooler, 'admin'),
  },
  {
    name: 'SHOW HELP',
    since: '1.24',
    async play(pooler) {
      await using client = await pooler.console()
      client.send(query('SHOW HELP'))
      await client.line()
      const text = client.latestBody.toString()
      return { verbs: [...text.matchAll(/^\t([A-Z_]+)/gm)].map(([, verb]) => verb!) }
    },
  },
  {
    name: 'the console by the extended protocol',
    async play(pooler) {
      await using client = await pooler.console()
      client.send(parse('SHOW VERSION'), bind(), describe('P'), execute(), sync)
      const lines: string[] = []
      for (;;) {
        const line = await client.line().catch(() => 'closed')
        lines.push(line)
        if (line === 'closed' || line.startsWith('Z ')) return { told: lines }
      }
    },
  },
  {
    name: 'commands that are odd',
    async play(pooler) {
      await using client = await pooler.console()
      const answers: Answers = {}
      for (const text of [
        'show\tversion',
        'show\nversion',
        '  show version  ',
        'SHOW "version"',
        "SHOW 'version'",
        'SHOW VERSION -- comment',
        '/* comment */ SHOW VERSION',
        'SHOW VERSION;;',
        'PAUSE "no such"',
        'PAUSE "a""b"',
        "PAUSE 'app'",
        'SET a',
        'SET a =',
        "SET query_timeout = '1''2'",
        'SET query_timeout=3;',
        'SET query_timeout TO 3',
        'SET  query_timeout  =  4 ;',
        'SET QUERY_TIMEOUT = 5',
        'SET query_timeout = -1',
        'SET query_timeout = 1e1',
        'SET max_client_conn = 0x10',
        'SET max_client_conn = 010',
        'SET max_client_conn = on',
        'SET log_connections = on',
        'SET pool_mode = SESSION',
        'SET pool_mode = none',
        'SET admin_users = admin,other',
        "SET admin_users = 'admin, other'",
        'SET unix_socket_dir = /tmp',
        'RELOAD',
        'SELECT version()',
        'SELECT 1',
        'select lists',
        'SHOW POOLS extra',
        'SHOW SHOW',
        'KILL_CLIENT -1',
        'KILL_CLIENT 0x1',
        'SHOW STATS; SHOW POOLS',
        'é',
        "x'y",
        'x%sy',
      ]) {
        const lines = (await client.ask(query(text))).map((line) => pooler.neutral(line))
        answers[text] = lines.filter((line) => !line.startsWith('D '))
      }
      return answers
    },
  },
]
