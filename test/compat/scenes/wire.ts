// What clients that are logged in may send: cancels, packets that are too big or broken, COPY, prepared statements, modes.

import {
  bind,
  cancel,
  close,
  copyData,
  copyDone,
  copyFail,
  describe,
  execute,
  message,
  parse,
  password,
  query,
  type RawClient,
  startup,
  sync,
} from '../../harness/raw-client.js'
import type { RunningProgram } from '../program.js'
import type { Answers, Scene } from '../scene.js'

/** What a client of its own is told for some bytes, to the end. */
async function broken(pooler: RunningProgram, ...bytes: Buffer[]): Promise<string[]> {
  await using client = await pooler.connect()
  await client.ask(query('select 1'))
  client.send(...bytes)
  client.stream.end()
  return await client.toTheEnd()
}

/** Answers to exchanges, each ended by a Sync; the last may end the connection. */
async function exchanges(client: RawClient, parts: Readonly<Record<string, Buffer>>): Promise<Answers> {
  const answers: Answers = {}
  for (const [name, bytes] of Object.entries(parts)) {
    client.send(bytes, sync)
    const lines: string[] = []
    for (;;) {
      const line = await client.line().catch(() => 'closed')
      lines.push(line)
      if (line === 'closed' || line.startsWith('Z ')) break
    }
    answers[name] = lines
    if (lines.at(-1) === 'closed') break
  }
  return answers
}

const waitingIn = (pooler: RunningProgram, count: number) =>
  pooler.until('SHOW POOLS', (row) => row.database === 'app' && row.cl_waiting === String(count))

