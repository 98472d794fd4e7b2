import fc from 'fast-check'
import { expect, test } from 'vitest'
import * as backend from '../../src/protocol/backend.js'
import { type Answer, OwnQuery, serverError } from '../../src/relay/own-query.js'
import { i16, i32, messagesOf, z } from '../protocol/wire.js'

/** What is made of an answer. */
function asked(...messages: Buffer[]): (Answer | Error)[] {
  const answers: (Answer | Error)[] = []
  const ask = new OwnQuery((answer) => answers.push(answer))
  for (const { code, body } of messagesOf(Buffer.concat(messages))) {
    const view = Buffer.from(body)
    if (code === 'Z') ask.finish(view[0]!)
    else ask.onMessage(code.charCodeAt(0), view)
    view.fill(0xee)
  }
  return answers
}

const columns = (count: number): Buffer =>
  backend.rowDescription(
    Array.from({ length: count }, () => ({ name: 'c', typeOid: 25, typeSize: -1, format: 0 as const })),
  )

test('rows are collected, and told at ReadyForQuery', () => {
  const rows = [
    columns(2),
    backend.dataRow([Buffer.from('ä'), null]),
    backend.dataRow([Buffer.alloc(0), Buffer.from('b')]),
  ]
  expect(asked(...rows)).toEqual([])
  expect(asked(...rows, backend.commandComplete('SELECT 2'), backend.readyForQuery())).toEqual([
    {
      rows: [
        ['ä', null],
        ['', 'b'],
      ],
      columns: 2,
      error: undefined,
      status: backend.Idle,
    },
  ])
})

test('the first error counts', () => {
  const error = (text: string): Buffer => backend.errorResponse({ severity: 'ERROR', sqlstate: '42P01', message: text })
  const [answer] = asked(error('one'), error('two'), backend.readyForQuery(backend.InFailedTransaction))
  expect(answer).toMatchObject({ error: { message: 'one', sqlstate: '42P01' }, status: backend.InFailedTransaction })
})

test('notices and parameters are not part of an answer', () => {
  expect(asked(backend.noticeResponse('x'), backend.parameterStatus('a', 'b'), backend.readyForQuery())).toEqual([
    { rows: [], columns: 0, error: undefined, status: backend.Idle },
  ])
})

test('an answer may have 1 MiB of rows', () => {
  const row = backend.dataRow([Buffer.alloc(300_000, 'x')])
  expect(asked(row, row, row, backend.readyForQuery())).toMatchObject([{ error: undefined }])
  const [answer] = asked(row, row, row, row, row, backend.readyForQuery()) as [Answer]
  expect(answer.error).toMatchObject({ condition: 'out_of_memory' })
  expect(answer.rows.length).toBe(3)
})

test('a connection that is lost fails it', () => {
  const answers: (Answer | Error)[] = []
  const ask = new OwnQuery((answer) => answers.push(answer))
  ask.fail(new Error('lost'))
  expect(answers).toEqual([new Error('lost')])
})

test.each([
  ['nothing', Buffer.alloc(0)],
  ['half a count', Buffer.alloc(1)],
  ['no values', i16(2)],
  ['half a length', Buffer.concat([i16(1), Buffer.alloc(3)])],
  ['a value longer than the row', Buffer.concat([i16(1), i32(5), Buffer.from('abcd')])],
  ['a length of 0x7fffffff', Buffer.concat([i16(1), i32(0x7fffffff), Buffer.from('abcd')])],
])('a row with %s is an error', (_, body) => {
  const answers: Answer[] = []
  const ask = new OwnQuery((answer) => answers.push(answer as Answer))
  ask.onMessage(backend.DataRow, body)
  ask.finish(backend.Idle)
  expect(answers[0]?.error).toBeDefined()
  expect(answers[0]?.rows).toEqual([])
})

test('any bytes for a row are taken or refused', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      const ask = new OwnQuery(() => {})
      ask.onMessage(backend.DataRow, Buffer.from(bytes))
      ask.onMessage(backend.RowDescription, Buffer.from(bytes))
      ask.onMessage(backend.ErrorResponse, Buffer.from(bytes))
    }),
  )
})

// CVE-2026-6666: an ErrorResponse without SQLSTATE
test.each<[string, Record<string, string>]>([
  ['', { severity: 'FATAL', sqlstate: 'XX000', message: 'unknown server error' }],
  ['Mtext', { severity: 'FATAL', sqlstate: 'XX000', message: 'text' }],
  ['SFEHLER\0VERROR\0C42P01\0Mtext\0\0', { severity: 'ERROR', sqlstate: '42P01', message: 'text' }],
  ['SERROR\0Cxx\0Mtext\0\0', { severity: 'ERROR', sqlstate: 'XX000', message: 'text' }],
  ['SPANIC\0C57P02\0M\0\0', { severity: 'FATAL', sqlstate: '57P02', message: '' }],
])('of the error %j', (body, expected) => {
  expect(serverError(Buffer.from(body))).toMatchObject(expected)
  expect(z('').length).toBe(1)
})
