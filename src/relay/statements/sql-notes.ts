// What is to become of the names in a text with PREPARE, EXECUTE and DEALLOCATE, as its statements are answered one by one.

import { Note } from '../note.js'
import type { PreparedNote } from './prepared-notes.js'
import { movedBack, reworded } from './reserved-names.js'
import type { ServerStatements } from './server-statements.js'
import type { Command } from './sql-command.js'
import type { Statement } from './statement.js'

/** One command of a text. */
interface Step {
  readonly verb: Command['verb']
  /** What stands in place of the client's name. */
  readonly reserved: string
  readonly name: string
  /** What it is for, where that is known; null: it is going to be refused. */
  readonly statement: Statement | null
  readonly note: PreparedNote | null
}

export class CommandNote extends Note {
  private readonly steps: Step[] = []
  private next = 0
  private readonly moves: (readonly [from: number, by: number])[] = []
  // A statement that the server was found to lack.
  private lost: Statement | null = null
  /** What the session wants to know of the same text. */
  private readonly rest: Note | null

  constructor(rest: Note | null) {
    super()
    this.rest = rest
  }

  add(
    command: Pick<Command, 'verb' | 'name'>,
    reserved: string,
    statement: Statement | null,
    note: PreparedNote | null,
  ) {
    this.steps.push({ verb: command.verb, name: command.name, reserved, statement, note })
  }

  /** The statement of an EXECUTE or DEALLOCATE that is the only command. */
  get used(): Statement | null {
    const [step, ...others] = this.steps
    return step !== undefined && step.verb !== 'prepare' && others.length === 0 ? step.statement : null
  }

  /**
   * A CommandComplete says that such a command has been carried out. (That of an EXECUTE says what was executed.)
   * @returns whether it was meant to be
   */
  override onCommand(verb: 'prepare' | 'deallocate', server: ServerStatements): boolean {
    while (this.next < this.steps.length) {
      const step = this.steps[this.next++]!
      if (step.verb === verb) {
        step.note?.confirm(server)
        return step.note !== null
      }
      if (step.verb !== 'execute') return false
    }
    return false
  }

  override confirm(server: ServerStatements): void {
    this.rest?.confirm(server)
  }

  /** What has been carried out before the error stays; of the rest, what was to be done last is undone first. */
  override undo(server: ServerStatements): void {
    for (let i = this.steps.length - 1; i >= this.next; i--) this.steps[i]!.note?.undo(server)
    if (this.lost !== null) server.remove(this.lost)
    this.rest?.undo(server)
  }

  /**
   * A name was put in place of another in the text.
   * @param from where it stands in what is sent, characters
   * @param by how much longer it is, characters
   */
  moved(from: number, by: number): void {
    this.moves.push([from, by])
  }

  /** The error with the client's own name, and with the place in its own text; null where neither is in it. */
  override inOwnWords(error: Buffer): Buffer | null {
    let told: Buffer | null = null
    for (const { reserved, name } of this.steps) {
      told = reworded(error, reserved, name)
      if (told !== null) break
    }
    return movedBack(told ?? error, this.moves) ?? told
  }

  /** A statement that the server was thought to have. It is forgotten when the text has been answered. */
  override correct(error: Buffer, isMissing: boolean, server: ServerStatements): boolean {
    const statement = isMissing ? this.about(error) : null
    if (statement === null) return false
    server.remove(statement)
    return true
  }

  private about(error: Buffer): Statement | null {
    if (error.includes('\0W')) return null // with a context, it is of something that was executed
    for (const { statement, reserved, verb } of this.steps) {
      if (statement === null || verb === 'prepare' || reworded(error, reserved, '') === null) continue
      this.lost = statement
      return statement
    }
    return null
  }
}
