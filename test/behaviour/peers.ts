// What tests of peers have in common: queries that sleep until they are cancelled, and an address that several share.

import { connect, createServer, type Socket } from 'node:net'
import { eventually } from '../harness/pooler.js'
import { query as ask } from '../harness/postgres.js'
import { type CancelKey, query, type RawClient } from '../harness/raw-client.js'

export const canceled = ['E ERROR 57014 canceling statement due to user request', 'Z I']

let slept = 0

/** Sends a query that ends only by a cancel; resolves when the server works on it. */
export async function sleep(client: RawClient): Promise<void> {
  const mark = `sleep for peers ${process.pid}.${++slept}`
  client.send(query(`select pg_sleep(60) /* ${mark} */`))
  await eventually(async () => {
    const rows = await ask(`select 1 from pg_stat_activity where state = 'active' and query like '%${mark} */'`)
    return rows.length === 1
  })
}

/** A key in pgbouncer's layout: the peer's id in its second and third byte, hops in the two lowest bits of the eighth. */
export function keyOfPeer(id: number, hops: number): CancelKey {
  const key = Buffer.from([1, id & 255, id >> 8, 4, 5, 6, 7, 0xf8 | hops])
  return { pid: key.readInt32BE(0), secret: key.subarray(4) }
}

/** One port for several: each new connection goes to the next of them, as it may with SO_REUSEPORT. */
export class Balancer implements AsyncDisposable {
  readonly port: number
  readonly #close: () => Promise<void>

  private constructor(port: number, close: () => Promise<void>) {
    this.port = port
    this.#close = close
  }

  static async start(ports: readonly number[]): Promise<Balancer> {
    const sockets = new Set<Socket>()
    let turn = 0
    const server = createServer({ noDelay: true }, (client) => {
      const onward = connect({ port: ports[turn++ % ports.length]!, host: '127.0.0.1', noDelay: true })
      for (const [one, other] of [
        [client, onward],
        [onward, client],
      ] as const) {
        sockets.add(one)
        one.on('error', () => other.destroy())
        one.pipe(other)
      }
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return new Balancer((server.address() as { port: number }).port, async () => {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#close()
  }
}
