import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ParameterSet, quoteLiteral, trackedNames } from '../../src/relay/parameters.js'

const tracked = trackedNames(['IntervalStyle', 'search_path'])

function setOf(values: Record<string, string>): ParameterSet {
  const set = new ParameterSet(tracked)
  for (const [name, value] of Object.entries(values)) set.set(name, value)
  return set
}

/** What `server` is sent for `client`. */
const sqlFor = (client: ParameterSet, server: ParameterSet): string => client.alignment(server)?.sql ?? ''

/** The same, and the server does it. */
function align(client: ParameterSet, server: ParameterSet): string {
  const alignment = client.alignment(server)
  if (alignment === null) return ''
  server.expect(alignment)
  server.confirm(alignment)
  client.agree(server)
  return alignment.sql
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
  const server = setOf({ TimeZone: 'UTC', DateStyle: 'ISO, MDY', client_encoding: 'UTF8' })
  expect(sqlFor(client, server)).toBe("SET TimeZone='Europe/Zurich';SET DateStyle='ISO, DMY';")
})

test('a parameter that the client lacks is not set', () => {
  expect(sqlFor(setOf({}), setOf({ TimeZone: 'UTC' }))).toBe('')
})

const toSales = "SELECT pg_catalog.set_config('search_path','sales',false);"

test('one that the server does not report is set for who wants it, and reset for the others', () => {
  const [server, client, other] = [setOf({}), setOf({ search_path: 'sales' }), setOf({})]
  expect(align(client, server)).toBe(toSales)
  expect([sqlFor(client, server), client.key === server.key]).toEqual(['', true])
  expect(align(other, server)).toBe('RESET search_path;')
  expect([sqlFor(other, server), sqlFor(client, server)]).toEqual(['', toSales])
})

test('from when it is sent until that is confirmed, it is in doubt', () => {
  const [server, client, other] = [setOf({}), setOf({ search_path: 'sales' }), setOf({})]
  server.expect(client.alignment(server)!)
  expect([sqlFor(client, server), sqlFor(other, server)]).toEqual([toSales, 'RESET search_path;'])
  const reset = other.alignment(server)!
  server.expect(reset)
  expect([sqlFor(client, server), sqlFor(other, server)]).toEqual([toSales, 'RESET search_path;'])
  server.confirm(reset)
  expect([sqlFor(client, server), sqlFor(other, server)]).toEqual([toSales, ''])
})

test('where the server may have forgotten that, both are sent again', () => {
  const [server, client, other] = [setOf({}), setOf({ search_path: 'sales' }), setOf({})]
  align(client, server)
  server.doubt()
  expect(sqlFor(client, server)).toContain('set_config')
  expect([other.key === server.key, sqlFor(other, server)]).toEqual([false, 'RESET search_path;'])
})

test('what the server calls a value is not set again', () => {
  const client = setOf({ client_encoding: 'utf-8', TimeZone: 'Asia/Tokyo' })
  const server = setOf({ client_encoding: 'LATIN1', TimeZone: 'UTC', application_name: '' })
  expect(sqlFor(client, server)).toBe("SET client_encoding='utf-8';SET TimeZone='Asia/Tokyo';")
  server.set('client_encoding', 'UTF8') // reported
  server.set('TimeZone', 'Asia/Tokyo')
  client.agree(server)
  expect(sqlFor(client, server)).toBe('')
  expect(client.get('client_encoding')).toBe('UTF8')
})

test('values are carried up to the length of a startup packet; longer ones are told of, and hold their client', () => {
  const [server, client] = [setOf({ application_name: '' }), setOf({ application_name: 'x'.repeat(10_000) })]
  expect(sqlFor(client, server)).toBe(`SET application_name='${'x'.repeat(10_000)}';`)
  expect([client.isCarried, client.takeNews()]).toEqual([true, []])
  client.set('application_name', 'x'.repeat(10_001))
  expect([client.isCarried, client.takeNews(), client.takeNews()]).toEqual([false, ['application_name'], []])
  client.set('application_name', 'short')
  expect([client.isCarried, client.takeNews()]).toEqual([true, []])
  client.report('application_name', undefined)
  expect([client.isCarried, client.takeNews()]).toEqual([false, ['application_name']])
})

