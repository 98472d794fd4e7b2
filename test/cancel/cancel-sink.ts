// A server that takes CancelRequests, and answers them when the test says so.

import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import type { ServerAddress } from '../../src/server/hosts.js'
import { turn } from '../harness/heart.js'

export class CancelSink implements AsyncDisposable {
  /** What has come, a connection a text: `PID SECRET`, the secret as hex. */
  readonly requests: string[] = []
  private readonly server: Server
  private readonly sockets: Socket[] = []

  private constructor(server: Server) {
    this.server = server
    server.on('connection', (socket) => {
      this.sockets.push(socket)
      socket.once('data', (bytes) => this.requests.push(`${bytes.readInt32BE(8)} ${bytes.toString('hex', 12)}`))
      socket.on('error', () => {})
    })
  }

  static async open(): Promise<CancelSink> {
    const server = createServer({ allowHalfOpen: false }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new CancelSink(server)
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port
  }

  get address(): ServerAddress {
    return { kind: 'tcp', name: '127.0.0.1', address: '127.0.0.1', port: this.port }
  }

  /** So many requests have come. */
  async came(count: number): Promise<void> {
    await fact(() => this.requests.length >= count)
  }

  /** The oldest request is taken: its connection is closed. */
  take(): void {
    this.sockets.shift()!.end()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.sockets) socket.destroy()
    if (this.server.listening) await new Promise((resolve) => this.server.close(resolve))
  }
}

/** Waits until this is so, as long as anything that happens here may take. */
export async function fact(isSo: () => boolean): Promise<void> {
  for (let turns = 0; !isSo(); turns++) {
    if (turns === 100_000) throw new Error(`not so: ${isSo}`)
    await turn()
  }
}
