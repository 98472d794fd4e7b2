// The messages of a client whose transaction was lost with its server: answered as PostgreSQL answers in one that has failed.

import * as backend from '../protocol/backend.js'
import { PgError } from '../protocol/errors.js'
import * as frontend from '../protocol/frontend.js'
import { statements as statementsOf, tokenize } from '../protocol/sql.js'
import { ClientFlow } from './client-flow.js'
import { isExit, type LostBlock } from './lost-block.js'
import type { ParameterSet } from './parameters.js'
import type { Stake } from './stake.js'
import type { ClientStatements } from './statements/client-statements.js'
import { hasEscapes } from './statements/sql-statements.js'
import type { StatementNames } from './statements/statement-names.js'
import * as control from './transaction-control.js'

/** A message that is longer leads out of no transaction. */
const longestExit = 64 * 1024

/** What became of a message. */
const Played = 0
/** More of it has to be there first, or the client has to read first. */
const Held = 1
/** It is none of the lost transaction's: it goes the usual way. */
const Passed = 2

export abstract class ClientPlay extends ClientFlow {
  abstract readonly parameters: ParameterSet
  abstract readonly statements: ClientStatements
  abstract readonly names: StatementNames
  /** What hangs on its server; null: it ends with that (`server_lost = disconnect`). */
  stake: Stake | null = null
  /** The transaction that it has lost, played until it leaves that. */
  protected lost: LostBlock | null = null
  // The server has skipped a Sync in copy mode, so that the client is one short: all up to its next is for nobody.
  protected skipping = false

  /**
   * The message at `at` comes to a transaction that was lost.
   * @returns whether it has been dealt with; null: it is none of it
   */
  protected play(at: number): boolean | null {
    const outcome = this.playMessage(at, this.lost!)
    if (outcome === Played && this.lost?.isOver === true && !this.unsynced) this.lost = null
    return outcome === Passed ? null : outcome === Played
  }

  private playMessage(at: number, block: LostBlock): number {
    const { code } = this.frames
    if (code === frontend.Terminate || !this.isPlayed(code)) return Passed
    if (this.socket.blocked) {
      this.keep(this.cutter.chunk, at)
      return Held
    }
    if (block.skips && code !== frontend.Sync) return this.pass(at)
    if (code === frontend.Sync) return this.playSync(at, block)
    if (block.isOver) {
      this.lost = null // the block was left amid a batch, whose rest is carried out
      return Passed
    }
    if (code === frontend.Query) return this.playQuery(at, block)
    if (code === frontend.FunctionCall) {
      this.unsynced = false
      return this.answer(at, block.refuse(), backend.readyForQuery(block.status))
    }
    return this.playExtended(at, code, block)
  }

  private isPlayed(code: number): boolean {
    switch (code) {
      case frontend.Query:
      case frontend.FunctionCall:
      case frontend.Sync:
      case frontend.Parse:
      case frontend.Bind:
      case frontend.Describe:
      case frontend.Execute:
      case frontend.Close:
        return true
      default:
        return code === frontend.Flush && this.frames.bodyLength > 0
    }
  }

  /** Says this, and is done with the message. */
  private answer(at: number, ...answers: readonly Buffer[]): number {
    for (const bytes of answers) this.socket.write(bytes)
    this.events.onPlayed()
    return this.pass(at)
  }

  private pass(at: number): number {
    this.skip(at)
    return Played
  }

  private playSync(at: number, block: LostBlock): number {
    this.unsynced = false
    const isRefused = !block.skips && !block.isTold
    block.skips = false
    if (isRefused) this.socket.write(this.wordOf(block))
    return this.answer(at, backend.readyForQuery(block.status))
  }

  /** An error of the lost transaction, and a word in the log where it is the one that tells of the loss. */
  private wordOf(block: LostBlock): Buffer {
    const { next } = block
    if (next !== null) this.events.onToldOfLoss(next)
    return block.refuse()
  }

  private waitsForRest(at: number): boolean {
    const { end } = this.frames
    if (end <= this.cutter.chunk.length) return false
    this.hold(at, end - at)
    return true
  }

  private playQuery(at: number, block: LostBlock): number {
    const { chunk } = this.cutter
    const { end } = this.frames
    const isLong = end - at > longestExit
    if (!isLong && this.waitsForRest(at)) return Held
    this.unsynced = false
    this.closeStatement('', block)
    const text = isLong ? '' : chunk.toString('latin1', at + 5, end - 1)
    const tokens = isLong || (hasEscapes(this) && text.includes("\\'")) ? undefined : tokenize(text)
    const found = tokens === undefined ? undefined : statementsOf(tokens)
    if (found?.length === 0 && block.isTold) {
      return this.answer(at, backend.emptyQueryResponse, backend.readyForQuery(block.status))
    }
    for (const [index, statement] of (found ?? []).entries()) {
      const done = block.carryOut(control.kindOfStatement(statement))
      if (done === null) break
      this.socket.write(done)
      const next = found![index + 1]
      if (block.status !== backend.Idle && next !== undefined) continue
      if (next === undefined) return this.answer(at, backend.readyForQuery(block.status))
      this.goOnBehind(at, next[0]!.start)
      return Held
    }
    return this.answer(at, this.wordOf(block), backend.readyForQuery(block.status))
  }

