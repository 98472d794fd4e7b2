// The whole heart at random: clients that come, ask, cancel, stall and go, servers that answer, fail and die, administrators
// between them. After each step, who has what is the same from both ends; in the end, all has been given back.

import fc from 'fast-check'
import { test, vi } from 'vitest'
import { PooledClient } from '../../src/client/pooled-client.js'
import { loadConfig } from '../../src/config/load.js'
import type { SettingName } from '../../src/config/settings.js'
import { PoolAdministration } from '../../src/control/administration.js'
import { reconfigure } from '../../src/control/reconfigure.js'
import { Statistics } from '../../src/control/statistics.js'
import type { Pool } from '../../src/pool/pool.js'
import { PoolQuery } from '../../src/pool/pool-query.js'
import { Refusal } from '../../src/protocol/errors.js'
import * as frontend from '../../src/protocol/frontend.js'
import { type ConnectFailed, failed } from '../../src/server/connect-failed.js'
import type { ServerSession } from '../../src/server/server-session.js'
import { Heart, HeartClient, turn } from '../harness/heart.js'
import * as wire from '../protocol/wire.js'
import { randomFrom, sizeFrom } from '../relay/relay-programs.js'
import type { RigServer } from '../relay/relay-rig.js'
import { HeartInvariants } from './heart-invariants.js'

/** From outside: a longer hunt. */
const runs = Number(process.env.FC_RUNS ?? 35)
vi.setConfig({ testTimeout: 60_000 + 200 * runs })

const databases = ['rig', 'forced', 'small', 'auto']
const users = ['rig', 'other']

const base = {
  auth_type: 'trust',
  server_check_query: 'select 1',
  max_prepared_statements: 100,
  query_wait_timeout: 30,
  server_idle_timeout: 60,
  pool_idle_timeout: 100,
  autodb_idle_timeout: 100,
  cancel_wait_timeout: 5,
} as const

/** The configuration as it stands at first, and as a RELOAD may find it. */
const configurations = [
  {
    rig: 'host=127.0.0.1 server_lost=error',
    forced: 'host=127.0.0.1 user=third',
    small: 'host=127.0.0.1 max_db_connections=1',
  },
  { rig: 'host=127.0.0.2', forced: 'host=127.0.0.1 user=other', small: 'host=127.0.0.1 pool_mode=session' },
  { rig: 'host=127.0.0.1 pool_mode=statement', forced: 'host=127.0.0.1 user=rig', small: 'host=127.0.0.1' },
  { rig: 'host=127.0.0.1', small: 'host=127.0.0.1 pool_size=3' },
].map((entries) => ({ ...entries, '*': 'host=127.0.0.1' }))

const settings: readonly (readonly [SettingName, readonly string[]])[] = [
  ['pool_mode', ['session', 'transaction', 'transaction', 'statement']],
  ['session_state', ['allow', 'warn', 'track']],
  ['default_pool_size', ['1', '2', '3']],
  ['min_pool_size', ['0', '1']],
  ['reserve_pool_size', ['0', '1']],
  ['reserve_pool_timeout', ['1']],
  ['max_user_connections', ['0', '2']],
  ['max_user_client_connections', ['0', '4']],
  ['max_client_conn', ['5', '100']],
  ['server_check_delay', ['0', '10']],
  ['server_reset_query_always', ['0', '1']],
  ['server_round_robin', ['0', '1']],
  ['server_fast_close', ['0', '1']],
  ['server_lifetime', ['20', '3600']],
  ['max_prepared_statements', ['0', '100']],
  ['query_timeout', ['0', '20']],
  ['idle_transaction_timeout', ['0', '20']],
  ['transaction_timeout', ['0', '20']],
  ['client_idle_timeout', ['0', '50']],
]

