import fc from 'fast-check'
import { expect, test } from 'vitest'
import { InvalidValue } from '../../src/config/config-error.js'
import { parseConninfo } from '../../src/config/conninfo.js'

const read = (text: string) => Object.fromEntries(parseConninfo(text))

test.each([
  ['', {}],
  ['   ', {}],
  ['host=a port=1', { host: 'a', port: '1' }],
  ['  host  =  a   port =1  ', { host: 'a', port: '1' }],
  ["password='it''s a ''secret'''", { password: "it's a 'secret'" }],
  ["connect_query='select ''='''", { connect_query: "select '='" }],
  ['password=a\\b', { password: 'a\\b' }],
  ["password=a'b", { password: "a'b" }],
  ['a=b=c', { a: 'b=c' }],
  ['Host=x host=y', { Host: 'x', host: 'y' }],
  ['host=a host=b', { host: 'b' }],
])('%j is read', (text, expected) => {
  expect(read(text)).toEqual(expected)
})

test('only the space separates, not the tab', () => {
  expect(read('host=a\tport=1')).toEqual({ host: 'a\tport=1' })
})

test('the character after a closing quote is skipped, as in pgbouncer', () => {
  expect(read("password='a',host=b")).toEqual({ password: 'a', host: 'b' })
  expect(read("password='a', host=b")).toMatchObject({ password: 'a' })
})

test('a repeated key counts at its last place', () => {
  expect([...parseConninfo('a=1 b=2 a=3')]).toEqual([
    ['b', '2'],
    ['a', '3'],
  ])
})

test.each([
  ["password=''", 'password has an empty value'],
  ['host=', 'host has an empty value'],
  ['host= ', 'host has an empty value'],
  ['host', "expected 'key=value'"],
  ['host a', "expected 'key=value'"],
  ['=a', "expected 'key=value'"],
  ["host='a", 'unterminated quote'],
  ["host='a''", 'unterminated quote'],
])('%j is a syntax error', (text, reason) => {
  expect(() => parseConninfo(text)).toThrow(new InvalidValue(reason))
})

test('no message shows what may be a part of a password', () => {
  for (const text of [
    "password=my 53cret='' x=y",
    'password=my 53cret',
    'postgres://u:53cret@[/x',
    'postgres://u:53cret#@h/',
  ]) {
    expect(() => parseConninfo(text)).toThrow(InvalidValue)
    expect(() => parseConninfo(text)).not.toThrow('53cret')
  }
})

test.each([
  ['postgres://h', { host: 'h' }],
  ['postgresql://u:p@h:5433/db', { host: 'h', port: '5433', user: 'u', password: 'p', dbname: 'db' }],
  ['postgres://u:p%40%2F%20x@h/a%2Fb%20c', { host: 'h', user: 'u', password: 'p@/ x', dbname: 'a/b c' }],
  ['postgres://[::1]:5433/db', { host: '::1', port: '5433', dbname: 'db' }],
  ['postgres:///db', { dbname: 'db' }],
  ['postgres://u@/db', { user: 'u', dbname: 'db' }],
  ['postgres://caf%E9:p%e9ss@h/%C3%A9%E9', { host: 'h', user: 'caf\udce9', password: 'p\udce9ss', dbname: 'é\udce9' }],
  ['postgres://u:a:b@h/', { host: 'h', user: 'u', password: 'a:b' }],
  ['postgres://%2Fvar%2Frun/db', { host: '/var/run', dbname: 'db' }],
  ['postgres://u:p@a,b/db', { host: 'a,b', user: 'u', password: 'p', dbname: 'db' }],
  ['postgres://a:1,b,[::1]:3/', { host: 'a,b,::1', port: '1,5432,3' }],
  [
    'postgres://h/db?pool_size=5&application_name=a%20b+c',
    { host: 'h', dbname: 'db', pool_size: '5', application_name: 'a b+c' },
  ],
  ['postgres://h/db?', { host: 'h', dbname: 'db' }],
  ['postgres:///?host=/tmp&&user=u', { host: '/tmp', user: 'u' }],
  [' postgres://h/db  pool_size=5 user=x', { host: 'h', dbname: 'db', pool_size: '5', user: 'x' }],
])('the URL %s is read', (url, expected) => {
  expect(read(url)).toEqual(expected)
})

