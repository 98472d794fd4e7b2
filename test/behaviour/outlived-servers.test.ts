// server_lost = error: who stays when its server is lost, who does not, and what is done with a client that has no server to its transaction.

import { describe, expect, test } from 'vitest'
import { commandComplete, errorResponse, FakeBackend, readyForQuery } from '../harness/fake-backend.js'
import { startPooler, type TestPooler } from '../harness/pooler.js'
import { endBackends, postgres } from '../harness/postgres.js'
import { bind, cancel, execute, extended, message, parse, query, RawClient, sync } from '../harness/raw-client.js'

const user = 'trust_user'
const lost = 'E ERROR 40001 the transaction was lost with its server connection, nothing of it is committed'
const unknown =
  'E ERROR 08007 the server connection was lost, it is not known whether what was sent has been carried out'
const aborted = 'E ERROR 25P02 current transaction is aborted, commands ignored until end of transaction block'
const terminated = 'E FATAL 57P01 terminating connection due to administrator command'

const start = (settings: object = {}, entry: object = {}): Promise<TestPooler> =>
  startPooler(
    { default_pool_size: 1, server_login_retry: 0.05, ...settings },
    { databases: { '*': { ...postgres().primary, server_lost: 'error', ...entry } } },
  )

async function pidOf(client: RawClient): Promise<number> {
  const lines = await client.ask(query('select pg_backend_pid() as pid'))
  return Number(lines[1]!.slice(2))
}

/** Its server is ended, and the pooler has seen that. */
async function lose(pooler: TestPooler, client: RawClient): Promise<void> {
  const pid = await pidOf(client)
  await endBackends(`pid = ${pid}`)
  await pooler.settles(async () => (await pooler.show('servers')).every((row) => row.remote_pid !== pid))
}

async function inLostBlock(pooler: TestPooler, before = 'begin'): Promise<RawClient> {
  const client = await pooler.raw({ user })
  await client.ask(query(before))
  await lose(pooler, client)
  return client
}

const isServed = async (client: RawClient): Promise<void> =>
  expect(await client.ask(query('select 1 as x'))).toEqual(['T x', 'D 1', 'C SELECT 1', 'Z I'])

describe('a server that goes without a word', () => {
  /** Ends the connection at the first Query that begins so. */
  const startMortal = (text: string, status: 'T' | 'E', parts: readonly Buffer[] = []): Promise<FakeBackend> =>
    FakeBackend.start(async (connection) => {
      await connection.welcome()
      for (;;) {
        const { body } = await connection.message()
        if (body.toString().startsWith(text)) {
          if (parts.length > 0) connection.send(...parts)
          connection.socket.end()
          return
        }
        connection.send(commandComplete('X'), readyForQuery(body.toString().startsWith('begin') ? status : 'I'))
      }
    })

  test.each<['T' | 'E', string, string[]]>([
    ['T', 'rollback', ['C ROLLBACK', 'Z I']],
    ['E', 'rollback', ['C ROLLBACK', 'Z I']],
    ['T', 'commit', [unknown, 'Z I']],
    ['E', 'commit', ['C ROLLBACK', 'Z I']],
    ['E', "prepare transaction 'x'", ['C ROLLBACK', 'Z I']],
    ['T', 'insert', [lost, 'Z E']],
    ['E', 'insert', [aborted, 'Z E']],
    ['T', 'insert; commit', [unknown, 'Z I']],
    ['T', 'call p()', [unknown, 'Z I']],
  ])('in %s, with %s under way', async (status, text, told) => {
    await using server = await startMortal(text, status)
    await using pooler = await startPooler({}, { databases: { '*': { ...pick(server), server_lost: 'error' } } })
    const client = await pooler.raw({ user })
    await client.ask(query('begin'))
    expect(await client.ask(query(text))).toEqual(told)
    if (told.at(-1) === 'Z E') expect(await client.ask(query('rollback'))).toEqual(['C ROLLBACK', 'Z I'])
    expect(await client.ask(query('next'))).toEqual(['C X', 'Z I'])
  })

  test('amid a message, nothing can be said: the client is closed', async () => {
    await using server = await startMortal('insert', 'T', [Buffer.from([0x44, 0, 0, 1, 0, 7])])
    await using pooler = await startPooler({}, { databases: { '*': { ...pick(server), server_lost: 'error' } } })
    const client = await pooler.raw({ user })
    await client.ask(query('begin'))
    client.send(query('insert'))
    expect(await client.toTheEnd()).toEqual([])
  })

  test('one that breaks the protocol: whose its answers were is not known, and the client is closed', async () => {
    await using server = await startMortal('insert', 'T', [message('Z', Buffer.from('II'))])
    await using pooler = await startPooler({}, { databases: { '*': { ...pick(server), server_lost: 'error' } } })
    const client = await pooler.raw({ user })
    await client.ask(query('begin'))
    client.send(query('insert'))
    expect(await client.toTheEnd()).toEqual(['E FATAL 08P01 server conn crashed?'])
  })

  test('what it had answered with an error is told no other', async () => {
    await using server = await startMortal('insert', 'T', [errorResponse('23505', 'twice')])
    await using pooler = await startPooler({}, { databases: { '*': { ...pick(server), server_lost: 'error' } } })
    const client = await pooler.raw({ user })
    await client.ask(query('begin'))
    expect(await client.ask(query('insert'))).toEqual(['E ERROR 23505 twice', 'Z E'])
    expect(await client.ask(query('select'))).toEqual([aborted, 'Z E'])
  })

  test('what the client has sent ahead for its block is not carried out after it', async () => {
    const told: string[] = []
    await using server = await FakeBackend.start(async (connection) => {
      await connection.welcome()
      for (;;) {
        const { body } = await connection.message()
        const text = body.toString('latin1', 0, body.length - 1)
        told.push(text)
        if (text === 'insert 1') return void connection.socket.end()
        if (text !== 'begin') connection.send(commandComplete('X'), readyForQuery())
      }
    })
    await using pooler = await startPooler({}, { databases: { '*': { ...pick(server), server_lost: 'error' } } })
    const client = await pooler.raw({ user })
    client.send(query('begin'), query('insert 1'))
    expect(await client.answer(2)).toEqual([unknown, 'Z I', unknown, 'Z E'])
    client.send(query('insert 2'), query('commit'), query('after'))
    expect(await client.answer(3)).toEqual([aborted, 'Z E', 'C ROLLBACK', 'Z I', 'C X', 'Z I'])
    expect(told).toEqual(['begin', 'insert 1', 'after'])
  })
})