/** What is told only to whoever owes it to himself. */
const own = (text: string): readonly Buffer[] => [wire.query(text)]
const exchanges: readonly ((tag: string) => readonly Buffer[])[] = [
  (tag) => own(`rows 2 ${tag}`),
  (tag) => own(`rows 1 ${tag};rows 1 ${tag}`),
  () => own('begin'),
  () => own('begin'),
  () => own('commit'),
  () => own('rollback'),
  () => own('fail'),
  (tag) => own(`set application_name='${tag}'`),
  () => own('set work_mem=1'),
  () => own('listen x'),
  () => own('create temp table x()'),
  () => own('discard all'),
  () => own('copy out'),
  () => [wire.query('copy in'), wire.copyData('x'), wire.copyDone],
  () => [wire.query('copy in 1'), wire.copyData('x'), wire.copyData('y'), wire.copyDone],
  () => [wire.query('copy in')],
  () => [wire.copyFail('no')],
  () => [wire.copyDone],
  (tag) => [wire.parse('a', `rows 1 ${tag}`), wire.sync],
  () => [wire.bind('a'), wire.describe('P'), wire.execute(), wire.sync],
  (tag) => [wire.parse('', `rows 2 ${tag}`), wire.bind(''), wire.execute('', 1), wire.sync],
  () => [wire.close('S', 'a'), wire.sync],
  (tag) => [wire.parse('b', `rows 1 ${tag}`), wire.bind('b'), wire.execute(), wire.flush],
  () => [wire.bind('nosuch'), wire.execute(), wire.sync],
  () => [wire.sync],
  () => [wire.functionCall('x')],
]

interface Drawn {
  readonly seed: number
  readonly steps: number
}

const notification = wire.message('A', wire.i32(1), wire.z('channel'), wire.z('payload'))

/** A CancelRequest that its server has yet to take. */
interface LateCancel {
  readonly server: ServerSession
}

class Story extends HeartInvariants {
  private readonly random: (below: number) => number
  private readonly admin: PoolAdministration
  private readonly unsent = new Map<HeartClient, Buffer>()
  private readonly late: LateCancel[] = []
  private readonly stop = new AbortController()
  /** What was done, for the message of a failing test. */
  readonly told: string[] = []

  constructor(heart: Heart, random: (below: number) => number) {
    super(heart)
    this.random = random
    this.admin = new PoolAdministration(heart.clients, new Statistics(heart.clients), {
      version: '',
      reload: () => Promise.resolve([]),
      set: () => Promise.resolve(undefined),
      shutdown: () => Promise.resolve(),
    })
  }

  private pick<T>(items: readonly T[]): T | undefined {
    return items.length === 0 ? undefined : items[this.random(items.length)]
  }

  async step(): Promise<void> {
    const what = this.random(100)
    if (what < 8) await this.arrive()
    else if (what < 45) this.say()
    else if (what < 75) this.serve()
    else if (what < 79) this.leave()
    else if (what < 82) this.loseServer()
    else if (what < 86) await this.cancel()
    else if (what < 89) this.ask()
    else if (what < 93) this.pass()
    else if (what < 98) this.command()
    else await this.reload()
    if (this.random(3) === 0) await turn()
  }

  private async arrive(): Promise<void> {
    if (this.open.length >= 6 || this.heart.clients.isSuspended) return // then nobody is looked at yet
    const [database, user] = [this.pick(databases)!, this.pick(users)!]
    const parameters: Record<string, string> = {}
    if (this.random(2) === 0) parameters.application_name = `app${this.random(3)}`
    if (this.random(8) === 0) parameters.replication = 'database'
    this.told.push(`${user} comes to ${database} ${JSON.stringify(parameters)}`)
    const client = new HeartClient(this.heart.clients)
    this.entered.push(client)
    client.socket.room = this.pick([Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, 100])!
    const hello = frontend.startupMessage({ user, database, ...parameters })
    const first = this.random(4) === 0 ? wire.query('begin') : Buffer.alloc(0)
    client.send(hello, first)
    if (this.random(3) > 0) await turn()
  }

  private say(): void {
    const client = this.pick(this.open)
    if (client === undefined || client.socket.paused) return
    const tag = `c${this.entered.indexOf(client)}`
    const rest = this.unsent.get(client)
    const bytes = rest ?? Buffer.concat(exchanges[this.random(exchanges.length)]!(tag))
    const isCut = this.random(6) === 0
    const size = isCut ? Math.min(bytes.length, sizeFrom(this.random)) : bytes.length
    if (size < bytes.length) this.unsent.set(client, bytes.subarray(size))
    else this.unsent.delete(client)
    this.told.push(`${tag} says ${bytes.toString('latin1', 0, Math.min(size, 40)).replaceAll(/[^ -~]+/g, '.')}`)
    client.send(bytes.subarray(0, size))
  }

