// server_lost = error: a client outlives its server. What it is told of its transaction is what PostgreSQL says of one that failed.

import { describe, expect, test } from 'vitest'
import { startPooler, type TestPooler } from '../harness/pooler.js'
import { query as ask, endBackends, postgres } from '../harness/postgres.js'
import {
  bind,
  close,
  copyData,
  copyDone,
  copyFail,
  describe as describing,
  execute,
  extended,
  flush,
  functionCall,
  parse,
  query,
  RawClient,
  sync,
} from '../harness/raw-client.js'

const user = 'trust_user'
const lost = 'E ERROR 40001 the transaction was lost with its server connection, nothing of it is committed'
const unknown =
  'E ERROR 08007 the server connection was lost, it is not known whether what was sent has been carried out'
const aborted = 'E ERROR 25P02 current transaction is aborted, commands ignored until end of transaction block'

const start = (settings: object = {}, mode = 'error'): Promise<TestPooler> =>
  startPooler(
    { default_pool_size: 2, server_login_retry: 0.05, ...settings },
    { databases: { '*': { ...postgres().primary, server_lost: mode } } },
  )

async function pidOf(client: RawClient): Promise<number> {
  const lines = await client.ask(query('select pg_backend_pid() as pid'))
  return Number(lines[1]!.slice(2))
}

/** Its server is ended, and the pooler has seen that. */
async function lose(pooler: TestPooler, pid: number): Promise<void> {
  await endBackends(`pid = ${pid}`)
  await pooler.until('SHOW POOLS', () => true)
  await pooler.settles(async () => (await pooler.show('servers')).every((row) => row.remote_pid !== pid))
}

/** A client whose transaction has lost its server, and knows nothing of it. */
async function inLostBlock(pooler: TestPooler, before = 'begin'): Promise<RawClient> {
  const client = await pooler.raw({ user })
  await client.ask(query(before))
  await lose(pooler, await pidOf(client))
  return client
}

async function direct(): Promise<RawClient> {
  const { port, host } = postgres().primary
  return RawClient.connect({ host, port, parameters: { user, database: 'postgres' } })
}

/** Whatever is in here is answered with as many ReadyForQuerys. */
const allScripts: readonly (readonly [name: string, ...messages: Buffer[]])[] = [
  ['a query', query('select 1')],
  ['no query', query(' -- nothing\n ; ')],
  ['commit', query('commit')],
  ['end work', query('END WORK;')],
  ['rollback', query('rollback')],
  ['abort transaction', query('abort transaction')],
  ['commit and no chain', query('commit and no chain')],
  ['prepare transaction', query("prepare transaction 'x'")],
  ['commit prepared', query("commit prepared 'x'")],
  ['rollback and chain, rollback', query('rollback and chain; rollback')],
  ['rollback, select', query('rollback; select 1 as x')],
  ['commit, two', query('commit; select 1 as x; select 2 as y')],
  ['rollback, an error', query('rollback; select 1/0')],
  ['rollback, commit', query('/* ; */ rollback /* ; */; begin; commit')],
  ['select, rollback', query('select 1; rollback')],
  ['begin', query('begin')],
  ['savepoint', query('savepoint s')],
  ['release', query('release s')],
  ['strings that look like it', query("select 'x; rollback'")],
  ['a function call', functionCall(1317, 'abc')],
  ['pipelined queries', query('select 1'), query('select 2'), query('rollback'), query('select 3 as x')],
  ['sync alone', sync],
  ['extended', extended('select 1'), sync],
  ['extended commit', extended('commit'), sync],
  ['extended rollback', extended('rollback'), sync],
  ['extended rollback, and more in the batch', extended('rollback'), extended('select 1 as x'), sync],
  ['extended rollback, and a query in the batch', extended('rollback'), query('select 1 as x'), sync],
  ['extended prepare transaction', extended("prepare transaction 'x'"), sync],
  ['extended begin', extended('begin'), sync],
  ['a statement described', parse('rollback', 'd1'), describing('S', 'd1'), sync, bind([], 'd1'), execute(), sync],
  ['a portal described', parse('commit'), bind([], '', 'p'), describing('P', 'p'), execute('p'), sync],
  ['an empty statement', parse(''), sync],
  ['an unnamed statement that failed', parse('select 1'), sync, bind(), execute(), sync],
  ['a name that is taken', parse('rollback', 'd2'), sync, parse('rollback', 'd2'), sync],
  ['a name that is not there', bind([], 'never'), sync],
  ['described, and not there', describing('S', 'never'), sync],
  ['closed', close('S', 'never'), close('P', 'never'), sync],
  ['closed, and named again', parse('rollback', 'd3'), close('S', 'd3'), bind([], 'd3'), sync],
  ['an error, and a batch that is passed over', extended('select 1'), extended('rollback'), query('rollback'), sync],
  ['two batches', extended('select 1'), sync, extended('rollback'), sync],
  ['flushed', parse('rollback', 'd4'), flush, sync],
  ['late copy data', copyData('1\n'), copyDone, copyFail('x'), query('select 1')],
  ['copy', query('copy pg_class to stdout')],
  ['kept after the block', parse('rollback', 'd5'), sync, query('rollback'), bind([], 'd5'), execute(), sync],
]

