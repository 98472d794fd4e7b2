// The load of the drill: writers of unique tokens and readers, through the pooler, and what each of them was told.

import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import { Customer, type Failure, type Ledger } from './customer.js'

export interface LoadOptions {
  readonly writers?: number
  readonly readers?: number
  /** How a client logs in to an entry of the pooler. */
  readonly login: (entry: 'pg_rw' | 'pg_ro') => pg.ClientConfig
}

/** A token and what its writer was told; times are of performance.now. */
export interface Write {
  readonly token: string
  readonly sentAt: number
  endedAt: number
  /** `open`: not answered yet. */
  outcome: 'open' | 'acknowledged' | 'failed'
  /** Port of the PostgreSQL that said so; 0 until then. */
  host: number
  /** SQLSTATE of what failed, or `lost`. */
  code: string
}

export interface Read {
  readonly at: number
  readonly host: number
}

/** The server's own port, whatever link led to it. */
const whichHost = "current_setting('port')::int AS host"

const insert = `INSERT INTO tokens VALUES ($1) RETURNING ${whichHost}`

type Insert = (client: pg.Client, token: string) => Promise<number>

/** In turn, one a writer. */
const ways: readonly Insert[] = [
  insertSimple,
  insertExtended,
  insertPrepared,
  inBlock(insertSimple),
  inBlock(insertPrepared),
]

/** How long the answers that are still to come are waited for at the end, ms. */
const patience = 5000

let made = 0

export class Load implements Ledger {
  readonly writes: Write[] = []
  readonly reads: Read[] = []
  readonly failures: Failure[] = []
  readonly began: number = performance.now()
  connectionsLost = 0
  /** Clients that never got an answer, and could not be waited for any longer. */
  unanswered = 0
  ended = 0
  readonly #name = `${process.pid}-${Date.now()}-${++made}`
  readonly #customers: { readonly customer: Customer; readonly over: Promise<void> }[] = []

  constructor({ writers = 20, readers = 10, login }: LoadOptions) {
    for (let number = 0; number < writers; number++) {
      this.#employ(login('pg_rw'), this.#writer(number, ways[number % ways.length]!))
    }
    for (let number = 0; number < readers; number++) this.#employ(login('pg_ro'), this.#reader(number))
  }

  /** A pattern for LIKE that all of its tokens have. */
  get pattern(): string {
    return `${this.#name}-%`
  }

  async stop(): Promise<void> {
    this.ended = performance.now()
    for (const { customer } of this.#customers) customer.leave()
    const all = this.#customers.map(({ over }) => over)
    await Promise.race([Promise.all(all), sleep(patience, undefined, { ref: false })])
    for (const { customer, over } of this.#customers) {
      const isOver = await Promise.race([over.then(() => true), sleep(0, false)])
      if (!isOver) this.unanswered++
      customer.destroy()
    }
  }

  #employ(config: pg.ClientConfig, turn: (client: pg.Client) => Promise<void>): void {
    const customer = new Customer(config, this)
    this.#customers.push({ customer, over: customer.run(turn) })
  }

  #writer(number: number, write: Insert) {
    let count = 0
    return async (client: pg.Client): Promise<void> => {
      const token = `${this.#name}-${number}-${++count}`
      const entry: Write = { token, sentAt: performance.now(), endedAt: 0, outcome: 'open', host: 0, code: '' }
      this.writes.push(entry)
      try {
        entry.host = await write(client, token)
        entry.outcome = 'acknowledged'
      } catch (error) {
        entry.outcome = 'failed'
        entry.code = (error as { code?: string }).code ?? 'lost'
        throw error
      } finally {
        entry.endedAt = performance.now()
      }
    }
  }

  #reader(number: number) {
    return async (client: pg.Client): Promise<void> => {
      const { rows } = await client.query<{ host: number }>({
        text: `SELECT ${whichHost} FROM (SELECT count(*) FROM polls) AS looked`,
        ...(number % 2 === 0 && { name: 'look' }),
      })
      this.reads.push({ at: performance.now(), host: rows[0]!.host })
    }
  }
}

async function insertSimple(client: pg.Client, token: string): Promise<number> {
  return hostOf(await client.query(insert.replace('$1', `'${token}'`)))
}

async function insertExtended(client: pg.Client, token: string): Promise<number> {
  return hostOf(await client.query(insert, [token]))
}

async function insertPrepared(client: pg.Client, token: string): Promise<number> {
  return hostOf(await client.query({ name: 'insert', text: insert, values: [token] }))
}

/** BEGIN and COMMIT around it. What fails is rolled back, as drivers do it; it stays the first error that is told. */
function inBlock(insertOne: Insert): Insert {
  return async (client, token) => {
    let isDone = false
    try {
      await client.query('BEGIN')
      const host = await insertOne(client, token)
      const { command } = await client.query('COMMIT')
      isDone = true
      if (command !== 'COMMIT') throw new Error(`COMMIT was answered ${command}`)
      return host
    } catch (error) {
      const mayGoOn = !isDone && (error as { severity?: string }).severity === 'ERROR'
      if (mayGoOn) await client.query('ROLLBACK')
      throw error
    }
  }
}

function hostOf({ rows }: pg.QueryResult<{ host: number }>): number {
  return rows[0]!.host
}
