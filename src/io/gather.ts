// hot path
// Joins small pieces of output, so that what was cut up or added leaves in one write.

import type { Socket } from './socket.js'

/**
 * Every relay sends what it gathered before it returns, so one may serve a whole process; and should a connection be given
 * up half way, what is left goes to the socket it was meant for, never to another.
 */
export class Gather {
  private readonly bytes = Buffer.allocUnsafeSlow(64 * 1024)
  private length = 0
  private socket: Socket | null = null

  /** Puts a piece aside. @returns false where the socket had to be written to and is blocked now */
  add(socket: Socket, piece: Buffer): boolean {
    if (this.socket !== socket) this.turnTo(socket)
    let free = true
    if (this.length + piece.length > this.bytes.length) free = this.flush(socket)
    if (piece.length > this.bytes.length) return socket.write(piece) && free
    piece.copy(this.bytes, this.length)
    this.length += piece.length
    return free
  }

  /** Sends what was put aside and `chunk` from `start` to `end` behind it; the chunk alone goes out as it is. */
  send(socket: Socket, chunk: Buffer, start: number, end: number): boolean {
    if (this.socket !== socket) this.turnTo(socket)
    if (this.length === 0) {
      if (start >= end) return true
      return socket.write(start === 0 && end === chunk.length ? chunk : chunk.subarray(start, end))
    }
    let free = true
    if (start < end) free = this.add(socket, chunk.subarray(start, end))
    return this.flush(socket) && free
  }

  /** Takes out what was put aside for this socket: a copy. */
  take(socket: Socket): Buffer {
    const size = this.socket === socket ? this.length : 0
    if (size > 0) this.length = 0
    return Buffer.from(this.bytes.subarray(0, size))
  }

  private turnTo(socket: Socket): void {
    if (this.socket !== null) this.flush(this.socket)
    this.socket = socket
  }

  private flush(socket: Socket): boolean {
    if (this.length === 0) return true
    const size = this.length
    this.length = 0
    return socket.write(this.bytes.subarray(0, size))
  }
}

/** The one that relays share. */
export const gather: Gather = new Gather()
