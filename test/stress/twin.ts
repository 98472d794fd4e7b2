// PostgreSQL itself as the oracle: the very bytes that a client sends the pooler are played on a connection past it.

import { postgres } from '../harness/postgres.js'
import { copyFail, Ended, query, RawClient, sync } from '../harness/raw-client.js'
import type { Exchange } from './exchange.js'

/** What PostgreSQL answered. */
export interface Answer {
  readonly lines: readonly string[]
  /** Of the same messages. */
  readonly bodies: readonly Buffer[]
  /** It is not waiting for more of a COPY, nor for a Sync: what comes next is a new exchange. */
  readonly isSettled: boolean
  /** It has closed the connection. */
  readonly isOver: boolean
}

/** Ends whatever may be under way: COPY data, a batch without its Sync. */
export const settling = Buffer.concat([copyFail('settled'), sync])

/** A connection of its own for one client of the pooler, to a database that is as the client's. */
export class Twin implements AsyncDisposable {
  readonly client: RawClient
  #next = 0

  private constructor(client: RawClient) {
    this.client = client
  }

  /** @param parameters of the startup packet, user and database among them; the server has to trust this user */
  static async open(parameters: Readonly<Record<string, string>>): Promise<Twin> {
    return new Twin(await RawClient.connect({ ...postgres().primary, parameters }))
  }

  async play({ bytes }: Exchange): Promise<Answer> {
    const { client } = this
    const token = `twin ${this.#next++}`
    client.send(bytes, settling, query(`select '${token}' as x`))
    const lines: string[] = []
    const bodies: Buffer[] = []
    try {
      while (lines.at(-3) !== `D ${token}`) {
        lines.push(await client.line())
        bodies.push(client.latestBody)
      }
    } catch (error) {
      if (!(error instanceof Ended)) throw error
      return { lines, bodies, isSettled: false, isOver: true }
    }
    // Sync's own ReadyForQuery, and the marker's four messages.
    const asked = lines.slice(0, -5)
    const isSettled = asked.at(-1)?.startsWith('Z ') === true && lines.at(-5) === asked.at(-1)
    return { lines: isSettled ? asked : lines.slice(0, -4), bodies, isSettled, isOver: false }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client[Symbol.asyncDispose]()
  }
}
