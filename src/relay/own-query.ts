// An exchange of the pooler's own with a server: its answer is collected here and never reaches a client.

import * as backend from '../protocol/backend.js'
import { textOf } from '../protocol/byte-text.js'
import { PgError } from '../protocol/errors.js'
import { Note } from './note.js'

/** Most rows' bytes that an own query may answer with. */
const answerLimit = 1024 * 1024

export interface Answer {
  /** Rows of text values, null for NULL. */
  readonly rows: readonly (readonly (string | null)[])[]
  readonly columns: number
  /** The server's error, if there was one. */
  readonly error: PgError | undefined
  /** Transaction status afterwards. */
  readonly status: number
}

/** Collects the answer to one exchange. `done` is called once: with the answer, or with the reason it never came. */
export class OwnQuery extends Note {
  private readonly rows: (string | null)[][] = []
  private size = 0
  private columns = 0
  private error: PgError | undefined
  private readonly done: (answer: Answer | Error) => void

  /** @param done left out where nobody wants to know */
  constructor(done: (answer: Answer | Error) => void = ignore) {
    super()
    this.done = done
  }

  /** `body` is a view: nothing of it is kept. */
  onMessage(code: number, body: Buffer): void {
    if (code === backend.ErrorResponse) this.error ??= serverError(body)
    else if (code === backend.RowDescription && body.length >= 2) this.columns = body.readInt16BE(0)
    else if (code === backend.DataRow) this.addRow(body)
  }

  /** ReadyForQuery has come, with this transaction status. */
  finish(status: number): void {
    this.done({ rows: this.rows, columns: this.columns, error: this.error, status })
  }

  /** A message too long to be looked at. */
  onOverlong(): void {
    this.error ??= new PgError('out_of_memory')
  }

  fail(reason: Error): void {
    this.done(reason)
  }

  private addRow(body: Buffer): void {
    this.size += body.length
    const row = this.size > answerLimit ? undefined : readRow(body)
    if (row === undefined) this.error ??= new PgError('out_of_memory')
    else this.rows.push(row)
  }
}

function ignore(): void {}

/** The values of a DataRow, or undefined where it is malformed. */
function readRow(body: Buffer): (string | null)[] | undefined {
  if (body.length < 2) return undefined
  const row: (string | null)[] = []
  let at = 2
  for (let left = body.readInt16BE(0); left > 0; left--) {
    if (body.length - at < 4) return undefined
    const length = body.readInt32BE(at)
    at += 4
    if (length > body.length - at) return undefined
    row.push(length < 0 ? null : textOf(body.subarray(at, at + length)))
    at += Math.max(length, 0)
  }
  return row
}

/** A server's ErrorResponse as an error to pass on; fields that are missing get a sensible stand-in. */
export function serverError(body: Buffer): PgError {
  const fields = backend.reportFields(body)
  const severity = (fields.get('V') ?? fields.get('S')) === 'ERROR' ? 'ERROR' : 'FATAL'
  return new PgError({
    sqlstate: /^[0-9A-Z]{5}$/.test(fields.get('C') ?? '') ? fields.get('C')! : 'XX000',
    severity,
    text: fields.get('M') ?? 'unknown server error',
  })
}