/** PostgreSQL 11 and older have no AND CHAIN: an error of syntax, which leaves the block as it is. */
const scriptsOf = (version: number) => allScripts.filter(([name]) => version >= 12 || !/ chain\b/.test(name))

/** How many ReadyForQuerys they bring about: a batch that is passed over has one. */
function readiesOf(name: string, messages: readonly Buffer[]): number {
  const codes = messages.flatMap((bytes) => {
    const found: string[] = []
    for (let at = 0; at < bytes.length; at += 1 + bytes.readInt32BE(at + 1)) found.push(String.fromCharCode(bytes[at]!))
    return found
  })
  return codes.filter((code) => 'QFS'.includes(code)).length - (name.includes('passed over') ? 1 : 0)
}

const theEnd = query("select 'the end' as mark")

/** A client of PostgreSQL itself, whose transaction has failed. */
async function failed(): Promise<RawClient> {
  const real = await direct()
  await real.ask(query('begin'))
  await real.ask(query('select 1/0'))
  return real
}

/** Both are told the same, message by message, and then the end. */
async function expectSame(
  client: RawClient,
  real: RawClient,
  name: string,
  messages: readonly Buffer[],
): Promise<void> {
  const count = readiesOf(name, messages) + 1
  real.send(...messages, theEnd)
  client.send(...messages, theEnd)
  expect([name, ...(await client.answer(count))]).toEqual([name, ...(await real.answer(count))])
}

describe('a transaction that was lost is as PostgreSQL has one that failed', () => {
  test('each script, by who knows that it failed', async () => {
    await using pooler = await start()
    for (const [name, ...messages] of scriptsOf(postgres().version)) {
      await using real = await failed()
      await using client = await inLostBlock(pooler)
      expect(await client.ask(query('select 1'))).toEqual([lost, 'Z E'])
      await expectSame(client, real, name, messages)
    }
  })

  test('and of one that had failed before its server was lost', async () => {
    await using pooler = await start()
    for (const [name, ...messages] of scriptsOf(postgres().version).filter((_, n) => n % 4 === 0)) {
      await using real = await failed()
      await using client = await pooler.raw({ user })
      await client.ask(query('begin'))
      const pid = await pidOf(client)
      await client.ask(query('select 1/0'))
      await lose(pooler, pid)
      await expectSame(client, real, name, messages)
    }
  })

  test('byte by byte, and without statements of its own', async () => {
    await using pooler = await start({ max_prepared_statements: 0 })
    const chosen = ['extended rollback', 'a statement described', 'a portal described', 'two batches', 'commit, two']
    for (const [name, ...messages] of allScripts.filter(([name]) => chosen.includes(name))) {
      await using real = await failed()
      await using client = await inLostBlock(pooler)
      expect(await client.ask(query('select 1'))).toEqual([lost, 'Z E'])
      const count = readiesOf(name, messages) + 1
      real.send(...messages, theEnd)
      for (const byte of Buffer.concat([...messages, theEnd])) {
        client.send(Buffer.of(byte))
        await new Promise<void>((resolve) => setImmediate(resolve))
      }
      expect([name, ...(await client.answer(count))]).toEqual([name, ...(await real.answer(count))])
    }
  })
})

