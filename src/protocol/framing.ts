// hot path
// Where messages begin and end in a byte stream; looks at headers only.

const nothing = Buffer.alloc(0)

/** More than this that is waited for is held in memory that takes no more than what has come, and is given back at once; bytes. */
const longestPlain = 64 * 1024
const step = 64 * 1024

/** What `Frames.next` found at a place in a chunk. */
export const Cut = 0 // a header, or a message asked for whole, is cut by the end of the chunk: `hold` the rest
export const Message = 1 // a message begins here; `code`, `bodyLength` and `end` tell
export const Bad = 2 // a length that cannot be

/**
 * Walks over the messages of a stream of chunks. Bodies may span chunks and are not kept; what must be seen whole, and a
 * header cut in two, is held back with `hold` and joined to the next chunk by `join`.
 */
export class Frames {
  /** Of the message that `next` found. */
  code = 0
  /** Bytes of its body, without code and length. */
  bodyLength = 0
  /** Where it ends; may lie beyond the chunk. */
  end = 0
  /** Bytes of the current body that are still to come in later chunks. */
  bodyLeft = 0
  /** Longest message with its length word, bytes (`max_packet_size`). */
  maxLength: number
  private held: Buffer = nothing
  // Where it lies, if it is long.
  private room: ArrayBuffer | null = null
  private heldLength = 0
  private wanted = 0

  constructor(maxLength: number) {
    this.maxLength = maxLength
  }

  /** Between two messages, and nothing held? */
  get atBoundary(): boolean {
    return this.bodyLeft === 0 && this.heldLength === 0
  }

  /** Looks at the message that begins at `at`; Cut where its header is not all there. */
  next(chunk: Buffer, at: number): number {
    if (chunk.length - at < 5) return Cut
    const length = (chunk[at + 1]! << 24) | (chunk[at + 2]! << 16) | (chunk[at + 3]! << 8) | chunk[at + 4]!
    if (length < 4 || length > this.maxLength) return Bad
    this.code = chunk[at]!
    this.bodyLength = length - 4
    this.end = at + 1 + length
    return Message
  }

  /** Steps over what is in this chunk of the message that `next` found; returns where the chunk goes on. */
  skip(chunk: Buffer): number {
    if (this.end <= chunk.length) return this.end
    this.bodyLeft = this.end - chunk.length
    return chunk.length
  }

  /**
   * Steps over those messages at `at` that have the code of the latest one and lie whole in the chunk: the rows of a large
   * answer, say. Returns where the chunk goes on.
   */
  skipLike(chunk: Buffer, at: number): number {
    while (chunk.length - at >= 5 && chunk[at] === this.code) {
      const length = (chunk[at + 1]! << 24) | (chunk[at + 2]! << 16) | (chunk[at + 3]! << 8) | chunk[at + 4]!
      if (length < 4 || length > this.maxLength || length >= chunk.length - at) return at // `next` says what it is
      at += 1 + length
    }
    return at
  }

  /** Steps over the rest of a body that began in an earlier chunk. */
  skipBody(chunk: Buffer): number {
    const step = this.bodyLeft < chunk.length ? this.bodyLeft : chunk.length
    this.bodyLeft -= step
    return step
  }

  /** Keeps a copy of the chunk from `at`; `join` gives nothing before `wanted` bytes of it are there. */
  hold(chunk: Buffer, at: number, wanted: number): void {
    this.wanted = wanted
    this.keep(chunk, at)
  }

  /** What was held and the new chunk in one, or null while that is still too little. The usual case, nothing held: the chunk. */
  join(chunk: Buffer): Buffer | null {
    if (this.heldLength === 0) return chunk
    this.keep(chunk, 0)
    if (this.heldLength < this.wanted) return null
    const joined = this.room === null ? this.held.subarray(0, this.heldLength) : this.copy(this.heldLength)
    this.forget()
    return joined
  }

  /** What is held is not waited for any more. */
  forget(): void {
    if (this.room !== null) this.room.resize(0)
    this.room = null
    this.held = nothing
    this.heldLength = 0
  }

  private keep(chunk: Buffer, at: number): void {
    const length = this.heldLength + chunk.length - at
    if (length > this.held.length) this.grow(length)
    chunk.copy(this.held, this.heldLength, at)
    this.heldLength = length
  }

  /** One piece of memory, however small the chunks are, and never much more than has come: a length alone costs nothing. */
  private grow(length: number): void {
    if (this.room === null && this.wanted > longestPlain && length <= this.wanted) {
      const former = this.held
      this.room = new ArrayBuffer(0, { maxByteLength: this.wanted + step })
      this.reach(length)
      former.copy(this.held, 0, 0, this.heldLength)
    } else if (this.room !== null && length <= this.room.maxByteLength) {
      this.reach(length)
    } else {
      const grown = this.copy(length < this.wanted / 2 ? 2 * length : Math.max(length, this.wanted))
      if (this.room !== null) this.room.resize(0)
      this.room = null
      this.held = grown
    }
  }

  private reach(length: number): void {
    const room = this.room!
    room.resize(Math.min(room.maxByteLength, Math.ceil(length / step) * step))
    this.held = Buffer.from(room, 0, room.byteLength)
  }

  private copy(size: number): Buffer {
    const copy = Buffer.allocUnsafe(size)
    this.held.copy(copy, 0, 0, this.heldLength)
    return copy
  }
}
