// What the two relays tell the sessions that own them, and who sees the messages of a client on their way.

import type { Cutter } from '../io/cutter.js'
import type { Condition, PgError } from '../protocol/errors.js'
import type { Frames } from '../protocol/framing.js'
import type { Note } from './note.js'

/** What a server connection tells the session that owns it; all of it off the hot path. */
export interface ServerEvents {
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
  /** It was answered by the transaction that it has lost, or settled with when that was lost. */
  onPlayed(): void
  /** It was told of that by this error, and stays. */
  onToldOfLoss(error: PgError): void
  /** Its server takes no writes, and has refused its one statement for that; it owes nothing more. */
  onRefusedAsReadOnly(): void
  onTerminate(): void
  onGone(): void
  /** The client broke the protocol or a rule, or used up what it may have. */
  onViolation(condition: Condition, detail: string): void
}

/** Sees the messages of a client that has a server, before they go out. */
export interface MessageWatch {
  /** What goes with the Query that was seen last. */
  readonly note: Note | null
  /** Names in a text may mean something else on this client's server than on others. */
  readonly mayHold: boolean
  /**
   * Sees the message that `frames` found at `at`.
   * @returns 0, or how many bytes of it are needed first
   */
  see(frames: Frames, cutter: Cutter, at: number): number
  /** A Sync is about to be sent. */
  seeSync(): Note | null
}
