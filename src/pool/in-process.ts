// A connection within the process: two ends of a pair in memory, one of which looks like a net.Socket to a driver.

import { Duplex, type DuplexOptions } from 'node:stream'

/** One end; what is written to it is read at the other. */
class End extends Duplex {
  other: End | undefined
  private waiting: (() => void) | undefined

  constructor(options?: DuplexOptions) {
    super({ ...options, allowHalfOpen: false })
  }

  override _read(): void {
    const go = this.waiting
    this.waiting = undefined
    go?.()
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    const other = this.other!
    if (other.destroyed || other.push(chunk)) done()
    else other.waiting = done
  }

  override _final(done: () => void): void {
    this.other?.push(null)
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const other = this.other
    if (other !== undefined && !other.destroyed) other.push(null)
    this._read()
    done(error)
  }
}

/** The driver's end. It is connected from the start: `connect` only says so, as drivers expect of a socket. */
export class InProcessClient extends End {
  /** The pooler's end. */
  readonly far: Duplex

  constructor() {
    super()
    const far = new End()
    this.other = far
    far.other = this
    this.far = far
  }

  connect(..._target: unknown[]): this {
    queueMicrotask(() => this.emit('connect'))
    return this
  }

  setNoDelay(): this {
    return this
  }

  setKeepAlive(): this {
    return this
  }

  setTimeout(): this {
    return this
  }

  ref(): this {
    return this
  }

  unref(): this {
    return this
  }
}
