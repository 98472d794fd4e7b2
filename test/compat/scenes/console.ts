// The commands of the console: tags, notices, errors, rights; and the columns of every SHOW.

import { eventually } from '../../harness/pooler.js'
import { cancel, query, type RawClient } from '../../harness/raw-client.js'
import type { RunningProgram } from '../program.js'
import type { Answers, Scene } from '../scene.js'

async function commands(client: RawClient, texts: readonly string[], pooler: RunningProgram): Promise<Answers> {
  const answers: Answers = {}
  for (const text of texts) {
    const name = answers[text] === undefined ? text : `${text} again`
    answers[name] = (await client.ask(query(text))).map((line) => pooler.neutral(line))
  }
  return answers
}

const shows = [
  'ACTIVE_SOCKETS',
  'CLIENTS',
  'CONFIG',
  'DATABASES',
  'DNS_HOSTS',
  'DNS_ZONES',
  'LISTS',
  'MEM',
  'PEERS',
  'PEER_POOLS',
  'POOLS',
  'SERVERS',
  'SOCKETS',
  'STATE',
  'STATS',
  'STATS_TOTALS',
  'STATS_AVERAGES',
  'TOTALS',
  'USERS',
  'VERSION',
] as const

/** Type of each column as told in a RowDescription. */
function columnTypes(body: Buffer): string[] {
  const columns: string[] = []
  let at = 2
  for (let n = 0; n < body.readInt16BE(0); n++) {
    const end = body.indexOf(0, at)
    const rest = body.subarray(end + 1, end + 19)
    const facts = [
      rest.readInt32BE(0),
      rest.readInt16BE(4),
      rest.readInt32BE(6),
      rest.readInt32BE(12),
      rest.readInt16BE(16),
    ]
    columns.push(
      `${body.toString('utf8', at, end)} table=${facts[0]}.${facts[1]} type=${facts[2]} typmod=${facts[3]} format=${facts[4]}`,
    )
    at = end + 19
  }
  return columns
}

/** The cells of a SHOW, one answer a column, each row by its key. */
function byColumn(
  show: string,
  rows: readonly Record<string, string>[],
  key: (row: Record<string, string>) => string,
): Answers {
  const columns = new Set(rows.flatMap((row) => Object.keys(row)))
  return Object.fromEntries(
    [...columns].map((column) => [`${show}.${column}`, rows.map((row) => `${key(row)}: ${row[column]}`)]),
  )
}

