// Ends of connections and of the pooler: SHUTDOWN in its modes, commands that close servers, and the reasons in the log.

import { writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { eventually } from '../../harness/pooler.js'
import { query as ask } from '../../harness/postgres.js'
import { query, RawClient } from '../../harness/raw-client.js'
import type { RunningProgram } from '../program.js'
import type { Answers, Scene } from '../scene.js'

/** Why servers or clients were closed, each reason once. */
const reasons = (lines: readonly string[], side: 'C' | 'S'): string[] => [
  ...new Set(
    lines
      .map((line) => new RegExp(`^LOG ${side}-PTR: \\S+ (closing because: .*) \\(age=N\\)`).exec(line)?.[1])
      .filter((line) => line !== undefined),
  ),
]

const exited = async (pooler: RunningProgram): Promise<string> => String(await pooler.running.ended)
const wordsOf = (pooler: RunningProgram): string[] =>
  pooler.running
    .lines()
    .map((line) => pooler.neutral(line))
    .filter((line) => /command issued|^LOG (server|client) conn|exiting/.test(line))

/** Sends `text`, which may end the connection or never be answered while the pooler lives. */
async function shutDown(pooler: RunningProgram, text: string): Promise<RawClient> {
  const admin = await pooler.console()
  admin.send(query(text))
  return admin
}

export const endingScenes: readonly Scene[] = [
  {
    name: 'SHUTDOWN at once',
    async play(pooler) {
      await using idle = await pooler.connect()
      await idle.ask(query('select 1'))
      await using busy = await pooler.connect()
      await busy.ask(query('begin'))
      await using other = await pooler.console()
      await using admin = await shutDown(pooler, 'SHUTDOWN')
      return {
        admin: await admin.toTheEnd(),
        'another console': await other.toTheEnd(),
        'exit code': await exited(pooler),
      }
    },
  },
  {
    name: 'SHUTDOWN WAIT_FOR_CLIENTS',
    since: '1.23',
    async play(pooler) {
      const answers: Answers = {}
      await using client = await pooler.connect()
      await client.ask(query('begin'))
      const admin = await shutDown(pooler, 'SHUTDOWN WAIT_FOR_CLIENTS')
      answers.admin = await admin.answer()
      answers.resume = await admin.ask(query('RESUME'))
      answers.pause = await admin.ask(query('SHOW STATE'))
      answers.again = await admin.ask(query('SHUTDOWN WAIT_FOR_CLIENTS'))
      await admin.end()
      answers.served = await client.ask(query('commit'))
      answers['served again'] = await client.ask(query('select 1'))
      await client.end()
      answers['exit code'] = await exited(pooler)
      answers.log = wordsOf(pooler)
      return answers
    },
  },
  {
    name: 'SHUTDOWN WAIT_FOR_SERVERS',
    since: '1.23',
    ini: { pgbouncer: { default_pool_size: 1 } },
    async play(pooler) {
      const answers: Answers = {}
      await using holder = await pooler.connect()
      await holder.ask(query('begin'))
      await using waiting = await pooler.connect()
      waiting.send(query('select 1'))
      await pooler.until('SHOW POOLS', (row) => row.database === 'app' && row.cl_waiting === '1')
      await using idle = await pooler.connect()
      const admin = await shutDown(pooler, 'SHUTDOWN WAIT_FOR_SERVERS')
      answers.admin = await admin.answer()
      answers.waiting = await waiting.toTheEnd()
      idle.send(query('select 1'))
      answers.idle = await idle.toTheEnd()
      answers.holder = await holder.ask(query('select 1'))
      answers.resume = await admin.ask(query('RESUME'))
      holder.send(query('commit'))
      answers.committed = (await holder.toTheEnd()).slice(0, 2)
      answers['exit code'] = await exited(pooler)
      answers.log = wordsOf(pooler)
      return answers
    },
  },
  {
    name: 'logins during a shutdown',
    since: '1.26',
    ini: { pgbouncer: { unix_socket_dir: 'DIR' } },
    async play(pooler) {
      await using _client = await pooler.connect()
      pooler.running.kill('SIGTERM')
      await pooler.logs('got SIGTERM')
      const login = async (database: string, user: string): Promise<string> => {
        try {
          await using client = new RawClient(connect(pooler.file(`.s.PGSQL.${pooler.port}`)))
          await client.logIn({ parameters: { user, database } })
          return 'in'
        } catch (error) {
          return String(error)
        }
      }
      return { client: await login('app', 'trust_user'), console: await login('pgbouncer', 'admin') }
    },
  },
  {
    name: 'RECONNECT and WAIT_CLOSE',
    async play(pooler) {
      const answers: Answers = {}
      await using busy = await pooler.connect()
      await busy.ask(query('begin'))
      await using idle = await pooler.connect()
      await idle.ask(query('select 1'))
      await using admin = await pooler.console()
      await pooler.newLog()
      answers.reconnect = await admin.ask(query('RECONNECT'))
      const servers = await pooler.rows('SHOW SERVERS')
      answers.servers = servers.map((row) => `${row.state} ${row.close_needed}`)
      admin.send(query('WAIT_CLOSE'))
      answers['in the transaction'] = await busy.ask(query('select 1'))
      answers.unanswered = [...admin.unread]
      await busy.ask(query('commit'))
      answers.closed = await admin.answer()
      answers.reasons = reasons(await pooler.newLog(), 'S')
      return answers
    },
  },
  {
    name: 'KILL_CLIENT',
    since: '1.24',
    async play(pooler) {
      const answers: Answers = {}
      await using idle = await pooler.connect({ parameters: { application_name: 'idle' } })
      await using busy = await pooler.connect({ parameters: { application_name: 'busy' } })
      await busy.ask(query('begin'))
      await using admin = await pooler.console()
      await pooler.newLog()
      for (const [name, client] of [
        ['idle', idle],
        ['busy', busy],
      ] as const) {
        const row = (await pooler.rows('SHOW CLIENTS')).find((one) => one.application_name === name)
        answers[`${name}, command`] = await admin.ask(query(`KILL_CLIENT ${row?.id}`))
        answers[name] = await client.toTheEnd()
      }
      const log = await pooler.newLog()
      answers.clients = reasons(log, 'C')
      await eventually(async () => (await pooler.rows('SHOW SERVERS')).every((row) => row.state === 'idle'))
      return answers
    },
  },
  {
    name: 'KILL of everything',
    since: '1.26',
    async play(pooler) {
      await using client = await pooler.connect()
      await client.ask(query('begin'))
      await using admin = await pooler.console()
      const answers: Answers = { command: await admin.ask(query('KILL')) }
      answers.client = await client.toTheEnd()
      answers.databases = (await pooler.rows('SHOW DATABASES')).map((row) => `${row.name} ${row.paused}`)
      return answers
    },
  },
  {
    name: 'ages and idle times of servers',
    ini: {
      databases: {
        app: 'dbname=postgres user=trust_user',
        brief: 'dbname=postgres user=trust_user',
      },
      pgbouncer: { server_idle_timeout: 1 },
    },
    async play(pooler) {
      await using client = await pooler.connect()
      await client.ask(query('select 1'))
      await pooler.newLog()
      await eventually(async () => (await pooler.rows('SHOW SERVERS')).length === 0)
      const answers: Answers = { idle: reasons(await pooler.newLog(), 'S') }
      await using admin = await pooler.console()
      await admin.ask(query('SET server_lifetime = 0'))
      await pooler.newLog()
      await client.ask(query('select 1'))
      await eventually(async () => (await pooler.rows('SHOW SERVERS')).length === 0)
      answers.lifetime = reasons(await pooler.newLog(), 'S')
      return answers
    },
  },
  {
    name: 'servers that make room',
    since: '1.26',
    ini: {
      databases: { app: 'dbname=postgres max_db_connections=1' },
      secrets: { trust_user: '', postgres: 'postgres' },
    },
    async play(pooler) {
      await using one = await pooler.connect()
      await one.ask(query('select 1'))
      await pooler.newLog()
      await using two = await pooler.connect({ user: 'postgres' })
      await two.ask(query('select 1'))
      return { reasons: reasons(await pooler.newLog(), 'S') }
    },
  },
  {
    name: 'servers that are ended from elsewhere',
    async play(pooler) {
      await using client = await pooler.connect()
      await client.ask(query('select 1'))
      await pooler.newLog()
      const [pid] = (await pooler.rows('SHOW SERVERS')).map((row) => Number(row.remote_pid))
      await ask(`select pg_terminate_backend(${pid})`)
      await eventually(async () => (await pooler.rows('SHOW SERVERS')).length === 0)
      return { reasons: reasons(await pooler.newLog(), 'S'), goesOn: await client.ask(query('select 1')) }
    },
  },
  {
    name: 'the line of statistics',
    ini: { pgbouncer: { stats_period: 1 } },
    async play(pooler) {
      await pooler.logs('stats: ')
      const line = pooler.running.lines().find((one) => one.includes('stats: ')) ?? ''
      return { log: [line.replace(/\d+/g, 'N')] }
    },
  },
  {
    name: 'databases made up by *',
    ini: { databases: { '*': 'user=trust_user pool_size=3', app: 'dbname=postgres user=trust_user' } },
    async play(pooler) {
      const answers: Answers = {}
      await pooler.newLog()
      answers.known = await pooler.login({ database: 'postgres' })
      answers['known, log'] = await pooler.newLog()
      answers.missing = await pooler.login({ database: 'no_such_database' })
      answers['a name of 63 bytes'] = (await pooler.login({ database: 'd'.repeat(63) })).replace(/d{60,}/g, 'd')
      answers['a name of 64 bytes'] = (await pooler.login({ database: 'd'.repeat(64) })).replace(/d{60,}/g, 'd')
      answers.reserved = await pooler.login({ database: 'pgbouncer' })
      const rows = await pooler.rows('SHOW DATABASES')
      answers.databases = rows.map((row) =>
        [row.name!.replace(/d{60,}/, 'd'), row.database!.replace(/d{60,}/, 'd'), row.force_user, row.pool_size].join(),
      )
      await using admin = await pooler.console()
      answers.paused = await admin.ask(query('PAUSE made_up'))
      answers.resumed = await admin.ask(query('RESUME made_up'))
      return answers
    },
  },
  {
    name: 'a file of users with mistakes',
    ini: { pgbouncer: { auth_type: 'plain' } },
    async play(pooler) {
      const answers: Answers = {}
      const login = (user: string, password: string) => pooler.login({ user, password })
      const files = {
        'comments and more words': ';"ghost" "x"\n"admin" "admin" more words\n"plain" "one"\n',
        'quotes doubled': '"admin" "admin"\n"pl""ain" "o""ne"\n"plain" "one"\n',
        'blank lines': '"admin" "admin"\n\n  \n"plain" "one"\n',
        'a line that is none': '"admin" "admin"\n"plain" "one"\nnonsense\n"late" "two"\n',
        'an empty secret': '"admin" "admin"\n"plain" ""\n"late" "two"\n',
        'one without secret': '"admin" "admin"\n"late" "two"\n"plain"\n',
      }
      for (const [name, text] of Object.entries(files)) {
        writeFileSync(pooler.file('userlist.txt'), text)
        await pooler.newLog()
        await pooler.reload()
        answers[`${name}, plain`] = await login('plain', 'one')
        answers[`${name}, late`] = await login('late', 'two')
        answers[`${name}, quoted`] = await login('pl"ain', 'o"ne')
        answers[`${name}, ghost`] = await login('ghost', 'x')
      }
      return answers
    },
  },
  {
    name: 'HBA',
    since: '1.24',
    async play(pooler) {
      const answers: Answers = {}
      const rules = {
        'no line': '',
        reject: 'host all plain 127.0.0.1/32 reject\nhost all all 0.0.0.0/0 trust\n',
        'by database': 'host nowhere all 0.0.0.0/0 trust\nhost app all 0.0.0.0/0 password\n',
        'by user': 'host all "plain" 0.0.0.0/0 md5\n',
        'by address': 'host all all 10.0.0.0/8 trust\nhost all all 127.0.0.0 255.0.0.0 scram-sha-256\n',
        'for TLS only': 'hostssl all all 0.0.0.0/0 trust\n',
        'without TLS only': 'hostnossl all all 0.0.0.0/0 trust\n',
        'sockets only': 'local all all trust\n',
        'a mistake, then a line that fits': 'host all all nonsense trust\nhost all all all trust\n',
        'a method that is none': 'host all all all nonsense\nhost all all all md5\n',
      }
      pooler.write({ pgbouncer: { auth_type: 'hba', auth_hba_file: pooler.file('hba.conf') } })
      for (const [name, text] of Object.entries(rules)) {
        writeFileSync(pooler.file('hba.conf'), `host pgbouncer admin 127.0.0.1/32 trust\n${text}`)
        await pooler.reload()
        answers[`${name}: plain`] = await pooler.login({ user: 'plain', password: 'secret' })
        answers[`${name}: wrong password`] = await pooler.login({ user: 'plain', password: 'wrong' })
      }
      return answers
    },
  },
  {
    name: 'search_path goes with its client',
    since: '1.26',
    ini: { pgbouncer: { default_pool_size: 1 } },
    async play(pooler) {
      const shown = query("select current_setting('search_path'), current_setting('default_transaction_read_only')")
      await using one = await pooler.connect({ parameters: { search_path: 'pg_catalog' } })
      await using two = await pooler.connect({ parameters: { options: '-c default_transaction_read_only=on' } })
      await using three = await pooler.connect()
      const answers: Answers = { 'given at login': await one.ask(shown), 'in options': await two.ask(shown) }
      answers.another = await three.ask(shown)
      await three.ask(query('set search_path = a, "B"'))
      answers['another again'] = await one.ask(shown)
      answers['set later'] = await three.ask(shown)
      answers.reported = [one, three].map((client) => client.reported.get('search_path') ?? '')
      return answers
    },
  },
]
