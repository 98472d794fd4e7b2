// hot path
// The prepared statements of one client, by its own names.

import { Named } from './named.js'
import { type NameOwner, noteOf, type PreparedNote } from './prepared-notes.js'
import type { ServerStatements } from './server-statements.js'
import type { Statement } from './statement.js'
import type { StatementTable } from './statement-table.js'

/** Most bytes of statement text that one client may have prepared; and of the names that it has for it. */
export const statementLimit = 16 * 1024 * 1024

/** What a name costs beside its bytes, whoever has many short ones. */
const nameCost = 128

export class ClientStatements implements NameOwner {
  private readonly table: StatementTable
  private readonly byName = new Map<string, Named>()
  /** Names whose Parse has not been answered yet, and what is to become of them then. */
  private readonly pending = new Map<string, PreparedNote>()
  /** The other names. */
  private readonly settled = new Set<string>()
  private readonly parameters: { readonly reading: string }
  private size = 0
  private namesSize = 0
  private closed = false

  /** @param parameters of the client, on which it hangs what a text means */
  constructor(table: StatementTable, parameters: { readonly reading: string } = { reading: '' }) {
    this.table = table
    this.parameters = parameters
  }

  get count(): number {
    return this.byName.size
  }

  find(name: string): Named | undefined {
    return this.byName.get(name)
  }

  get(name: string): Statement | undefined {
    return this.byName.get(name)?.statement
  }

  isPending(name: string): boolean {
    return this.pending.has(name)
  }

  /** The client goes by such rows where the name still stands for this statement; undefined: by none. */
  tell(name: string, statement: Statement, shape: string | undefined): void {
    const named = this.byName.get(name)
    if (named?.statement === statement) named.told = shape
  }

  /** Pending, and its Parse was left out. */
  isReused(name: string): boolean {
    return this.pending.get(name)?.isReuse === true
  }

  /** Remembers a statement until its Parse is answered; null: this client or all together hold too much. */
  add(name: string, body: Buffer | undefined, sql = ''): Statement | null {
    if (!this.mayHold(name, body?.length ?? sql.length)) return null
    return this.remember(name, this.table.take(this.reading, body, sql))
  }

  /** The same for one that nobody shares, with `serverName` on servers. */
  addOwn(name: string, serverName: string, body: Buffer | undefined, sql: string): Statement | null {
    if (!this.mayHold(name, body?.length ?? sql.length)) return null
    return this.remember(name, this.table.takeOwn(serverName, this.reading, body, sql))
  }

  /** A name for a statement of its own on servers. */
  newName(): string {
    return this.table.newName()
  }

  private get reading(): string {
    return this.parameters.reading
  }

  private mayHold(name: string, size: number): boolean {
    return this.size + size <= statementLimit && this.holdName(name)
  }

  private remember(name: string, statement: Statement | null): Statement | null {
    if (statement === null) {
      this.dropName(name)
      return null
    }
    this.byName.set(name, new Named(name, statement))
    this.settled.add(name)
    this.size += statement.key.length
    return statement
  }

  /**
   * The statement as a server that lacks it is to be given it now: its text read under the parameters that the client has by now,
   * and where the client is about to be told what rows it gives (`isDescribed`), as the tables are by now.
   */
  reread(named: Named, isDescribed: boolean): Statement {
    const { statement, name } = named
    const { reading } = this
    const isCurrent = statement.reading === reading && !(isDescribed && this.table.isRetired(statement))
    if ((isCurrent && !statement.isOwn) || this.pending.has(name)) return statement
    return this.replace(named, this.table.takeAgain(statement, reading))
  }

  /** The name stands from now on for a statement that nobody shares, and no server has, with the same text. */
  separate(named: Named): Statement {
    return this.replace(named, this.table.takeAgain(named.statement, this.reading, true))
  }

  /** The same for a while, in a transaction where its text means something else; `isStrange`: to this client alone. */
  lend(named: Named, isStrange: boolean): Statement {
    const { statement } = named
    if (named.origin !== null || statement.isOwn || this.pending.has(named.name)) return statement
    const next = this.table.takeAgain(statement, this.reading, isStrange)
    return next === null ? statement : this.swap(named, next, statement)
  }

