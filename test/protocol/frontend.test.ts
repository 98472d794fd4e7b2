import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Condition, PgError } from '../../src/protocol/errors.js'
import {
  cancelRequest,
  extendedQuery,
  maxStartupPacket,
  password,
  query,
  readStartupPacket,
  readText,
  saslInitialResponse,
  saslResponse,
  sslRequest,
  startupMessage,
  terminate,
} from '../../src/protocol/frontend.js'
import { i16, i32, message, messagesOf, z } from './wire.js'

const version = i32(3 << 16)

/** A startup packet without its length word. */
const packet = (...parts: (Buffer | string)[]): Buffer =>
  Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)))

function refusal(body: Buffer): Condition | 'passed_on' {
  try {
    readStartupPacket(body)
  } catch (error) {
    if (error instanceof PgError) return error.condition
    throw error
  }
  throw new Error('it was taken')
}

test('a StartupMessage is read with its parameters in order', () => {
  const read = readStartupPacket(packet(version, 'user\0sam\0database\0täst\0options\0\0\0'))
  expect(read).toEqual({
    kind: 'startup',
    minor: 0,
    parameters: new Map([
      ['user', 'sam'],
      ['database', 'täst'],
      ['options', ''],
    ]),
  })
})

test('of a parameter given twice the last value holds', () => {
  const read = readStartupPacket(packet(version, 'user\0sam\0user\0eve\0\0'))
  expect(read).toMatchObject({ parameters: new Map([['user', 'eve']]) })
})

test('the minor version is told', () => {
  expect(readStartupPacket(packet(i32((3 << 16) | 2), 'user\0a\0\0'))).toMatchObject({ minor: 2 })
  expect(readStartupPacket(packet(i32((3 << 16) | 0xffff), 'user\0a\0\0'))).toMatchObject({ minor: 0xffff })
})

test('requests are told apart by their code', () => {
  expect(readStartupPacket(i32(80877103))).toEqual({ kind: 'ssl' })
  expect(readStartupPacket(i32(80877104))).toEqual({ kind: 'gss' })
  expect(readStartupPacket(packet(i32(80877102), i32(-5), 'abcd'))).toEqual({
    kind: 'cancel',
    pid: -5,
    secret: Buffer.from('abcd'),
  })
  const long = Buffer.alloc(256, 7)
  expect(readStartupPacket(packet(i32(80877102), i32(5), long))).toMatchObject({ secret: long })
})

test('a CancelRequest that is not a whole one has no key', () => {
  for (const rest of ['', 'abc', Buffer.alloc(257)]) {
    const read = readStartupPacket(packet(i32(80877102), i32(1), rest))
    expect(read).toEqual({ kind: 'cancel', pid: 0, secret: Buffer.alloc(0) })
  }
})

test('the secret of a CancelRequest does not change with the buffer it came in', () => {
  const body = packet(i32(80877102), i32(5), 'abcd')
  const read = readStartupPacket(body)
  body.fill(0)
  expect(read).toMatchObject({ secret: Buffer.from('abcd') })
})

test.each<[string, Buffer, Condition]>([
  ['nothing', packet(''), 'bad_startup_layout'],
  ['half a version', packet('\0\x03'), 'bad_startup_layout'],
  ['version 1', packet(i32(1 << 16)), 'unsupported_protocol'],
  ['version 2', packet(i32(2 << 16), Buffer.alloc(292)), 'old_protocol'],
  ['version 4', packet(i32(4 << 16), '\0'), 'unsupported_protocol'],
  ['a negative version', packet(i32(-1), '\0'), 'unsupported_protocol'],
  ['an SSLRequest that goes on', packet(i32(80877103), 'x'), 'unsupported_protocol'],
  ['a GSSENCRequest that goes on', packet(i32(80877104), '\0'), 'unsupported_protocol'],
  ['no terminator of an empty list', packet(version), 'bad_startup_layout'],
  ['no terminator', packet(version, 'user\0sam'), 'bad_startup_layout'],
  ['no terminator of the list', packet(version, 'user\0sam\0'), 'bad_startup_layout'],
  ['a name without a value', packet(version, 'user\0\0'), 'bad_startup_layout'],
  ['a name without an end', packet(version, 'user\0'), 'bad_startup_layout'],
  ['something behind the terminator', packet(version, 'user\0sam\0\0database\0x\0\0'), 'bad_startup_layout'],
  ['an empty name', packet(version, '\0x\0\0'), 'bad_startup_layout'],
])('%s is refused', (_, body, condition) => {
  expect(refusal(body)).toBe(condition)
})

