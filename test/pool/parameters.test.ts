import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ParameterSet, quoteLiteral, trackedNames } from '../../src/pool/parameters.js'

const tracked = trackedNames(['IntervalStyle', 'search_path'])

function setOf(values: Record<string, string>): ParameterSet {
  const set = new ParameterSet(tracked)
  for (const [name, value] of Object.entries(values)) set.set(name, value)
  return set
}

test('only tracked parameters are kept, whatever the case of their names', () => {
  const set = new ParameterSet(tracked)
  expect(set.set('TIMEZONE', 'UTC')).toBe(true)
  expect(set.set('intervalstyle', 'iso_8601')).toBe(true)
  expect(set.set('work_mem', '1GB')).toBe(false)
  expect([set.get('TimeZone'), set.get('IntervalStyle'), set.get('work_mem')]).toEqual(['UTC', 'iso_8601', undefined])
})

test('a server is given what differs, under the names that PostgreSQL uses', () => {
  const client = setOf({ timezone: 'Europe/Zurich', datestyle: 'ISO, DMY', client_encoding: 'UTF8' })
  const server = setOf({ TimeZone: 'UTC', DateStyle: 'ISO, MDY', client_encoding: 'utf8' })
  expect(client.alignment(server)).toBe("SET TimeZone='Europe/Zurich';SET DateStyle='ISO, DMY';")
})

test('a parameter that the server has never reported is not set, nor is one that the client lacks', () => {
  expect(setOf({ TimeZone: 'UTC' }).alignment(setOf({}))).toBe('')
  expect(setOf({}).alignment(setOf({ TimeZone: 'UTC' }))).toBe('')
})

test('values that are too long to be carried are left alone', () => {
  const server = setOf({ application_name: '' })
  expect(setOf({ application_name: 'x'.repeat(125) }).alignment(server)).toBe(
    `SET application_name='${'x'.repeat(125)}';`,
  )
  expect(setOf({ application_name: 'x'.repeat(126) }).alignment(server)).toBe('')
})

test('search_path is a list of names and not quoted', () => {
  expect(setOf({ search_path: '"$user", public' }).alignment(setOf({ search_path: 'x' }))).toBe(
    'SET search_path="$user", public;',
  )
})

test('nothing can be put into a SET by way of a value', () => {
  const server = setOf({ application_name: 'x' })
  const alignment = setOf({ application_name: "a'; DROP TABLE t; --" }).alignment(server)
  expect(alignment).toBe("SET application_name='a''; DROP TABLE t; --';")
  const escaped = setOf({ application_name: "a\\'; DROP TABLE t; --" }).alignment(server)
  expect(escaped).toBe("SET application_name=E'a\\\\''; DROP TABLE t; --';")
})

test('a literal reads the same whatever standard_conforming_strings says', () => {
  /** As PostgreSQL's lexer reads it, with backslashes as such or as escapes. */
  const read = (literal: string, conforming: boolean): string | undefined => {
    const escapes = literal.startsWith('E') || !conforming
    const match = (escapes ? /^E?'((?:[^'\\]|''|\\.)*)'$/s : /^'((?:[^']|'')*)'$/).exec(literal)
    const inner = match?.[1]?.replaceAll("''", "'")
    return escapes ? inner?.replaceAll(/\\(.)/gs, '$1') : inner
  }
  const texts = fc.array(fc.constantFrom('a', "'", '\\', '"', ';', '\n', 'ä')).map((parts) => parts.join(''))
  fc.assert(
    fc.property(texts, (text) => {
      expect(read(quoteLiteral(text), true)).toBe(text)
      expect(read(quoteLiteral(text), false)).toBe(text)
    }),
  )
})

test('two sets have the same key exactly when nothing is to be set between them', () => {
  const values = fc.record({
    TimeZone: fc.constantFrom('UTC', 'utc', 'Asia/Tokyo'),
    DateStyle: fc.constantFrom('ISO', 'iso', 'German'),
    application_name: fc.constantFrom('', 'a', 'b'),
  })
  fc.assert(
    fc.property(values, values, (left, right) => {
      const [one, other] = [setOf(left), setOf(right)]
      expect(one.key === other.key).toBe(one.alignment(other) === '')
    }),
  )
})

test('the key follows the values', () => {
  const set = setOf({ TimeZone: 'UTC' })
  const before = set.key
  set.set('TimeZone', 'Asia/Tokyo')
  expect(set.key).not.toBe(before)
  set.set('TimeZone', 'UTC')
  expect(set.key).toBe(before)
})

test('defaults fill what is missing', () => {
  const set = setOf({ TimeZone: 'Asia/Tokyo' })
  set.fill(setOf({ TimeZone: 'UTC', DateStyle: 'ISO' }))
  expect([set.get('TimeZone'), set.get('DateStyle')]).toEqual(['Asia/Tokyo', 'ISO'])
})