  /** Returns whether it is read otherwise than when it was prepared. */
  isReadAnew({ statement }: Named): boolean {
    return statement.reading !== this.reading
  }

  /** It is there no more. */
  giveBack(named: Named): void {
    this.swap(named, named.origin!, null)
    this.table.drop(named.statement)
  }

  private replace(named: Named, next: Statement | null): Statement {
    if (next === null) return named.statement
    this.swap(named, next, named.origin)
    this.table.drop(named.statement)
    return next
  }

  private swap(named: Named, next: Statement, origin: Statement | null): Statement {
    const swapped = new Named(named.name, next, origin)
    swapped.told = named.told
    swapped.command = named.command
    this.byName.set(named.name, swapped)
    this.size += next.key.length - named.statement.key.length
    return next
  }

  /** The name stands or falls with this note: not with that of an earlier Parse of the same name. */
  expect(name: string, note: PreparedNote): void {
    this.pending.set(name, note)
    this.settled.delete(name)
  }

  confirm(name: string, note: PreparedNote): void {
    if (this.pending.get(name) !== note) return
    this.pending.delete(name)
    if (this.byName.has(name)) this.settled.add(name)
  }

  undo(name: string, note: PreparedNote): void {
    if (this.pending.get(name) === note) this.remove(name)
  }

  remove(name: string): void {
    const named = this.takeOut(name)
    if (named !== undefined) this.table.drop(named.statement)
  }

  /** Forgets a name whose Close is on its way; the statement is held until `settle` or `restore`. Null: no such name. */
  detach(name: string): PreparedNote | null {
    const before = this.pending.get(name) ?? null
    const named = this.takeOut(name)
    return named === undefined ? null : noteOf.close(named, this, before)
  }

  /** The same for a DEALLOCATE, with which the server forgets its statement, too. */
  deallocate(name: string, server: ServerStatements): PreparedNote | null {
    const before = this.pending.get(name) ?? null
    const named = this.takeOut(name)
    if (named === undefined) return null
    const wasAnswered = server.isAnswered(named.statement)
    server.take(named.statement)
    return noteOf.deallocate(named, this, before, wasAnswered)
  }

  private takeOut(name: string): Named | undefined {
    const named = this.byName.get(name)
    if (named === undefined) return undefined
    this.byName.delete(name)
    this.pending.delete(name)
    this.settled.delete(name)
    this.size -= named.statement.key.length
    this.dropName(name)
    if (named.origin === null) return named
    this.table.drop(named.origin)
    const left = new Named(name, named.statement)
    left.told = named.told
    left.command = named.command
    return left
  }

  settle(detached: Statement): void {
    this.table.drop(detached)
  }

  /** A Close that the server never came to: the name stands for its statement again, as far as it did `before`. */
  restore(detached: Named, before: PreparedNote | null): void {
    const { name, statement } = detached
    if (this.closed || this.byName.has(name) || !this.holdName(name)) return this.table.drop(statement)
    this.byName.set(name, detached)
    this.settled.add(name)
    this.size += statement.key.length
    if (before !== null && !before.answered) this.expect(name, before)
  }

  /** DISCARD ALL: what stood behind it in the queue stays. */
  forgetAnswered(): void {
    for (const name of this.settled) this.remove(name)
  }

  /** The client has gone. */
  close(): void {
    this.closed = true
    for (const { statement, origin } of this.byName.values()) {
      this.table.drop(statement)
      if (origin !== null) this.table.drop(origin)
    }
    this.byName.clear()
    this.pending.clear()
    this.settled.clear()
    this.table.dropName(this.namesSize)
    this.namesSize = this.size = 0
  }

  private holdName(name: string): boolean {
    const size = name.length + nameCost
    if (this.namesSize + size > statementLimit || !this.table.holdName(size)) return false
    this.namesSize += size
    return true
  }

  private dropName(name: string): void {
    const size = name.length + nameCost
    this.namesSize -= size
    this.table.dropName(size)
  }
}
