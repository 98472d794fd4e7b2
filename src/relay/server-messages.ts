// hot path
// Questions about one message of a server, answered from its bytes: is it a reset, a stale plan, a farewell; nothing is done here.

import * as backend from '../protocol/backend.js'

/** Messages longer than this are passed on unread even where the pooler would like to know what they say. */
const readLimit = 1024 * 1024

/** Names of parameters are shorter, bytes. */
const longestName = 256

const stalePlan = Buffer.from('RRevalidateCachedQuery\0')
const fatal = Buffer.from('\0VFATAL\0')
const panic = Buffer.from('\0VPANIC\0')
const connectionException = Buffer.from('\0C08')
const readOnly = Buffer.from('\0C25006\0')
const createView = Buffer.from('CREATE VIEW\0')
const set = Buffer.from('SET\0')
const reset = Buffer.from('RESET\0')
const discardAll = Buffer.from('DISCARD ALL\0')
const prepare = Buffer.from('PREPARE\0')
const deallocate = Buffer.from('DEALLOCATE\0')
const deallocateAll = Buffer.from('DEALLOCATE ALL\0')

/** Returns whether this is the CommandComplete of a command that takes all prepared statements with it. From `start`: its body, `length` bytes. */
export function isReset(chunk: Buffer, start: number, length: number): boolean {
  if (length !== discardAll.length && length !== deallocateAll.length) return false
  return chunk.subarray(start, start + length).equals(length === discardAll.length ? discardAll : deallocateAll)
}

/** Returns whether it is that of SET, RESET or DISCARD ALL, which may change settings that the server does not report. */
export function isSetting(chunk: Buffer, start: number, length: number): boolean {
  switch (length) {
    case set.length:
      return chunk.subarray(start, start + length).equals(set)
    case reset.length:
      return chunk.subarray(start, start + length).equals(reset)
    case discardAll.length:
      return chunk.subarray(start, start + length).equals(discardAll)
    default:
      return false
  }
}

/** Which of them it is, where it is that of a PREPARE, or of a DEALLOCATE of one statement; '' where it is neither. */
export function statementVerb(chunk: Buffer, start: number, length: number): 'prepare' | 'deallocate' | '' {
  if (length === prepare.length) return chunk.subarray(start, start + length).equals(prepare) ? 'prepare' : ''
  if (length === deallocate.length) return chunk.subarray(start, start + length).equals(deallocate) ? 'deallocate' : ''
  return ''
}

/**
 * Returns whether it is that of a command that may change the result type of a prepared statement: ALTER and DROP of anything,
 * CREATE (OR REPLACE) VIEW.
 */
export function isDefinition(chunk: Buffer, start: number, length: number): boolean {
  switch (chunk[start]) {
    case 0x41: // A
      return length > 6 && chunk[start + 1] === 0x4c // L
    case 0x43: // C
      return length === createView.length && chunk.subarray(start, start + length).equals(createView)
    case 0x44: // D
      return length > 5 && chunk[start + 1] === 0x52 // R
    default:
      return false
  }
}

/** `cached plan must not change result type`, told by its place in PostgreSQL's source: the text is translated. */
export function isStalePlan(chunk: Buffer, start: number, end: number): boolean {
  return end <= chunk.length && chunk.subarray(start, end).includes(stalePlan)
}

/** Returns whether this ErrorResponse says that the server closes the connection. `V` is the severity that is not translated. */
export function isFarewell(chunk: Buffer, start: number, end: number): boolean {
  if (end > chunk.length) return false
  const message = chunk.subarray(start, end)
  return message.includes(fatal) || message.includes(panic)
}

/** The same, and no answer to what its client has sent that no client may: SQLSTATE of class 08. */
export function isEndOfServer(chunk: Buffer, start: number, end: number): boolean {
  return isFarewell(chunk, start, end) && !chunk.subarray(start, end).includes(connectionException)
}

/** Returns whether this ErrorResponse refuses a write in a read-only transaction. */
export function isReadOnly(chunk: Buffer, start: number, end: number): boolean {
  return end <= chunk.length && chunk.subarray(start, end).includes(readOnly)
}

/** Returns whether all messages of the chunk before `to` only prepare for an answer: they may be left out with it. */
export function isPreamble(chunk: Buffer, to: number): boolean {
  for (let at = 0; at < to; at += 1 + chunk.readInt32BE(at + 1)) {
    switch (chunk[at]) {
      case backend.ParseComplete:
      case backend.BindComplete:
      case backend.CloseComplete:
      case backend.NoData:
      case backend.ParameterDescription:
      case backend.RowDescription:
        break
      default:
        return false
    }
  }
  return true
}

/** Returns whether this is a ParameterDescription that ends at `end`, with an error behind it for a plan gone stale. */
export function isStaleNext(chunk: Buffer, code: number, end: number): boolean {
  if (code !== backend.ParameterDescription) return false
  return chunk[end] === backend.ErrorResponse && isStalePlan(chunk, end, reachOfNext(chunk, end))
}

/**
 * How far the chunk has to reach before the message in it that ends at `end` is dealt with; 0: as far as it does. `length`:
 * of its body. `isOwn`: it answers a question of the pooler's own.
 */
export function reachNeeded(chunk: Buffer, code: number, length: number, end: number, isOwn: boolean): number {
  switch (code) {
    case backend.ReadyForQuery:
      return length === 1 ? end : 0
    case backend.ParameterDescription:
      return length <= readLimit ? reachOfNext(chunk, end) : 0
    case backend.ParameterStatus: // at least its name
      return length <= readLimit ? end : end - length + longestName
    case backend.CommandComplete:
    case backend.ErrorResponse:
      return length <= readLimit ? end : 0
    default:
      return isOwn && length <= readLimit ? end : 0
  }
}

/** How far that is where it has to be known what follows: its header, and where that is an error, all of it. */
function reachOfNext(chunk: Buffer, end: number): number {
  if (chunk.length < end + 5) return end + 5
  if (chunk[end] !== backend.ErrorResponse) return end
  const length = chunk.readInt32BE(end + 1)
  return length > readLimit ? end : end + 1 + length
}

/** Returns whether it may come at any time, without anybody having asked. (An error may, too, where it is FATAL.) */
export function isAsynchronous(code: number): boolean {
  return code === backend.NoticeResponse || code === backend.ParameterStatus || code === backend.NotificationResponse
}

/** One of the messages that large answers are made of, and that nobody here looks into. */
export function isRow(code: number): boolean {
  return code === backend.DataRow || code === backend.CopyData
}
