// The extended protocol on the console: prepared statements and portals of one client, and the answers that need no command run.
// https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-EXT-QUERY

import type { Config } from '../config/load.js'
import { AdminError } from '../control/status.js'
import { bindComplete, closeComplete, noData, parameterDescription, parseComplete } from '../protocol/backend.js'
import { Body, InvalidMessage } from './body.js'
import type { Command, Role } from './commands.js'
import { parseCommand } from './parse.js'
import { describeTable, type Format, type Row } from './table.js'

/** What one client may keep: enough for every command in every driver's statement cache. */
const limits = { statements: 1000, portals: 100, nameLength: 255 } as const

/** A command that is bound, and how far it has run. */
export interface Portal {
  readonly command: Command
  readonly formats: readonly Format[]
  /** Rows still to come, once it has begun; any other command has begun when this is set. */
  rest: Row[] | undefined
}

export function portalFor(command: Command, formats: readonly Format[] = []): Portal {
  return { command, formats, rest: undefined }
}

/** Every method reads one message; each throws InvalidMessage for its format, and AdminError for what is refused. */
export class ExtendedProtocol {
  readonly #role: Role
  readonly #config: () => Config
  readonly #statements = new Map<string, Command>()
  readonly #portals = new Map<string, Portal>()

  /** @param config gives the one in force */
  constructor(role: Role, config: () => Config) {
    this.#role = role
    this.#config = config
  }

  parse(message: Buffer): Buffer {
    const body = new Body(message)
    const name = body.text()
    const query = body.text()
    body.skip(4 * body.count()) // types of parameters, of which no command has any
    body.end()
    if (name === '') this.#statements.delete(name)
    if (this.#statements.has(name)) throw new AdminError(`prepared statement "${name}" already exists`, '42P05')
    requireRoom('prepared statements', name, this.#statements.size, limits.statements)
    this.#statements.set(name, parseCommand(query, this.#role, this.#config()))
    return parseComplete
  }

  bind(message: Buffer): Buffer {
    const body = new Body(message)
    const name = body.text()
    const statement = body.text()
    body.skip(2 * body.count()) // formats of parameters
    const parameters = body.count()
    for (let at = 0; at < parameters; at++) body.skip(Math.max(body.int32(), 0))
    const formats = Array.from({ length: body.count() }, () => body.int16())
    body.end()
    const command = this.#statement(statement)
    if (parameters > 0) {
      const text = `bind message supplies ${parameters} parameters, but prepared statement "${statement}" requires 0`
      throw new AdminError(text, '08P01')
    }
    if (name === '') this.#portals.delete(name)
    if (this.#portals.has(name)) throw new AdminError(`cursor "${name}" already exists`, '42P03')
    requireRoom('portals', name, this.#portals.size, limits.portals)
    this.#portals.set(name, portalFor(command, formatsFor(command, formats)))
    return bindComplete
  }

  describe(message: Buffer): Buffer {
    const { kind, name } = readTarget(message, 'DESCRIBE')
    if (kind === 'portal') {
      const { command, formats } = this.#portal(name)
      return command.does === 'show' ? describeTable(command.table, formats) : noData
    }
    const command = this.#statement(name)
    const rows = command.does === 'show' ? describeTable(command.table) : noData
    return Buffer.concat([parameterDescription([]), rows])
  }

  /** The portal to run, and how many rows of it at most; 0 is all. */
  execute(message: Buffer): { portal: Portal; maxRows: number } {
    const body = new Body(message)
    const name = body.text()
    const maxRows = Math.max(body.int32(), 0)
    body.end()
    return { portal: this.#portal(name), maxRows }
  }

  /** To close what is not there is no error. */
  close(message: Buffer): Buffer {
    const { kind, name } = readTarget(message, 'CLOSE')
    if (kind === 'portal') this.#portals.delete(name)
    else this.#statements.delete(name)
    return closeComplete
  }

  /** A simple query takes the place of the unnamed statement and portal. */
  forgetUnnamed(): void {
    this.#statements.delete('')
    this.#portals.delete('')
  }

  endTransaction(): void {
    this.#portals.clear()
  }

  /** @param name absent: all */
  deallocate(name: string | undefined): void {
    if (name === undefined) this.#statements.clear()
    else if (!this.#statements.delete(name)) throw noSuchStatement(name)
  }

  #statement(name: string): Command {
    const command = this.#statements.get(name)
    if (command === undefined) throw noSuchStatement(name)
    return command
  }

  #portal(name: string): Portal {
    const portal = this.#portals.get(name)
    if (portal === undefined) throw new AdminError(`portal "${name}" does not exist`, '34000')
    return portal
  }
}

function readTarget(message: Buffer, type: string): { kind: 'statement' | 'portal'; name: string } {
  const body = new Body(message)
  const letter = String.fromCharCode(body.byte())
  const name = body.text()
  body.end()
  if (letter !== 'S' && letter !== 'P') {
    throw new InvalidMessage(`invalid ${type} message subtype ${letter.charCodeAt(0)}`)
  }
  return { kind: letter === 'S' ? 'statement' : 'portal', name }
}

/** One for all columns, one for each, or none for text: as Bind has it, made one for each. */
function formatsFor(command: Command, given: readonly number[]): Format[] {
  for (const format of given) {
    if (format !== 0 && format !== 1) throw new AdminError(`unsupported format code: ${format}`, '22023')
  }
  const formats = given as Format[]
  if (command.does !== 'show') return []
  const columns = command.table.columns.length
  if (formats.length > 1 && formats.length !== columns) {
    const text = `bind message has ${formats.length} result formats but query has ${columns} columns`
    throw new AdminError(text, '08P01')
  }
  return formats.length === 1 ? Array.from({ length: columns }, () => formats[0] ?? 0) : formats
}

function requireRoom(what: string, name: string, count: number, most: number): void {
  if (count >= most) throw new AdminError(`too many ${what} on the console (${most})`, '53400')
  if (name.length > limits.nameLength) throw new AdminError(`name is longer than ${limits.nameLength}`, '42622')
}

function noSuchStatement(name: string): AdminError {
  const text = name === '' ? 'unnamed prepared statement does not exist' : `prepared statement "${name}" does not exist`
  return new AdminError(text, '26000')
}
