import { inspect } from 'node:util'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { InvalidValue } from '../../src/config/config-error.js'
import {
  flag,
  integer,
  list,
  oneOf,
  optionalText,
  seconds,
  secretText,
  tlsProtocols,
} from '../../src/config/setting-types.js'

test.each([
  ['0', 0],
  ['42', 42],
  ['+42', 42],
  ['0x1F', 31],
  ['0777', 511],
  ['00', 0],
  ['2147483647', 2147483647],
])('the int %s is %d', (text, value) => {
  expect(integer().parse(text)).toBe(value)
})

test.each(['', ' 1', '1 ', 'on', 'yes', 'true', '08', '1.0', '1e3', '0x', '--1', '1_000', '１'])(
  'the int %j is refused',
  (text) => {
    expect(() => integer().parse(text)).toThrow(new InvalidValue('expected a whole number'))
    expect(() => flag.parse(text)).toThrow(new InvalidValue('expected 0 or 1'))
  },
)

test('an int out of its range is refused, however long it is', () => {
  expect(integer(-5).parse('-0x5')).toBe(-5)
  for (const text of ['-1', '65536', '99999999999999999999', '9'.repeat(1000)]) {
    expect(() => integer(0, 65535).parse(text)).toThrow(new InvalidValue('expected 0 to 65535'))
  }
})

test('any int is read in all three notations', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2147483647 }), (value) => {
      for (const text of [String(value), `0x${value.toString(16)}`, `0${value.toString(8)}`]) {
        expect(integer().parse(text)).toBe(value)
      }
    }),
  )
})

test('a switch is an int, shown as 0 or 1', () => {
  expect(['0', '1', '2', '0x0'].map((given) => flag.parse(given))).toEqual([false, true, true, false])
  expect(flag.show?.(true)).toBe('1')
})

test.each([
  ['0', 0],
  ['1.5', 1.5],
  ['.5', 0.5],
  ['5.', 5],
  ['1e3', 1000],
  ['+2', 2],
])('the time %s is %d seconds', (text, value) => {
  expect(seconds.parse(text)).toBe(value)
})

test.each(['', '1s', 'inf', 'nan', '0x10', '1,5', '.', '1e999', ' 1'])('the time %j is refused', (text) => {
  expect(() => seconds.parse(text)).toThrow(new InvalidValue('expected a number of seconds'))
})

test('a negative time is refused', () => {
  expect(() => seconds.parse('-1')).toThrow(new InvalidValue('expected 0 or more seconds'))
})

test('words to choose from are read in any case', () => {
  const mode = oneOf(['session', 'transaction'], { magic: 'no magic here' })
  expect(mode.parse('Transaction')).toBe('transaction')
  expect(() => mode.parse('tx')).toThrow(new InvalidValue('expected one of session, transaction'))
  expect(() => mode.parse('MAGIC')).toThrow(new InvalidValue('no magic here'))
  expect(() => mode.parse('constructor')).toThrow(InvalidValue)
})

test('a comma list drops blanks and empty items', () => {
  expect(list.parse(' a, b c ,,d ')).toEqual(['a', 'b c', 'd'])
  expect(list.parse('')).toEqual([])
})

test('the empty text unsets an optional one', () => {
  expect(optionalText.parse('')).toBeUndefined()
  expect(optionalText.parse('x')).toBe('x')
})

test('a secret text shows in no way', () => {
  const value = secretText.parse('ldapbindpasswd=x53cret')
  expect(value?.reveal()).toBe('ldapbindpasswd=x53cret')
  expect(String(value) + JSON.stringify(value) + inspect(value) + secretText.show?.(value)).not.toContain('53cret')
})

test.each([
  ['secure', ['TLSv1.2', 'TLSv1.3']],
  ['default', ['TLSv1.2', 'TLSv1.3']],
  ['all', ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3']],
  ['tlsv1', ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3']],
  ['TLSv1.3, tlsv1.0', ['TLSv1', 'TLSv1.3']],
  ['tlsv1.2:tlsv1.3', ['TLSv1.2', 'TLSv1.3']],
  ['!tlsv1.0:!tlsv1.1', ['TLSv1.2', 'TLSv1.3']],
  ['secure,!tlsv1.3', ['TLSv1.2']],
  ['!tlsv1.3,tlsv1.3', ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3']],
])('the protocols %s are %j', (text, versions) => {
  expect(tlsProtocols.parse(text)).toEqual(versions)
})

test('protocols that do not exist, or none at all, are refused', () => {
  expect(() => tlsProtocols.parse('sslv3')).toThrow(new InvalidValue('expected tlsv1.0 to tlsv1.3, all or secure'))
  expect(() => tlsProtocols.parse('')).toThrow(new InvalidValue('no protocol version is left'))
  expect(() => tlsProtocols.parse('tlsv1.2,!tlsv1.2')).toThrow(new InvalidValue('no protocol version is left'))
})
