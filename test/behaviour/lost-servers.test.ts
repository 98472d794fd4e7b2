// Servers that die: their client is told, nobody else notices, and the next one gets a server that works.

import { describe, expect, test } from 'vitest'
import { startTestCluster } from '../harness/cluster.js'
import { commandComplete, errorResponse, FakeBackend, readyForQuery } from '../harness/fake-backend.js'
import { startPooler, type TestPooler } from '../harness/pooler.js'
import { query as ask, createDatabase, endBackends } from '../harness/postgres.js'
import {
  bind,
  copyData,
  execute,
  extended,
  flush,
  message,
  parse,
  query,
  RawClient,
  sync,
} from '../harness/raw-client.js'

const user = 'trust_user'
const terminated = 'E FATAL 57P01 terminating connection due to administrator command'
const crashed = 'E FATAL 08P01 server conn crashed?'

async function pidOf(client: RawClient): Promise<number> {
  const lines = await client.ask(query('select pg_backend_pid() as pid'))
  return Number(lines[1]!.slice(2))
}

const kill = (pid: number): Promise<void> => endBackends(`pid = ${pid}`)

async function isServed(pooler: TestPooler): Promise<void> {
  const next = await pooler.raw({ user })
  expect(await next.ask(query('select 1 as x'))).toEqual(['T x', 'D 1', 'C SELECT 1', 'Z I'])
  await next.end()
}

describe('pg_terminate_backend', () => {
  test('while it is idle: no client notices', async () => {
    await using pooler = await startPooler({ default_pool_size: 1 })
    const client = await pooler.raw({ user })
    for (let round = 0; round < 5; round++) {
      await kill(await pidOf(client))
      expect(await client.ask(query('select 1 as x'))).toEqual(['T x', 'D 1', 'C SELECT 1', 'Z I'])
    }
    expect((await pooler.show('servers')).length).toBe(1)
  })

  test.each([
    ['idle in a transaction', [query('begin')], 'Z T'],
    ['between messages of an exchange', [extended('select 1'), flush], 'C'],
    ['in the middle of COPY IN', [query('copy pg_temp.nothing from stdin')], 'G'],
    [
      'in the middle of COPY OUT',
      [query('copy (select n, pg_sleep(0.0001) from generate_series(1, 100000) n) to stdout')],
      'd',
    ],
    ['in the middle of rows', [query('select n, pg_sleep(0.0001) from generate_series(1, 100000) n')], 'D'],
  ])('%s: its client is told what the server said, and is closed', async (_what, bytes, upTo) => {
    await using pooler = await startPooler({ default_pool_size: 1 })
    const client = await pooler.raw({ user })
    await client.ask(query('begin; create temporary table nothing (n int)'))
    const pid = await pidOf(client)
    client.send(...bytes)
    while (!(await client.line()).startsWith(upTo));
    await kill(pid)
    if (upTo === 'G') client.send(copyData('1\n')) // PostgreSQL looks up only when something comes
    const rest = (await client.toTheEnd()).filter((line) => !/^[DdNC]/.test(line))
    expect(rest).toEqual([terminated])
    await isServed(pooler)
    await pooler.until('SHOW POOLS', (row) => row.sv_active === 0 && row.sv_idle === 1 && row.cl_active === 0)
  })

  test('a client that waits for this very server gets another', async () => {
    await using pooler = await startPooler({ default_pool_size: 1 })
    const [holder, waiting] = [await pooler.raw({ user }), await pooler.raw({ user })]
    await holder.ask(query('begin'))
    const pid = await pidOf(holder)
    const answer = waiting.ask(query('select 1 as x'))
    await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 1)
    await kill(pid)
    expect(await answer).toEqual(['T x', 'D 1', 'C SELECT 1', 'Z I'])
    expect(await holder.toTheEnd()).toEqual([terminated])
  })

  test('prepared statements are made again on the new one', async () => {
    await using pooler = await startPooler({ default_pool_size: 1 })
    const client = await pooler.raw({ user })
    await client.ask(parse('select $1::int as x', 's'), sync)
    for (let round = 0; round < 3; round++) {
      await kill(await pidOf(client))
      expect(await client.ask(bind(['7'], 's'), execute(), sync)).toEqual(['2', 'D 7', 'C SELECT 1', 'Z I'])
    }
  })

  test('many at once, under load', async () => {
    await using database = await createDatabase() // no other test's
    await using pooler = await startPooler({ default_pool_size: 8, server_login_retry: 0.05 })
    let isOver = false
    let answers = 0
    const work = Array.from({ length: 24 }, async (_, n) => {
      while (!isOver) {
        await using client = await pooler.raw({ user, database: database.name })
        for (let round = 0; !isOver; round++) {
          client.send(query(`select '${n}.${round}' as x`))
          const lines: string[] = []
          do lines.push(await client.line())
          while (!/^(Z|E)/.test(lines.at(-1)!))
          if (lines.at(-1)!.startsWith('E')) {
            expect([terminated, crashed]).toContain(lines.at(-1))
            break
          }
          expect(lines).toEqual(['T x', `D ${n}.${round}`, 'C SELECT 1', 'Z I'])
          answers++
        }
      }
    })
    for (let round = 0; round < 5; round++) {
      await ask('select pg_terminate_backend(pid) from pg_stat_activity where usename = $1 and datname = $2', {
        values: [user, database.name],
      })
      const before = answers
      await pooler.settles(() => answers > before + 50)
    }
    isOver = true
    await Promise.all(work)
    await pooler.untilEmpty()
    await pooler.until('SHOW POOLS', (row) => row.sv_active === 0 && row.sv_login === 0)
  })
})