export const wireScenes: readonly Scene[] = [
  {
    name: 'cancel',
    ini: { pgbouncer: { default_pool_size: 1 } },
    async play(pooler) {
      const answers: Answers = {}
      await using client = await pooler.connect()
      await client.ask(query('select 1'))
      await pooler.newLog()
      client.send(query('select pg_sleep(60)'))
      await pooler.until('SHOW POOLS', (row) => row.database === 'app' && row.sv_active === '1')
      await using direct = await pooler.connect({ user: 'admin', database: 'pgbouncer' })
      answers.other = await direct.ask(query('SHOW nonsense'))
      await cancel(pooler.port, client.key)
      answers.running = await client.answer()
      answers['running, log'] = (await pooler.newLog()).filter((line) => /cancel/.test(line))
      await cancel(pooler.port, { ...client.key, secret: Buffer.from([1, 2, 3, 4]) })
      answers['wrong key, log'] = (await pooler.newLog()).filter((line) => /cancel/.test(line))
      answers.stays = await client.ask(query('select 1'))
      await cancel(pooler.port, client.key)
      answers['idle, log'] = (await pooler.newLog()).filter((line) => /cancel/.test(line))
      answers['after it'] = await client.ask(query('select 1'))
      return answers
    },
  },
  {
    name: 'cancel while waiting',
    ini: { pgbouncer: { default_pool_size: 1 } },
    async play(pooler) {
      await using holder = await pooler.connect()
      await holder.ask(query('begin'))
      await using waiting = await pooler.connect()
      waiting.send(query('select 1'))
      await waitingIn(pooler, 1)
      await cancel(pooler.port, waiting.key)
      await holder.ask(query('commit'))
      return { told: await waiting.answer() }
    },
  },
  {
    name: 'packets that are broken',
    since: '1.24',
    ini: { pgbouncer: { max_packet_size: 20000 } },
    async play(pooler) {
      const answers: Answers = {}
      const packets: Record<string, Buffer> = {
        'a query of 30000 bytes': query(`select ${' '.repeat(30000)} 1`),
        'a length of 2^31 - 1': Buffer.from([0x51, 0x7f, 0xff, 0xff, 0xff, 0x41]),
        'a length below 0': Buffer.from([0x51, 0xff, 0xff, 0xff, 0xff, 0x41]),
        'a length of 3': Buffer.from([0x51, 0, 0, 0, 3]),
        'an unknown code': message('y'),
        'a code of a server': message('Z', Buffer.from('I')),
        'a startup packet': startup({ user: 'x' }),
        'a password': password('x'),
        'a Parse without names': message('P'),
        'a Bind without names': message('B', Buffer.from('abc')),
        'a Describe of nothing': message('D'),
        'a Close of nothing': message('C'),
        'half a message': Buffer.from([0x51, 0, 0, 0, 50, 0x41]),
      }
      for (const [name, bytes] of Object.entries(packets)) {
        await pooler.newLog()
        answers[name] = await broken(pooler, bytes)
        answers[`${name}, log`] = (await pooler.newLog()).filter((line) => / C-PTR.*(closing|pooler error)/.test(line))
      }
      await using client = await pooler.connect()
      answers['a Describe of another kind'] = await client.ask(message('D', Buffer.from('Xa\0')), sync)
      const large = await exchanges(client, { large: query("select repeat('x', 30000)") })
      answers['an answer of 30000 bytes'] = (large.large as string[]).map((line) => line.slice(0, 60))
      return answers
    },
  },
  {
    name: 'COPY',
    async play(pooler) {
      await using client = await pooler.connect()
      const answers: Answers = {}
      answers.out = await client.ask(query('copy (values (1), (2)) to stdout'))
      await client.ask(query('begin; create temporary table target (a int)'))
      client.send(query('copy target from stdin'))
      answers.in = [await client.line()]
      answers.done = await client.ask(copyData('1\n2\n'), copyDone)
      client.send(query('copy target from stdin'))
      await client.line()
      answers.failed = await client.ask(copyFail('no more'))
      answers.rolledBack = await client.ask(query('rollback'))
      answers['copy data out of turn'] = await client.ask(copyData('1\n'), copyDone, query('select 1'))
      return answers
    },
  },
  {
    name: 'prepared statements that are wrong',
    since: '1.21',
    ini: { pgbouncer: { max_prepared_statements: 10 } },
    async play(pooler) {
      const answers: Answers = {}
      const scenes: Record<string, Record<string, Buffer>> = {
        'a name twice': { first: parse('select 1', 'a'), second: parse('select 2', 'a') },
        'a name that is unknown, bound': { first: bind([], 'unknown') },
        'a name that is unknown, described': { first: describe('S', 'unknown') },
        'a name that is closed': { first: parse('select 1', 'a'), second: close('S', 'a'), third: bind([], 'a') },
        'a statement that is wrong': {
          first: parse('select nonsense', 'a'),
          again: parse('select 1', 'a'),
          run: Buffer.concat([bind([], 'a'), execute()]),
        },
        'DEALLOCATE ALL': {
          first: parse('select 1', 'a'),
          second: Buffer.concat([parse('deallocate all'), bind(), execute()]),
          third: parse('select 2', 'a'),
        },
      }
      for (const [name, parts] of Object.entries(scenes)) {
        await using client = await pooler.connect()
        const told = await exchanges(client, parts)
        for (const [part, lines] of Object.entries(told)) answers[`${name}: ${part}`] = lines
      }
      return answers
    },
  },
  {
    name: 'prepared statements on other servers',
    since: '1.21',
    ini: { pgbouncer: { default_pool_size: 2, max_prepared_statements: 2 } },
    async play(pooler) {
      await using one = await pooler.connect()
      await using two = await pooler.connect()
      const answers: Answers = { prepared: await one.ask(parse('select $1::int', 'a'), sync) }
      await two.ask(query('begin'))
      answers['on its server'] = await one.ask(bind(['7'], 'a'), execute(), sync)
      await two.ask(query('commit'))
      await two.ask(parse('select $1::int', 'b'), sync)
      answers['of the other'] = await two.ask(bind(['8'], 'b'), execute(), sync)
      answers.more = await two.ask(parse('select 1', 'c'), parse('select 2', 'd'), parse('select 3', 'e'), sync)
      answers['after it was pushed out'] = await one.ask(bind(['9'], 'a'), describe('P'), execute(), sync)
      const clients = await pooler.rows('SHOW CLIENTS')
      answers.counted = clients
        .filter((row) => row.user === 'trust_user')
        .map((row) => row.prepared_statements!)
        .sort()
      const servers = await pooler.rows('SHOW SERVERS')
      answers['counted at servers'] = String(servers.every((row) => Number(row.prepared_statements) <= 2))
      return answers
    },
  },
  {
    name: 'prepared statements switched off',
    since: '1.21',
    ini: { pgbouncer: { max_prepared_statements: 0 } },
    async play(pooler) {
      await using client = await pooler.connect()
      return {
        prepared: await client.ask(parse('select 1', 'a'), sync),
        run: await client.ask(bind([], 'a'), execute(), sync),
      }
    },
  },
  {
    name: 'statement mode refuses',
    ini: { pgbouncer: { pool_mode: 'statement' } },
    async play(pooler) {
      const answers: Answers = {}
      for (const text of ['begin', 'begin; commit', 'select 1; select 2', 'start transaction', 'commit']) {
        await using client = await pooler.connect()
        await pooler.newLog()
        answers[text] = Object.values(await exchanges(client, { text: query(text) })).flat()
        client.send(message('X'))
        await client.toTheEnd()
        answers[`${text}, log`] = (await pooler.newLog()).filter((line) => / C-PTR/.test(line))
      }
      await using client = await pooler.connect()
      answers['by the extended protocol'] = Object.values(
        await exchanges(client, { begin: Buffer.concat([parse('begin'), bind(), execute()]) }),
      ).flat()
      return answers
    },
  },
  {
    name: 'pipelines',
    async play(pooler) {
      await using client = await pooler.connect()
      const one = Buffer.concat([parse('select 1'), bind(), execute(), sync])
      const wrong = Buffer.concat([parse('select 1/0'), bind(), execute(), execute(), sync])
      client.send(one, wrong, one, query('select 2'), one)
      return { answers: await client.answer(5) }
    },
  },
  {
    name: 'the notice of the queue',
    ini: { pgbouncer: { default_pool_size: 1, query_wait_notify: 1 } },
    since: '1.25',
    async play(pooler) {
      await using holder = await pooler.connect()
      await holder.ask(query('begin'))
      await using waiting = await pooler.connect()
      waiting.send(query('select 1'))
      const notice = await waiting.line()
      await holder.ask(query('commit'))
      return { notice, answer: await waiting.answer() }
    },
  },
  {
    name: 'time-outs of users',
    since: '1.25',
    ini: {
      pgbouncer: { default_pool_size: 5 },
      databases: { app: 'dbname=postgres' },
      secrets: { trust_user: '' },
      users: { trust_user: 'query_timeout=1 client_idle_timeout=2' },
    },
    async play(pooler) {
      await using client = await pooler.connect()
      client.send(query('select pg_sleep(30)'))
      await using idle = await pooler.connect()
      return { query: await client.toTheEnd(), idle: await idle.toTheEnd() }
    },
  },
  {
    name: 'query_timeout while waiting',
    ini: { pgbouncer: { default_pool_size: 1, query_timeout: 1 } },
    async play(pooler) {
      await using holder = await pooler.connect()
      await holder.ask(query('begin'))
      await using waiting = await pooler.connect()
      waiting.send(query('select 1'))
      return { waiting: await waiting.toTheEnd() }
    },
  },
  {
    name: 'idle clients in session mode',
    ini: { pgbouncer: { pool_mode: 'session', client_idle_timeout: 1 } },
    async play(pooler) {
      await using fresh = await pooler.connect()
      return { 'without a server': await fresh.toTheEnd() }
    },
  },
]
