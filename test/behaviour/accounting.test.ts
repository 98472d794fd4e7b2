// Accounting is sacred: many clients on few servers, everything mixed at random, and every answer is its asker's own.
// SEED=n runs the same again, SOAK_SECONDS=60 runs for longer.

import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually, type Settings, startPooler, type TestPooler } from '../harness/pooler.js'
import { createDatabase, query, type TestDatabase } from '../harness/postgres.js'
import { Random } from '../harness/random.js'
import { cancel, RawClient } from '../harness/raw-client.js'
import { Author, type Exchange, setUp } from './exchanges.js'

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000_000)
const soak = Number(process.env.SOAK_SECONDS ?? 0)
const users = ['trust_user', 'scram_user', 'md5_user']

/** What is known of the rows that were asked to be written. */
interface Ledger {
  readonly written: Set<string>
  /** The client was gone, or told of a failure, before it heard. */
  readonly uncertain: Set<string>
}

interface Scene {
  readonly pooler: TestPooler
  readonly database: string
  readonly mode: string
  readonly ledger: Ledger
  /** Whether servers are killed meanwhile. */
  readonly isRough: boolean
  isOver: boolean
  exchanges: number
  failure: Error | undefined
}

/** One client after the other on one connection of its own. */
class Customer {
  /** What it did last, the latest at the end. */
  #done: string[] = []
  readonly #scene: Scene
  readonly #number: number
  readonly #random: Random

  constructor(scene: Scene, number: number, random: Random) {
    this.#scene = scene
    this.#number = number
    this.#random = random
  }

  async run(): Promise<void> {
    for (let life = 0; !this.#scene.isOver; life++) {
      try {
        await this.#live(`c${this.#number}.${life}`)
      } catch (error) {
        const story = `seed ${seed}, ${this.#scene.mode} mode:\n${this.#done.slice(-12).join('\n')}`
        this.#scene.failure ??= new Error(story, { cause: error })
        this.#scene.isOver = true
      }
    }
  }

