// The virtual database "pgbouncer": one AdminConsole for each of its clients, by the simple and the extended protocol.

import { ConfigError } from '../config/config-error.js'
import { AdminError, type Administration } from '../control/status.js'
import * as backend from '../protocol/backend.js'
import { PgError } from '../protocol/errors.js'
import * as frontend from '../protocol/frontend.js'
import { message } from '../protocol/message.js'
import { Body, InvalidMessage } from './body.js'
import { type Action, type Answer, CommandFailed, type Role } from './commands.js'
import { ExtendedProtocol, type Portal, portalFor } from './extended.js'
import { Output } from './output.js'
import { parseCommand } from './parse.js'
import { describeTable, encodeRow, type Table } from './table.js'

export interface ConsoleOptions {
  readonly administration: Administration
  readonly role: Role
  /** Where the commands and errors of this client are logged. */
  readonly log: { readonly [Level in 'debug' | 'info' | 'warning' | 'error']: (text: string) => void }
  /** Sends bytes to the client; false: no more until `drained` is called. */
  write(bytes: Buffer): boolean
  /** Stop and go on reading from the client. What is read already may still be given to `receive`. */
  pause(): void
  resume(): void
  /** Close the connection when what was written has gone out. */
  end(): void
}

/** Bytes of messages that may wait behind a command: beyond the first the client is paused, beyond the second cut off. */
const queueLimits = { pause: 64 * 1024, most: 2 * 1024 * 1024 } as const

/** What the console reports at login, in pgbouncer's order. `version` is the Administration's. */
export function consoleParameters(version: string): ReadonlyMap<string, string> {
  const number = /\d+(\.\d+)*/.exec(version)?.[0] ?? '0'
  return new Map([
    ['pgbouncer.version', number],
    ['server_version', `${number}/bouncer`],
    ['client_encoding', 'UTF8'],
    ['server_encoding', 'UTF8'],
    ['DateStyle', 'ISO'],
    ['TimeZone', 'GMT'],
    ['standard_conforming_strings', 'on'],
    ['is_superuser', 'on'],
  ])
}

interface Message {
  readonly code: number
  readonly body: Buffer
}

/** Nothing here throws; messages are answered one after the other. */
export class AdminConsole {
  readonly #options: ConsoleOptions
  readonly #administration: Administration
  readonly #output: Output
  readonly #extended: ExtendedProtocol
  #queue: Message[] = []
  #queued = 0
  #paused = false
  #working = false
  #closed = false
  #inTransaction = false
  /** After an error of the extended protocol everything up to the next Sync is passed over. */
  #skipping = false
  /** The command that is carried out when its answer has been sent. */
  #afterAnswer: Action | undefined
  /** The command that waits for something to become true. */
  #waiting: AbortController | undefined
  /** The command that ends when this client leaves. */
  #held: Action | undefined

  constructor(options: ConsoleOptions) {
    this.#options = options
    this.#administration = options.administration
    this.#output = new Output((bytes) => this.#closed || options.write(bytes))
    this.#extended = new ExtendedProtocol(options.role, () => this.#administration.config())
  }

