// One round of the stress: many clients on few servers, everything mixed at random, and every answer is its asker's own.

import { setTimeout as sleep } from 'node:timers/promises'
import { type Settings, startPooler, type TestPooler } from '../harness/pooler.js'
import { createDatabase, query, type TestDatabase } from '../harness/postgres.js'
import { Random } from '../harness/random.js'
import { administer } from './administrator.js'
import { agreesWithPostgres, leavesNothing } from './aftermath.js'
import { Customer } from './customer.js'
import type { Kind } from './exchange.js'
import { Figures } from './figures.js'
import { setUp } from './tables.js'

/** What is known of the rows that were asked to be written. */
export interface Ledger {
  readonly written: Set<string>
  /** The client was gone, or told of a failure, before it heard. */
  readonly uncertain: Set<string>
}

/** The databases of all rounds: that of the pooler's clients, and a copy of it for their twins. */
export interface Stage extends AsyncDisposable {
  readonly database: string
  /** The same tables, with the same object identifiers. */
  readonly twins: string
}

export interface Round {
  readonly mode: 'transaction' | 'statement' | 'session'
  readonly clients: number
  readonly seconds: number
  readonly seed: number
  /** Servers are killed meanwhile. */
  readonly isRough: boolean
  /** Out of all clients, those that have a twin, 0 to 1. */
  readonly twins: number
  readonly kinds: readonly Kind[]
  /** Names of kinds and checks that are left out. */
  readonly known: ReadonlySet<string>
  readonly settings: Settings
  /** Ends the round before its time. */
  readonly stop?: AbortSignal
}

export interface Scene {
  readonly round: Round
  readonly stage: Stage
  readonly pooler: TestPooler
  readonly ledger: Ledger
  readonly figures: Figures
  /** What the administrator has done, the latest at the end. */
  readonly administered: string[]
  isOver: boolean
  failure: Error | undefined
}

/** How long answers may take that are on their way when a round ends, and then everything else, ms. */
const patience = 30_000

export async function openStage(): Promise<Stage> {
  const made: TestDatabase[] = [await createDatabase()]
  const [first] = made
  await query(setUp, { database: first!.name })
  made.push(await createDatabase(first!.name))
  return {
    database: first!.name,
    twins: made[1]!.name,
    async [Symbol.asyncDispose]() {
      for (const database of made) await database.drop()
    },
  }
}

/** Rejects with the seed and the last messages where an answer was not its client's, or anything is left. */
export async function play(stage: Stage, round: Round, figures = new Figures()): Promise<Figures> {
  for (const database of [stage.database, stage.twins]) await query('truncate writes', { database })
  const rejections: unknown[] = []
  const onRejection = (reason: unknown): number => rejections.push(reason)
  process.on('unhandledRejection', onRejection)
  try {
    await using pooler = await startPooler({
      pool_mode: round.mode,
      default_pool_size: 5,
      max_client_conn: 10_000,
      query_wait_notify: 0,
      server_login_retry: 0.1,
      track_extra_parameters: 'app.tenant',
      ...round.settings,
    })
    const random = new Random(round.seed)
    const ledger = { written: new Set<string>(), uncertain: new Set<string>() }
    const scene: Scene = { round, stage, pooler, ledger, figures, administered: [], isOver: false, failure: undefined }
    const customers = Array.from({ length: round.clients }, (_, number) => new Customer(scene, number, random.fork()))
    const work = Promise.all([administer(scene, random.fork()), ...customers.map((customer) => customer.run())])
    work.catch((error: unknown) => fail(scene, error))
    const deadline = performance.now() + round.seconds * 1000
    while (!scene.isOver && round.stop?.aborted !== true && performance.now() < deadline) await sleep(20)
    scene.isOver = true
    await Promise.race([work.catch(() => {}), sleep(patience, undefined, { ref: false })])
    if (scene.failure !== undefined) throw scene.failure
    await work

    await agreesWithPostgres(scene)
    await leavesNothing(scene)
    if (rejections.length > 0) throw new Error(`unhandled: ${rejections.map(String).join('\n')}`)
    return figures
  } catch (error) {
    const { mode, seed } = round
    throw new Error(`seed ${seed}, ${mode} mode: ${error instanceof Error ? error.message : error}`, { cause: error })
  } finally {
    process.off('unhandledRejection', onRejection)
  }
}

/** The first failure counts, and ends the round. */
export function fail(scene: Scene, error: unknown): void {
  const reason = error instanceof Error ? error.message : String(error)
  const warnings = scene.pooler.logged.filter((line) => !/^LOG /.test(line)).slice(-10)
  const text = `${reason}\nadministered: ${scene.administered.slice(-10).join('; ')}\nlogged: ${warnings.join('\n')}`
  scene.failure ??= new Error(text, { cause: error })
  scene.isOver = true
}