const pick = ({ host, port }: FakeBackend): { host: string; port: number } => ({ host, port })

describe('who does not stay', () => {
  test.each<[string, object, object, string]>([
    ['with server_lost = disconnect', {}, { server_lost: 'disconnect' }, 'begin'],
    ['where the entry does not say', {}, { server_lost: undefined }, 'begin'],
    ['in session mode', { pool_mode: 'session' }, {}, 'begin'],
    ['whose session held something (session_state = track)', { session_state: 'track' }, {}, 'listen a; begin'],
  ])('%s: it is told what the server said', async (_what, settings, entry, before) => {
    await using pooler = await start(settings, entry)
    const client = await pooler.raw({ user })
    for (const text of before.split('; ')) await client.ask(query(text))
    await lose(pooler, client)
    expect((await client.toTheEnd()).filter((line) => line.startsWith('E'))).toEqual([terminated])
  })

  test('but who is looked after, and has only settings, does', async () => {
    await using pooler = await start({ session_state: 'track' })
    const client = await pooler.raw({ user })
    await client.ask(query("set lock_timeout = '7s'"))
    await client.ask(query('begin'))
    await lose(pooler, client)
    expect(await client.ask(query('select 1'))).toEqual([lost, 'Z E'])
    await client.ask(query('rollback'))
    expect(await client.ask(query('show lock_timeout'))).toContain('D 7s')
  })
})

test('a time-out of the server is told as such, and not as what to run again', async () => {
  await using pooler = await start()
  const client = await pooler.raw({ user })
  await client.ask(query('begin'))
  await client.ask(query("set idle_in_transaction_session_timeout = '1ms'"))
  await pooler.settles(async () => (await pooler.show('servers')).length === 0)
  expect(await client.ask(query('select 1'))).toEqual([
    'E ERROR 25P03 terminating connection due to idle-in-transaction timeout',
    'Z E',
  ])
  expect(await client.ask(query('rollback'))).toEqual(['C ROLLBACK', 'Z I'])
  await isServed(client)
})

test('what the server said is the detail of the error', async () => {
  await using pooler = await start()
  const client = await inLostBlock(pooler)
  client.send(query('select 1'))
  await client.line()
  expect(client.latestBody.toString()).toContain('\0Dterminating connection due to administrator command\0')
  expect(pooler.logged.join('\n')).toContain(
    'pooler error: the transaction was lost with its server connection, nothing of it is committed',
  )
})

test('parameters that were set in the transaction are as they were before, and the client is told', async () => {
  await using pooler = await start()
  const client = await pooler.raw({ user })
  await client.ask(query("set application_name = 'before'"))
  const [{ line: zone }] = [{ line: (await client.ask(query('show timezone')))[1]! }]
  await client.ask(query('begin'))
  await client.ask(query("set local timezone = 'Asia/Tokyo'"))
  await client.ask(query("set application_name = 'within'"))
  await lose(pooler, client)
  expect(client.unread.filter((line) => line.startsWith('S ')).sort()).toEqual([
    `S TimeZone=${zone.slice(2)}`,
    'S application_name=before',
  ])
  await client.lines(2)
  expect(await client.ask(query('rollback'))).toEqual(['C ROLLBACK', 'Z I'])
  expect(await client.ask(query('show timezone'))).toContain(zone)
  expect(await client.ask(query('show application_name'))).toContain('D before')
})

