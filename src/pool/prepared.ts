// hot path
// Prepared statement names: the client's own <-> one name for all clients with the same text and parameter types.

import { Parse, Query } from '../protocol/frontend.js'
import { message } from '../protocol/message.js'
import { noteOf, type PreparedNote } from './prepared-notes.js'

/** Server-side names are pgbouncer's, for those who watch pg_prepared_statements. */
const prefix = 'PGBOUNCER_'

/** Most bytes of statement text that one client may have prepared, and all clients together. */
const clientLimit = 16 * 1024 * 1024
const totalLimit = 512 * 1024 * 1024

/** Begins the keys of statements that SQL has made. */
const sqlMark = 'PREPARE'

const askedBit = 1
const answeredBit = 4

/** In place of a digest of columns: the statement gives no rows. */
export const noRows = '-'
/** In place of what a client was told: the answer that tells it otherwise is on its way. */
export const telling = '?'

/** One statement text with its parameter types, shared by everyone who prepared it. */
export class Statement {
  readonly name: string
  /** Name and terminator, for rewritten messages. */
  readonly nameBytes: Buffer
  /** The message that makes it on a server: a Parse, or a Query with PREPARE where only SQL can say its types. */
  readonly create: Buffer
  readonly isSql: boolean
  /** The parameters under which its text is read, and with these the text. */
  readonly reading: string
  readonly key: string
  users = 0

  constructor(id: number, reading: string, key: string, create: Buffer, isSql: boolean) {
    this.reading = reading
    this.key = key
    this.name = prefix + id
    this.nameBytes = Buffer.from(`${this.name}\0`)
    this.create = create
    this.isSql = isSql
  }
}

/** All statements in use, by text and types. */
export class StatementTable {
  private readonly byKey = new Map<string, Statement>()
  private nextId = 1
  private live = 0
  private size = 0
  private readonly limit: number

  /** @param limit most bytes of text, of all statements together */
  constructor(limit = totalLimit) {
    this.limit = limit
  }

  /**
   * The statement with this body (text, terminator, parameter types), or null where memory for it is used up. `reading`:
   * the parameters under which the text is read (`ParameterSet.reading`).
   * `sql`: what follows the name in a PREPARE, a character a byte, for a statement that a Parse can't make (`body` undefined).
   */
  take(reading: string, body: Buffer | undefined, sql = ''): Statement | null {
    const key = reading + (body === undefined ? `${sqlMark}${sql}` : body.toString('latin1'))
    let statement = this.byKey.get(key)
    if (statement === undefined) {
      if (this.size + key.length > this.limit) return null
      const id = this.nextId++
      const name = prefix + id
      const create =
        body === undefined
          ? message(Query, Buffer.from(`PREPARE "${name}"${sql}\0`, 'latin1'))
          : message(Parse, Buffer.concat([Buffer.from(`${name}\0`), body]))
      statement = new Statement(id, reading, key, create, body === undefined)
      this.byKey.set(key, statement)
      this.live++
      this.size += key.length
    }
    statement.users++
    return statement
  }

  /** The same text, read under other parameters. */
  takeAgain(statement: Statement, reading: string): Statement | null {
    const text = statement.key.slice(statement.reading.length)
    if (statement.isSql) return this.take(reading, undefined, text.slice(sqlMark.length))
    return this.take(reading, Buffer.from(text, 'latin1'))
  }

  hold(statement: Statement): void {
    statement.users++
  }

  drop(statement: Statement): void {
    if (--statement.users > 0) return
    if (this.byKey.get(statement.key) === statement) this.byKey.delete(statement.key)
    this.live--
    this.size -= statement.key.length
  }

  /** Whoever prepares a text from now on gets a statement that no server has yet. */
  retireAll(): void {
    this.byKey.clear()
  }

  /** Does a text like this one's stand for another statement by now? */
  isRetired(statement: Statement): boolean {
    return this.byKey.get(statement.key) !== statement
  }

  get count(): number {
    return this.live
  }

  /** Bytes of statement text held. */
  get bytes(): number {
    return this.size
  }
}

/** A name that clients may not use for a look-up as it is: it could meet a statement of ours. */
export function isOurs(name: string): boolean {
  return name.startsWith(prefix)
}

/** The statements of one client, by its own names. */
export class ClientStatements {
  private readonly table: StatementTable
  private readonly byName = new Map<string, Statement>()
  /** Names whose Parse has not been answered yet, and what is to become of them then. */
  private readonly pending = new Map<string, PreparedNote>()
  /** What the client was told of the rows that a name gives: a digest, or `noRows`. */
  private readonly told = new Map<string, string>()
  private readonly parameters: { readonly reading: string }
  private size = 0
  private closed = false

  /** @param parameters of the client, on which it hangs what a text means */
  constructor(table: StatementTable, parameters: { readonly reading: string } = { reading: '' }) {
    this.table = table
    this.parameters = parameters
  }

  get count(): number {
    return this.byName.size
  }

  get(name: string): Statement | undefined {
    return this.byName.get(name)
  }

  isPending(name: string): boolean {
    return this.pending.has(name)
  }

  toldOf(name: string): string | undefined {
    return this.told.get(name)
  }

  /** The client goes by such rows where the name still stands for this statement; undefined: by none. */
  tell(name: string, statement: Statement, shape: string | undefined): void {
    if (this.byName.get(name) !== statement) return
    if (shape === undefined) this.told.delete(name)
    else this.told.set(name, shape)
  }

