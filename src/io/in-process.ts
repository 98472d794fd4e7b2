// A connection within the process: a pair in memory, one end for the pooler, the other a net.Socket to whoever looks.

import { Socket as NetSocket } from 'node:net'
import { Duplex } from 'node:stream'
// Not the globals: a test of whoever uses this may have put those out of action.
import { clearInterval, clearTimeout, setImmediate, setInterval, setTimeout } from 'node:timers'

type Done = (error?: Error | null) => void

/** Bytes that may be on their way before the writer has to wait, beside what the reader's own buffer takes. */
const capacity = 64 * 1024

/** One direction of a pair: what one end writes, the other reads. A reader that has enough holds the writer back. */
class Lane {
  /** Bytes that have gone this way. */
  carried = 0
  private readonly reader: Duplex
  private readonly isPrompt: boolean
  private underway: Buffer[] = []
  private size = 0
  private isFull = false
  private isEnding = false
  private isScheduled = false
  private waiting: Done | undefined

  /** @param isPrompt whether what is written is read within that call */
  constructor(reader: Duplex, isPrompt: boolean) {
    this.reader = reader
    this.isPrompt = isPrompt
  }

  /** Calls `done` once there is room for more; with EPIPE where nobody reads any longer, as a kernel says. */
  write(chunk: Buffer, done: Done): void {
    if (this.reader.destroyed) return done(systemError('EPIPE', 'write'))
    this.carried += chunk.length
    this.size += chunk.length
    this.underway.push(chunk)
    this.schedule()
    if (this.isFull || this.size >= capacity) this.waiting = done
    else done()
  }

  /** Nothing more comes behind what is underway. */
  end(): void {
    if (this.isEnding) return
    this.isEnding = true
    this.schedule()
  }

  /** The reader has room again, or has gone. */
  resume(): void {
    this.isFull = false
    if (!this.isScheduled) this.release()
  }

  private schedule(): void {
    if (this.isPrompt) return this.deliver()
    if (this.isScheduled) return
    this.isScheduled = true
    setImmediate(() => this.deliver())
  }

  private deliver(): void {
    const bytes = this.underway.length === 1 ? this.underway[0]! : Buffer.concat(this.underway)
    this.isScheduled = false
    this.underway = []
    this.size = 0
    try {
      this.isFull = bytes.length > 0 && !this.reader.destroyed && !this.reader.push(bytes)
    } finally {
      // Also where the reader threw, which is its own affair.
      if (!this.isFull) this.release()
      if (this.isEnding && !this.reader.destroyed) this.reader.push(null)
    }
  }

  private release(): void {
    const go = this.waiting
    this.waiting = undefined
    go?.()
  }
}

/** The pooler's end. Like a socket's, it ends with its client unless the pooler lets it outlast that (`allowHalfOpen`). */
class Far extends Duplex {
  private readonly lanes: () => Lanes

  constructor(lanes: () => Lanes) {
    super({ allowHalfOpen: false })
    this.lanes = lanes
  }

  override _read(): void {
    this.lanes().toFar.resume()
  }

  override _write(chunk: Buffer, _encoding: string, done: Done): void {
    this.lanes().toNear.write(chunk, done)
  }

  override _final(done: Done): void {
    this.lanes().endNear()
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.lanes().toFar.resume()
    this.lanes().endNear()
    done(error)
  }
}

interface Lanes {
  readonly toFar: Lane
  readonly toNear: Lane
  endNear(): void
}

/** The longest that a timer of Node's can be, ms. */
const longest = 2 ** 31 - 1

/**
 * The driver's end: a net.Socket in all that can be asked of one, with the addresses of a Unix socket, which are none. It is
 * open from the start; `connect` only says so, as drivers expect of a socket, and does not open it again once it is closed.
 *
 * Like any open socket it keeps the process alive until the pooler has ended it, or it is closed, or `unref` was called.
 */
