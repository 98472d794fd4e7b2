// What clients see of the pooling: modes, parameters, the queue, time-outs, and servers that fail.

import { statSync } from 'node:fs'
import { FakeBackend } from '../../harness/fake-backend.js'
import { bind, close, describe, execute, parse, query, RawClient, startup, sync } from '../../harness/raw-client.js'
import type { Ini, RunningProgram } from '../program.js'
import type { Answers, Scene } from '../scene.js'

const backendPid = query('select pg_backend_pid()')

/** Which of the servers seen so far answered: `server 1`, `server 2`. */
function naming() {
  const seen: string[] = []
  return (lines: readonly string[]): string => {
    const pid = lines.find((line) => line.startsWith('D ')) ?? ''
    if (!seen.includes(pid)) seen.push(pid)
    return `server ${seen.indexOf(pid) + 1}`
  }
}

const modes: readonly Scene[] = (['session', 'transaction', 'statement'] as const).map((mode) => ({
  name: `pool_mode ${mode}`,
  ini: { pgbouncer: { pool_mode: mode, default_pool_size: 2 } },
  async play(pooler) {
    const name = naming()
    const answers: Answers = {}
    await using one = await pooler.connect()
    await using two = await pooler.connect()
    answers.first = name(await one.ask(backendPid))
    answers.second = name(await two.ask(backendPid))
    answers['set and show'] = await one.ask(query("set application_name = 'set'; show application_name"))
    answers['seen by the other'] = await two.ask(query('show application_name'))
    answers.block = await one.ask(query('begin')).catch(String)
    answers['in it'] = await one.ask(query('select 1')).catch(String)
    answers['at its end'] = await one.ask(query('commit')).catch(String)
    answers.error = await two.ask(query('select 1/0'))
    answers.temporary = await two.ask(query('create temporary table mine (); select count(*) from mine'))
    await two.end()
    await using three = await pooler.connect()
    answers['left behind'] = await three.ask(
      query('select count(*) from pg_class where relname = $$mine$$ and relnamespace = pg_my_temp_schema()'),
    )
    answers.servers = (await pooler.rows('SHOW SERVERS')).map((row) => row.state!).sort()
    return answers
  },
}))

/** A client that waits behind one that holds the only server. */
async function queued(pooler: RunningProgram): Promise<Answers> {
  await using holder = await pooler.connect()
  await holder.ask(query('begin'))
  await pooler.newLog()
  await using waiting = await pooler.connect()
  waiting.send(query('select 1'))
  const told = await waiting.toTheEnd()
  return { told, holder: await holder.ask(query('commit')).catch(String), log: await pooler.newLog() }
}

/** What one client is told while it does something that takes too long. */
async function timedOut(pooler: RunningProgram, ...queries: string[]): Promise<Answers> {
  await using client = await pooler.connect()
  await pooler.newLog()
  for (const text of queries.slice(0, -1)) await client.ask(query(text))
  client.send(query(queries.at(-1)!))
  const told = await client.toTheEnd()
  return { told, log: await pooler.newLog() }
}

const one: Ini['pgbouncer'] = { default_pool_size: 1 }