  /** The rest of the text of the Query at `at` is carried out: blanks in place of what was before, so that all stands where it stood. */
  private goOnBehind(at: number, length: number): void {
    const rest = Buffer.from(this.cutter.chunk.subarray(at))
    rest.fill(0x20, 5, 5 + length)
    this.lost = null
    this.events.onPlayed()
    this.take(rest)
  }

  private playExtended(at: number, code: number, block: LostBlock): number {
    const { chunk } = this.cutter
    const { end } = this.frames
    const isLong = end - at > longestExit
    if (!isLong && this.waitsForRest(at)) return Held
    this.unsynced = true
    const isRefused = isLong || block.status === backend.Idle
    const told = isRefused ? null : this.extended(chunk.subarray(at + 5, end), code, block)
    if (told !== null) return this.answer(at, told)
    block.skips = true
    return this.answer(at, this.problem === null ? this.wordOf(block) : this.refusalFor(block, this.problem))
  }

  // What is wrong with a message, beside the transaction.
  private problem: PgError | null = null

  private refusalFor(block: LostBlock, problem: PgError): Buffer {
    this.problem = null
    if (block.next !== null) this.events.onToldOfLoss(block.next)
    return block.refuseFor(problem)
  }

  /** The answer to a message with this body; null: it is refused. */
  private extended(body: Buffer, code: number, block: LostBlock): Buffer | null {
    const first = body.toString('latin1', 0, Math.max(0, body.indexOf(0)))
    switch (code) {
      case frontend.Parse:
        return this.parse(body, first, block)
      case frontend.Bind: {
        const start = first.length + 1
        const kind = this.kindOfNamed(body.toString('latin1', start, body.indexOf(0, start)), block)
        if (!isExit(kind) && kind !== control.RollbackTo) return null
        block.portals.set(first, kind)
        return backend.bindComplete
      }
      case frontend.Describe:
        return this.describe(first, block)
      case frontend.Execute:
        return block.carryOut(block.portals.get(first) ?? control.Plain)
      case frontend.Close:
        if (first.startsWith('P')) block.portals.delete(first.slice(1))
        else this.closeStatement(first.slice(1), block)
        return backend.closeComplete
      default:
        return null
    }
  }

  private parse(body: Buffer, name: string, block: LostBlock): Buffer | null {
    const start = name.length + 1
    const kind = control.kindOfParsed(body, start, body.length)
    const isFine = isExit(kind) || kind === control.RollbackTo || (kind === control.Empty && block.isTold)
    if (name === '') this.closeStatement(name, block)
    if (!isFine) return null
    if (this.names.limit === 0) {
      if (block.prepared.has(name)) return this.wrong(new PgError('statement_exists', name))
      block.prepared.set(name, kind)
    } else if (name === '') {
      this.names.parseUnsent(frontend.message(frontend.Parse, body))
      this.stake!.unnamed = kind
    } else {
      if (this.statements.get(name) !== undefined) return this.wrong(new PgError('statement_exists', name))
      if (this.statements.add(name, body.subarray(start)) === null) return null
    }
    return backend.parseComplete
  }

  private describe(what: string, block: LostBlock): Buffer | null {
    const isPortal = what.startsWith('P')
    const name = what.slice(1)
    const kind = isPortal ? block.portals.get(name) : this.kindOfNamed(name, block)
    if (kind === undefined || !(isExit(kind) || kind === control.RollbackTo)) return null
    return isPortal ? backend.noData : Buffer.concat([backend.parameterDescription([]), backend.noData])
  }

  /** The kind of a statement of the client; of one that it does not have, a word about that is due. */
  private kindOfNamed(name: string, block: LostBlock): number {
    if (this.names.limit === 0) return block.prepared.get(name) ?? control.Plain
    if (name === '') {
      if (this.names.hasUnnamed) return this.stake!.unnamed
      this.wrong(new PgError('no_unnamed_statement'))
      return control.Plain
    }
    const named = this.statements.find(name)
    if (named === undefined) {
      this.wrong(new PgError('no_such_statement', name))
      return control.Plain
    }
    return named.command === null ? named.statement.control : control.MayCommit
  }

  private wrong(problem: PgError): null {
    this.problem = problem
    return null
  }

  private closeStatement(name: string, block: LostBlock): void {
    if (this.names.limit === 0) block.prepared.delete(name)
    else if (name === '') this.names.closeUnsent()
    else this.statements.remove(name)
  }
}