export class InProcessClient extends NetSocket {
  readonly far: Duplex
  private readonly toFar: Lane
  private readonly toNear: Lane
  private readonly hold: NodeJS.Timeout
  private idle: NodeJS.Timeout | undefined

  constructor() {
    super()
    this.far = new Far(() => lanes)
    this.toFar = new Lane(this.far, true)
    // A driver that throws, closes or writes while it reads does so on a stack of its own, as with a socket: not within the
    // pooler, and not within its own latest write.
    this.toNear = new Lane(this, false)
    const lanes: Lanes = { toFar: this.toFar, toNear: this.toNear, endNear: () => this.ended() }
    this.hold = setInterval(() => {}, longest)
    // Of a net.Socket these are accessors that ask the handle, which this one does not have.
    Object.defineProperties(this, {
      pending: { get: () => this.connecting },
      bytesRead: { get: () => this.toNear.carried },
      bytesWritten: { get: () => this.toFar.carried + this.writableLength },
    })
  }

  override connect(...target: unknown[]): this {
    const listener = target.at(-1)
    if (typeof listener === 'function') this.once('connect', listener as () => void)
    if (this.destroyed) {
      process.nextTick(() => this.emit('error', new Error('this connection is closed: ask the pooler for another')))
      return this
    }
    this.settable.connecting = true
    setImmediate(() => {
      if (this.destroyed) return
      this.settable.connecting = false
      this.emit('connect')
      this.emit('ready')
    })
    return this
  }

  override setNoDelay(_noDelay?: boolean): this {
    return this
  }

  override setKeepAlive(_enable?: boolean, _initialDelay?: number): this {
    return this
  }

  override setTimeout(ms: number, listener?: () => void): this {
    clearTimeout(this.idle)
    this.settable.timeout = ms
    this.idle = ms > 0 ? setTimeout(() => this.emit('timeout'), ms).unref() : undefined
    if (listener !== undefined && ms > 0) this.once('timeout', listener)
    else if (listener !== undefined) this.off('timeout', listener)
    return this
  }

  override ref(): this {
    this.hold.ref()
    return this
  }

  override unref(): this {
    this.hold.unref()
    return this
  }

  override resetAndDestroy(): this {
    this.far.destroy(systemError('ECONNRESET', 'read'))
    return this.destroy()
  }

  override push(chunk: Buffer | null): boolean {
    this.idle?.refresh()
    return super.push(chunk)
  }

  override _read(): void {
    this.toNear.resume()
  }

  override _write(chunk: Buffer | string, encoding: BufferEncoding, done: Done): void {
    if (this.connecting) {
      this.once('connect', () => this._write(chunk, encoding, done))
      return
    }
    this.idle?.refresh()
    // A net.Socket is handed strings as they are.
    this.toFar.write(typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk, done)
  }

  override _writev(chunks: readonly { chunk: Buffer | string; encoding: BufferEncoding }[], done: Done): void {
    const bytes = chunks.map(({ chunk, encoding }) =>
      typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk,
    )
    this._write(Buffer.concat(bytes), 'utf8', done)
  }

  override _final(done: Done): void {
    if (this.connecting) {
      this.once('connect', () => this._final(done))
      return
    }
    this.toFar.end()
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.settable.connecting = false
    clearInterval(this.hold)
    clearTimeout(this.idle)
    this.toNear.resume()
    this.toFar.end()
    done(error)
    // A net.Socket says so itself, and whether there was an error: a stream does not.
    process.nextTick(() => this.emit('close', error !== null))
  }

  private ended(): void {
    clearInterval(this.hold)
    this.toNear.end()
  }

  /** What is read-only to everyone else. */
  private get settable(): { connecting: boolean; timeout?: number } {
    return this as { connecting: boolean; timeout?: number }
  }
}

function systemError(code: string, syscall: string): Error {
  return Object.assign(new Error(`${syscall} ${code}`), { code, syscall })
}