  /** From login to the end of the connection. */
  async #live(id: string): Promise<void> {
    const { pooler, database, mode } = this.#scene
    const random = this.#random.fork()
    const user = random.pick(users)
    const author = new Author(id, user, mode, random)
    this.#done.push(`${id} logs in`)
    // Some are in this very process.
    await using client = random.chance(0.15)
      ? new RawClient(pooler.pooler.connect())
      : await RawClient.open(pooler.port)
    await client.logIn({ parameters: { user, database } })
    const lifetime = mode === 'session' ? random.between(1, 4) : random.between(1, 40)
    for (let batch = 0; batch < lifetime && !this.#scene.isOver; batch++) {
      const exchanges = [...author.exchanges(random.pick([1, 1, 1, 2, 3, 6]))]
      this.#done.push(exchanges.map((exchange) => exchange.name).join(', '))
      if (random.chance(0.02)) return this.#vanishAmid(client, exchanges, random)
      if (random.chance(0.05)) exchanges.push(author.sleep(random.below(80) / 1000))
      const isServed =
        exchanges.at(-1)!.name === 'sleep'
          ? await this.#cancelled(client, exchanges, random)
          : await this.#served(client, exchanges, random)
      if (!isServed) return
      if (random.chance(0.3)) await sleep(random.below(5))
    }
    if (random.chance(0.3)) client.vanish()
    else await client.end()
  }

  /** Sends exchanges and compares all that is heard. False: the server was lost meanwhile, as may be. */
  async #served(client: RawClient, exchanges: readonly Exchange[], random: Random): Promise<boolean> {
    const heard = this.#hear(client, exchanges)
    const pieces = exchanges.flatMap((exchange) => exchange.pieces ?? exchange.bytes)
    const sent = random.chance(0.3)
      ? this.#sendSlowly(client, pieces, random)
      : this.#send(client, Buffer.concat(pieces), random)
    await Promise.all([heard, sent])
    return heard
  }

  async #hear(client: RawClient, exchanges: readonly Exchange[]): Promise<boolean> {
    for (const exchange of exchanges)
      for (const token of exchange.written ?? []) this.#scene.ledger.uncertain.add(token)
    for (const { lines, written = [], name } of exchanges) {
      for (const line of lines) {
        const heard = await client.line()
        if (heard !== line && this.#scene.isRough && isLoss(heard)) return this.#lost(client)
        if (heard !== line)
          throw new Error(`${name}: expected\n${line.slice(0, 200)}\nbut heard\n${heard.slice(0, 200)}`)
      }
      this.#scene.exchanges++
      for (const token of written) {
        this.#scene.ledger.uncertain.delete(token)
        this.#scene.ledger.written.add(token)
      }
    }
    if (client.unread.length > 0 && !isLoss(client.unread[0]!)) throw new Error(`heard more: ${client.unread.join()}`)
    return true
  }

  /** Nothing but the loss may be told from then on. */
  async #lost(client: RawClient): Promise<false> {
    const rest = await client.toTheEnd()
    if (!rest.every(isLoss)) throw new Error(`heard after the loss of the server: ${rest.join()}`)
    return false
  }

  /** The last exchange is a sleep, which ends with its rows or as cancelled; what comes next is not hit. */
  async #cancelled(client: RawClient, exchanges: readonly Exchange[], random: Random): Promise<boolean> {
    const { bytes, lines } = exchanges.at(-1)!
    if (!(await this.#served(client, exchanges.slice(0, -1), random))) return false
    client.send(bytes)
    const cancels = (async () => {
      await sleep(random.below(60))
      await cancel(this.#scene.pooler.port, client.key)
    })()
    let isServed = true
    for (let at = 0; at < lines.length && isServed; at++) {
      const heard = await client.line()
      if (heard === canceled)
        at = lines.length - 2 // ReadyForQuery is to come
      else if (this.#scene.isRough && isLoss(heard)) isServed = await this.#lost(client)
      else if (heard !== lines[at]) throw new Error(`sleep: expected\n${lines[at]}\nbut heard\n${heard}`)
    }
    await cancels
    return isServed
  }

  /** In one piece, or cut anywhere with pauses, as networks do. */
  async #send(client: RawClient, bytes: Buffer, random: Random): Promise<void> {
    const cuts = random.chance(0.5)
      ? []
      : Array.from({ length: random.between(1, 4) }, () => random.below(bytes.length))
    const isSlow = random.chance(0.05)
    if (isSlow) client.stream.pause()
    let from = 0
    for (const cut of cuts.sort((one, other) => one - other)) {
      client.send(bytes.subarray(from, cut))
      from = cut
      for (let turns = random.below(4); turns > 0; turns--) await turn()
    }
    client.send(bytes.subarray(from))
    if (isSlow) {
      await sleep(random.below(20))
      client.stream.resume()
    }
  }

  /** Message by message, with time for answers between them. */
  async #sendSlowly(client: RawClient, pieces: readonly Buffer[], random: Random): Promise<void> {
    for (const piece of pieces) {
      client.send(piece)
      if (random.chance(0.5)) await sleep(random.below(6))
    }
  }

  /** Gone at any byte, with whatever is under way. */
  async #vanishAmid(client: RawClient, exchanges: readonly Exchange[], random: Random): Promise<void> {
    const bytes = Buffer.concat(exchanges.map((exchange) => exchange.bytes))
    for (const exchange of exchanges)
      for (const token of exchange.written ?? []) this.#scene.ledger.uncertain.add(token)
    this.#done.push('leaves')
    await this.#send(client, bytes.subarray(0, random.between(1, bytes.length)), random)
    if (random.chance(0.5)) await sleep(random.below(10))
    if (random.chance(0.5)) client.vanish()
    else client.stream.end()
    await client.ended
  }
}

const canceled = 'E ERROR 57014 canceling statement due to user request'
const losses = [
  'E FATAL 57P01 terminating connection due to administrator command',
  'E FATAL 08P01 server conn crashed?',
]
const isLoss = (line: string): boolean => losses.includes(line)

/** What an administrator does meanwhile; clients notice nothing but the death of their own server. */
async function administer(scene: Scene, random: Random): Promise<void> {
  const { pooler, database } = scene
  while (!scene.isOver) {
    await sleep(random.between(100, 400))
    switch (random.below(4)) {
      case 0:
        pooler.pooler.admin.reconnect(undefined)
        break
      case 1: {
        const abort = AbortSignal.timeout(random.between(1, 50))
        await pooler.pooler.admin.pause(undefined, abort).catch(() => {})
        pooler.pooler.admin.resume(undefined)
        break
      }
      case 2:
        await pooler.pooler.reload()
        break
      case 3:
        if (scene.isRough) {
          const victims = 'select pid from pg_stat_activity where datname = $1 order by random() limit 1'
          await query(`select pg_terminate_backend(pid) from (${victims}) victims`, { values: [database] })
        }
    }
  }
}

