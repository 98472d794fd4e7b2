// One client of the load: asks again and again, notes what came of it, and comes back when its connection is lost.

import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'

/** Something went wrong, as its client saw it. */
export interface Failure {
  /** SQLSTATE; `lost` for a connection that ended without a word, `login CODE` for one that did not come about. */
  readonly code: string
  readonly text: string
  readonly at: number
  /** How long its client had waited for it, ms. */
  readonly waited: number
}

export interface Ledger {
  readonly failures: Failure[]
  /** Connections that had been logged in, and were ended by the other side. */
  connectionsLost: number
}

/** Between two turns, ms; at random up to twice that. */
const pause = 40

export class Customer {
  readonly #config: pg.ClientConfig
  readonly #ledger: Ledger
  #client: pg.Client | undefined
  /** Resolves when the connection that was made last has ended. */
  #ended: Promise<void> = Promise.resolve()
  #logsIn = false
  #isLeaving = false

  constructor(config: pg.ClientConfig, ledger: Ledger) {
    this.#config = config
    this.#ledger = ledger
  }

  /** Takes turns until it is to leave. A turn that rejects is a failure of the conversation, and noted. */
  async run(turn: (client: pg.Client) => Promise<void>): Promise<void> {
    while (!this.#isLeaving) {
      const began = performance.now()
      try {
        const client = this.#client ?? (await this.#connect())
        await turn(client)
      } catch (error) {
        this.#note(error, began)
        // The end of the connection comes a little later; it is one failure, and not two.
        const isOver = (error as { severity?: string }).severity !== 'ERROR'
        if (isOver) await Promise.race([this.#ended, sleep(500, undefined, { ref: false })])
      }
      await sleep(Math.random() * 2 * pause)
    }
    const client = this.#client
    this.#client = undefined
    await client?.end().catch(() => {})
  }

  leave(): void {
    this.#isLeaving = true
  }

  /** Does not wait for an answer any more. */
  destroy(): void {
    this.leave()
    const client = this.#client
    this.#client = undefined
    client?.connection.stream.destroy()
  }

  async #connect(): Promise<pg.Client> {
    const client = new pg.Client(this.#config)
    client.on('error', () => {})
    this.#ended = new Promise((resolve) => {
      client.on('end', () => {
        resolve()
        if (this.#client !== client) return
        this.#client = undefined
        if (!this.#isLeaving) this.#ledger.connectionsLost++
      })
    })
    this.#logsIn = true
    await client.connect()
    this.#logsIn = false
    this.#client = client
    return client
  }

  #note(error: unknown, began: number): void {
    if (this.#isLeaving && !(error instanceof pg.DatabaseError)) return
    const { code = 'lost', message } = error as Error & { code?: string }
    const at = performance.now()
    this.#ledger.failures.push({
      code: this.#logsIn ? `login ${code}` : code,
      text: message,
      at,
      waited: at - began,
    })
    this.#logsIn = false
  }
}
