// hot path
// The messages of a client that name a prepared statement, rewritten to the names that servers know.

import type { Cutter } from '../io/cutter.js'
import { Idle } from '../protocol/backend.js'
import type { Condition } from '../protocol/errors.js'
import type { Frames } from '../protocol/framing.js'
import * as frontend from '../protocol/frontend.js'
import { Ask } from './ask.js'
import type { ClientRelay } from './client-relay.js'
import * as exchange from './exchange.js'
import { isOurs, type Statement } from './prepared.js'
import { noteOf, type PreparedNote } from './prepared-notes.js'

/** What became of a message. */
export const Done = 0
/** More of it is needed: `wanted` bytes from where it begins. */
export const Incomplete = 1
/** It can be judged only when all that was sent before it has been answered. */
export const Later = 2
/** `problem` says what is wrong with it. */
export const Broken = 3

/** Where the names in a message that is longer than this are looked for. */
const nameReach = 1024
/** Names that have no end within this many bytes are none. */
const longestNames = 64 * 1024

/** Longest named Parse, bytes: as much as one client may have prepared in all. */
const statementLimit = 16 * 1024 * 1024

/** PostgreSQL's own limit for a message (MaxAllocSize); a name that grows keeps it within what a length word can say. */
const longestMessage = 0x3fffffff

/** Most answers that a server may owe when another is to come from here: nothing else slows a client that sends only such. */
const mostOwed = 1024 * 1024

/** Longest exchange that is kept to be run again, bytes. */
const retainLimit = 16 * 1024

/** Code and length of a message that is rewritten, on their way to where pieces are gathered. */
const head = Buffer.alloc(5)

const syncMessage = frontend.message(frontend.Sync)

export class StatementNames {
  /** Most statements kept on a server (`max_prepared_statements`); 0: names are not touched. */
  limit: number
  wanted = 0
  problem: Condition = 'broken_parse'
  private readonly client: ClientRelay
  private readonly frames: Frames
  private readonly cutter: Cutter
  /** A copy of the exchange under way; see `retain`. */
  retained: Buffer | null = null
  // Where in the chunk an exchange begins that may be run again; -1: none.
  private retainFrom = -1
  private room: Buffer = Buffer.alloc(0)
  private retainChunk: Buffer | null = null
  private retainedStatement: Statement | null = null
  private isSecondRun = false
  // Empty statements left on the server by a Parse that was made to fail with PostgreSQL's own words.
  private readonly leftBehind = new Set<string>()

  constructor(client: ClientRelay, frames: Frames, cutter: Cutter, limit: number) {
    this.client = client
    this.frames = frames
    this.cutter = cutter
    this.limit = limit
  }

  /** Deals with the Parse, Bind, Describe or Close that `frames` found at `at`. The client has a server. */
  handle(at: number): number {
    const frames = this.frames
    const length = frames.end - at
    const there = this.cutter.chunk.length - at
    if (length > longestMessage) return this.broken('bad_packet_header')
    const needed = this.lengthNeeded(at, length, there)
    if (needed > statementLimit) return this.broken('out_of_memory')
    if (there < needed) {
      this.wanted = needed
      return Incomplete
    }
    switch (frames.code) {
      case frontend.Parse:
        return this.handleParse(at)
      case frontend.Bind:
        return this.handleBind(at)
      case frontend.Describe:
        return this.handleDescribe(at)
      default:
        return this.handleClose(at)
    }
  }

  /**
   * PostgreSQL refuses a statement whose result type has changed since it was prepared ("cached plan must not change result
   * type"). An exchange that begins with its Bind, outside of a transaction, can simply be run again on a fresh statement;
   * but only where it asks for a Describe: a client that relies on an older one would misread the rows. Called at its Sync.
   */
  retain(at: number): void {
    const { retainFrom: from, client, cutter } = this
    this.retainFrom = -1
    if (from < 0 || this.isSecondRun || this.retainChunk !== cutter.chunk) return
    const end = this.frames.end
    if (from >= at || end !== cutter.chunk.length || end - from > retainLimit) return
    let describes = false
    for (let i = 0; i < client.server!.owed.length; i++) {
      if (client.server!.owed.kindAt(i) === exchange.Describe) describes = true
    }
    if (describes) this.retained = this.copyOf(from, end)
  }

  /** The room of the latest copy is used again where it fits: a client's exchanges are mostly alike. */
  private copyOf(from: number, end: number): Buffer {
    if (this.room.length !== end - from) this.room = Buffer.allocUnsafe(end - from)
    this.cutter.chunk.copy(this.room, 0, from, end)
    return this.room
  }

  /** The retained exchange, once; its statement is made to be prepared again. */
  takeRetained(): Buffer | null {
    const bytes = this.retained
    const statement = this.retainedStatement
    this.retained = null
    if (bytes === null || statement === null) return null
    const server = this.client.server!
    server.statements.remove(statement)
    server.ask(Buffer.concat([closeStatement(statement.name), syncMessage]), new Ask(ignore))
    this.isSecondRun = true
    return bytes
  }

