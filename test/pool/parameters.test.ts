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

test('a parameter that the client lacks is not set', () => {
  expect(setOf({}).alignment(setOf({ TimeZone: 'UTC' }))).toBe('')
})

test('one that the server does not report is set for who wants it, and reset for the others', () => {
  const [server, client, other] = [setOf({}), setOf({ search_path: 'sales' }), setOf({})]
  const set = "SELECT pg_catalog.set_config('search_path','sales',false);"
  expect(client.alignment(server)).toBe(set)
  client.agree(server)
  expect([client.alignment(server), client.key === server.key]).toEqual(['', true])
  expect(other.alignment(server)).toBe('RESET search_path;')
  other.agree(server)
  expect([other.alignment(server), client.alignment(server)]).toEqual(['', set])
})

test('where the server may have forgotten that, both are sent again', () => {
  const [server, client, other] = [setOf({}), setOf({ search_path: 'sales' }), setOf({})]
  client.agree(server)
  server.doubt()
  expect(client.alignment(server)).toContain('set_config')
  expect([other.key === server.key, other.alignment(server)]).toEqual([false, 'RESET search_path;'])
})

test('what the server calls a value is not set again', () => {
  const client = setOf({ client_encoding: 'utf-8', TimeZone: 'Asia/Tokyo', application_name: 'x'.repeat(200) })
  const server = setOf({ client_encoding: 'LATIN1', TimeZone: 'UTC', application_name: '' })
  expect(client.alignment(server)).toBe("SET client_encoding='utf-8';SET TimeZone='Asia/Tokyo';")
  server.set('client_encoding', 'UTF8') // reported
  server.set('TimeZone', 'Asia/Tokyo')
  client.agree(server)
  expect(client.alignment(server)).toBe('')
  expect(client.get('client_encoding')).toBe('UTF8')
  expect(client.get('application_name'), 'too long to be sent').toHaveLength(200)
})

test('values that are too long to be carried are left alone', () => {
  const server = setOf({ application_name: '' })
  expect(setOf({ application_name: 'x'.repeat(125) }).alignment(server)).toBe(
    `SET application_name='${'x'.repeat(125)}';`,
  )
  expect(setOf({ application_name: 'x'.repeat(126) }).alignment(server)).toBe('')
})

test('search_path is a list, long or short, whose names may differ by case alone', () => {
  const alignment = (value: string) => setOf({ search_path: value }).alignment(setOf({ search_path: '"Sales"' }))
  expect(alignment('"$user", public')).toBe(`SELECT pg_catalog.set_config('search_path','"$user", public',false);`)
  expect(alignment("x'; DROP TABLE t; --")).toContain("'x''; DROP TABLE t; --'")
  expect(alignment('"sales"')).not.toBe('')
  expect(alignment('"Sales"')).toBe('')
  expect(alignment('s, '.repeat(1000))).not.toBe('')
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
