// hot path
// Prepared statements: one for all clients with the same text and parameter types, under a name of the pooler's; and those that a server has.

import { Parse, Query } from '../../protocol/frontend.js'
import { message } from '../../protocol/message.js'
import { changesNames } from './name-resolution.js'
import { prefix } from './reserved-names.js'

/** Most bytes of statement text that all clients together may have prepared; and of the names that they have for it. */
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
  /** One client's alone, whatever else has the same text. */
  readonly isOwn: boolean
  /** Executed, it may change what names stand for. */
  readonly changesNames: boolean
  /** The parameters under which its text is read, and with these the text. */
  readonly reading: string
  readonly key: string
  users = 0

  constructor(name: string, reading: string, key: string, create: Buffer, isSql: boolean, isOwn: boolean) {
    this.reading = reading
    this.key = key
    this.name = name
    this.nameBytes = Buffer.from(`${name}\0`)
    this.create = create
    this.isSql = isSql
    this.isOwn = isOwn
    this.changesNames = !isSql && changesNames(key.slice(reading.length))
  }
}

function keyOf(reading: string, body: Buffer | undefined, sql: string): string {
  return reading + (body === undefined ? sqlMark + sql : body.toString('latin1'))
}

/** All statements in use, by text and types. */
export class StatementTable {
  private readonly byKey = new Map<string, Statement>()
  private nextId = 1
  private live = 0
  private size = 0
  private namesSize = 0
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
    const key = keyOf(reading, body, sql)
    let statement = this.byKey.get(key)
    if (statement === undefined) {
      const made = this.make(this.newName(), reading, key, body, sql, false)
      if (made === null) return null
      statement = made
      this.byKey.set(key, statement)
    }
    statement.users++
    return statement
  }

  /** A statement that nobody shares, under a name from `newName`. */
  takeOwn(name: string, reading: string, body: Buffer | undefined, sql = ''): Statement | null {
    const statement = this.make(name, reading, keyOf(reading, body, sql), body, sql, true)
    if (statement !== null) statement.users++
    return statement
  }

  /** The same text, read under other parameters, to be shared; or to be one client's own. */
  takeAgain(statement: Statement, reading: string, isOwn = false): Statement | null {
    const text = statement.key.slice(statement.reading.length)
    const body = statement.isSql ? undefined : Buffer.from(text, 'latin1')
    const sql = statement.isSql ? text.slice(sqlMark.length) : ''
    return isOwn ? this.takeOwn(this.newName(), reading, body, sql) : this.take(reading, body, sql)
  }

  /** A name that no server has, nor ever had. */
  newName(): string {
    return prefix + this.nextId++
  }

  private make(
    name: string,
    reading: string,
    key: string,
    body: Buffer | undefined,
    sql: string,
    isOwn: boolean,
  ): Statement | null {
    if (this.size + key.length > this.limit) return null
    this.live++
    this.size += key.length
    const create =
      body === undefined
        ? message(Query, Buffer.from(`PREPARE "${name}"${sql}\0`, 'latin1'))
        : message(Parse, Buffer.concat([Buffer.from(`${name}\0`), body]))
    return new Statement(name, reading, key, create, body === undefined, isOwn)
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

  /** Makes room for the names of a client, bytes; false: all clients together have too many. */
  holdName(size: number): boolean {
    if (this.namesSize + size > totalLimit) return false
    this.namesSize += size
    return true
  }

  dropName(size: number): void {
    this.namesSize -= size
  }

  get count(): number {
    return this.live
  }

  /** Bytes of statement text held. */
  get bytes(): number {
    return this.size
  }
}

/** The statements that a server connection has, least recently used first. */
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

  /** Is the server being asked what rows it gives? */
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