  /** The messages that remove the empty statements which refused duplicates left behind, or null. */
  takeCleanup(): Buffer | null {
    if (this.leftBehind.size === 0) return null
    const messages: Buffer[] = []
    for (const name of this.leftBehind) messages.push(closeStatement(name))
    messages.push(syncMessage)
    this.leftBehind.clear()
    return Buffer.concat(messages)
  }

  /** How much of a message must be there: a Parse that gives a name whole, of all others the names. */
  private lengthNeeded(at: number, length: number, there: number): number {
    if (this.frames.code !== frontend.Parse) return length < nameReach ? length : nameReach
    if (there < 6) return length < 6 ? length : 6
    return this.cutter.chunk[at + 5] === 0 ? 6 : length
  }

  /** A statement that has no business on the server is closed there when the client is done. */
  leaveBehind(name: string): void {
    this.leftBehind.add(name)
  }

  /** A name that the client has not given to anything: might the server have a statement under it all the same? */
  mayExist(name: string): boolean {
    return isOurs(name) || this.leftBehind.has(name)
  }

  private handleParse(at: number): number {
    const { client, cutter } = this
    const server = client.server!
    const end = this.frames.end
    const nameEnd = cutter.chunk.indexOf(0, at + 5)
    if (nameEnd < 0 || nameEnd >= end) return this.broken('broken_parse')
    if (nameEnd === at + 5) {
      client.counters.clientParses++
      client.counters.serverParses++
      client.owe(exchange.Parse, null)
      return Done
    }
    const name = cutter.chunk.toString('latin1', at + 5, nameEnd)
    if (client.statements.get(name) !== undefined) {
      if (server.owed.countReady() > 0) return Later // it may yet fail, or be discarded
      this.failDuplicate(at, name)
      return Done
    }
    if (this.isUncertain(name, undefined)) return Later
    const statement = client.statements.add(name, cutter.chunk.subarray(nameEnd + 1, end))
    if (statement === null) return this.broken('out_of_memory')
    if (this.isUncertain(name, statement)) {
      client.statements.remove(name)
      return Later
    }
    client.counters.clientParses++
    this.collect(at)
    if (server.statements.has(statement)) {
      if (server.owed.length > mostOwed) return this.broken('out_of_memory')
      server.statements.touch(statement)
      client.owe(exchange.ParseOmitted, noteOf.reuse(statement, name, client.statements))
    } else {
      this.addParse(statement, noteOf.prepare(statement, name, client.statements), exchange.Parse)
    }
    cutter.from = end
    return Done
  }

  private handleBind(at: number): number {
    const chunk = this.cutter.chunk
    const portalEnd = chunk.indexOf(0, at + 5)
    const nameEnd = portalEnd < 0 ? -1 : chunk.indexOf(0, portalEnd + 1)
    if (nameEnd < 0 || nameEnd >= this.frames.end) return this.unended(at)
    if (nameEnd > portalEnd + 1) {
      this.beginRetaining(at)
      if (!this.rename(at, portalEnd + 1, nameEnd)) return Later
    }
    this.client.counters.binds++
    this.client.owe(exchange.Bind, null)
    return Done
  }

  private beginRetaining(at: number): void {
    const server = this.client.server!
    this.retained = null
    const isFirst = server.owed.length === 0 && server.status === Idle
    this.retainFrom = isFirst ? at : -1
    this.retainChunk = this.cutter.chunk
    this.isSecondRun = this.isSecondRun && server.owed.length > 0
  }

  private handleDescribe(at: number): number {
    const nameEnd = this.nameEnd(at)
    if (nameEnd < 0) return this.unended(at)
    if (this.isNamedStatement(at, nameEnd) && !this.rename(at, at + 6, nameEnd)) return Later
    this.client.owe(exchange.Describe, null)
    return Done
  }

  private handleClose(at: number): number {
    const nameEnd = this.nameEnd(at)
    if (nameEnd < 0) return this.unended(at)
    const { client, cutter } = this
    // One that goes on behind its name is left to the server to refuse.
    if (!this.isNamedStatement(at, nameEnd) || nameEnd !== this.frames.end - 1) {
      client.owe(exchange.Close, null)
      return Done
    }
    const name = cutter.chunk.toString('latin1', at + 6, nameEnd)
    if (client.statements.isPending(name) && client.server!.owed.countReady() > 0) return Later
    if (client.statements.get(name) === undefined && this.isUncertain(name, undefined)) return Later
    if (client.server!.owed.length > mostOwed) return this.broken('out_of_memory')
    this.collect(at)
    cutter.from = this.frames.end
    client.owe(exchange.CloseOmitted, client.statements.detach(name))
    return Done
  }