test('after one that could not be carried, the next has its own, or the default', () => {
  const server = setOf({ search_path: 'public' })
  server.report('search_path', undefined)
  expect(sqlFor(setOf({ search_path: 'public' }), server)).toContain("'public'")
  expect(sqlFor(setOf({}), server)).toBe('RESET search_path;')
})

test('what is not in UTF-8 is not carried', () => {
  const client = setOf({ client_encoding: 'LATIN1' })
  client.report('search_path', '\ufffd')
  expect(client.isCarried).toBe(false)
  client.report('search_path', 'plain')
  expect(client.isCarried).toBe(true)
  client.report('search_path', 'Ã©') // the same bytes would be é
  expect(client.isCarried).toBe(false)
  client.report('client_encoding', 'UTF8')
  client.report('search_path', 'é')
  expect(client.isCarried).toBe(true)
})

test('values that differ by case alone are different', () => {
  expect(sqlFor(setOf({ application_name: 'acme' }), setOf({ application_name: 'ACME' }))).toBe(
    "SET application_name='acme';",
  )
})

test('a value means the same whatever client_encoding the server has just then', () => {
  const server = setOf({ application_name: '' })
  server.report('server_encoding', 'UTF8')
  const sql = sqlFor(setOf({ application_name: "\\'é😀" }), server)
  expect(sql).toBe("SET application_name=E'\\\\''\\U000000e9\\U0001f600';")
})

test('search_path is a list, long or short, whose names may differ by case alone', () => {
  const sql = (value: string) => sqlFor(setOf({ search_path: value }), setOf({ search_path: '"Sales"' }))
  expect(sql('"$user", public')).toBe(`SELECT pg_catalog.set_config('search_path','"$user", public',false);`)
  expect(sql("x'; DROP TABLE t; --")).toContain("'x''; DROP TABLE t; --'")
  expect(sql('"sales"')).not.toBe('')
  expect(sql('"Sales"')).toBe('')
  expect(sql('s, '.repeat(1000))).not.toBe('')
})

test('nothing can be put into a SET by way of a value', () => {
  const server = setOf({ application_name: 'x' })
  const alignment = sqlFor(setOf({ application_name: "a'; DROP TABLE t; --" }), server)
  expect(alignment).toBe("SET application_name='a''; DROP TABLE t; --';")
  const escaped = sqlFor(setOf({ application_name: "a\\'; DROP TABLE t; --" }), server)
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
      expect(one.key === other.key).toBe(one.alignment(other) === null)
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
  set.follow(setOf({ TimeZone: 'UTC', DateStyle: 'ISO' }))
  expect([set.get('TimeZone'), set.get('DateStyle')]).toEqual(['Asia/Tokyo', 'ISO'])
})

test('what was set since a mark is taken back, and told; what it had inherited follows the defaults again', () => {
  const set = setOf({ DateStyle: 'ISO, DMY' })
  set.follow(setOf({ TimeZone: 'UTC' }))
  expect(set.revert()).toEqual([])
  set.mark()
  for (const [name, value] of [
    ['TimeZone', 'Asia/Tokyo'],
    ['DateStyle', 'ISO, YMD'],
    ['DateStyle', 'ISO, MDY'],
    ['IntervalStyle', 'iso_8601'],
  ] as const)
    set.set(name, value)
  expect(set.revert()).toEqual([
    ['TimeZone', 'UTC'],
    ['DateStyle', 'ISO, DMY'],
  ])
  expect(set.get('IntervalStyle')).toBeUndefined()
  expect(set.revert()).toEqual([])
  expect(set.follow(setOf({ TimeZone: 'Europe/Zurich', DateStyle: 'SQL' }))).toEqual([['TimeZone', 'Europe/Zurich']])
})

test('a value that nobody else can be given is taken back, and comes back, with all that it means', () => {
  const long = 'x'.repeat(10_001)
  const set = setOf({ application_name: 'a' })
  set.mark()
  set.set('application_name', long)
  expect(set.isCarried).toBe(false)
  expect(set.revert()).toEqual([['application_name', 'a']])
  expect(set.isCarried).toBe(true)
  set.set('application_name', long)
  set.mark()
  set.set('application_name', 'b')
  expect(set.isCarried).toBe(true)
  expect(set.revert()).toEqual([])
  expect(set.isCarried).toBe(false)
})
