// hot path
// What a server says of a COPY FROM STDIN: where it has ended, and what that means for the messages behind it.

import { randomUUID } from 'node:crypto'
import type { Socket } from '../io/socket.js'
import * as backend from '../protocol/backend.js'
import { CopyFail, closeStatement, Flush, message, sync } from '../protocol/frontend.js'
import { Certain, CopyInquiry, doubtBehind, takenByCopy, Unknowable } from './copy-in.js'
import * as request from './outstanding.js'
import { OwnQuery } from './own-query.js'
import type { ClientSide } from './pair.js'
import * as messages from './server-messages.js'
import { ServerOutput } from './server-output.js'
import type { ServerStatements } from './statements/server-statements.js'

/** Nobody else can have come by these words. */
const refusalText = randomUUID()
const refusal = message(CopyFail, Buffer.from(`${refusalText}\0`))
const flush = message(Flush)

/**
 * Ends what a server skips after an error, and then asks for a CloseComplete: in whatever transaction, and unlike a Query it
 * leaves the client's unnamed statement where it is.
 */
const question = Buffer.concat([sync, closeStatement('PGBOUNCER_0'), sync])

export abstract class ServerCopy extends ServerOutput {
  readonly statements: ServerStatements
  /** Transaction status in the latest ReadyForQuery. */
  status: number = backend.Idle
  /** The server is in COPY FROM STDIN: what it reads now is data, and it passes over Sync and Flush. */
  copyIn = false
  /** A COPY FROM STDIN has failed, and it is being found out which of the Syncs behind it count. */
  inquiry: CopyInquiry<ClientSide> | null = null
  /** The exchange at the head failed: what it still owes will not come, up to its ReadyForQuery. */
  failed = false
  /** An error was part of the answer to the Query at the head. */
  queryFailed = false
  protected closed = false
  // The message at hand goes to nobody, and neither does what is still to come of it, whoever has the server by then.
  protected isDropping = false
  // A CopyFail of the pooler's own has been sent.
  protected isRefusing = false
  // Who has been passed the server's own last words (a FATAL), and needs no others.
  protected tookLeaveOf: ClientSide | null = null

  constructor(socket: Socket, statements: ServerStatements) {
    super(socket)
    this.statements = statements
  }

  /** It is in a COPY FROM STDIN whose end the client has not sent. */
  get isReadingCopy(): boolean {
    return this.copyIn && this.owed.dues.copyEnds === 0
  }

  /** Sends a query of the pooler's own; its answer goes to `ask`. */
  ask(bytes: Buffer, ask: OwnQuery): void {
    this.statements.unnamed = 0 // a Query takes it away
    this.owed.push(request.Query, null, ask, this.owed.own)
    this.socket.write(bytes)
  }

  /** Returns whether this client has got a message in part, behind which only the rest may stand, or the server's own FATAL. */
  hadLastWord(client: ClientSide): boolean {
    return this.tookLeaveOf === client || this.isAmid(client)
  }

  /** Returns whether this client has got a message in part. */
  isAmid(client: object): boolean {
    return this.frames.bodyLeft > 0 && !this.isDropping && this.recipient() === client
  }

  /** The server broke the protocol: the connection is closed. Always returns false. */
  protected abstract desync(at: number, what: string): boolean

  protected abstract handleParameter(at: number): void

  /** A COPY FROM STDIN has begun; its client's messages may not have shown it, where they name a statement. */
  protected beginCopy(): void {
    this.copyIn = true
    this.owed.owner?.onCopyBegun()
  }

  /** The COPY has succeeded: the server passed over the Syncs that came before its end. */
  protected endCopy(at: number): boolean {
    this.copyIn = false
    const taken = takenByCopy(this.owed)
    if (taken < 0) return this.desync(at, 'COPY that ended by itself')
    this.owed.removeBehindHead(taken)
    if (this.owed.kind === request.Execute && this.owed.dues.readies === 0) this.owed.owner?.awaitSync()
    return true
  }

