// hot path
// What is to become of a prepared statement when the message that named it is answered, or was skipped after an error.

import type { ClientStatements, ServerStatements, Statement } from './prepared.js'

const prepare = 0
const reuse = 1
const close = 2
const deallocate = 3
const evict = 4

/** What is to be done with a statement when the message that named it is answered, or was skipped after an error. */
export class PreparedNote {
  private readonly statement: Statement
  /** The client's name for it; '' where the pooler made it by itself. */
  private readonly name: string
  private readonly client: ClientStatements
  private readonly action: number
  /** Of a Close: the Parse of the same name that was under way. */
  private readonly before: PreparedNote | null
  /** Of a Close: what the client was told of its rows. */
  private readonly told: string | undefined
  answered = false

  constructor(
    statement: Statement,
    name: string,
    client: ClientStatements,
    action: number,
    before: PreparedNote | null = null,
    told?: string,
  ) {
    this.statement = statement
    this.name = name
    this.client = client
    this.action = action
    this.before = before
    this.told = told
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
        server.remove(this.statement)
        this.client.remove(this.name)
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
        return this.client.restore(this.name, this.statement, this.before, this.told)
      case evict:
        return server.restore(this.statement)
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
  close: (
    statement: Statement,
    name: string,
    client: ClientStatements,
    before: PreparedNote | null,
    told: string | undefined,
  ): PreparedNote => new PreparedNote(statement, name, client, close, before, told),
  /** A Close that the pooler puts in, of a statement that makes room for another. */
  evict: (statement: Statement, client: ClientStatements): PreparedNote =>
    new PreparedNote(statement, '', client, evict),
  /** A DEALLOCATE: the name is forgotten when it is answered. */
  deallocate: (statement: Statement, name: string, client: ClientStatements): PreparedNote =>
    new PreparedNote(statement, name, client, deallocate),
}