test('whatever comes is read or refused', () => {
  const bodies = fc.oneof(
    fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
    fc.uint8Array({ maxLength: 60 }).map((bytes) => packet(version, Buffer.from(bytes), '\0')),
    fc
      .array(fc.constantFrom('a', '\0', 'user', '\0\0', 'x'), { maxLength: 20 })
      .map((parts) => packet(version, ...parts)),
  )
  fc.assert(
    fc.property(bodies, (body) => {
      try {
        const read = readStartupPacket(body)
        expect(['startup', 'cancel', 'ssl', 'gss']).toContain(read.kind)
      } catch (error) {
        expect(error).toBeInstanceOf(PgError)
      }
    }),
    { numRuns: 1000 },
  )
})

// CVE-2012-4575: an over-long name from the network
test.each([64, 1000, maxStartupPacket - 40])('a name of %s bytes is read', (length) => {
  const name = 'n'.repeat(length)
  expect(readStartupPacket(packet(version, `user\0u\0database\0${name}\0\0`))).toMatchObject({
    parameters: new Map([
      ['user', 'u'],
      ['database', name],
    ]),
  })
})

test('what is written as a StartupMessage is read as one', () => {
  const texts = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }).filter((text) => !text.includes('\0'))
  fc.assert(
    fc.property(
      fc.dictionary(texts, texts, { noNullPrototype: true }),
      fc.integer({ min: 0, max: 3 }),
      (parameters, minor) => {
        const bytes = startupMessage(parameters, minor)
        expect(bytes.readInt32BE(0)).toBe(bytes.length)
        expect(readStartupPacket(bytes.subarray(4))).toEqual({
          kind: 'startup',
          minor,
          parameters: new Map(Object.entries(parameters)),
        })
      },
    ),
  )
})

test('what is written as a CancelRequest is read as one', () => {
  for (const length of [4, 32, 256]) {
    const secret = Buffer.alloc(length, length)
    const bytes = cancelRequest(77, secret)
    expect(bytes.readInt32BE(0)).toBe(bytes.length)
    expect(readStartupPacket(bytes.subarray(4))).toEqual({ kind: 'cancel', pid: 77, secret })
  }
})

test('messages to a server are as the protocol has them', () => {
  expect(sslRequest()).toEqual(packet(i32(8), i32(80877103)))
  expect(query('select 1')).toEqual(message('Q', z('select 1')))
  expect(password('geheim€')).toEqual(message('p', z('geheim€')))
  expect(saslInitialResponse('SCRAM-SHA-256', 'n,,n=,r=x')).toEqual(
    message('p', z('SCRAM-SHA-256'), i32(9), 'n,,n=,r=x'),
  )
  expect(saslResponse('c=biws')).toEqual(message('p', 'c=biws'))
  expect(terminate()).toEqual(message('X'))
})

test('an extended query has its values as text, and NULL', () => {
  expect(messagesOf(extendedQuery('select $1, $2', ['ä', null]))).toEqual([
    { code: 'P', body: packet(z(''), z('select $1, $2'), i16(0)) },
    { code: 'B', body: packet(z(''), z(''), i16(0), i16(2), i32(2), 'ä', i32(-1), i16(0)) },
    { code: 'D', body: packet('P', z('')) },
    { code: 'E', body: packet(z(''), i32(0)) },
    { code: 'S', body: packet('') },
  ])
})

test('a text is read up to its end, and without one there is none', () => {
  expect(readText(Buffer.from('ab\0cd'), 0)).toBe('ab')
  expect(readText(Buffer.from('ab\0cd'), 3)).toBeUndefined()
  expect(readText(Buffer.from('ab\0'), 2)).toBe('')
  expect(readText(Buffer.from(''), 0)).toBeUndefined()
})