export const queryScenes: readonly Scene[] = [
  ...modes,
  {
    name: 'parameters follow the client',
    ini: { pgbouncer: one },
    async play(pooler) {
      await using first = await pooler.connect({ parameters: { application_name: 'first', DateStyle: 'German, DMY' } })
      await using second = await pooler.connect({ parameters: { application_name: 'second' } })
      const what = query("select current_setting('application_name'), current_setting('datestyle'), date '2026-02-01'")
      return {
        reported: [...first.reported].filter(([name]) => name !== 'server_version').map((pair) => pair.join('=')),
        first: await first.ask(what),
        second: await second.ask(what),
        'first again': await first.ask(what),
      }
    },
  },
  {
    name: 'application_name_add_host',
    ini: { pgbouncer: { application_name_add_host: 1 } },
    async play(pooler) {
      await using named = await pooler.connect({ parameters: { application_name: 'named' } })
      await using unnamed = await pooler.connect()
      return {
        named: (await named.ask(query('show application_name'))).map((line) => pooler.neutral(line)),
        unnamed: (await unnamed.ask(query('show application_name'))).map((line) => pooler.neutral(line)),
      }
    },
  },
  {
    name: 'extended protocol',
    async play(pooler) {
      await using client = await pooler.connect()
      return {
        unnamed: await client.ask(parse('select $1::int + 1'), bind(['41']), describe('P'), execute(), sync),
        error: await client.ask(parse('select 1/0'), bind(), execute(), sync),
        'with limit': await client.ask(
          parse('select generate_series(1, 3)'),
          bind(),
          execute('', 2),
          execute('', 2),
          sync,
        ),
        closed: await client.ask(close('S', 'unknown'), sync),
        empty: await client.ask(parse(''), bind(), describe('P'), execute(), sync),
      }
    },
  },
  {
    name: 'prepared statements',
    since: '1.21',
    ini: { pgbouncer: { max_prepared_statements: 10 } },
    async play(pooler) {
      await using client = await pooler.connect()
      return {
        prepared: await client.ask(parse('select 1', 'a'), describe('S', 'a'), sync),
        run: await client.ask(bind([], 'a'), execute(), sync),
        closed: await client.ask(close('S', 'a'), sync),
      }
    },
  },
  {
    name: 'query_wait_timeout',
    ini: { pgbouncer: { ...one, query_wait_timeout: 1 } },
    play: queued,
  },
  {
    name: 'query_timeout',
    ini: { pgbouncer: { query_timeout: 1 } },
    play: (pooler) => timedOut(pooler, 'select pg_sleep(30)'),
  },
  {
    name: 'idle_transaction_timeout',
    ini: { pgbouncer: { idle_transaction_timeout: 1 } },
    play: (pooler) => timedOut(pooler, 'begin'),
  },
  {
    name: 'transaction_timeout',
    since: '1.25',
    ini: { pgbouncer: { transaction_timeout: 1 } },
    play: (pooler) => timedOut(pooler, 'begin'),
  },
  {
    name: 'client_idle_timeout',
    ini: { pgbouncer: { client_idle_timeout: 1 } },
    play: (pooler) => timedOut(pooler, 'select 1'),
  },
  {
    name: 'client_login_timeout',
    ini: { pgbouncer: { client_login_timeout: 1, auth_type: 'plain' } },
    async play(pooler) {
      await using client = await RawClient.open(pooler.port)
      client.send(startup({ user: 'plain', database: 'app' }))
      return { told: await client.toTheEnd(), log: await pooler.newLog() }
    },
  },
  {
    name: 'servers that cannot be had',
    ini: {
      pgbouncer: { client_login_timeout: 2, server_login_retry: 30 },
      databases: {
        app: 'dbname=postgres user=trust_user',
        refused: 'host=127.0.0.1 port=1 dbname=postgres user=trust_user',
        missing: 'dbname=nowhere user=trust_user',
        denied: 'dbname=postgres user=scram_user password=wrong',
      },
    },
    async play(pooler) {
      const answers: Answers = {}
      for (const database of ['refused', 'missing', 'denied']) {
        answers[database] = await pooler.login({ database })
        answers[`${database} again`] = await pooler.login({ database })
      }
      return answers
    },
  },
  {
    name: 'servers that do not answer',
    since: '1.24',
    ini: {
      pgbouncer: { client_login_timeout: 10, server_connect_timeout: 1, server_login_retry: 1 },
      databases: {
        app: 'dbname=postgres user=trust_user',
        unknown: 'host=no-such-host.invalid dbname=postgres user=trust_user',
        absent: 'host=/nowhere port=1 dbname=postgres user=trust_user',
      },
    },
    async play(pooler) {
      await using silent = await FakeBackend.start(async () => {})
      const answers: Answers = {}
      pooler.write({
        databases: {
          app: 'dbname=postgres user=trust_user',
          unknown: 'host=no-such-host.invalid dbname=postgres user=trust_user',
          absent: 'host=/nowhere port=1 dbname=postgres user=trust_user',
          silent: `host=127.0.0.1 port=${silent.port} dbname=postgres user=trust_user`,
        },
      })
      await pooler.reload()
      for (const database of ['unknown', 'absent', 'silent']) {
        await pooler.newLog()
        answers[database] = await pooler.login({ database })
        answers[`${database}, log`] = (await pooler.newLog())
          .map((line) => line.replaceAll(`:${silent.port}`, ':SILENT'))
          .filter((line) => / C-PTR.*(closing|pooler error)|^WARNING/.test(line))
      }
      return answers
    },
  },
  {
    name: 'clients of a Unix socket',
    ini: { pgbouncer: { unix_socket_dir: 'DIR', unix_socket_mode: '0770' } },
    async play(pooler) {
      const { connect } = await import('node:net')
      const path = pooler.file(`.s.PGSQL.${pooler.port}`)
      await pooler.newLog()
      const neutral = (text: string) => text.replace(/unix\(\d+\)/, 'unix').replace(/:\d{4,5}\b/g, ':PORT')
      await using client = new RawClient(connect(path))
      await client.logIn({ parameters: { user: 'trust_user', database: 'app' } })
      await client.ask(query('select 1'))
      const row = (await pooler.rows('SHOW CLIENTS')).find((one) => one.database === 'app')
      await client.end()
      return {
        row: [row?.addr, row?.local_addr].join(),
        mode: (statSync(path).mode & 0o777).toString(8),
        log: (await pooler.newLog()).filter((line) => line.includes(' C-PTR: app')).map(neutral),
      }
    },
  },
  {
    name: 'clients of IPv6',
    ini: { pgbouncer: { listen_addr: '127.0.0.1, ::1' } },
    async play(pooler) {
      await pooler.newLog()
      await using client = await RawClient.open(pooler.port, '::1')
      await client.logIn({ parameters: { user: 'trust_user', database: 'app' } })
      const row = (await pooler.rows('SHOW CLIENTS')).find((one) => one.database === 'app')
      await client.end()
      const lines = await pooler.newLog()
      return {
        row: [row?.addr, row?.local_addr].join(),
        log: lines.filter((line) => line.includes(' C-PTR: app')).map((line) => line.replace(/\]:\d+/, ']:N')),
        listening: pooler.running.lines().flatMap((line) => /listening on \[.*\]/.exec(line) ?? []),
      }
    },
  },
  {
    name: 'texts that are long',
    async play(pooler) {
      const long = 'x'.repeat(300)
      const cut = (text: string) => text.replace(/x{50,}/g, 'x')
      await using admin = await pooler.console()
      return {
        parameter: cut(await pooler.login({ parameters: { [long]: '1' } })),
        command: (await admin.ask(query(`SHOW ${long}`))).map(cut),
      }
    },
  },
  {
    name: 'a server that ends',
    async play(pooler) {
      await using client = await pooler.connect()
      await using bystander = await pooler.connect()
      await bystander.ask(query('select 1'))
      await client.ask(query('begin'))
      await pooler.newLog()
      client.send(query('select pg_terminate_backend(pg_backend_pid())'))
      const answers: Answers = { told: await client.toTheEnd() }
      answers.log = await pooler.newLog()
      answers.bystander = await bystander.ask(query('select 1'))
      return answers
    },
  },
  {
    name: 'disable_pqexec',
    ini: { pgbouncer: { disable_pqexec: 1 } },
    async play(pooler) {
      await using client = await pooler.connect()
      const answers: Answers = { extended: await client.ask(parse('select 1'), bind(), execute(), sync) }
      client.send(query('select 1'))
      answers.simple = await client.toTheEnd()
      return answers
    },
  },
  {
    name: 'a client that leaves',
    async play(pooler) {
      const client = await pooler.connect()
      await client.ask(query('select 1'))
      await pooler.newLog()
      client.vanish()
      await pooler.until('SHOW POOLS', (row) => row.database === 'app' && row.cl_active === '0')
      return { log: (await pooler.newLog()).filter((line) => line.includes('trust_user')) }
    },
  },
  {
    name: 'unknown messages',
    async play(pooler) {
      await using client = await pooler.connect()
      await client.ask(query('select 1'))
      client.send(Buffer.from([0x79, 0, 0, 0, 4]))
      const answers: Answers = { told: await client.toTheEnd() }
      await using short = await pooler.connect()
      short.send(Buffer.from([0x51, 0, 0, 0, 2]))
      answers['length 2'] = await short.toTheEnd()
      return answers
    },
  },
]