test('prepared statements stay, those of the lost transaction and those made in it while it is played', async () => {
  await using pooler = await start()
  const client = await pooler.raw({ user })
  await client.ask(parse('select 1 as x', 'one'), sync)
  await client.ask(query('begin'))
  await client.ask(parse('select 2 as x', 'two'), sync)
  await lose(pooler, client)
  expect(await client.ask(bind([], 'one'), execute(), sync)).toEqual([lost, 'Z E'])
  expect(await client.ask(parse('rollback', 'back'), bind([], 'back'), execute(), sync)).toEqual([
    '1',
    '2',
    'C ROLLBACK',
    'Z I',
  ])
  expect(await client.ask(bind([], 'one'), execute(), sync)).toEqual(['2', 'D 1', 'C SELECT 1', 'Z I'])
  expect(await client.ask(bind([], 'two'), execute(), sync)).toEqual(['2', 'D 2', 'C SELECT 1', 'Z I'])
  await client.ask(query('begin'))
  expect(await client.ask(bind([], 'back'), execute(), sync)).toEqual(['2', 'C ROLLBACK', 'Z I'])
})

describe('a client in a lost transaction', () => {
  test('takes no server: others have it, and SHOW tells', async () => {
    await using pooler = await start()
    const client = await inLostBlock(pooler)
    const other = await pooler.raw({ user })
    await other.ask(query('begin'))
    expect(await client.ask(query('select 1'))).toEqual([lost, 'Z E'])
    const rows = await pooler.show('clients')
    expect(rows.map(({ state, link }) => [state, link === ''])).toEqual([
      ['idle', true],
      ['active', false],
    ])
    expect(await client.ask(query('rollback'))).toEqual(['C ROLLBACK', 'Z I'])
    const pools = (await pooler.show('pools')).filter((row) => row.user === user)
    expect(pools).toMatchObject([{ cl_active: 2, cl_waiting: 0, sv_active: 1 }])
  })

  test('is not cancelled', async () => {
    await using pooler = await start()
    const client = await inLostBlock(pooler)
    await client.ask(query('select 1'))
    await cancel(pooler.port, client.key)
    expect(await client.ask(query('rollback'))).toEqual(['C ROLLBACK', 'Z I'])
    await isServed(client)
  })

  test.each([
    ['idle_transaction_timeout', 'E FATAL 08P01 idle transaction timeout'],
    ['transaction_timeout', 'E FATAL 08P01 transaction timeout'],
  ])('%s ends it', async (name, told) => {
    await using pooler = await start()
    const client = await inLostBlock(pooler)
    await client.ask(query('select 1'))
    await pooler.pooler.admin.set(name as 'idle_transaction_timeout', '0.01')
    expect(await client.toTheEnd()).toEqual([told])
  })

  test('client_idle_timeout does not', async () => {
    await using pooler = await start()
    const client = await inLostBlock(pooler)
    const idle = await pooler.raw({ user })
    await pooler.pooler.admin.set('client_idle_timeout', '0.01')
    expect(await idle.toTheEnd()).toEqual(['E FATAL 08P01 client_idle_timeout'])
    await pooler.pooler.admin.set('client_idle_timeout', '0')
    expect(await client.ask(query('select 1'))).toEqual([lost, 'Z E'])
  })

  test('KILL_CLIENT ends it; PAUSE does not wait for it', async () => {
    await using pooler = await start()
    const client = await inLostBlock(pooler)
    await client.ask(query('select 1'))
    await pooler.pooler.admin.pause(undefined, new AbortController().signal)
    expect(await client.ask(query('select 1'))).toEqual([aborted, 'Z E'])
    pooler.pooler.admin.killClient(Number((await pooler.show('clients'))[0]?.id))
    expect(await client.toTheEnd()).toEqual(['E FATAL 08P01 admin forced disconnect'])
    pooler.pooler.admin.resume(undefined)
    await pooler.untilEmpty()
  })

  test('leaves by Terminate, or its end of the stream, when it has been answered', async () => {
    await using pooler = await start()
    const client = await inLostBlock(pooler)
    client.send(query('select 1'), query('select 2'))
    client.stream.end()
    expect(await client.toTheEnd()).toEqual([lost, 'Z E', aborted, 'Z E'])
    await pooler.untilEmpty()
  })
})

test('a write that a standby refuses is told as the standby tells it', async () => {
  const { standby } = postgres()
  await using pooler = await start({}, standby)
  const client = await pooler.raw({ user })
  await using real = await RawClient.connect({ ...standby, parameters: { user, database: 'postgres' } })
  const text = 'create table never (n int)'
  for (const messages of [
    [query(text)],
    [extended(text), sync],
    [parse(text, 'w'), bind([], 'w'), execute(), sync],
    [query('begin')],
    [query(text)],
    [query('rollback')],
    [query(`select 1; ${text}`)],
  ]) {
    expect(await client.ask(...messages)).toEqual(await real.ask(...messages))
  }
})