  /** Takes one complete message; `body` is without code and length, and is copied. */
  receive(code: number, body: Buffer): void {
    if (this.#closed) return
    if (code === frontend.Terminate && this.#waiting !== undefined) {
      this.#end() // who leaves in the middle of a PAUSE does not wait for it
      return
    }
    this.#queue.push({ code, body: Buffer.from(body) })
    this.#queued += costOf(body)
    if (this.#queued > queueLimits.most) {
      this.#fail(new PgError('out_of_memory'))
      return
    }
    if (this.#queued > queueLimits.pause && !this.#paused) {
      this.#paused = true
      this.#options.pause()
    }
    if (!this.#working) void this.#work()
  }

  /** The client takes bytes again, after a `write` that returned false. */
  drained(): void {
    this.#output.drained()
  }

  /** A CancelRequest for this client: ends a PAUSE, SUSPEND or WAIT_CLOSE that still waits. */
  cancel(): void {
    this.#waiting?.abort()
  }

  /** The client has gone. A PAUSE stays, as in pgbouncer; a SUSPEND ends. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#queue = []
    this.#waiting?.abort()
    this.#output.drained()
    if (this.#held !== undefined && this.#administration.state().suspended) {
      this.#options.log.info('admin disappeared when suspended, doing RESUME')
      this.#undo(this.#held)
    }
  }

  async #work(): Promise<void> {
    this.#working = true
    for (let next = this.#queue.shift(); next !== undefined && !this.#closed; next = this.#queue.shift()) {
      this.#queued -= costOf(next.body)
      try {
        await this.#handle(next)
      } catch (error) {
        this.#fail(error)
      }
      if (this.#paused && this.#queued <= queueLimits.pause / 2) {
        this.#paused = false
        this.#options.resume()
      }
    }
    this.#working = false
  }

  async #handle({ code, body }: Message): Promise<void> {
    if (code === frontend.Terminate) return this.#end()
    if (this.#skipping && code !== frontend.Sync) return
    switch (code) {
      case frontend.Query:
        return await this.#simpleQuery(body)
      case frontend.FunctionCall:
        this.#refuse(new AdminError('function calls are not supported by the admin console', '0A000'))
        return await this.#ready()
      case frontend.Sync:
        this.#skipping = false
        new Body(body).end()
        if (!this.#inTransaction) this.#extended.endTransaction()
        return await this.#ready()
      case frontend.Flush:
        return await this.#output.flush()
      case frontend.CopyData:
      case frontend.CopyDone:
      case frontend.CopyFail:
        return // leftovers of a COPY that failed, to PostgreSQL; it passes over them too
      default:
        return await this.#extendedMessage(code, body)
    }
  }

  async #simpleQuery(body: Buffer): Promise<void> {
    const text = readQuery(body)
    if (this.#administration.config().settings.disable_pqexec) throw new PgError('pqexec_disallowed')
    this.#extended.forgetUnnamed()
    this.#options.log.debug(`got admin query: ${withoutValues(text)}`)
    try {
      const command = parseCommand(text, this.#options.role, this.#administration.config())
      if (command.does === 'show') this.#output.add(describeTable(command.table))
      await this.#execute(portalFor(command), 0)
    } catch (error) {
      this.#refuse(error)
    }
    await this.#ready()
  }

  async #extendedMessage(code: number, body: Buffer): Promise<void> {
    try {
      switch (code) {
        case frontend.Parse:
          return this.#output.add(this.#extended.parse(body))
        case frontend.Bind:
          return this.#output.add(this.#extended.bind(body))
        case frontend.Describe:
          return this.#output.add(this.#extended.describe(body))
        case frontend.Close:
          return this.#output.add(this.#extended.close(body))
        case frontend.Execute: {
          const { portal, maxRows } = this.#extended.execute(body)
          return await this.#execute(portal, maxRows)
        }
        default:
          throw new InvalidMessage(`invalid frontend message type ${code}`)
      }
    } catch (error) {
      this.#refuse(error)
      this.#skipping = true
      await this.#output.flush()
    }
  }

  async #execute(portal: Portal, maxRows: number): Promise<void> {
    const { command } = portal
    if (command.does === 'nothing') return this.#output.add(backend.emptyQueryResponse)
    if (command.does === 'show') return await this.#show(portal, command.table, maxRows)
    if (portal.rest !== undefined) throw new AdminError('portal has run already and cannot be run again', '55000')
    portal.rest = []
    if (command.does === 'answer') this.#answer(command)
    else if (command.afterAnswer) this.#afterAnswer = command
    else await this.#act(command)
    this.#output.add(backend.commandComplete(command.tag))
  }

  async #show(portal: Portal, table: Table, maxRows: number): Promise<void> {
    portal.rest ??= table.rows(this.#administration)
    const rows = portal.rest.splice(0, maxRows === 0 ? portal.rest.length : maxRows)
    for (const row of rows) {
      this.#output.add(encodeRow(table, row, portal.formats))
      if (this.#output.isLarge) await this.#output.flush()
    }
    const suspended = maxRows > 0 && rows.length === maxRows
    this.#output.add(suspended ? backend.portalSuspended : backend.commandComplete('SHOW'))
  }

  #answer({ notice, inTransaction, deallocate }: Answer): void {
    if (notice !== undefined) this.#tell(notice)
    if (deallocate !== undefined) this.#extended.deallocate(deallocate.statement)
    if (inTransaction === undefined) return
    this.#inTransaction = inTransaction
    if (!inTransaction) this.#extended.endTransaction()
  }

  #tell({ text, detail }: { readonly text: string; readonly detail?: string | undefined }): void {
    this.#output.add(backend.noticeResponse(text, detail === undefined ? {} : { D: detail }))
  }

  async #act(action: Action): Promise<void> {
    const { log } = this.#options
    log.info(`${action.title} command issued`)
    if (action.endsWithClient) this.#held = action
    const abort = new AbortController()
    if (action.waits) this.#waiting = abort
    try {
      const aborted = new Promise((resolve) => abort.signal.addEventListener('abort', resolve))
      const tell = (text: string, detail?: string): void => this.#tell({ text, detail })
      await Promise.race([action.act(this.#administration, abort.signal, tell), aborted])
    } catch (error) {
      if (!abort.signal.aborted) throw this.#failureOf(action, error)
    } finally {
      this.#waiting = undefined
    }
    if (abort.signal.aborted && !this.#closed) {
      this.#undo(action)
      throw new AdminError('canceling statement due to user request', '57014')
    }
    if (action.last) this.#closed = true
  }

  /** pgbouncer has one text for whatever went wrong in some commands; the log has the rest. */
  #failureOf({ failure }: Action, error: unknown): unknown {
    if (error instanceof AdminError || failure === undefined) return error
    if (failure.isLogged !== true)
      this.#options.log.error(error instanceof ConfigError ? error.message : describe(error))
    return new CommandFailed(failure, error)
  }

  #undo(action: Action): void {
    try {
      action.undo?.(this.#administration)
    } catch (error) {
      // Refused, since someone else has resumed: all is as it should be.
      if (!(error instanceof AdminError)) this.#options.log.error(describe(error))
    }
  }

  /** An ERROR: the command is refused, the connection stays. What is worse goes on to `#fail`. */
  #refuse(error: unknown): void {
    if (error instanceof PgError || error instanceof InvalidMessage) throw error
    if (!(error instanceof AdminError)) this.#options.log.error(describe(error))
    const { message, sqlstate } = error instanceof AdminError ? error : { message: 'internal error', sqlstate: 'XX000' }
    this.#logRefusal(message)
    const detail = error instanceof CommandFailed ? error.detail : undefined
    this.#output.add(errorReport(sqlstate, message, detail))
  }