export const consoleScenes: readonly Scene[] = [
  {
    name: 'columns',
    async play(pooler) {
      await using client = await pooler.console()
      const answers: Answers = {}
      for (const show of shows) {
        client.send(query(`SHOW ${show}`))
        const first = await client.line()
        answers[`SHOW ${show}`] = first.startsWith('T ') ? columnTypes(client.latestBody) : first
        answers[`SHOW ${show}, end`] = (await client.answer()).slice(-2)
      }
      return answers
    },
  },
  {
    name: 'commands',
    ini: { databases: { app: 'dbname=postgres user=trust_user', spare: 'dbname=postgres user=trust_user' } },
    async play(pooler) {
      await using client = await pooler.console()
      const answers = await commands(
        client,
        [
          'SHOW VERSION',
          'show version;',
          'select version',
          'SHOW',
          'SHOW nonsense',
          'nonsense',
          '',
          ';',
          'SHOW HELP',
          'SHOW FDS extra',
          'show client_encoding',
          'show default_transaction_isolation',
          'show standard_conforming_strings',
          'show datestyle',
          'show timezone',
          "set client_encoding = 'UTF8'",
          "set datestyle to 'ISO'",
          'set timezone = utc',
          'SET default_pool_size = 5',
          "SET query_timeout = '2.5'",
          'SET nonsense = 1',
          'SET default_pool_size = many',
          'SET listen_port = 1',
          'SET',
          "SET server_reset_query = ''",
          'PAUSE app',
          'PAUSE app',
          'RESUME app',
          'RESUME app',
          'RESUME',
          'PAUSE nowhere',
          'PAUSE pgbouncer',
          'RESUME nowhere',
          'RESUME pgbouncer',
          'PAUSE',
          'PAUSE',
          'PAUSE app',
          'SUSPEND',
          'KILL app',
          'RESUME',
          'RESUME',
          'DISABLE app',
          'ENABLE app',
          'DISABLE',
          'ENABLE',
          'DISABLE nowhere',
          'ENABLE nowhere',
          'DISABLE pgbouncer',
          'ENABLE pgbouncer',
          'KILL spare',
          'RESUME spare',
          'KILL nowhere',
          'KILL pgbouncer',
          'RECONNECT',
          'RECONNECT app',
          'RECONNECT nowhere',
          'RECONNECT pgbouncer',
          'WAIT_CLOSE',
          'WAIT_CLOSE app',
          'WAIT_CLOSE nowhere',
          'WAIT_CLOSE pgbouncer',
          'KILL_CLIENT',
          'KILL_CLIENT 999999',
          'KILL_CLIENT x',
          'RELOAD',
          'RELOAD now',
          'SUSPEND now',
          'SHUTDOWN now',
          'PAUSE "app"',
          'RESUME "app"',
          'pause app ;',
          'resume app;  ',
          'SHOW VERSION; SHOW VERSION',
          'PAUSE app extra',
          `PAUSE ${'x'.repeat(64)}`,
          `SHOW ${'x'.repeat(64)}`,
          `SET server_check_query = '${'x'.repeat(256)}'`,
          'BEGIN',
          'COMMIT',
          'SELECT 1',
        ],
        pooler,
      )
      return answers
    },
  },
  {
    name: 'commands in the log',
    async play(pooler) {
      await using client = await pooler.console()
      await pooler.newLog()
      for (const text of [
        'PAUSE app',
        'RESUME app',
        'PAUSE',
        'RESUME',
        'DISABLE app',
        'ENABLE app',
        'RECONNECT',
        'RELOAD',
      ]) {
        await client.ask(query(text))
      }
      await client.ask(query('SHOW nonsense'))
      return { log: await pooler.newLog() }
    },
  },
  {
    name: 'rights',
    async play(pooler) {
      await using client = await pooler.console('stats')
      return {
        ...(await commands(
          client,
          [
            'SHOW VERSION',
            'SHOW FDS',
            'SET default_pool_size = 5',
            'PAUSE',
            'RESUME',
            'RELOAD',
            'KILL',
            'KILL_CLIENT 1',
            'RECONNECT',
            'DISABLE app',
            'ENABLE app',
            'SUSPEND',
            'SHUTDOWN',
            'WAIT_CLOSE',
            'nonsense',
            'PAUSE nowhere',
            'DISABLE',
            "set datestyle = 'ISO'",
          ],
          pooler,
        )),
        'another user': await pooler.login({ user: 'plain', database: 'pgbouncer' }),
        'an unknown user': await pooler.login({ user: 'nobody', database: 'pgbouncer' }),
      }
    },
  },
  {
    name: 'welcome',
    async play(pooler) {
      await using client = await pooler.console()
      return { parameters: [...client.reported].map((pair) => pair.join('=')) }
    },
  },
  {
    name: 'rows at rest',
    ini: {
      databases: {
        app: 'dbname=postgres user=trust_user pool_size=3 min_pool_size=0 reserve_pool=1 max_db_connections=7 pool_mode=session',
        zoo: 'dbname=postgres',
        app2: 'dbname=template1',
      },
      users: { plain: 'pool_mode=session max_user_connections=4' },
    },
    async play(pooler) {
      return {
        ...byColumn('DATABASES', withoutTimes(pooler, await pooler.rows('SHOW DATABASES')), (row) => row.name!),
        ...byColumn('POOLS', await pooler.rows('SHOW POOLS'), (row) => `${row.database}/${row.user}`),
        ...byColumn('USERS', await pooler.rows('SHOW USERS'), (row) => row.name!),
        ...byColumn('LISTS', await pooler.rows('SHOW LISTS'), (row) => row.list!),
        ...byColumn('CLIENTS', withoutTimes(pooler, await pooler.rows('SHOW CLIENTS')), (row) => row.type!),
        'STATS rows': (await pooler.rows('SHOW STATS')).map((row) => row.database!),
        ...Object.fromEntries(
          (await pooler.rows('SHOW CONFIG')).map((row) => [
            `CONFIG ${row.key}`,
            pooler.neutral(`${row.value} | ${row.default} | ${row.changeable}`.replace(String(pooler.port), 'PORT')),
          ]),
        ),
      }
    },
  },
  {
    name: 'rows at work',
    ini: { pgbouncer: { default_pool_size: 1 } },
    async play(pooler) {
      await using idle = await pooler.connect({ parameters: { application_name: 'idler' } })
      await idle.ask(query('select 1'))
      await using busy = await pooler.connect({ parameters: { application_name: 'worker' } })
      await busy.ask(query('begin'))
      await using waiting = await pooler.connect({ parameters: { application_name: 'waiter' } })
      waiting.send(query('select 2'))
      await pooler.until('SHOW POOLS', (row) => row.cl_waiting === '1')
      const clients = await pooler.rows('SHOW CLIENTS')
      const servers = await pooler.rows('SHOW SERVERS')
      const ptrs = new Map([...clients, ...servers].map((row) => [row.ptr!, row.application_name!]))
      const linked = (rows: Record<string, string>[]) =>
        rows.map((row) => ({ ...row, link: ptrs.get(row.link!) ?? row.link! }))
      const name = (row: Record<string, string>) => row.application_name!
      const sorted = (rows: Record<string, string>[]) => [...rows].sort((a, b) => (name(a) < name(b) ? -1 : 1))
      const answers = {
        ...byColumn('CLIENTS', withoutTimes(pooler, sorted(linked(clients))), name),
        ...byColumn('SERVERS', withoutTimes(pooler, sorted(linked(servers))), name),
        ...byColumn(
          'POOLS',
          withoutTimes(pooler, await pooler.rows('SHOW POOLS')),
          (row) => `${row.database}/${row.user}`,
        ),
        ...byColumn('DATABASES', withoutTimes(pooler, await pooler.rows('SHOW DATABASES')), (row) => row.name!),
        ...byColumn('LISTS', await pooler.rows('SHOW LISTS'), (row) => row.list!),
        'SOCKETS states': (await pooler.rows('SHOW SOCKETS')).map((row) => `${row.database} ${row.state}`).sort(),
      }
      await busy.ask(query('commit'))
      await waiting.answer()
      return {
        ...answers,
        ...byColumn(
          'after: POOLS',
          withoutTimes(pooler, await pooler.rows('SHOW POOLS')),
          (row) => `${row.database}/${row.user}`,
        ),
        ...byColumn(
          'STATS',
          withoutTimes(
            pooler,
            (await pooler.rows('SHOW STATS')).filter((row) => row.database === 'app'),
          ),
          (row) => row.database!,
        ),
      }
    },
  },
  {
    name: 'PAUSE waits',
    async play(pooler) {
      await using busy = await pooler.connect()
      await busy.ask(query('begin'))
      await using admin = await pooler.console()
      const answers: Answers = {}
      admin.send(query('PAUSE'))
      await using other = await pooler.console()
      answers.meanwhile = await other.ask(query('PAUSE'))
      answers.unanswered = admin.unread
      await using late = await pooler.connect()
      late.send(query('select 1'))
      await pooler.until('SHOW POOLS', (row) => row.database === 'app' && row.cl_waiting === '1')
      answers['in the transaction'] = await busy.ask(query('select 1'))
      await busy.ask(query('commit'))
      answers.paused = await admin.answer()
      answers.servers = (await pooler.rows('SHOW SERVERS')).map((row) => row.state!)
      answers.resumed = await admin.ask(query('RESUME'))
      answers['who waited'] = await late.answer()
      return answers
    },
  },
  {
    name: 'PAUSE cancelled',
    async play(pooler) {
      await using busy = await pooler.connect()
      await busy.ask(query('begin'))
      await using admin = await pooler.console()
      admin.send(query('PAUSE'))
      await eventually(async () => {
        await using other = await pooler.console()
        return (await other.ask(query('PAUSE'))).some((line) => line.includes('already'))
      })
      await cancel(pooler.port, admin.key)
      await using other = await pooler.connect()
      const answers: Answers = { 'goes on': await other.ask(query('select 1')) }
      answers.cancelled = [...admin.unread]
      return answers
    },
  },
  {
    name: 'KILL, DISABLE, KILL_CLIENT',
    ini: { databases: { app: 'dbname=postgres user=trust_user', spare: 'dbname=postgres user=trust_user' } },
    async play(pooler) {
      const answers: Answers = {}
      await using admin = await pooler.console()
      await using stays = await pooler.connect({ database: 'spare' })
      await using client = await pooler.connect()
      await client.ask(query('select 1'))
      await admin.ask(query('DISABLE app'))
      answers['login while disabled'] = await pooler.login({})
      answers['client while disabled'] = await client.ask(query('select 1'))
      await admin.ask(query('ENABLE app'))
      await pooler.newLog()
      await admin.ask(query('KILL app'))
      answers.killed = await client.toTheEnd()
      answers['killed, log'] = await pooler.newLog()
      answers['other database'] = await stays.ask(query('select 1'))
      answers['after KILL'] = withoutTimes(pooler, await pooler.rows('SHOW DATABASES')).map(
        (row) => `${row.name} ${row.paused}`,
      )
      await admin.ask(query('RESUME app'))
      answers['after RESUME'] = await pooler.login({})
      return answers
    },
  },
]

const varying = /time|^port$|^local_port$|^wait|^maxwait|^remote_pid$|^id$|^avg_|total_(received|sent)/

/** Cells that differ from run to run are told by their kind. */
function withoutTimes(pooler: RunningProgram, rows: readonly Record<string, string>[]): Record<string, string>[] {
  return rows.map((row) =>
    Object.fromEntries(Object.entries(row).map(([column, cell]) => [column, pooler.neutral(kindOf(column, cell))])),
  )
}

function kindOf(column: string, cell: string): string {
  if (/^(ptr|link)$/.test(column) && cell.startsWith('0x')) return 'PTR'
  return varying.test(column) ? cell.replace(/[1-9]\d*/g, '9').replace(/\d{2,}/g, '9') : cell
}
