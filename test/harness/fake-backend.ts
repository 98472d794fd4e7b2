// A server that does what a test tells it to: for what PostgreSQL would never do, or not at a given byte.

import { createServer, type Server, type Socket } from 'node:net'
import { type CancelKey, message } from './raw-client.js'

const i32 = (value: number): Buffer =>
  Buffer.of((value >> 24) & 255, (value >> 16) & 255, (value >> 8) & 255, value & 255)

export const authenticationOk: Buffer = message('R', i32(0))
export const parameterStatus = (name: string, value: string): Buffer => message('S', Buffer.from(`${name}\0${value}\0`))
export const backendKeyData = ({ pid, secret }: CancelKey): Buffer => message('K', i32(pid), secret)
export const readyForQuery = (status: 'I' | 'T' | 'E' = 'I'): Buffer => message('Z', Buffer.from(status))
export const commandComplete = (tag: string): Buffer => message('C', Buffer.from(`${tag}\0`))
export const errorResponse = (sqlstate: string, text: string, severity = 'ERROR'): Buffer =>
  message('E', Buffer.from(`S${severity}\0V${severity}\0C${sqlstate}\0M${text}\0\0`))

/** What a server says of itself, so that the pooler has nothing to align. */
export const reported: Readonly<Record<string, string>> = {
  server_version: '18.0',
  client_encoding: 'UTF8',
  DateStyle: 'ISO, MDY',
  TimeZone: 'UTC',
  standard_conforming_strings: 'on',
  application_name: '',
  IntervalStyle: 'postgres',
}

/** One connection to the fake server; what it reads, it reads in order. */
export class BackendConnection {
  readonly socket: Socket
  /** Resolves when the other side has ended it. */
  readonly ended: Promise<void>
  #bytes: Buffer = Buffer.alloc(0)
  #isOver = false
  #wake: () => void = () => {}

  constructor(socket: Socket) {
    this.socket = socket
    socket.setNoDelay(true)
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk])
      this.#wake()
    })
    this.ended = new Promise((resolve) => {
      socket.on('close', () => {
        this.#isOver = true
        this.#wake()
        resolve()
      })
    })
  }

  /** Exactly so many bytes. Rejects where the connection ends before. */
  async take(size: number): Promise<Buffer> {
    while (this.#bytes.length < size) {
      if (this.#isOver) throw new Error(`ended with ${this.#bytes.length} of ${size} bytes`)
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    const taken = this.#bytes.subarray(0, size)
    this.#bytes = this.#bytes.subarray(size)
    return taken
  }

  /** Bytes that have come and were not taken. */
  get unread(): Buffer {
    return this.#bytes
  }

  /** A packet without a code, as connections begin with. */
  async packet(): Promise<Buffer> {
    return this.take((await this.take(4)).readInt32BE(0) - 4)
  }

  async message(): Promise<{ code: string; body: Buffer }> {
    const header = await this.take(5)
    return { code: header.toString('latin1', 0, 1), body: await this.take(header.readInt32BE(1) - 4) }
  }

  send(...bytes: Buffer[]): void {
    this.socket.write(Buffer.concat(bytes))
  }

  /** Reads the startup packet, and trusts whoever it is. */
  async welcome(key?: CancelKey): Promise<void> {
    await this.packet()
    this.greet(key)
  }

  /** What a server says up to the first ReadyForQuery. */
  greet(key: CancelKey = { pid: 1, secret: Buffer.from('abcd') }): void {
    const parameters = Object.entries(reported).map(([name, value]) => parameterStatus(name, value))
    this.send(authenticationOk, ...parameters, backendKeyData(key), readyForQuery())
  }
}

export class FakeBackend implements AsyncDisposable {
  readonly host = '127.0.0.1'
  readonly port: number
  readonly connections: BackendConnection[] = []
  readonly #server: Server

  private constructor(server: Server, serve: (connection: BackendConnection) => Promise<void>) {
    this.#server = server
    this.port = (server.address() as { port: number }).port
    server.on('connection', (socket) => {
      const connection = new BackendConnection(socket)
      this.connections.push(connection)
      serve(connection).catch(() => socket.destroy())
    })
  }

  /** @param serve what it does with each connection; where that rejects, the connection is closed */
  static async start(
    serve: (connection: BackendConnection) => Promise<void>,
    host = '127.0.0.1',
    port = 0,
  ): Promise<FakeBackend> {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(port, host, resolve))
    return new FakeBackend(server, serve)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { socket } of this.connections) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