  /** A FATAL error: the client is told and the connection ends. */
  #fail(error: unknown): void {
    if (this.#closed) return
    const report = fatal(error)
    if (report.sqlstate === 'XX000') this.#options.log.error(describe(error))
    this.#logRefusal(report.message)
    this.#output.add(backend.errorResponse(report))
    this.#output.send()
    this.#end()
  }

  #logRefusal(text: string): void {
    if (!this.#administration.config().settings.log_pooler_errors) return
    this.#options.log.warning(`pooler error: ${withoutValues(text)}`)
  }

  async #ready(): Promise<void> {
    this.#output.add(backend.readyForQuery(this.#inTransaction ? backend.InTransaction : backend.Idle))
    const action = this.#afterAnswer
    if (action !== undefined) {
      this.#afterAnswer = undefined
      this.#output.send() // as far as the client takes it: nobody waits for one that does not
      await this.#act(action)
    }
    await this.#output.flush()
  }

  #end(): void {
    this.close()
    this.#options.end()
  }
}

function readQuery(message: Buffer): string {
  const body = new Body(message)
  const text = body.text()
  body.end()
  return text
}

/** An entry in the queue costs something, however short. */
function costOf(body: Buffer): number {
  return 64 + body.length
}

function fatal(error: unknown): PgError {
  if (error instanceof PgError) return error
  const [sqlstate, text] = error instanceof InvalidMessage ? ['08P01', error.message] : ['XX000', 'internal error']
  return new PgError({ severity: 'FATAL', sqlstate, text })
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}

/** A SET that was not understood is told back to its client, but its value may be a secret, which no log has. */
function withoutValues(text: string): string {
  return text.replace(/(\bset\s+\S+?\s*(?:=|\sto\s)).*/is, '$1 ...')
}

/** As pgbouncer's errors, but for the detail. */
function errorReport(sqlstate: string, text: string, detail: string | undefined): Buffer {
  const fields = { S: 'ERROR', C: sqlstate, M: text, ...(detail !== undefined && { D: detail }) }
  const body = Object.entries(fields).map(([type, value]) => `${type}${value.replaceAll('\0', '')}\0`)
  return message(backend.ErrorResponse, `${body.join('')}\0`)
}