describe('the first request of who does not know yet', () => {
  test.each<[string, Buffer[], string[]]>([
    ['a query', [query('select 1')], [lost, 'Z E']],
    ['an empty one', [query('')], [lost, 'Z E']],
    ['commit: as one that fails', [query('commit')], [lost, 'Z I']],
    ['prepare transaction', [query("prepare transaction 'x'")], [lost, 'Z I']],
    ['commit and chain', [query('commit and chain')], [lost, 'Z I']],
    ['rollback has come true', [query('rollback')], ['C ROLLBACK', 'Z I']],
    ['rollback to a savepoint never succeeds', [query('rollback to s')], [lost, 'Z E']],
    ['commit, and more', [query('commit; select 1 as x')], [lost, 'Z I']],
    ['rollback, and more', [query('rollback; select 1 as x')], ['C ROLLBACK', 'T x', 'D 1', 'C SELECT 1', 'Z I']],
    ['insert, and commit', [query('select 1; commit')], [lost, 'Z E']],
    ['a batch', [extended('select 1'), sync], [lost, 'Z E']],
    ['a batch that commits', [extended('commit'), sync], ['1', '2', 'n', lost, 'Z I']],
    ['a batch that rolls back', [extended('rollback'), sync], ['1', '2', 'n', 'C ROLLBACK', 'Z I']],
    ['a Sync', [sync], [lost, 'Z E']],
    ['a function call', [functionCall(1317, 'abc')], [lost, 'Z E']],
    ['a statement that is not there', [bind([], 'never'), sync], [lost, 'Z E']],
  ])('%s', async (_what, messages, told) => {
    await using pooler = await start()
    const client = await inLostBlock(pooler, 'begin; savepoint s')
    expect(await client.ask(...messages)).toEqual(told)
    if (told.at(-1) === 'Z E') {
      expect(await client.ask(query('rollback to s'))).toEqual([lost, 'Z E'])
      expect(await client.ask(query('select 1'))).toEqual([aborted, 'Z E'])
      expect(await client.ask(query('commit'))).toEqual(['C ROLLBACK', 'Z I'])
    }
    expect(await client.ask(query('select 1 as x'))).toEqual(['T x', 'D 1', 'C SELECT 1', 'Z I'])
  })

  test.each(['rollback and chain', 'commit and chain'])('behind %s, the next block is lost as well', async (text) => {
    await using pooler = await start()
    const client = await inLostBlock(pooler)
    await client.ask(query('select 1'))
    expect(await client.ask(query(text))).toEqual(['C ROLLBACK', 'Z T'])
    expect(await client.ask(query('select 1'))).toEqual([lost, 'Z E'])
    expect(await client.ask(query('rollback'))).toEqual(['C ROLLBACK', 'Z I'])
  })
})