  private serve(): void {
    const server = this.pick(this.up)
    if (server === undefined) return
    if (this.random(40) === 0) {
      this.told.push('all settles')
      return this.heart.settle()
    }
    this.told.push(`s${this.heart.servers.indexOf(server)} serves (${server.session.state})`)
    if (server.session.state === 'connecting') {
      if (this.random(10) > 0) return this.heart.logIn(server)
      this.failToConnect(server, failed('connect_failed'))
      return
    }
    if (this.random(8) === 0) server.backend.sent.push(notification)
    if (this.random(2) === 0) {
      server.work()
      if (!server.socket.paused) server.answer()
    } else {
      server.backend.receive(server.socket.taken())
      server.backend.work(1 + this.random(3))
      if (!server.socket.paused) server.answer(sizeFrom(this.random))
    }
    if (this.random(3) === 0) for (const { socket } of [...this.open, server]) socket.drain()
  }

  private failToConnect({ session }: RigServer, failure: ConnectFailed): void {
    const registry = this.heart.registry as unknown as {
      onConnectFailed(pool: Pool, server: ServerSession, failure: ConnectFailed): void
    }
    registry.onConnectFailed(session.pool as Pool, session, failure)
  }

  private leave(): void {
    const client = this.pick(this.open)
    if (client === undefined) return
    const how = this.random(4)
    this.told.push(`c${this.entered.indexOf(client)} leaves (${how})`)
    if (how === 0 && !client.socket.paused && !this.unsent.has(client)) client.send(wire.terminate)
    else if (how === 1 && client.session.phase instanceof PooledClient) client.session.phase.relay.onHalfClosed()
    else client.socket.owner.onGone()
  }

  private loseServer(): void {
    const server = this.pick(this.up)
    if (server === undefined) return
    this.told.push(`s${this.heart.servers.indexOf(server)} is lost (${server.session.state})`)
    if (server.session.state === 'connecting') return this.failToConnect(server, failed('server_crashed'))
    const farewell = wire.message('E', wire.z('SFATAL'), wire.z('C57P01'), wire.z('Mgone'), Buffer.alloc(1))
    const how = this.random(3)
    if (how === 0) server.backend.sent.push(farewell)
    if (how === 0) server.answer()
    if (how === 1) server.work() // and half of what it says is on its way
    if (how === 1) server.answer(sizeFrom(this.random))
    if (server.session.state !== 'closed') server.socket.owner.onGone()
  }

  private async cancel(): Promise<void> {
    const known = this.pick(this.late)
    if (known !== undefined && this.random(2) === 0) return this.deliver(known)
    const client = this.pick(this.open)
    if (client === undefined) return
    this.told.push(`c${this.entered.indexOf(client)} cancels`)
    const target = client.session.cancelTarget()
    if (typeof target === 'object' && this.random(2) === 0) {
      // As `Cancels.stop` until the server has taken it.
      target.cancels++
      this.late.push({ server: target })
      return
    }
    if (this.heart.clients.isSuspended) return
    const key = client.session.cancelKey
    const asker = new HeartClient(this.heart.clients)
    this.entered.push(asker)
    asker.send(frontend.cancelRequest(key.readInt32BE(0), key.subarray(4)))
    if (this.random(2) === 0) await turn()
  }

  private deliver(late: LateCancel): void {
    this.told.push('a cancel is delivered')
    const { server } = late
    this.late.splice(this.late.indexOf(late), 1)
    if (--server.cancels === 0) server.pool.onCancelled(server)
  }

