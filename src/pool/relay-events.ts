// What the two relays tell the sessions that own them.

import type { Condition } from '../protocol/errors.js'

/** What a server connection tells the session that owns it; all of it off the hot path, but `onQuiet`. */
export interface ServerEvents {
  /** Nothing is owed any more, and no client is linked. */
  onQuiet(): void
  /** The connection broke or the server closed it. */
  onGone(): void
  /** The server broke the protocol: what follows on this connection can't be trusted. */
  onDesync(what: string): void
  /** An error that no client was owed. */
  onStrayError(body: Buffer): void
  onParameter(name: string, value: string | undefined): void
}

/** What a client connection asks of the session that owns it. */
export interface ClientEvents {
  /** Wants a server. True: it is linked now; false: `resume` comes later. */
  acquire(): boolean
  /** All that was sent has been answered. */
  onAnswered(status: number): void
  /** The server owes nothing any more, and the client has sent nothing since: may be released. */
  onQuiet(status: number): void
  onTerminate(): void
  onGone(): void
  /** The client broke the protocol or a rule, or used up what it may have. */
  onViolation(condition: Condition, detail: string): void
}
