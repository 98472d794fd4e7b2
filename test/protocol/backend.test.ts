import { Readable } from 'node:stream'
import fc from 'fast-check'
import { parse as parseStream } from 'pg-protocol'
import { expect, test } from 'vitest'
import * as backend from '../../src/protocol/backend.js'
import { PgError } from '../../src/protocol/errors.js'
import { i32, messagesOf, z } from './wire.js'

/** What pg-protocol, the reader of the driver `pg`, makes of our bytes; delivered in two pieces. */
async function independentlyRead(bytes: Buffer, cut = bytes.length >> 1): Promise<Record<string, unknown>[]> {
  const messages: Record<string, unknown>[] = []
  // Copies: that parser joins what is left over in the buffers it was given.
  const pieces = [Buffer.from(bytes.subarray(0, cut)), Buffer.from(bytes.subarray(cut))]
  const stream = Readable.from(pieces.filter((piece) => piece.length > 0))
  await parseStream(stream as never, (read) => messages.push(read as unknown as Record<string, unknown>))
  return messages
}

const writers: [Buffer, Record<string, unknown>][] = [
  [backend.authenticationRequest(0), { name: 'authenticationOk' }],
  [backend.authenticationRequest(3), { name: 'authenticationCleartextPassword' }],
  [
    backend.authenticationRequest(5, Buffer.from('salt')),
    { name: 'authenticationMD5Password', salt: Buffer.from('salt') },
  ],
  [
    backend.authenticationSasl(['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256']),
    { name: 'authenticationSASL', mechanisms: ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256'] },
  ],
  [backend.authenticationRequest(11, Buffer.from('r=x')), { name: 'authenticationSASLContinue', data: 'r=x' }],
  [backend.authenticationRequest(12, Buffer.from('v=x')), { name: 'authenticationSASLFinal', data: 'v=x' }],
  [
    backend.parameterStatus('TimeZone', 'Europe/Zürich'),
    { name: 'parameterStatus', parameterName: 'TimeZone', parameterValue: 'Europe/Zürich' },
  ],
  [
    backend.backendKeyData(Buffer.concat([i32(1234), i32(256)])),
    { name: 'backendKeyData', processID: 1234, secretKey: 256 },
  ],
  [backend.readyForQuery(), { name: 'readyForQuery', status: 'I' }],
  [backend.readyForQuery(backend.InTransaction), { name: 'readyForQuery', status: 'T' }],
  [backend.readyForQuery(backend.InFailedTransaction), { name: 'readyForQuery', status: 'E' }],
  [backend.commandComplete('SHOW'), { name: 'commandComplete', text: 'SHOW' }],
  [backend.parseComplete, { name: 'parseComplete' }],
  [backend.bindComplete, { name: 'bindComplete' }],
  [backend.closeComplete, { name: 'closeComplete' }],
  [backend.noData, { name: 'noData' }],
  [backend.emptyQueryResponse, { name: 'emptyQuery' }],
  [backend.portalSuspended, { name: 'portalSuspended' }],
  [backend.parameterDescription([25, 23]), { name: 'parameterDescription', dataTypeIDs: [25, 23] }],
  [backend.dataRow([Buffer.from('ä'), null, Buffer.alloc(0)]), { name: 'dataRow', fields: ['ä', null, ''] }],
  [
    backend.rowDescription([
      { name: 'größe', typeOid: 20, typeSize: 8, format: 0 },
      { name: 'b', typeOid: 17, typeSize: -1, format: 1 },
    ]),
    {
      name: 'rowDescription',
      fields: [
        {
          name: 'größe',
          tableID: 0,
          columnID: 0,
          dataTypeID: 20,
          dataTypeSize: 8,
          dataTypeModifier: -1,
          format: 'text',
        },
        {
          name: 'b',
          tableID: 0,
          columnID: 0,
          dataTypeID: 17,
          dataTypeSize: -1,
          dataTypeModifier: -1,
          format: 'binary',
        },
      ],
    },
  ],
  [
    backend.errorResponse(new PgError('auth_failed')),
    { name: 'error', severity: 'FATAL', code: '08P01', message: 'password authentication failed' },
  ],
  [
    backend.noticeResponse('wait', { D: 'for what' }),
    { name: 'notice', severity: 'NOTICE', code: '00000', message: 'wait', detail: 'for what' },
  ],
]

test.each(writers)('%# is what pg-protocol reads', async (bytes, expected) => {
  const read = await independentlyRead(bytes)
  expect(read).toHaveLength(1)
  expect({ ...read[0], message: (read[0] as { message?: string }).message }).toMatchObject(expected)
})

test('all messages one behind the other are read as such, wherever they are cut', async () => {
  const stream = Buffer.concat(writers.map(([bytes]) => bytes))
  for (let cut = 1; cut < stream.length; cut += 7) {
    expect((await independentlyRead(stream, cut)).map((read) => read.name)).toEqual(writers.map(([, { name }]) => name))
  }
})

test('NegotiateProtocolVersion has the whole version, and names the options that are not known', () => {
  const [message] = messagesOf(backend.negotiateProtocolVersion(2, ['_pq_.a', '_pq_.b']))
  expect(message).toEqual({ code: 'v', body: Buffer.concat([i32(0x30002), i32(2), z('_pq_.a'), z('_pq_.b')]) })
})

test('zero bytes in a text of ours do not make fields', () => {
  const bytes = backend.errorResponse({ severity: 'ERROR', sqlstate: '08P01', message: 'no such database: x\0Mfake\0' })
  expect([...backend.reportFields(bytes.subarray(5))]).toEqual([
    ['S', 'ERROR'],
    ['C', '08P01'],
    ['M', 'no such database: xMfake'],
  ])
})

// CVE-2026-6666: an ErrorResponse without SQLSTATE
test.each<[string, [string, string][]]>([
  ['', []],
  ['\0', []],
  ['S', [['S', '']]],
  ['SERROR', [['S', 'ERROR']]],
  ['SERROR\0', [['S', 'ERROR']]],
  [
    'SERROR\0Mx\0\0',
    [
      ['S', 'ERROR'],
      ['M', 'x'],
    ],
  ],
  [
    'M\0C\0\0',
    [
      ['M', ''],
      ['C', ''],
    ],
  ],
  ['Mx\0\0Cghost\0', [['M', 'x']]],
  ['Mone\0Mtwo\0\0', [['M', 'two']]],
])('the fields of the report %j', (body, fields) => {
  expect([...backend.reportFields(Buffer.from(body))]).toEqual(fields)
})

test('any bytes can be read for fields and parameters', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      const body = Buffer.from(bytes)
      for (const field of backend.reportFields(body).keys()) expect(field).toHaveLength(1)
      const parameter = backend.readParameterStatus(body)
      if (parameter !== undefined) expect(body.indexOf(0)).toBeGreaterThanOrEqual(0)
    }),
  )
})

test('a ParameterStatus is read, or is none', () => {
  expect(backend.readParameterStatus(Buffer.from('a\0b\0'))).toEqual({ name: 'a', value: 'b' })
  expect(backend.readParameterStatus(Buffer.from('\0\0'))).toEqual({ name: '', value: '' })
  for (const body of ['', 'a']) expect(backend.readParameterStatus(Buffer.from(body))).toBeUndefined()
  for (const body of ['a\0', 'a\0b']) {
    expect(backend.readParameterStatus(Buffer.from(body)), 'cut off').toEqual({ name: 'a', value: undefined })
  }
})