  /** A query of the pooler's own; or one that nobody waits for any more. */
  private ask(): void {
    const known = this.pick(this.queries)
    if (known !== undefined && this.random(2) === 0) return known.giveUp()
    const pool = this.pick(this.pools.filter(({ isReplication }) => !isReplication))
    if (pool === undefined) return
    this.told.push(`asks in ${pool.database.name}/${pool.user.name}`)
    const query = new PoolQuery(pool, frontend.query('rows 1 own'), this.random(2) === 0, () => {
      this.queries.splice(this.queries.indexOf(query), 1)
    })
    this.queries.push(query)
    query.begin()
  }

  private pass(): void {
    const seconds = this.pick([0.1, 1, 11, 61, 200])!
    this.told.push(`${seconds} s pass`)
    this.heart.clock.advance(seconds)
    this.heart.janitor.look()
  }

  private command(): void {
    const { admin } = this
    const name = this.random(3) === 0 ? undefined : this.pick(databases)!
    const some = name ?? 'rig'
    const what = this.random(9)
    this.told.push(`command ${what} ${name}`)
    try {
      if (what === 0) void admin.pause(name, this.stop.signal).catch(() => {})
      else if (what === 1) admin.resume(name)
      else if (what === 2) admin.resume(undefined)
      else if (what === 3) admin.kill(name)
      else if (what === 4) this.killClient()
      else if (what === 5) admin.reconnect(name)
      else if (what === 6) admin.disable(some)
      else if (what === 7) admin.enable(some)
      else void admin.suspend(this.stop.signal).catch(() => {})
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
    }
  }

  private killClient(): void {
    const client = this.pick(this.open)
    if (client !== undefined) this.admin.killClient(client.session.id)
  }

  private async reload(): Promise<void> {
    const { heart } = this
    if (this.random(2) === 0) {
      const [name, values] = this.pick(settings)!
      const value = this.pick(values)!
      this.told.push(`${name} = ${value}`)
      return heart.set(name, value)
    }
    const entries = this.pick(configurations)!
    this.told.push(`reload ${JSON.stringify(entries)}`)
    const next = await loadConfig({ pgbouncer: base, databases: entries })
    heart.context.config = next
    reconfigure(heart.registry, heart.registry.files)
  }

  /** Whatever can be done is, and everybody leaves. */
  async end(): Promise<void> {
    const { heart, admin } = this
    this.told.push('the end')
    this.stop.abort(new Error('over'))
    if (heart.context.isPaused || heart.clients.isSuspended) admin.resume(undefined)
    for (const database of heart.registry.databases) if (database.paused) admin.resume(database.name)
    await this.calm()
    this.check()
    for (const client of this.open) client.socket.owner.onGone()
    await this.calm()
    for (const query of [...this.queries]) query.giveUp()
    await this.calm()
    // Pauses after failures to connect, and limits on how long is waited, are over.
    heart.clock.advance(61)
    await this.calm()
  }

  private async calm(): Promise<void> {
    for (let n = 0; n < 4; n++) {
      for (const late of [...this.late]) this.deliver(late)
      for (const { socket } of [...this.open, ...this.up]) {
        socket.room = Number.POSITIVE_INFINITY
        socket.drain()
      }
      this.heart.settle()
      await turn()
    }
  }
}

const story = fc.record({
  seed: fc.noShrink(fc.integer({ min: 0, max: 0x7fffffff })),
  steps: fc.integer({ min: 20, max: 150 }),
})

test('whatever happens, who has what is the same from both ends, and all is given back', async () => {
  await fc.assert(
    fc.asyncProperty(story, async ({ seed, steps }: Drawn) => {
      const random = randomFrom(seed)
      const drawn = Object.fromEntries(settings.map(([name, values]) => [name, values[random(values.length)]!]))
      const chosen = random(2) === 0 ? drawn : {}
      const heart = await Heart.open({ ...base, ...chosen }, { databases: configurations[0]! })
      const story = new Story(heart, random)
      try {
        for (let step = 0; step < steps; step++) {
          await story.step()
          story.check()
        }
        await story.end()
        story.checkEnd()
      } catch (error) {
        ;(error as Error).message += `\n${JSON.stringify(chosen)}\n${story.told.slice(-60).join('\n')}`
        throw error
      }
    }),
    { numRuns: runs },
  )
})