test('the files that a URL names are not read', () => {
  expect(read('postgres://h/db?sslrootcert=/nonexistent&sslmode=require')).toMatchObject({ sslmode: 'require' })
})

test.each([
  ['postgres://u:p@h:port/db', 'not a valid PostgreSQL URL'],
  ['postgres://u:a#b@h/db', "'#' in a URL is written %23"],
  ['postgres://h/%zz', 'the URL has a wrong percent-encoding'],
  ['postgres://u%@h/', 'the URL has a wrong percent-encoding'],
  ['postgres://h/a%00b', 'the URL has a wrong percent-encoding'],
  [`postgres://h${',h'.repeat(100)}/`, 'a URL of more than 100 hosts'],
  ['postgres://h/db?pool_size', "expected 'key=value' after the '?' of the URL"],
  ['postgres://h/db?pool_size=', 'pool_size has an empty value'],
])('the URL %s is refused', (url, reason) => {
  expect(() => parseConninfo(url)).toThrow(new InvalidValue(reason))
})

test('whatever is written is read back', () => {
  const key = fc.string({ minLength: 1 }).filter((text) => !/[= ]/.test(text))
  const value = fc.string({ unit: 'binary', minLength: 1 })
  const spaces = fc.stringMatching(/^ {0,3}$/)
  const pair = fc.record({ key, value, quote: fc.boolean(), left: spaces, right: spaces, after: spaces })
  fc.assert(
    fc.property(fc.array(pair), (pairs) => {
      let text = ''
      const expected = new Map<string, string>()
      for (const { key, value, quote, left, right, after } of pairs) {
        const needed = value.includes(' ') || value.startsWith("'")
        const written = quote || needed ? `'${value.replaceAll("'", "''")}'` : value
        text += `${key}${left}=${right}${written} ${after}`
        expected.set(key, value)
      }
      expect(Object.fromEntries(parseConninfo(text))).toEqual(Object.fromEntries(expected))
    }),
  )
})

test('the parts of a URL are read back', () => {
  const part = fc.string({ unit: 'grapheme', minLength: 1 })
  fc.assert(
    fc.property(part, part, part, fc.integer({ min: 1, max: 65535 }), (user, password, dbname, port) => {
      const encode = encodeURIComponent
      const url = `postgres://${encode(user)}:${encode(password)}@h:${port}/${encode(dbname)}`
      expect(read(url)).toEqual({ host: 'h', port: String(port), user, password, dbname })
    }),
  )
})

test('any text is read or refused, with or without a URL before it', () => {
  const prefix = fc.constantFrom('', 'postgres://', 'postgresql://u:p@', 'postgres://h/db?')
  fc.assert(
    fc.property(prefix, fc.string({ unit: 'binary' }), (start, rest) => {
      try {
        parseConninfo(start + rest)
      } catch (error) {
        expect(error).toBeInstanceOf(InvalidValue)
      }
    }),
  )
})

test.each(['a', ' ', "'", '=', 'a=b ', ',', '@', '%', '&a=b', "a='b'"])('much of %j takes no long time', (piece) => {
  for (const start of ['', "a='", 'postgres://u:p@h', 'postgres://h/?a=']) {
    const started = performance.now()
    try {
      parseConninfo(start + piece.repeat(300_000 / piece.length))
    } catch (error) {
      expect(error).toBeInstanceOf(InvalidValue)
      expect((error as Error).message.length).toBeLessThan(200)
    }
    expect(performance.now() - started).toBeLessThan(10_000)
  }
})
