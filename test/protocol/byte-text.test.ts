import fc from 'fast-check'
import { expect, test } from 'vitest'
import { byteLength, bytesOf, isUtf8Text, textOf } from '../../src/protocol/byte-text.js'
import { growth, steepest } from '../harness/growth.js'

/** Bytes of which parts are UTF-8, whole or cut, and parts are anything. */
const mixed = fc
  .array(
    fc.oneof(
      fc.string({ unit: 'binary' }).map((text) => Buffer.from(text)),
      fc.uint8Array({ maxLength: 8 }).map((bytes) => Buffer.from(bytes)),
      fc.string({ unit: 'binary', minLength: 1 }).map((text) => Buffer.from(text).subarray(0, -1)),
      fc
        .constantFrom('c0af', 'eda080', 'edbf', 'f4908080', 'efbfbd', 'efbbbf', 'e9', 'ff')
        .map((hex) => Buffer.from(hex, 'hex')),
    ),
    { maxLength: 6 },
  )
  .map((parts) => Buffer.concat(parts))

test('any bytes come back as they were', () => {
  fc.assert(
    fc.property(mixed, (bytes) => {
      const text = textOf(bytes)
      expect(bytesOf(text)).toEqual(bytes)
      expect(byteLength(text)).toBe(bytes.length)
    }),
  )
})

test('different bytes are different strings', () => {
  fc.assert(
    fc.property(mixed, mixed, (one, other) => {
      expect(textOf(one) === textOf(other)).toBe(one.equals(other))
    }),
  )
})

test('UTF-8 is the string that it always was, a byte order mark with it', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      expect(textOf(Buffer.from(text))).toBe(text)
      expect(bytesOf(text)).toEqual(Buffer.from(text))
      expect(isUtf8Text(text)).toBe(true)
    }),
  )
  expect(textOf(Buffer.from('\ufeffa\ufffd'))).toBe('\ufeffa\ufffd')
})

test('what is valid around an invalid byte stays legible', () => {
  const bytes = Buffer.concat([Buffer.from('né'), Buffer.of(0xe9), Buffer.from('☃')])
  expect(textOf(bytes)).toBe('né\udce9☃')
  expect(isUtf8Text(textOf(bytes))).toBe(false)
})

test('letters that are changed to lower case, or looked for, leave such bytes alone', () => {
  const text = textOf(Buffer.from('CAF\xc9', 'latin1'))
  expect(bytesOf(text.toLowerCase())).toEqual(Buffer.from('caf\xc9', 'latin1'))
})

test('the time is in proportion to the bytes', () => {
  const thereAndBack = (size: number): void => {
    const bytes = Buffer.alloc(size, 0xe9)
    for (let i = 0; i < 5; i++) bytesOf(textOf(bytes))
  }
  expect(growth(thereAndBack, 100_000)).toBeLessThan(steepest)
})
