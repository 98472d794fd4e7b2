// Messages of a connection one at a time, while it logs in: of what nobody waits for yet, a bounded part is read ahead.

import type { Duplex } from 'node:stream'
import { Socket, type SocketOwner } from '../io/socket.js'
import { ConnectionLost, type Conversation, type Received } from '../protocol/conversation.js'
import { PgError } from '../protocol/errors.js'
import { Password } from '../protocol/frontend.js'

/** Longest message before a login is complete, bytes: as PostgreSQL's PG_MAX_AUTH_TOKEN_LENGTH. */
const longestMessage = 65_535

export class MessageReader implements SocketOwner, Conversation {
  socket: Socket
  private buffered: Buffer = Buffer.alloc(0)
  private failure: Error | undefined
  /** The peer has left, whether anything is waited for or not. */
  onLost: (() => void) | undefined
  private wake: (() => void) | undefined

  constructor(socket: Socket) {
    this.socket = socket
    socket.owner = this
  }

  /** Bytes that came and that nobody has read: they belong to whoever owns the socket next. */
  get rest(): Buffer {
    return this.buffered
  }

  onBytes(chunk: Buffer): void {
    this.buffered = this.buffered.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.buffered, chunk])
    if (this.buffered.length > longestMessage) this.socket.pause()
    this.wake?.()
  }

  /**
   * Gives the connection up to `secure`, which encrypts it, and goes on with what that makes of it. Bytes that came before
   * are gone: nothing sent in the clear is read as if it had been encrypted (CVE-2021-3935, CVE-2021-23222).
   */
  async encrypt<S extends Duplex>(secure: (stream: Duplex) => Promise<S>): Promise<S> {
    this.buffered = Buffer.alloc(0)
    const secured = await secure(this.socket.release())
    this.socket = Socket.over(secured, this)
    if (this.failure !== undefined) this.socket.destroy()
    return secured
  }

  /** Resolves when a connection that is being opened is there. Rejects with the system's code, such as ECONNREFUSED. */
  connected(): Promise<void> {
    const { stream } = this.socket
    return new Promise((resolve, reject) => {
      stream.once('connect', resolve)
      stream.once('error', (error: NodeJS.ErrnoException) => reject(new Error(error.code ?? error.message)))
      stream.once('close', () => reject(this.failure ?? new ConnectionLost('connection lost')))
    })
  }

  /** Resolves when the peer has closed the connection, or reset it; what it sent before is of no interest. */
  async closed(): Promise<void> {
    try {
      for (;;) {
        this.buffered = Buffer.alloc(0)
        await this.more()
      }
    } catch (error) {
      if (!(error instanceof ConnectionLost)) throw error
    }
  }

  onDrain(): void {}

  onGone(): void {
    this.fail(new ConnectionLost('connection lost'))
    this.onLost?.()
  }

  /** Whoever waits is told, now and from now on. */
  fail(reason: Error): void {
    this.failure ??= reason
    this.wake?.()
  }

  /** The next byte, which stays to be read. */
  async peek(): Promise<number> {
    while (this.buffered.length === 0) await this.more()
    return this.buffered[0]!
  }

  /** Exactly `size` bytes. */
  async take(size: number): Promise<Buffer> {
    while (this.buffered.length < size) await this.more()
    if (this.failure !== undefined && !(this.failure instanceof ConnectionLost)) throw this.failure
    const bytes = this.buffered.subarray(0, size)
    this.buffered = this.buffered.subarray(size)
    return bytes
  }

  /** A packet without a code, as connections begin with; its length word is not part of it. */
  async readStartup(limit: number): Promise<Buffer> {
    const header = await this.take(4)
    const length = header.readInt32BE(0)
    if (header[0] === Password) throw new PgError('password_before_startup')
    if (length < 8 || length > limit) {
      const seen = Buffer.concat([header, this.buffered.subarray(0, 4)])
      throw new PgError('bad_packet_header', seen.toString('hex'))
    }
    return this.take(length - 4)
  }

  async read(): Promise<Received> {
    const header = await this.take(5)
    const length = header.readInt32BE(1)
    if (header[0] === 0) throw new PgError('startup_twice') // no code, but the length of a StartupMessage
    if (length < 4 || length > longestMessage) throw new PgError('bad_packet_header', header.toString('hex'))
    return { code: header[0]!, body: await this.take(length - 4) }
  }

  write(bytes: Buffer): void {
    this.socket.write(bytes)
  }

  private async more(): Promise<void> {
    if (this.failure !== undefined) throw this.failure
    await new Promise<void>((resolve) => {
      this.wake = resolve
      this.socket.resume()
    })
    this.wake = undefined
  }
}
