// hot path
// What hangs on the server that a client has: whether anything that it was sent, and has not answered, may be committed.

import type { Cutter } from '../io/cutter.js'
import { Idle } from '../protocol/backend.js'
import type { Frames } from '../protocol/framing.js'
import * as frontend from '../protocol/frontend.js'
import { KeptExchange } from './kept-exchange.js'
import * as request from './outstanding.js'
import type { ParameterSet } from './parameters.js'
import { hasEscapes } from './statements/sql-statements.js'
import * as control from './transaction-control.js'

/** The statements of a client by its own names. */
interface Bound {
  /** 0: its names are the server's. */
  readonly limit: number
  /** The kind of the one bound last; -1: the unnamed one. */
  readonly boundControl: number
}

/** Kept for clients that outlive their servers (`server_lost = error`). What it does not know, it takes for what may commit. */
export class Stake {
  /** Something that may be committed was sent since all was answered last. */
  mayCommit = true
  /** Behind what was sent, its client takes itself to be in a transaction block. */
  isOpen = true
  /** A ROLLBACK was sent: what comes behind it is outside of the block. */
  hasLeft = false
  /** The kind of the latest Query; `Plain` where a Bind came behind it. */
  latest: number = control.Plain
  /** The kind of the client's unnamed statement. */
  unnamed: number = control.MayCommit
  /** Statements that were sent since all was answered last; one that is not plain counts for more. */
  statements = 0
  readonly kept: KeptExchange = new KeptExchange()
  // What ends a block was bound to a portal, which may be executed at any time.
  private isBound = true
  readonly parameters: ParameterSet

  constructor(parameters: ParameterSet) {
    this.parameters = parameters
  }

  /** All is answered, and more is about to be sent. */
  begin(status: number): void {
    if (status === Idle) this.isBound = false
    if (status === Idle || this.mayCommit) this.parameters.mark()
    this.mayCommit = this.isBound
    this.isOpen = status !== Idle
    this.hasLeft = false
    this.latest = control.Plain
    this.statements = 0
  }

  /** A Query or FunctionCall of this kind is sent. */
  private seeQuery(kind: number): void {
    this.latest = kind
    this.see(kind)
  }

  /** A Bind is sent, of a statement of this kind. */
  private seeBind(kind: number): void {
    this.latest = control.Plain
    if (kind >= control.Rollback && kind <= control.BeginsAmong && kind !== control.RollbackTo) this.isBound = true
    this.see(kind)
  }

  /** The message that `frames` found in the chunk of `cutter` is sent, and owed an entry of this kind. */
  seeMessage(entry: number, frames: Frames, cutter: Cutter, names: Bound): void {
    const { chunk } = cutter
    const { code, end } = frames
    const at = end - frames.bodyLength - 5
    if (code === frontend.Query) {
      const semicolon = cutter.nextSemicolon(at + 5)
      this.seeQuery(control.kindOfText(chunk, at + 5, end, semicolon, hasEscapes(this)))
      if (semicolon >= 0 && semicolon < end - 2) this.statements++
      if (this.statements === 1) this.kept.keep(cutter, end)
      else if (this.latest === control.Begin && this.statements === 2) this.kept.keepBegin(cutter, at, end)
    } else if (entry === request.Sync) {
      if (this.statements === 1) this.kept.keep(cutter, end)
    } else if (code === frontend.FunctionCall) {
      this.seeQuery(control.Plain)
    } else if (entry === request.Parse) {
      if (chunk[at + 5] === 0) this.unnamed = control.kindOfParsed(chunk, at + 6, end)
    } else if (entry === request.Bind) {
      const bound = names.limit > 0 ? names.boundControl : kindOfBind(chunk, at)
      this.seeBind(bound < 0 ? this.unnamed : bound)
    }
  }

  private see(kind: number): void {
    this.statements += kind === control.Plain ? 1 : 2
    if (this.hasLeft || control.mayCommit(kind)) this.mayCommit = true
    switch (kind) {
      case control.Begin:
      case control.RollbackAndChain:
      case control.CommitAndChain:
      case control.BeginsAmong:
        this.isOpen = true
        break
      case control.Rollback:
        this.hasLeft = true
        this.isOpen = false
        break
      case control.Commit:
      case control.PrepareTransaction:
      case control.EndsAmong:
        this.isOpen = false
    }
  }
}

/** The kind of what a Bind is for whose names are the server's own; -1: of the unnamed statement. */
function kindOfBind(chunk: Buffer, at: number): number {
  const nameEnd = chunk.indexOf(0, at + 5)
  return nameEnd >= 0 && chunk[nameEnd + 1] === 0 ? -1 : control.MayCommit
}