  /** Pending, and its Parse was left out. */
  isReused(name: string): boolean {
    return this.pending.get(name)?.isReuse === true
  }

  /** Remembers a statement until its Parse is answered; null: this client or all together hold too much. */
  add(name: string, body: Buffer | undefined, sql = ''): Statement | null {
    if (this.size + (body === undefined ? sql.length : body.length) > clientLimit) return null
    const statement = this.table.take(this.parameters.reading, body, sql)
    if (statement === null) return null
    this.byName.set(name, statement)
    this.size += statement.key.length
    return statement
  }

  /**
   * The statement as a server is to be given it now: its text read under the parameters that the client has by now, and where
   * the client is about to be told what rows it gives (`isDescribed`), as the tables are by now.
   */
  reread(name: string, statement: Statement, isDescribed: boolean): Statement {
    const { reading } = this.parameters
    const isCurrent = statement.reading === reading && !(isDescribed && this.table.isRetired(statement))
    if (isCurrent || this.pending.has(name)) return statement
    const next = this.table.takeAgain(statement, reading)
    if (next === null) return statement
    this.byName.set(name, next)
    this.size += next.key.length - statement.key.length
    this.table.drop(statement)
    return next
  }

  /** The name stands or falls with this note: not with that of an earlier Parse of the same name. */
  expect(name: string, note: PreparedNote): void {
    this.pending.set(name, note)
  }

  confirm(name: string, note: PreparedNote): void {
    if (this.pending.get(name) === note) this.pending.delete(name)
  }

  undo(name: string, note: PreparedNote): void {
    if (this.pending.get(name) === note) this.remove(name)
  }

  remove(name: string): void {
    const statement = this.byName.get(name)
    if (statement === undefined) return
    this.byName.delete(name)
    this.pending.delete(name)
    this.told.delete(name)
    this.size -= statement.key.length
    this.table.drop(statement)
  }

  /** Forgets a name whose Close is on its way; the statement is held until `settle` or `restore`. Null: no such name. */
  detach(name: string): PreparedNote | null {
    const statement = this.byName.get(name)
    if (statement === undefined) return null
    const before = this.pending.get(name) ?? null
    const told = this.told.get(name)
    this.byName.delete(name)
    this.pending.delete(name)
    this.told.delete(name)
    this.size -= statement.key.length
    return noteOf.close(statement, name, this, before, told)
  }

  settle(detached: Statement): void {
    this.table.drop(detached)
  }

  /** A Close that the server never came to: the name stands for its statement again, as far as it did `before`. */
  restore(name: string, detached: Statement, before: PreparedNote | null, told: string | undefined): void {
    if (this.closed || this.byName.has(name)) return this.table.drop(detached)
    this.byName.set(name, detached)
    if (told !== undefined) this.told.set(name, told)
    this.size += detached.key.length
    if (before !== null && !before.answered) this.pending.set(name, before)
  }

  /** DISCARD ALL: what stood behind it in the queue stays. */
  forgetAnswered(): void {
    for (const name of this.byName.keys()) if (!this.pending.has(name)) this.remove(name)
  }

  /** The client has gone. */
  close(): void {
    this.closed = true
    for (const statement of this.byName.values()) this.table.drop(statement)
    this.byName.clear()
    this.pending.clear()
    this.told.clear()
    this.size = 0
  }
}

/** The statements that a server connection has, least recently used first. */
export class ServerStatements {
  private readonly table: StatementTable
  /** Value: whether its Parse has been answered, and whether it was asked for its rows. */
  private readonly known = new Map<Statement, number>()
  /** What rows they give here, as far as that is known: PostgreSQL sees to it that this stays as it is. */
  private readonly shapes = new Map<Statement, string>()
  private latest: Statement | null = null

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
    this.shapes.delete(statement)
    this.latest = statement
  }

  confirm(statement: Statement): void {
    const state = this.known.get(statement)
    if (state !== undefined) this.known.set(statement, state | answeredBit)
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

  /** Is the server being asked what rows it gives? */
  setAsked(statement: Statement, isAsked: boolean): void {
    const state = this.known.get(statement)
    if (state !== undefined) this.known.set(statement, isAsked ? state | askedBit : state & ~askedBit)
  }

  learn(statement: Statement, shape: string): void {
    if (!this.known.has(statement)) return
    this.shapes.set(statement, shape)
    this.setAsked(statement, false)
  }

  /** Takes one out that is to be closed. */
  take(statement: Statement): void {
    this.shapes.delete(statement)
    this.known.delete(statement) // held until its Close is answered, as in `evict`
    if (this.latest === statement) this.latest = null
  }

  release(evicted: Statement): void {
    this.table.drop(evicted)
  }

  restore(evicted: Statement): void {
    if (this.known.has(evicted)) this.table.drop(evicted)
    this.known.set(evicted, answeredBit)
  }

  /** DISCARD ALL: what stood behind it in the queue stays. */
  forgetAnswered(): void {
    for (const [statement, state] of this.known) if ((state & answeredBit) !== 0) this.remove(statement)
  }

  /** Result types have changed, or may have, on any server: no one is to be given a plan from before. */
  retireAll(): void {
    this.table.retireAll()
  }

  clear(): void {
    for (const statement of this.known.keys()) this.table.drop(statement)
    this.known.clear()
    this.shapes.clear()
    this.latest = null
  }
}
