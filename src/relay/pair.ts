// What the two relays know of each other: the client's, and that of the server which the client has.

import type { Socket } from '../io/socket.js'
import type { Counters } from '../observe/stats.js'
import type { CopyInquiry } from './copy-in.js'
import type { MessageWatch } from './events.js'
import type { Note } from './note.js'
import type { Dues, Outstanding } from './outstanding.js'
import type { OwnQuery } from './own-query.js'
import type { ParameterSet } from './parameters.js'
import type { ClientStatements } from './statements/client-statements.js'
import type { ServerStatements } from './statements/server-statements.js'

/** Whoever has its own source paused until a destination takes more. */
export interface BlockedSource {
  onServerDrain(): void
}

/** A client, to the server that it has and to what is done with its prepared statements. */
export interface ClientSide extends BlockedSource {
  readonly socket: Socket
  readonly counters: Counters
  readonly parameters: ParameterSet
  readonly statements: ClientStatements
  readonly names: { readonly limit: number; readonly replay: { giveUp(): void } }
  readonly session: MessageWatch | null
  /** What `session` wants to know of the Query or Sync at hand. */
  readonly note: Note | null
  readonly server: ServerSide | null
  /** What the server owes it. */
  readonly dues: Dues
  /** The server that waits for this client to read. */
  blockedServer: { readonly socket: Socket } | null
  /** Statement mode: a transaction block ends the client, who does not hear of its success. */
  readonly refusesBlocks: boolean
  /** It goes on where its server is lost: null, it does not. */
  readonly stake: object | null
  /** Waits for something that a server's answer may bring. */
  readonly isHeldUp: boolean
  /** Amid messages of the extended protocol that no Sync has closed yet. */
  readonly isInBatch: boolean
  /** The server has been sent whole messages only. */
  readonly isBetweenMessages: boolean
  /** Another entry of what the server owes this client. */
  owe(kind: number, note: Note | null): void
  /** What came before `to` is set aside to be sent to the server. */
  collect(to: number): void
  /** And these bytes behind it. */
  add(bytes: Buffer): void
  /** All that was sent has been answered; `isAsk`: the last of it was the pooler's own. */
  onServerQuiet(status: number, isAsk: boolean): void
  /** The server has answered something. */
  onProgress(): void
  /** Returns whether the exchange that failed is run again: nothing more is sent until then. */
  waitToRunAgain(isStale: boolean): boolean
  runAgain(): void
  /** The server is in a COPY FROM STDIN of this client's. */
  onCopyBegun(): void
  /** Returns whether the one statement under way may be run again elsewhere: then its answer, 25006, is not told for now. */
  waitToRunElsewhere(): boolean
  /** That answer, but for its ReadyForQuery. */
  withhold(answer: Buffer): void
  onRefusedAsReadOnly(): void
  /** The Sync that was sent does not count. */
  awaitSync(): void
  onRefusedInCopy(): void
  /** A COPY has failed, and what was sent behind it is settled. `skips`: none of its Syncs counted, another has to come. */
  onCopyFailed(skips: boolean): void
  refuseBlock(): void
}

/** A server, to the client that has it. */
export interface ServerSide {
  readonly socket: Socket
  readonly owed: Outstanding<ClientSide, Note>
  readonly statements: ServerStatements
  /** The client that has this server, or null. */
  client: ClientSide | null
  blockedSource: BlockedSource | null
  /** Transaction status in the latest ReadyForQuery. */
  readonly status: number
  isMixed: boolean
  readonly failed: boolean
  /** An error was part of the answer to the Query at the head. */
  readonly queryFailed: boolean
  readonly copyIn: boolean
  readonly inquiry: CopyInquiry<ClientSide> | null
  readonly isQuiet: boolean
  readonly isBetweenMessages: boolean
  readonly isReadingCopy: boolean
  ask(bytes: Buffer, query: OwnQuery): void
  answerOmitted(): void
  hadLastWord(client: ClientSide): boolean
  isAmid(client: object): boolean
  refuseInCopy(): void
  sendInquiry(inquiry: CopyInquiry<ClientSide>): void
  settleLater(): void
  urgeCopy(): void
}
