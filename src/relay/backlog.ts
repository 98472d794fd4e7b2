// hot path
// What a client has sent and what has to wait: for a server, or for what is under way to be answered.

/** What a client may send while it waits, before it is read no further; bytes. */
const limit = 64 * 1024

export class Backlog {
  private waiting: Buffer[] = []
  /** Bytes. */
  length = 0

  get isFull(): boolean {
    return this.length >= limit
  }

  /** The first byte of it. */
  get first(): number | undefined {
    return this.waiting[0]?.[0]
  }

  /** Puts a copy of the chunk from `at` on behind the rest. */
  add(chunk: Buffer, at: number): void {
    this.waiting.push(Buffer.from(chunk.subarray(at)))
    this.length += chunk.length - at
  }

  addFirst(bytes: Buffer): void {
    this.waiting.unshift(bytes)
    this.length += bytes.length
  }

  /** Takes all of it out, in order. */
  take(): Buffer[] {
    const all = this.waiting
    this.waiting = []
    this.length = 0
    return all
  }
}
