// A prepared statement: one for all clients to whom the same text and parameter types mean the same, under a name of the pooler's.

import { kindOf, Plain } from '../transaction-control.js'
import { changesNames } from './name-resolution.js'

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
  private knownControl = -1

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

  /** What it does to the transaction block that it is executed in: a kind of `transaction-control.ts`. */
  get control(): number {
    if (this.knownControl < 0) this.knownControl = this.isSql ? Plain : kindOf(this.text, false)
    return this.knownControl
  }

  private get text(): string {
    const { key, reading } = this
    return key.slice(reading.length, key.indexOf('\0', reading.length))
  }
}
