// hot path
// One connection's bytes: read through a scratch buffer that all plain sockets share, write without copying, close once.

import { writeSync } from 'node:fs'
import { Socket as NetSocket } from 'node:net'
import type { Duplex } from 'node:stream'

/** What a connection's owner is told. None of these may throw. */
export interface SocketOwner {
  /** `chunk` is a view of a shared buffer: it is valid during the call only, whoever keeps it copies it. */
  onBytes(chunk: Buffer): void
  /** All that was written has been taken by the kernel, after a `write` that returned false. */
  onDrain(): void
  /** The peer will send no more, and may still read; asked for by `outlastPeer`, it is gone to everyone else. */
  onHalfClosed?(): void
  /** The peer has gone, or the connection broke; told once, and not after `destroy` or `end`. */
  onGone(): void
}

/** The part of libuv's stream handle that is used: `_handle` of a net.Socket. */
interface Handle {
  readonly fd: number
}

type Handled = NetSocket & { _handle: Handle | null }

/** Every plain socket reads into this; nothing keeps a view of it past the read callback. */
const scratch = Buffer.allocUnsafeSlow(64 * 1024)

/** Views of it by size: most reads are short and of a few sizes, and a new view costs as much as the relay's own work. */
const views: (Buffer | null)[] = new Array(2048).fill(null)

function viewOf(size: number): Buffer {
  if (size >= views.length) return scratch.subarray(0, size)
  const known = views[size]
  if (known !== null && known !== undefined) return known
  const view = scratch.subarray(0, size)
  views[size] = view
  return view
}

/** How long a closing connection may take to be closed by its peer too, ms. */
const lingerTime = 1000

export class Socket {
  owner: SocketOwner
  /** The kernel has not taken all that was written. */
  blocked = false
  paused = false
  readonly stream: Duplex
  /** Written directly while nothing is queued in the stream; null for TLS and foreign streams. */
  private direct: Handled | null
  /** Its descriptor, which is its own for as long as it has its handle; asking each time would be a call into C++. */
  private fd = -1
  private closed = false
  /** The peer wants to hear nothing more: `end` need not wait for anything. */
  discards = false
  /** Something was written and may have gone out, since whoever wants to know set this to false. */
  hasWritten = false
  /** What the peer said before it closed is still read where it takes nothing more. */
  hearsOut = false
  // It takes nothing more.
  private isDeaf = false
  /** Somebody else reads and writes the stream; to close it is still possible. */
  private released = false
  private readonly onWritten = (): void => {
    if (!this.blocked || this.stream.writableLength > 0) return
    this.blocked = false
    if (!this.closed) this.owner.onDrain()
  }

  private constructor(stream: Duplex, direct: Handled | null, owner: SocketOwner) {
    this.stream = stream
    this.direct = direct
    this.owner = owner
    stream.on('error', () => this.gone())
    stream.on('end', () => this.halfClosed())
    stream.on('close', () => this.gone())
  }

  /** Of the stream's own count: what was read so far, encrypted where it is. */
  get bytesRead(): number {
    return (this.stream as Partial<NetSocket>).bytesRead ?? 0
  }

  /** A connection that a server accepted with `pauseOnConnect`; reads nothing until `resume`. */
  static accepted(accepted: NetSocket, owner: SocketOwner): Socket {
    const handle = (accepted as Handled)._handle
    if (!canRead(handle))
      return Socket.over(accepted, owner)
      // The handle moves into a socket made with `onread`; the husk must not close it.
    ;(accepted as Handled)._handle = null
    accepted.destroy()
    return Socket.plain((onread) => new NetSocket({ handle, onread, allowHalfOpen: false } as object), owner)
  }