  /** Where the name in a Describe or Close ends, -1 where it does not. */
  private nameEnd(at: number): number {
    const end = this.frames.bodyLength < 2 ? -1 : this.cutter.chunk.indexOf(0, at + 6)
    return end < this.frames.end ? end : -1
  }

  private isNamedStatement(at: number, nameEnd: number): boolean {
    return this.cutter.chunk[at + 5] === 0x53 && nameEnd > at + 6 // S
  }

  /** No end of a name: the message is broken, or its names are longer than what has been read of it. */
  private unended(at: number): number {
    const there = this.cutter.chunk.length - at
    const length = this.frames.end - at
    if (there >= length || there >= longestNames) return this.broken('broken_parse')
    this.wanted = length < longestNames ? length : longestNames
    return Incomplete
  }

  /**
   * Hangs it on the answers to earlier exchanges what the name means, or whether the server has the statement? Were one of them to
   * fail, a Parse or Close in it would be skipped. (A Parse that was sent takes its name with it; nothing to wait for.)
   */
  private isUncertain(name: string, statement: Statement | undefined): boolean {
    const { owed, statements } = this.client.server!
    if (owed.countReady() === 0) return false
    if (statement === undefined) return owed.closes > 0
    if (this.client.statements.isPending(name)) return owed.closes > 0 || this.client.statements.isReused(name)
    return !statements.isAnswered(statement) && (owed.closes > 0 || statements.isPending(statement))
  }

  /**
   * Puts the server-side name in place of the client's, which stands from `start` to `end` of the chunk.
   * @returns false where that can't be judged yet
   */
  private rename(at: number, start: number, end: number): boolean {
    const { client } = this
    const name = this.cutter.chunk.toString('latin1', start, end)
    let statement = client.statements.get(name)
    const known = client.server!.statements
    if (statement !== undefined && !known.has(statement)) statement = client.statements.reread(name, statement)
    if (this.isUncertain(name, statement)) return false
    if (statement === undefined) {
      // Sent as it is, for the server to refuse in its own words; one that the server may have is made one that can't exist.
      if (this.mayExist(name)) this.replace(at, start, end, bytesOf(`${name} \0`))
      return true
    }
    this.retainedStatement = statement
    if (statement.isSql && !known.has(statement)) return true // made by SQL with types, which can't be put in here
    if (known.has(statement)) {
      known.touch(statement)
    } else {
      this.collect(at)
      this.addParse(statement, noteOf.prepare(statement, '', client.statements), exchange.ParseAdded)
    }
    this.replace(at, start, end, statement.nameBytes)
    return true
  }

  private replace(at: number, start: number, end: number, name: Buffer): void {
    this.collect(at)
    head[0] = this.cutter.chunk[at]!
    head.writeInt32BE(this.frames.bodyLength + 4 + name.length - (end + 1 - start), 1)
    this.add(head)
    this.cutter.from = at + 5
    this.collect(start)
    this.add(name)
    this.cutter.from = end + 1
  }

  private addParse(statement: Statement, note: PreparedNote, kind: number): void {
    const { client } = this
    const known = client.server!.statements
    for (let oldest = known.evict(this.limit - 1); oldest !== null; oldest = known.evict(this.limit - 1)) {
      this.add(closeStatement(oldest.name))
      client.owe(exchange.CloseAdded, noteOf.evict(oldest, client.statements))
    }
    client.counters.serverParses++
    this.add(statement.create)
    known.add(statement)
    client.owe(kind, note)
  }

  /**
   * A name that is taken: PostgreSQL itself is made to refuse it, so that text, position and transaction are right. The name is
   * prepared on the server as an empty statement, and then once more.
   */
  private failDuplicate(at: number, name: string): void {
    this.collect(at)
    const taken = isOurs(name) ? `${name} ` : name // never one that other clients have a statement under
    const empty = frontend.message(frontend.Parse, bytesOf(`${taken}\0\0\0\0`))
    this.add(empty)
    this.client.owe(exchange.ParseAdded, null)
    this.add(empty)
    this.client.owe(exchange.Parse, null)
    this.cutter.from = this.frames.end
    this.leftBehind.add(taken)
  }

  private collect(to: number): void {
    const server = this.client.server!
    if (!this.cutter.collect(server.socket, to)) this.client.waitFor(server)
  }

  private add(bytes: Buffer): void {
    const server = this.client.server!
    if (!this.cutter.add(server.socket, bytes)) this.client.waitFor(server)
  }

  private broken(problem: Condition): number {
    this.problem = problem
    return Broken
  }
}

function closeStatement(name: string): Buffer {
  return frontend.message(frontend.Close, bytesOf(`S${name}\0`))
}

/** Names are kept byte by byte (latin1): not every client speaks UTF-8. */
function bytesOf(text: string): Buffer {
  return Buffer.from(text, 'latin1')
}

function ignore(): void {}
