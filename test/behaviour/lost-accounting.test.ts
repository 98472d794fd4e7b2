// Transactions at random while servers die (server_lost = error): what was acknowledged is there, what is to be run again is not, and all stay.

import { connect, createServer, type Server, type Socket } from 'node:net'
import { expect, test, vi } from 'vitest'
import type { Address } from '../harness/cluster.js'
import { startPooler } from '../harness/pooler.js'
import { query as ask, createDatabase, postgres } from '../harness/postgres.js'
import { Random } from '../harness/random.js'
import { bind, execute, parse, query, type RawClient, sync } from '../harness/raw-client.js'

const user = 'trust_user'
const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 1e9))
const perClient = Number(process.env.ROUNDS ?? 40)
vi.setConfig({ testTimeout: 60_000 + 500 * perClient })

/** Connections to the server that break without a word. */
class Breaker implements AsyncDisposable, Address {
  readonly host = '127.0.0.1'
  readonly port: number
  readonly sockets = new Set<Socket>()
  readonly #server: Server

  private constructor(server: Server, target: Address) {
    this.#server = server
    this.port = (server.address() as { port: number }).port
    server.on('connection', (pooler) => {
      const onward = connect({ host: target.host, port: target.port, noDelay: true })
      let packets = 0
      // Who has logged in: those that wait for a login are told where it fails, whatever becomes of their transactions.
      pooler.on('data', () => {
        if (++packets === 2) this.sockets.add(pooler)
      })
      pooler.setNoDelay(true)
      pooler.pipe(onward)
      onward.pipe(pooler)
      for (const [one, other] of [
        [pooler, onward],
        [onward, pooler],
      ] as const) {
        one.on('error', () => {})
        one.on('close', () => {
          other.destroy()
          this.sockets.delete(pooler)
        })
      }
    })
  }

  static async start(target: Address): Promise<Breaker> {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return new Breaker(server, target)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

type Outcome = 'committed' | 'rolled back' | 'unknown'

/** One exchange: messages that one ReadyForQuery answers. */
type Exchange = readonly Buffer[]

const batch = (...texts: string[]): Exchange => [...texts.flatMap((text) => [parse(text), bind(), execute()]), sync]

test(`every client survives, and knows what became of its transactions (SEED=${seed})`, async () => {
  const numbers = new Random(seed)
  const random = (below: number): number => numbers.below(Math.max(1, below))
  await using database = await createDatabase()
  await ask('create table tokens (token text)', { database: database.name })
  await ask(`grant all on tokens to ${user}`, { database: database.name })
  await using breaker = await Breaker.start(postgres().primary)
  await using pooler = await startPooler(
    { default_pool_size: 4, server_login_retry: 0.01 },
    { databases: { '*': { host: breaker.host, port: breaker.port, server_lost: 'error' } } },
  )
  const outcomes = new Map<string, Outcome>()
  const counts = { committed: 0, 'rolled back': 0, unknown: 0, retryable: 0 }

  /** The exchanges of a transaction, in the writes that they come in. */
  const plan = (token: string): Exchange[][] => {
    const insert = `insert into tokens values ('${token}') returning token`
    const way = (text: string): Exchange => (random(2) === 0 ? [query(text)] : batch(text))
    const end = random(5) === 0 ? 'rollback' : 'commit'
    switch (random(7)) {
      case 0:
        return [[way(insert)]]
      case 1:
        return [[[query(`begin; ${insert}; ${end}`)]]]
      case 2:
        return [[way('begin'), way(insert), way(end)]]
      case 3:
        return [[batch('begin', insert)], [way('select 1')], [way(end)]]
      case 4:
        return [[way('begin')], [way(insert), way(end)]]
      case 5:
        return [[way('begin')], [way('savepoint s')], [way(insert)], [way('release s')], [way(end)]]
      default:
        return [[way('begin')], [way(insert)], [way(end)]]
    }
  }

  const run = async (client: RawClient, token: string): Promise<void> => {
    const lines: string[] = []
    for (const write of plan(token)) {
      client.send(...write.flat())
      lines.push(...(await client.answer(write.length)))
      for (const line of lines) if (line.startsWith('D ') && line !== 'D 1') expect(line).toBe(`D ${token}`)
      expect(lines.some((line) => line.startsWith('E FATAL'))).toBe(false)
      if (lines.some((line) => line.startsWith('E '))) break
    }
    const errors = lines.filter((line) => line.startsWith('E '))
    const isUnknown = errors.some((line) => line.includes(' 08007 '))
    const isInserted = lines.includes('C INSERT 0 1')
    const isCommitted = lines.includes('C COMMIT') || (isInserted && !lines.includes('C BEGIN') && errors.length === 0)
    if (isUnknown) outcomes.set(token, 'unknown')
    else if (errors.length === 0 && isCommitted && isInserted) outcomes.set(token, 'committed')
    else {
      outcomes.set(token, 'rolled back')
      for (const line of errors) expect(line).toMatch(/ 40001 | 25P02 /)
      if (errors.length > 0) counts.retryable++
    }
    if (lines.at(-1) !== 'Z I') {
      expect(lines.at(-1)).toBe('Z E')
      expect(await client.ask(query('rollback'))).toEqual(['C ROLLBACK', 'Z I'])
    }
    counts[outcomes.get(token)!]++
    expect(client.unread.filter((line) => !line.startsWith('S '))).toEqual([])
  }

  const clients = await Promise.all(Array.from({ length: 10 }, () => pooler.raw({ user, database: database.name })))
  let isOver = false
  const killer = (async () => {
    while (!isOver) {
      await new Promise((resolve) => setTimeout(resolve, 5 + random(20)))
      const sockets = [...breaker.sockets]
      if (random(2) === 0) sockets[random(sockets.length)]?.resetAndDestroy()
      else
        await ask(
          'select pg_terminate_backend(pid) from pg_stat_activity where usename = $1 and datname = $2 and length(query) > 0 order by random() limit 1',
          { values: [user, database.name] },
        )
    }
  })()
  await Promise.all(
    clients.map(async (client, n) => {
      for (let round = 0; round < perClient; round++) await run(client, `${n}.${round}`)
    }),
  )
  isOver = true
  await killer
  const rows = await ask('select token from tokens', { database: database.name })
  const found = rows.map(({ token }) => String(token))
  const there = new Set(found)
  expect(found.length, 'none is there twice').toBe(there.size)
  for (const [token, outcome] of outcomes) {
    if (outcome !== 'unknown') expect([token, there.has(token)]).toEqual([token, outcome === 'committed'])
  }
  // It would say nothing where nothing was lost.
  expect(Math.min(counts.committed, counts.unknown, counts.retryable)).toBeGreaterThan(0)
})
