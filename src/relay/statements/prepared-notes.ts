// hot path
// What is to become of a prepared statement when the message that named it is answered, or was skipped after an error.

import type { ClientStatements, Named } from './client-statements.js'
import type { ServerStatements, Statement } from './prepared.js'

const prepare = 0
const reuse = 1
const close = 2
const deallocate = 3
const evict = 4

/** What is to be done with a statement when the message that named it is answered, or was skipped after an error. */
export class PreparedNote {
  readonly statement: Statement
  /** The client's name for it; '' where the pooler made it by itself. */
  readonly name: string
  private readonly client: ClientStatements
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
    client: ClientStatements,
    action: number,
    named: Named | null = null,
    before: PreparedNote | null = null,
    wasAnswered = true,
  ) {
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

  confirm(server: ServerStatements): void {
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

  undo(server: ServerStatements): void {
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
}

export const noteOf = {
  /** A Parse or PREPARE under the client's `name`, or '' for one that the pooler puts in. */
  prepare: (statement: Statement, name: string, client: ClientStatements): PreparedNote =>
    new PreparedNote(statement, name, client, prepare),
  /** A Parse that is left out, since the server has the statement. */
  reuse: (statement: Statement, name: string, client: ClientStatements): PreparedNote =>
    new PreparedNote(statement, name, client, reuse),
  /** A Close: the name is forgotten already. `before`: a Parse of it that was under way. */
  close: (named: Named, client: ClientStatements, before: PreparedNote | null): PreparedNote =>
    new PreparedNote(named.statement, named.name, client, close, named, before),
  /** A Close that the pooler puts in, of a statement that makes room for another. */
  evict: (statement: Statement, client: ClientStatements): PreparedNote =>
    new PreparedNote(statement, '', client, evict),
  /** A DEALLOCATE: the name is forgotten already, by client and server, which `wasAnswered` before. */
  deallocate: (
    named: Named,
    client: ClientStatements,
    before: PreparedNote | null,
    wasAnswered: boolean,
  ): PreparedNote => new PreparedNote(named.statement, named.name, client, deallocate, named, before, wasAnswered),
}
