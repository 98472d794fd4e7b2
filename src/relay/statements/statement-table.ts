// hot path
// All statements in use, by text and types: how many share each, and how much memory they may take together.

import { Parse, Query } from '../../protocol/frontend.js'
import { message } from '../../protocol/message.js'
import { prefix } from './reserved-names.js'
import { Statement } from './statement.js'

/** Most bytes of statement text that all clients together may have prepared; and of the names that they have for it. */
const totalLimit = 512 * 1024 * 1024

/** Begins the keys of statements that SQL has made. */
const sqlMark = 'PREPARE'

function keyOf(reading: string, body: Buffer | undefined, sql: string): string {
  return reading + (body === undefined ? sqlMark + sql : body.toString('latin1'))
}

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

  /** Returns whether a text like this one's stands for another statement by now. */
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
