// Conversations as they are on the wire, for the benchmarks: what pgbench and a driver send, and what PostgreSQL answers.

import { serialize } from 'pg-protocol'
import * as backend from '../../src/protocol/backend.js'
import { message } from '../../src/protocol/message.js'

/** One exchange: what the client sends, and the chunks in which the answer comes. */
export interface Conversation {
  readonly request: Buffer
  readonly answer: readonly Buffer[]
}

/** As much as a read gives at most. */
const chunkSize = 64 * 1024

const text = 'SELECT abalance FROM pgbench_accounts WHERE aid = $1'
const description = backend.rowDescription([{ name: 'abalance', typeOid: 23, typeSize: 4, format: 0 }])
const ready = backend.readyForQuery()
const bindComplete = message(backend.BindComplete)
const parseComplete = message(backend.ParseComplete)

const complete = (rows: number): Buffer => message(backend.CommandComplete, `SELECT ${rows}\0`)

/** A row of one column. */
export function dataRow(value: string): Buffer {
  const head = Buffer.alloc(6)
  head.writeInt16BE(1, 0)
  head.writeInt32BE(value.length, 2)
  return message(backend.DataRow, Buffer.concat([head, Buffer.from(value)]))
}

/** The messages joined, and cut as a stream of bytes is. */
export function chunksOf(...messages: readonly Buffer[]): Buffer[] {
  const all = Buffer.concat(messages)
  const chunks: Buffer[] = []
  for (let at = 0; at < all.length; at += chunkSize) chunks.push(all.subarray(at, at + chunkSize))
  return chunks
}

export const simple: Conversation = {
  request: serialize.query('SELECT abalance FROM pgbench_accounts WHERE aid = 12345;'),
  answer: chunksOf(description, dataRow('-4711'), complete(1), ready),
}

export const thousandRows: Conversation = {
  request: serialize.query('SELECT filler FROM pgbench_accounts LIMIT 1000'),
  answer: chunksOf(description, ...new Array<Buffer>(1000).fill(dataRow('x'.repeat(100))), complete(1000), ready),
}

export const unnamed: Conversation = {
  request: Buffer.concat([serialize.parse({ text }), ...execution('')]),
  answer: chunksOf(parseComplete, bindComplete, description, dataRow('-4711'), complete(1), ready),
}

/** Parse of a named statement, and the Sync behind it. */
export const preparation: Conversation = {
  request: Buffer.concat([serialize.parse({ name: 'P_0', text }), serialize.sync()]),
  answer: chunksOf(parseComplete, ready),
}

/** The same where the server has the statement already. */
export const repeatedPreparation: Conversation = { request: preparation.request, answer: [ready] }

export const named: Conversation = {
  request: Buffer.concat(execution('P_0')),
  answer: chunksOf(bindComplete, description, dataRow('-4711'), complete(1), ready),
}

/** Bind, Describe, Execute, Sync. */
function execution(statement: string): Buffer[] {
  return [
    serialize.bind({ statement, values: ['12345'] }),
    serialize.describe({ type: 'P' }),
    serialize.execute({}),
    serialize.sync(),
  ]
}
