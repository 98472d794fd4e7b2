// A socket in memory: what a relay writes is kept, what it is given is a view that does not outlast the call.

import type { Socket, SocketOwner } from '../../src/io/socket.js'

export class FakeSocket {
  owner: SocketOwner = { onBytes() {}, onDrain() {}, onGone() {} }
  paused = true
  blocked = false
  ended = false
  hearsOut = false
  hasWritten = false
  /** What is written goes nowhere. */
  isDeaf = false
  /** How much is taken before `write` says that it must wait; bytes. */
  room = Number.POSITIVE_INFINITY
  /** Every write, as one piece. */
  writes: Buffer[] = []
  private queued = 0

  /** As the relays take it. */
  get asSocket(): Socket {
    return this as unknown as Socket
  }

  write(view: Buffer): boolean {
    if (this.ended || this.isDeaf) return true
    this.hasWritten = true
    this.writes.push(Buffer.from(view))
    this.queued += view.length
    if (this.queued > this.room) this.blocked = true
    return !this.blocked
  }

  /** The peer has read everything. */
  drain(): void {
    this.queued = 0
    if (!this.blocked) return
    this.blocked = false
    if (!this.ended) this.owner.onDrain()
  }

  outlastPeer(): void {}

  pause(): void {
    this.paused = true
  }

  resume(): void {
    if (!this.ended) this.paused = false
  }

  end(): void {
    this.ended = true
  }

  /** All that was written since the last call. */
  taken(): Buffer {
    const bytes = Buffer.concat(this.writes)
    this.writes = []
    return bytes
  }

  /** Bytes from the peer, as from a shared read buffer. */
  deliver(bytes: Buffer): void {
    if (this.ended) return
    const view = Buffer.from(bytes)
    this.owner.onBytes(view)
    view.fill(0xee)
  }
}
