// hot path
// The unnamed statement of a client: found on a server only where it is the client's own, and made again where another has been there.

import * as frontend from '../../protocol/frontend.js'
import { Note } from '../note.js'
import * as request from '../outstanding.js'
import type { ClientSide } from '../pair.js'
import type { Rewriter } from './rewriter.js'
import type { ServerStatements } from './server-statements.js'

/** Longest Parse that is kept to be sent again, bytes. */
export const longestKept = 16 * 1024

const closeUnnamed = frontend.closeStatement('')

let nextNumber = 1

/**
 * PostgreSQL keeps an unnamed statement until the next Parse without a name, or the next Query. It is told apart by a number,
 * which the server that has it bears as well. It is also the note of every Parse without a name: where one was refused or skipped,
 * what the server has under no name may be anybody's.
 */
export class UnnamedStatement extends Note {
  /** Of the latest Parse; 0: the client has no unnamed statement. */
  number = 0
  /** The Parse is in the batch under way, which it fails with. */
  isFresh = false
  /** The Parse, where it may be needed again. */
  private kept: Buffer | null = null
  private sent = 0
  private answered = 0

  /** A Parse without a name goes out; `chunk` has it from `at` to `end`, in part where it is long. */
  begin(chunk: Buffer, at: number, end: number, server: ServerStatements): void {
    this.number = nextNumber++
    this.kept = null
    // What is bound at once is not bound again, as a rule, and costs no copy.
    if (end <= chunk.length && end - at <= longestKept && chunk[end] !== frontend.Bind) this.keep(chunk, at, end)
    this.sendTo(server)
  }

  /** The same, and the Parse is not known any more where others come to the server. */
  beginUnkept(server: ServerStatements): void {
    this.number = nextNumber++
    this.kept = null
    this.sendTo(server)
  }

  private keep(chunk: Buffer, at: number, end: number): void {
    this.kept = Buffer.allocUnsafeSlow(end - at)
    chunk.copy(this.kept, 0, at, end)
  }

  /**
   * A Bind or Describe without a name is at `at`: sees to it that the server has the client's own statement, or none.
   * @returns false where that can't be judged yet
   */
  provide(client: ClientSide, out: Rewriter, at: number): boolean {
    if (this.isFresh) return true
    const { statements } = client.server!
    if (client.dues.readies > 0) return false
    if (this.number !== 0 && statements.unnamed === this.number) return true
    out.collect(at)
    if (this.kept !== null) {
      this.sendTo(statements)
      out.add(this.kept)
      client.owe(request.ParseAdded, this)
    } else {
      this.drop(statements)
      out.add(closeUnnamed)
      client.owe(request.CloseAdded, null)
    }
    return true
  }

  /** A Parse without a name that goes to no server, until it is bound on one. */
  keepUnsent(bytes: Buffer): void {
    this.number = nextNumber++
    this.kept = bytes.length <= longestKept ? bytes : null
    this.isFresh = false
  }

  /** It is not there any more, and no server was told. */
  forget(): void {
    this.number = 0
    this.kept = null
    this.isFresh = false
  }

  private sendTo(server: ServerStatements): void {
    server.unnamed = this.number
    this.sent++
    this.isFresh = true
  }

  /** A Query, or a Close, takes it away. */
  drop(server: ServerStatements): void {
    server.unnamed = 0
    this.forget()
  }

  /** A Parse has been answered. */
  override confirm(): void {
    this.answered++
  }

  /** A Parse has been refused or skipped. Later ones are of later batches, and stand. */
  override undo(server: ServerStatements): void {
    this.answered++
    if (this.answered === this.sent) this.drop(server)
  }
}
