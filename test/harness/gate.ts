// Between the pooler and its server: holds back what the server says, and hides what an older server would not report.

import { connect, createServer, type Server, type Socket } from 'node:net'
import type { Address } from './cluster.js'
import { MessageCutter, message } from './raw-client.js'

export class Gate implements AsyncDisposable, Address {
  readonly host = '127.0.0.1'
  readonly port: number
  /** What it says of itself in place of the truth, by parameter. */
  readonly claims = new Map<string, string>()
  /** The server has said something that is held back. */
  isHolding = false
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #isShut = false
  #held: (() => void)[] = []

  private constructor(server: Server, target: Address, hidden: readonly string[]) {
    this.#server = server
    this.port = (server.address() as { port: number }).port
    server.on('connection', (pooler) => {
      const onward = connect({ host: target.host, port: target.port, noDelay: true })
      pooler.setNoDelay(true)
      const cutter = new MessageCutter()
      pooler.on('data', (bytes: Buffer) => onward.write(bytes))
      onward.on('data', (bytes: Buffer) => {
        for (const { code, body } of cutter.take(bytes)) {
          const [name = ''] = code === 'S' ? body.toString().split('\0') : []
          if (hidden.includes(name)) continue
          const claim = this.claims.get(name)
          const told = claim === undefined ? body : Buffer.from(`${name}\0${claim}\0`)
          this.#pass(() => pooler.write(message(code, told)))
        }
      })
      for (const [one, other] of [
        [pooler, onward],
        [onward, pooler],
      ] as const) {
        one.on('error', () => {})
        one.on('close', () => other.destroy())
        this.#sockets.add(one)
      }
    })
  }

  /** @param hidden names of parameters that the server seems not to report */
  static async start(target: Address, hidden: readonly string[] = []): Promise<Gate> {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return new Gate(server, target, hidden)
  }

  /** From now on what servers say is held back. */
  shut(): void {
    this.#isShut = true
  }

  open(): void {
    this.#isShut = this.isHolding = false
    for (const pass of this.#held.splice(0)) pass()
  }

  #pass(pass: () => void): void {
    if (!this.#isShut) return pass()
    this.isHolding = true
    this.#held.push(pass)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
