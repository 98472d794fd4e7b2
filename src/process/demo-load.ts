// The load of `tsbouncer demo --failover`: clients of a few lines each, which count what they are told.

import { setTimeout as sleep } from 'node:timers/promises'
import { ScramKeyring } from '../auth/scram-keys.js'
import { Secret } from '../config/secret.js'
import type { DemoLoad, LoadCounts } from '../demo/failover.js'
import * as backend from '../protocol/backend.js'
import * as frontend from '../protocol/frontend.js'
import { Attempt } from '../server/attempt.js'
import { type OpenedServer, openServer } from '../server/open-server.js'

const writers = 10
const readers = 5

/** Between two statements of one client, ms: the show is about who waits, not about speed. */
const pause = 5

/** The owner of the demo's database. */
const user = { user: 'chensen', stored: { kind: 'plain', password: new Secret('chensen') } } as const

/** A connection through the pooler, made anew when it is lost. */
class LoadClient {
  private readonly port: number
  private readonly database: string
  private readonly counts: Counts
  private connection: OpenedServer | undefined

  constructor(port: number, database: string, counts: Counts) {
    this.port = port
    this.database = database
    this.counts = counts
  }

  /** The first value of the answer, or undefined where there was an error, or no connection. */
  async ask(text: string): Promise<string | undefined> {
    try {
      this.connection ??= await this.connect()
      return await this.answer(this.connection, text)
    } catch {
      this.counts.lost++
      this.close()
      await sleep(pause * 10)
      return undefined
    }
  }

  /** Leaves, and waits until that is known at the other end. */
  async end(): Promise<void> {
    const reader = this.connection?.reader
    reader?.write(frontend.terminate())
    await reader?.closed()
    this.close()
  }

  private close(): void {
    this.connection?.reader.socket.destroy()
    this.connection = undefined
  }

  private connect(): Promise<OpenedServer> {
    const address = { kind: 'tcp', name: '127.0.0.1', address: '127.0.0.1', port: this.port } as const
    return openServer(new Attempt(), {
      address,
      security: { mode: 'disable', direct: false, context: undefined },
      settings: { tcp_keepalive: false, tcp_keepidle: 0 },
      credentials: user,
      parameters: { database: this.database },
      keyring: new ScramKeyring(),
      onParameter() {},
    })
  }

  private async answer({ reader }: OpenedServer, text: string): Promise<string | undefined> {
    reader.write(frontend.query(text))
    let value: string | undefined = ''
    for (;;) {
      const { code, body } = await reader.read()
      if (code === backend.ReadyForQuery) return value
      if (code === backend.DataRow) value = body.subarray(6).toString()
      if (code !== backend.ErrorResponse) continue
      this.counts.failed(backend.reportFields(body).get('C') ?? '')
      value = undefined
    }
  }
}

class Counts {
  lost = 0
  reads = 0
  private writes = 0
  private errors = new Map<string, number>()
  private gap = 0
  private lastWrite = performance.now()

  wrote(): void {
    this.writes++
    this.measureGap()
    this.lastWrite = performance.now()
  }

  failed(sqlstate: string): void {
    this.errors.set(sqlstate, (this.errors.get(sqlstate) ?? 0) + 1)
  }

  take(): LoadCounts {
    this.measureGap() // one that goes on counts as far as it has come
    const { writes, reads, errors, lost, gap } = this
    this.writes = this.reads = this.lost = this.gap = 0
    this.errors = new Map()
    return { writes, reads, errors, lost, gap }
  }

  private measureGap(): void {
    this.gap = Math.max(this.gap, performance.now() - this.lastWrite)
  }
}

/** @param port of the pooler */
export async function startLoad(port: number): Promise<DemoLoad> {
  const counts = new Counts()
  const clients: LoadClient[] = []
  const client = (database: string): LoadClient => {
    const made = new LoadClient(port, database, counts)
    clients.push(made)
    return made
  }
  await client('pg_rw').ask('CREATE TABLE IF NOT EXISTS demo_writes (writer int, number int)')
  const acknowledged: [writer: number, number: number][] = []
  let isOver = false
  const write = async (writer: number): Promise<void> => {
    const own = client('pg_rw')
    for (let number = 0; !isOver; number++) {
      if ((await own.ask(`INSERT INTO demo_writes VALUES (${writer}, ${number})`)) !== undefined) {
        acknowledged.push([writer, number])
        counts.wrote()
      }
      await sleep(pause)
    }
  }
  const read = async (): Promise<void> => {
    const own = client('pg_ro')
    while (!isOver) {
      if ((await own.ask('SELECT count(*) FROM demo_writes')) !== undefined) counts.reads++
      await sleep(pause)
    }
  }
  const working = [...Array.from({ length: writers }, (_, n) => write(n)), ...Array.from({ length: readers }, read)]
  return {
    take: () => counts.take(),
    async stop() {
      isOver = true
      await Promise.all(working)
      const values = acknowledged.map(([writer, number]) => `(${writer},${number})`).join(',')
      const known = `(VALUES ${values || '(-1,-1)'}) AS known (writer, number)`
      const found = await client('pg_rw').ask(`SELECT count(*) FROM ${known} JOIN demo_writes USING (writer, number)`)
      await Promise.all(clients.map((one) => one.end()))
      return { acknowledged: acknowledged.length, found: Number(found ?? 0) }
    },
  }
}
