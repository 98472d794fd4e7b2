// Between the pooler and its server: passes everything on, and remembers who said what, in order.

import { connect, createServer, type Server } from 'node:net'
import type { Address } from './cluster.js'

export interface Said {
  readonly by: 'pooler' | 'server'
  readonly bytes: Buffer
}

export class Recorder implements AsyncDisposable, Address {
  readonly host = '127.0.0.1'
  readonly port: number
  /** What was said since `clear`; one entry for all that one side said without a word of the other. */
  said: Said[] = []
  readonly #server: Server
  readonly #close = new Set<() => void>()

  private constructor(server: Server, target: Address) {
    this.#server = server
    this.port = (server.address() as { port: number }).port
    server.on('connection', (pooler) => {
      const onward = connect({ host: target.host, port: target.port, noDelay: true })
      pooler.setNoDelay(true)
      for (const [by, from, to] of [
        ['pooler', pooler, onward],
        ['server', onward, pooler],
      ] as const) {
        from.on('data', (bytes: Buffer) => {
          this.#note(by, bytes)
          to.write(bytes)
        })
        from.on('error', () => {})
        from.on('close', () => to.destroy())
        this.#close.add(() => from.destroy())
      }
    })
  }

  static async start(target: Address): Promise<Recorder> {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return new Recorder(server, target)
  }

  clear(): void {
    this.said = []
  }

  #note(by: Said['by'], bytes: Buffer): void {
    const last = this.said.at(-1)
    if (last?.by === by) this.said[this.said.length - 1] = { by, bytes: Buffer.concat([last.bytes, bytes]) }
    else this.said.push({ by, bytes })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const close of this.#close) close()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