describe(`seed ${seed}`, () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createDatabase()
    await query(setUp, { database: database.name })
  })
  afterAll(() => database.drop())

  const share = (seconds: number): number => (soak > 0 ? (soak * seconds) / 9 : seconds)

  test.each([
    ['transaction', 100, share(4), false, { max_db_connections: 10, max_prepared_statements: 20 }],
    ['transaction', 60, share(2), true, { max_db_connections: 8, max_prepared_statements: 2 }],
    ['statement', 60, share(1.5), false, { server_round_robin: true }],
    ['session', 40, share(1.5), false, { server_lifetime: 0 }],
  ] as [string, number, number, boolean, Settings][])(
    '%s mode: %i clients, %f seconds, servers killed: %s',
    { timeout: 60_000 + 2000 * soak },
    async (mode, clients, seconds, isRough, settings) => {
      await query('truncate writes', { database: database.name })
      const rejections: unknown[] = []
      const onRejection = (reason: unknown): number => rejections.push(reason)
      process.on('unhandledRejection', onRejection)
      await using pooler = await startPooler({
        pool_mode: mode as 'transaction',
        default_pool_size: 5,
        max_client_conn: 1000,
        server_login_retry: 0.1,
        track_extra_parameters: '',
        ...settings,
      })
      const random = new Random(seed)
      const scene: Scene = {
        pooler,
        database: database.name,
        mode,
        ledger: { written: new Set(), uncertain: new Set() },
        isRough,
        isOver: false,
        exchanges: 0,
        failure: undefined,
      }
      const customers = Array.from({ length: clients }, (_, number) => new Customer(scene, number, random.fork()))
      const work = Promise.all([administer(scene, random.fork()), ...customers.map((customer) => customer.run())])
      const deadline = performance.now() + seconds * 1000
      while (!scene.isOver && performance.now() < deadline) await sleep(20)
      scene.isOver = true
      await Promise.race([work, sleep(20_000)])
      expect(scene.failure).toBeUndefined()
      await work

      await agreesWithPostgres(scene)
      await leavesNothing(scene)
      expect(rejections).toEqual([])
      process.off('unhandledRejection', onRejection)
      console.log(`${mode}: ${scene.exchanges} exchanges, ${scene.ledger.written.size} rows written`)
    },
  )
})

/** Rows are those that were acknowledged; connections those that SHOW has; none of them in a transaction. */
async function agreesWithPostgres({ pooler, database, ledger }: Scene): Promise<void> {
  const rows = await query('delete from writes returning token', { database })
  const found = new Set(rows.map((row) => String(row.token)))
  expect([...ledger.written].filter((token) => !found.has(token))).toEqual([])
  expect([...found].filter((token) => !ledger.written.has(token) && !ledger.uncertain.has(token))).toEqual([])

  await eventually(async () => {
    const servers = await pooler.show('servers')
    const shown = servers.filter((row) => row.state === 'idle').map((row) => Number(row.remote_pid))
    const activity = await query("select pid, state from pg_stat_activity where datname = $1 and state <> 'disabled'", {
      values: [database],
    })
    const actual = activity.filter((row) => row.state === 'idle').map((row) => Number(row.pid))
    if (activity.length !== actual.length || servers.length !== shown.length) return false
    return actual.sort().join() === shown.sort().join()
  })
}

async function leavesNothing({ pooler, database }: Scene): Promise<void> {
  await pooler.untilEmpty()
  for (const row of await pooler.show('pools')) {
    expect(row).toMatchObject({ cl_active: 0, cl_waiting: 0, sv_active: 0, sv_tested: 0, sv_login: 0, maxwait: 0 })
  }
  pooler.pooler.admin.reconnect(undefined)
  await eventually(async () => (await pooler.show('servers')).length === 0)
  await eventually(async () => {
    const left = await query('select 1 from pg_stat_activity where datname = $1', { values: [database] })
    return left.length === 0
  })
  for (const row of await pooler.show('databases')) {
    expect(row).toMatchObject({ current_connections: 0, current_client_connections: 0 })
  }
  for (const row of await pooler.show('users')) {
    expect(row).toMatchObject({ current_connections: 0, current_client_connections: 0 })
  }
  expect((await pooler.show('mem')).find((row) => row.name === 'prepared_statement_cache')).toMatchObject({ used: 0 })
  expect(pooler.logged.filter((line) => /^(ERROR|FATAL)|out of sync/.test(line))).toEqual([])
}