  /**
   * The client sends what is no part of a COPY. Was the server in copy mode when it came to this? A CopyFail with words of ours
   * tells: they come back, or the COPY had failed already.
   */
  refuseInCopy(): void {
    this.isRefusing = true
    this.owed.push(request.CopyEnd, this.client, null, this.owed.dues)
    this.socket.write(refusal)
  }

  /**
   * Its client waits, with nothing more to send, for what a COPY comes to. Should the server be reading on, it is told to end. It
   * may also have come to the end, and keep that to itself: the Sync that would bring it forth was passed over in copy mode.
   */
  urgeCopy(): void {
    if (this.inquiry !== null) this.sendInquiry(this.inquiry)
    else if (this.isReadingCopy) this.refuseInCopy()
    else if (this.owed.dues.copyEnds > 0 && !this.isRefusing) this.socket.write(flush)
  }

  /** The COPY has failed. */
  protected endFailedCopy(at: number, client: ClientSide): void {
    const { chunk } = this.cutter
    if (this.isRefusing && chunk.subarray(at, this.frames.end).includes(refusalText)) {
      this.drop(at)
      this.send(this.frames.end)
      client.onRefusedInCopy()
      return
    }
    this.askWhatCounts(client)
  }

  private askWhatCounts(client: ClientSide): void {
    const doubt = doubtBehind(this.owed)
    if (doubt === Certain) return
    const inquiry = new CopyInquiry(client, this.owed.kind === request.Execute, doubt === Unknowable)
    this.inquiry = inquiry
    if (client.isBetweenMessages) this.sendInquiry(inquiry)
  }

  /** Called when the client has sent what it had begun to send; nothing more of it goes to the server meanwhile. */
  sendInquiry(inquiry: CopyInquiry<ClientSide>): void {
    if (inquiry.ask !== null || this.closed) return
    inquiry.ask = new OwnQuery((answer) => {
      this.inquiry = null
      if (!(answer instanceof Error)) inquiry.client.onCopyFailed(inquiry.isExtended && inquiry.readies === 1)
    })
    this.owed.push(request.Sync, null, null, inquiry.client.dues)
    this.owed.push(request.Sync, null, inquiry.ask, inquiry.client.dues)
    this.socket.write(question)
  }

  /** What comes between the error of the COPY and the answer to the question: ReadyForQuerys, the last of which is our own. */
  protected handleInquired(at: number, code: number, inquiry: CopyInquiry<ClientSide>): boolean {
    if (messages.isAsynchronous(code)) {
      if (code === backend.ParameterStatus) this.handleParameter(at)
      return true
    }
    if (code === backend.ErrorResponse && messages.isFarewell(this.cutter.chunk, at, this.frames.end)) {
      this.tookLeaveOf = inquiry.client
      return true
    }
    if (inquiry.isHopeless) return this.desync(at, 'COPY failed, and what followed it')
    if (code === backend.ErrorResponse) {
      this.passHeld(at, inquiry) // of a Sync that was no proper one
    } else if (code === backend.ReadyForQuery && this.frames.bodyLength === 1) {
      this.passHeld(at, inquiry)
      inquiry.readies++
      inquiry.held = this.status = this.cutter.chunk[at + 5]!
      this.drop(at)
    } else if (code === backend.CloseComplete && inquiry.ask !== null && inquiry.readies > 0) {
      this.drop(at)
      this.send(this.frames.end) // while it is the client's
      while (this.owed.note !== inquiry.ask) {
        const note = this.owed.note
        if (note !== null && !(note instanceof OwnQuery)) note.undo(this.statements)
        this.owed.shift()
      }
      inquiry.isAnswered = true
      this.failed = this.queryFailed = false
    } else {
      return this.desync(at, `unexpected ${String.fromCharCode(code)}`)
    }
    return true
  }

  private passHeld(at: number, inquiry: CopyInquiry<ClientSide>): void {
    if (inquiry.held === 0) return
    this.collect(at)
    this.add(backend.readyForQuery(inquiry.held))
    inquiry.held = 0
  }
}