/** Messages of which the last never ends by itself, in or outside of a block: what its client is told when the server is ended. */
describe('what was under way', () => {
  const sleeping = 'select pg_sleep(1000)'
  const inBlock = 'begin; create temporary table nothing (n int)'
  test.each<[string, string | null, Buffer[], string[]]>([
    ['a statement by itself', null, [query(sleeping)], ['T pg_sleep', unknown, 'Z I']],
    ['a batch by itself', null, [extended(sleeping), sync], ['1', '2', 'T pg_sleep', unknown, 'Z I']],
    ['in a block', inBlock, [query(sleeping)], ['T pg_sleep', lost, 'Z E']],
    ['in a block, a batch', inBlock, [extended(sleeping), sync], ['1', '2', 'T pg_sleep', lost, 'Z E']],
    [
      'several',
      inBlock,
      [query(sleeping), query('select 1'), extended('x'), sync],
      ['T pg_sleep', lost, 'Z E', aborted, 'Z E', aborted, 'Z E'],
    ],
    [
      'with a COMMIT behind it',
      inBlock,
      [query(sleeping), query('commit')],
      ['T pg_sleep', unknown, 'Z I', unknown, 'Z I'],
    ],
    [
      'with an END in a batch behind it',
      inBlock,
      [query(sleeping), extended('end'), sync],
      ['T pg_sleep', unknown, 'Z I', unknown, 'Z I'],
    ],
    ['a COMMIT among several', inBlock, [query(`${sleeping}; commit`)], ['T pg_sleep', unknown, 'Z I']],
    ['a DO', inBlock, [query('do $$ begin perform pg_sleep(1000); end $$')], [unknown, 'Z I']],
    [
      'a block that was begun in the same pipeline',
      null,
      [query('begin'), query(sleeping), query('select 1')],
      ['C BEGIN', 'Z T', 'T pg_sleep', lost, 'Z E', aborted, 'Z E'],
    ],
    [
      'a statement with the word in it',
      inBlock,
      [query(`${sleeping}, 'commit; end'`)],
      ['T pg_sleep|?column?', lost, 'Z E'],
    ],
    [
      'ROLLBACK behind it',
      inBlock,
      [query(sleeping), query('rollback')],
      ['T pg_sleep', lost, 'Z E', 'C ROLLBACK', 'Z I'],
    ],
    [
      'ROLLBACK and a statement behind it',
      inBlock,
      [query(sleeping), query('rollback'), query('select 1')],
      ['T pg_sleep', unknown, 'Z I', unknown, 'Z I', unknown, 'Z I'],
    ],
    [
      'a prepared COMMIT',
      inBlock,
      [parse('commit', 'c1'), sync, extended(sleeping), bind([], 'c1'), execute(), sync],
      ['1', 'Z T', '1', '2', 'T pg_sleep', unknown, 'Z I'],
    ],
    ['a batch without a Sync', inBlock, [extended(sleeping), flush], ['1', '2', 'T pg_sleep', lost]],
    ['COPY TO', inBlock, [query('copy (select pg_sleep(1000)) to stdout')], ['H', lost, 'Z E']],
    ['COPY FROM', inBlock, [query('copy nothing from stdin'), copyData('1\n')], ['G', lost, 'Z E']],
    [
      'COPY FROM in a batch',
      inBlock,
      [extended('copy nothing from stdin'), sync, copyData('1\n')],
      ['1', '2', 'n', 'G', lost],
    ],
  ])('%s', async (_what, before, messages, told) => {
    await using pooler = await start({ default_pool_size: 1 })
    const client = await pooler.raw({ user })
    await client.ask(query(before ?? 'select 1'))
    const pid = await pidOf(client)
    client.send(...messages)
    const doing = "wait_event = 'PgSleep' or (state = 'active' and wait_event = 'ClientRead')"
    await pooler.settles(async () => {
      const rows = await ask(`select 1 from pg_stat_activity where pid = $1 and (${doing})`, { values: [pid] })
      return rows.length === 1
    })
    await ask('select pg_terminate_backend($1)', { values: [pid] })
    if (messages.at(-1)![0] === 0x64) client.send(copyData('2\n')) // PostgreSQL looks up only when something comes
    expect(await client.lines(told.length)).toEqual(told)
    const last = told.at(-1)
    if (!last!.startsWith('Z ')) expect(await client.ask(copyDone, sync)).toEqual(['Z E'])
    if (last !== 'Z I') {
      expect(await client.ask(query('select 1'))).toEqual([aborted, 'Z E'])
      expect(await client.ask(query('rollback'))).toEqual(['C ROLLBACK', 'Z I'])
    }
    expect(await client.ask(query('select 1 as x'))).toEqual(['T x', 'D 1', 'C SELECT 1', 'Z I'])
    expect(client.unread).toEqual([])
  })
})
