// A connection taken message by message: what login flows need, and nothing more.

export interface Received {
  readonly code: number
  /** Without code and length; the receiver's own. */
  readonly body: Buffer
}

export interface Conversation {
  /** The next message. Rejects with ConnectionLost where none will come, PgError where it is too long. */
  read(): Promise<Received>
  write(bytes: Buffer): void
}

/** The peer left, or the connection broke, before it had said what it was to say. */
export class ConnectionLost extends Error {
  override readonly name = 'ConnectionLost'
}
