// hot path
// What is to become of a prepared statement when the message that named it is answered, or was skipped after an error.

import { Note } from '../note.js'
import type { Named } from './named.js'
import { reworded } from './reserved-names.js'
import type { ServerStatements } from './server-statements.js'
import type { Statement } from './statement.js'

const prepare = 0
const reuse = 1
const close = 2
const deallocate = 3
const evict = 4

/** The names of a client, as far as what becomes of a message decides what they stand for. */
export interface NameOwner {
  /** The name stands or falls with this note. */
  expect(name: string, note: PreparedNote): void
  confirm(name: string, note: PreparedNote): void
  undo(name: string, note: PreparedNote): void
  /** A Close has been carried out. */
  settle(detached: Statement): void
  /** A Close was never come to: the name stands for its statement again. */
  restore(detached: Named, before: PreparedNote | null): void
}

export class PreparedNote extends Note {
  readonly statement: Statement
  /** The client's name for it; '' where the pooler made it by itself. */
  readonly name: string
  private readonly client: NameOwner
  private readonly action: number
  /** Of a Close: the name that it took away, and the Parse of the same name that was under way. */
  private readonly named: Named | null
  private readonly before: PreparedNote | null
  /** Of a DEALLOCATE: the statement had been answered. */
  private readonly wasAnswered: boolean
  answered = false

  constructor(
    statement: Statement,
    name: string,
    client: NameOwner,
    action: number,
    named: Named | null = null,
    before: PreparedNote | null = null,
    wasAnswered = true,
  ) {
    super()
    this.statement = statement
    this.name = name
    this.client = client
    this.action = action
    this.named = named
    this.before = before
    this.wasAnswered = wasAnswered
    if (action <= reuse && name !== '') client.expect(name, this)
  }

  /** A Parse that was left out. */
  get isReuse(): boolean {
    return this.action === reuse
  }

  override confirm(server: ServerStatements): void {
    this.answered = true
    switch (this.action) {
      case prepare:
        server.confirm(this.statement)
        return this.client.confirm(this.name, this)
      case reuse:
        return this.client.confirm(this.name, this)
      case close:
        return this.client.settle(this.statement)
      case evict:
        return server.release(this.statement)
      default:
        server.release(this.statement)
        return this.client.settle(this.statement)
    }
  }

  override undo(server: ServerStatements): void {
    switch (this.action) {
      case prepare:
        if (server.isPending(this.statement)) server.remove(this.statement)
        return this.client.undo(this.name, this)
      case reuse:
        return this.client.undo(this.name, this)
      case close:
        return this.client.restore(this.named!, this.before)
      case evict:
        return server.restore(this.statement)
      default:
        server.restore(this.statement, this.wasAnswered)
        return this.client.restore(this.named!, this.before)
    }
  }

  override inOwnWords(error: Buffer): Buffer | null {
    return this.name === '' ? null : reworded(error, this.statement.name, this.name)
  }

  /** Something else has the name: what the server has by now is not known. */
  override correct(error: Buffer, isMissing: boolean, server: ServerStatements): boolean {
    if (isMissing || reworded(error, this.statement.name, '') === null) return false
    server.hasUnknown = true
    return true
  }
}

export const noteOf = {
  /** A Parse or PREPARE under the client's `name`, or '' for one that the pooler puts in. */
  prepare: (statement: Statement, name: string, client: NameOwner): PreparedNote =>
    new PreparedNote(statement, name, client, prepare),
  /** A Parse that is left out, since the server has the statement. */
  reuse: (statement: Statement, name: string, client: NameOwner): PreparedNote =>
    new PreparedNote(statement, name, client, reuse),
  /** A Close: the name is forgotten already. `before`: a Parse of it that was under way. */
  close: (named: Named, client: NameOwner, before: PreparedNote | null): PreparedNote =>
    new PreparedNote(named.statement, named.name, client, close, named, before),
  /** A Close that the pooler puts in, of a statement that makes room for another. */
  evict: (statement: Statement, client: NameOwner): PreparedNote => new PreparedNote(statement, '', client, evict),
  /** A DEALLOCATE: the name is forgotten already, by client and server, which `wasAnswered` before. */
  deallocate: (named: Named, client: NameOwner, before: PreparedNote | null, wasAnswered: boolean): PreparedNote =>
    new PreparedNote(named.statement, named.name, client, deallocate, named, before, wasAnswered),
}
