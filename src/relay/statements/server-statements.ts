// hot path
// The statements that a server connection has, least recently used first, and what rows they give there.

import type { Statement } from './statement.js'
import type { StatementTable } from './statement-table.js'

const askedBit = 1
const answeredBit = 4

export class ServerStatements {
  private readonly table: StatementTable
  /** Value: whether its Parse has been answered, and whether it was asked for its rows. */
  private readonly known = new Map<Statement, number>()
  /** Those whose Parse has been answered. */
  private readonly answered = new Set<Statement>()
  /** What rows they give here, as far as that is known: PostgreSQL sees to it that this stays as it is. */
  private readonly shapes = new Map<Statement, string>()
  private latest: Statement | null = null
  /** Whose the unnamed statement is, by the number of its Parse; 0: there is none, or nobody's. */
  unnamed = 0
  /** It may have statements that are not known here: SQL that was not understood made or took some. */
  hasUnknown = false
  /** In the transaction or batch under way, names may stand for something else here than elsewhere. */
  isStrange = false

  constructor(table: StatementTable) {
    this.table = table
  }

  get count(): number {
    return this.known.size
  }

  has(statement: Statement): boolean {
    return this.known.has(statement)
  }

  isPending(statement: Statement): boolean {
    const state = this.known.get(statement)
    return state !== undefined && (state & answeredBit) === 0
  }

  isAnswered(statement: Statement): boolean {
    return ((this.known.get(statement) ?? 0) & answeredBit) !== 0
  }

  add(statement: Statement): void {
    this.table.hold(statement)
    this.known.set(statement, 0)
    this.answered.delete(statement)
    this.shapes.delete(statement)
    this.latest = statement
  }

  confirm(statement: Statement): void {
    const state = this.known.get(statement)
    if (state === undefined) return
    this.known.set(statement, state | answeredBit)
    this.answered.add(statement)
  }

  touch(statement: Statement): void {
    if (this.latest === statement) return
    const state = this.known.get(statement)
    if (state === undefined) return
    this.known.delete(statement)
    this.known.set(statement, state)
    this.latest = statement
  }

  remove(statement: Statement): void {
    if (!this.known.delete(statement)) return
    this.answered.delete(statement)
    this.shapes.delete(statement)
    if (this.latest === statement) this.latest = null
    this.table.drop(statement)
  }

  /** Takes out the least recently used statement where there are more than `limit`; one still to be answered stays. */
  evict(limit: number): Statement | null {
    if (this.known.size <= limit) return null
    const first = this.known.entries().next().value
    if (first === undefined || (first[1] & answeredBit) === 0) return null
    this.known.delete(first[0])
    this.answered.delete(first[0])
    this.shapes.delete(first[0])
    return first[0] // held until its Close is answered: `release`, or skipped: `restore`
  }

  /** What rows it gives here: a digest or `noRows`; undefined: that is not known. */
  shapeOf(statement: Statement): string | undefined {
    return this.shapes.get(statement)
  }

  isAsked(statement: Statement): boolean {
    return ((this.known.get(statement) ?? 0) & askedBit) !== 0
  }

  /** Notes whether the server is being asked what rows it gives. */
  setAsked(statement: Statement, isAsked: boolean): void {
    const state = this.known.get(statement)
    if (state !== undefined) this.known.set(statement, isAsked ? state | askedBit : state & ~askedBit)
  }

  learn(statement: Statement, shape: string): void {
    if (this.known.has(statement)) this.shapes.set(statement, shape)
  }

  /** Takes one out that is to be closed. */
  take(statement: Statement): void {
    this.shapes.delete(statement)
    this.answered.delete(statement)
    this.known.delete(statement) // held until its Close is answered, as in `evict`
    if (this.latest === statement) this.latest = null
  }

  release(evicted: Statement): void {
    this.table.drop(evicted)
  }

  /** @param wasAnswered the Parse that had made it */
  restore(evicted: Statement, wasAnswered = true): void {
    if (this.known.has(evicted)) this.table.drop(evicted)
    this.known.set(evicted, wasAnswered ? answeredBit : 0)
    if (wasAnswered) this.answered.add(evicted)
    else this.answered.delete(evicted)
  }

  /** DISCARD ALL: what stood behind it in the queue stays. */
  forgetAnswered(): void {
    this.hasUnknown = false
    for (const statement of this.answered) this.remove(statement)
  }

  /** Result types have changed, or may have, on any server: no one is to be given a plan from before. */
  retireAll(): void {
    this.isStrange = true
    this.table.retireAll()
  }

  clear(): void {
    for (const statement of this.known.keys()) this.table.drop(statement)
    this.known.clear()
    this.answered.clear()
    this.shapes.clear()
    this.latest = null
  }
}
