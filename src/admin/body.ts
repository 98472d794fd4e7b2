// Reads the body of a frontend message from front to back.
// https://www.postgresql.org/docs/current/protocol-message-formats.html

import { textOf } from '../protocol/byte-text.js'

/** A body that is not of its message's format; who sent it cannot be understood any further. */
export class InvalidMessage extends Error {
  override readonly name = 'InvalidMessage'
}

/** @throws InvalidMessage from every method, for what is not there or too much */
export class Body {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  byte(): number {
    return this.#take(1).readUInt8()
  }

  /** A count: as in PostgreSQL, negative ones are none. */
  count(): number {
    return Math.max(this.int16(), 0)
  }

  int16(): number {
    return this.#take(2).readInt16BE()
  }

  int32(): number {
    return this.#take(4).readInt32BE()
  }

  /** A text that ends with a zero byte. */
  text(): string {
    const end = this.#bytes.indexOf(0, this.#at)
    if (end < 0) throw new InvalidMessage('invalid message format')
    return textOf(this.#take(end + 1 - this.#at).subarray(0, -1))
  }

  skip(bytes: number): void {
    this.#take(bytes)
  }

  /** Nothing may be left. */
  end(): void {
    if (this.#at !== this.#bytes.length) throw new InvalidMessage('invalid message format')
  }

  #take(length: number): Buffer {
    if (length < 0 || length > this.#bytes.length - this.#at) throw new InvalidMessage('invalid message format')
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }
}