test('PostgreSQL is stopped and started: idle clients stay, and go on', async () => {
  await using cluster = await startTestCluster()
  await using pooler = await startPooler(
    { default_pool_size: 2, server_login_retry: 0.1 },
    { server: cluster.facts.primary },
  )
  const [idle, busy] = [await pooler.raw({ user }), await pooler.raw({ user })]
  await idle.ask(query('select 1'))
  await busy.ask(query('begin'))
  await cluster.primary.stop('fast')
  expect(await busy.toTheEnd()).toEqual([terminated])
  await pooler.until('SHOW POOLS', (row) => row.cl_active === 1 && row.sv_active === 0 && row.sv_idle === 0)
  const waiting = idle.ask(query('select 2 as x'))
  await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 1)
  await pooler.settles(() => pooler.logged.some((line) => line.includes('connect failed')))
  await cluster.primary.start()
  expect(await waiting).toEqual(['T x', 'D 2', 'C SELECT 1', 'Z I'])

  await cluster.primary.stop('immediate') // as in a crash
  await cluster.primary.start()
  expect(await idle.ask(query('select 3 as x'))).toEqual(['T x', 'D 3', 'C SELECT 1', 'Z I'])
  await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 0 && row.sv_login === 0)
})

describe('a server that breaks the protocol', () => {
  /** Answers the first message with this, and all others as it should. */
  const startBroken = async (parts: readonly (Buffer | 'end')[]): Promise<FakeBackend> => {
    let isBroken = true
    return FakeBackend.start(async (connection) => {
      await connection.welcome()
      for (;;) {
        await connection.message()
        if (!isBroken) connection.send(commandComplete('OK'), readyForQuery())
        else {
          for (const part of parts) {
            if (part === 'end') connection.socket.end()
            else connection.send(part)
          }
        }
        isBroken = false
      }
    })
  }

  test.each([
    ['a length under four', [Buffer.from([0x44, 0, 0, 0, 3])]],
    ['a ReadyForQuery of two bytes', [message('Z', Buffer.from('II'))]],
    ['half a message, and the end', [Buffer.from([0x44, 0, 0, 1, 0, 7]), 'end']],
    ['the end', ['end']],
  ] as const)('%s: its client is closed, the next gets another', async (_what, parts) => {
    await using server = await startBroken(parts)
    await using pooler = await startPooler({ default_pool_size: 1 }, { server })
    const client = await pooler.raw()
    client.send(query('select 1'))
    await client.ended
    const next = await pooler.raw()
    expect(await next.ask(query('x'))).toEqual(['C OK', 'Z I'])
    expect(server.connections.length).toBe(2)
  })

  test('more than it was asked for: its client is told, and it is not used again', async () => {
    await using server = await startBroken([commandComplete('X'), readyForQuery(), readyForQuery()])
    await using pooler = await startPooler({ default_pool_size: 1 }, { server })
    const client = await pooler.raw()
    expect(await client.ask(query('select 1'))).toEqual(['C X', 'Z I'])
    expect(await client.toTheEnd()).toEqual(['E FATAL 08P01 server conn crashed?'])
    const next = await pooler.raw()
    expect(await next.ask(query('x'))).toEqual(['C OK', 'Z I'])
    expect(server.connections.length).toBe(2)
    expect(pooler.logged.join()).toContain('protocol out of sync')
  })
})

// Rows or WAL that end half way must stay half: a client would take the pooler's error for the rest of them.
test.each(['the server breaks off', 'KILL_CLIENT', 'SHUTDOWN'])(
  '%s in the middle of a message: nothing is added to it',
  async (how) => {
    const whole = message('d', Buffer.alloc(1000, 'w'))
    await using server = await FakeBackend.start(async (connection) => {
      await connection.welcome()
      await connection.message()
      connection.send(message('W', Buffer.alloc(3)), whole.subarray(0, 980))
      if (how === 'the server breaks off') connection.socket.end()
    })
    await using pooler = await startPooler({}, { server })
    const client = await RawClient.connect(
      pooler.login({ database: 'replication', parameters: { replication: 'true' } }),
    )
    let bytes = Buffer.alloc(0)
    client.stream.on('data', (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk])
    })
    client.send(query('start'))
    await pooler.settles(() => bytes.length >= 988)
    if (how === 'KILL_CLIENT') pooler.pooler.admin.killClient(Number((await pooler.show('clients'))[0]?.id))
    if (how === 'SHUTDOWN') await pooler.pooler.shutdown('now')
    await client.ended
    expect(bytes.length).toBe(8 + 980)
  },
)

test('a client that was passed a FATAL goes with its server, and is not given another', async () => {
  let leave = (): void => {}
  await using server = await FakeBackend.start(async (connection) => {
    await connection.welcome()
    for (;;) {
      const { code, body } = await connection.message()
      if (code === 'X') return
      if (!body.toString().startsWith('deallocate')) {
        connection.send(commandComplete('SELECT 0'), readyForQuery())
        continue
      }
      // What follows waits for the answer, which comes with the FATAL.
      connection.send(commandComplete('DEALLOCATE ALL'), readyForQuery(), errorResponse('57P01', 'bye', 'FATAL'))
      await new Promise<void>((resolve) => {
        leave = resolve
      })
      connection.socket.destroy()
      return
    }
  })
  await using pooler = await startPooler({}, { server })
  const client = await pooler.raw({ user })
  expect(await client.ask(query('deallocate all'))).toEqual(['C DEALLOCATE ALL', 'Z I'])
  expect(await client.line()).toBe('E FATAL 57P01 bye')
  leave()
  expect(await client.toTheEnd()).toEqual([])
})