  /** A plain connection made by `open`, which hands `onread` to net. */
  static plain(open: (onread: object) => NetSocket, owner: SocketOwner): Socket {
    // The callback is there before the Socket it reads for.
    let self: Socket | undefined
    const callback = (size: number): boolean => {
      self?.read(viewOf(size))
      return true
    }
    const stream = open({ buffer: scratch, callback })
    self = new Socket(stream, canWrite(stream as Handled) ? (stream as Handled) : null, owner)
    self.paused = true
    stream.pause() // with a handle of its own, it reads already
    stream.setNoDelay?.(true)
    return self
  }

  /** Any duplex stream: TLS, one end of a pair in memory, a socket that the user accepted. */
  static over(stream: Duplex, owner: SocketOwner): Socket {
    const self = new Socket(stream, null, owner)
    self.paused = true
    stream.on('data', (chunk: Buffer) => self.read(chunk))
    stream.pause()
    return self
  }

  /** This connection got the path that shares a buffer and does not copy. */
  get isDirect(): boolean {
    return this.direct !== null
  }

  private read(chunk: Buffer): void {
    if (!this.closed) this.owner.onBytes(chunk)
  }

  /**
   * Sends a view as it is. False: the kernel did not take it all (the rest was copied and is queued); the source should
   * pause until `onDrain`.
   */
  write(view: Buffer): boolean {
    const direct = this.direct
    if (this.closed || this.isDeaf) return true
    if (direct === null) {
      this.hasWritten = true
      if (!this.stream.write(Buffer.from(view), this.onWritten)) this.blocked = true
      return !this.blocked
    }
    let taken = 0
    if (!this.blocked) {
      if (direct._handle === null) return true // on its way out: 'close' is coming
      if (this.fd < 0) this.fd = direct._handle.fd
      try {
        taken = writeSync(this.fd, view, 0, view.length)
        if (taken === view.length) {
          this.hasWritten = true
          return true
        }
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') {
          // 'close' tells the owner, outside of this call.
          if (this.hearsOut) this.isDeaf = true
          else direct.destroy()
          return true
        }
      }
    }
    this.blocked = this.hasWritten = true
    direct.write(Buffer.from(view.subarray(taken)), this.onWritten)
    return false
  }

  /** From now on the owner says what becomes of a connection whose peer sends no more: its `onHalfClosed` is called. */
  outlastPeer(): void {
    this.stream.allowHalfOpen = true
  }

  pause(): void {
    if (this.paused) return
    this.paused = true
    this.stream.pause()
  }

  resume(): void {
    if (!this.paused || this.closed) return
    this.paused = false
    this.stream.resume()
  }

  /** Closes after what was written has gone out; what still comes in is thrown away. */
  end(): void {
    if (this.released) this.stream.destroy()
    if (this.closed) return
    if (this.discards && !this.blocked) return this.destroy()
    this.closed = true
    const stream = this.stream
    stream.end()
    stream.resume() // a close with unread input would reset the connection and lose the last words
    const timer = setTimeout(() => stream.destroy(), lingerTime)
    timer.unref()
    stream.on('close', () => clearTimeout(timer))
  }

  /** Closes at once. */
  destroy(): void {
    this.closed = true
    this.stream.destroy()
  }

  /**
   * Gives the stream up, for TLS to take over: this Socket reads and reports nothing any more; its `end` and `destroy`
   * break the connection off.
   * @returns the stream
   */
  release(): Duplex {
    this.closed = true
    this.released = true
    this.stream.pause()
    return this.stream
  }

  private halfClosed(): void {
    if (this.stream.allowHalfOpen && !this.closed && this.owner.onHalfClosed !== undefined) this.owner.onHalfClosed()
    else this.gone()
  }

  private gone(): void {
    if (this.closed) return
    this.closed = true
    this.stream.destroy()
    this.owner.onGone()
  }
}

function canRead(handle: Handle | null): boolean {
  return handle !== null && typeof (handle as { useUserBuffer?: unknown }).useUserBuffer === 'function'
}

function canWrite(stream: Handled): boolean {
  // A connecting socket has its handle, but its descriptor only later; Windows has none.
  return process.platform !== 'win32' && stream instanceof NetSocket
}
