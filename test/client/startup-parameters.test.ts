import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type ClientStartup, readClientStartup } from '../../src/client/startup-parameters.js'
import type { Settings } from '../../src/config/settings.js'
import { PgError } from '../../src/protocol/errors.js'
import { trackedNames } from '../../src/relay/parameters.js'

const tracked = trackedNames(['IntervalStyle'])

function read(given: Record<string, string>, ignored: readonly string[] = []): ClientStartup {
  const settings = { ignore_startup_parameters: ignored } as unknown as Settings
  return readClientStartup(new Map(Object.entries(given)), settings, tracked)
}

function refusal(given: Record<string, string>, ignored: readonly string[] = []): string {
  try {
    read(given, ignored)
  } catch (error) {
    if (error instanceof PgError) return `${error.condition}: ${error.message}`
    throw error
  }
  throw new Error('it was taken')
}

test('the database is that of the user where none is named', () => {
  expect(read({ user: 'sam' })).toMatchObject({ user: 'sam', database: 'sam' })
  expect(read({ user: 'sam', database: '' })).toMatchObject({ database: 'sam' })
  expect(read({ user: 'sam', database: 'sales' })).toMatchObject({ database: 'sales' })
})

test.each([{}, { user: '' }, { database: 'x' }])('without a user: %j', (given) => {
  expect(refusal(given)).toBe('no_username: no username supplied')
})

// CVE-2012-4575: over-long names from the network
test('a user name has 127 bytes at most', () => {
  expect(read({ user: 'u'.repeat(127) }).user).toHaveLength(127)
  expect(refusal({ user: 'u'.repeat(128) })).toBe('username_too_long: username too long')
  expect(refusal({ user: 'ä'.repeat(64) })).toBe('username_too_long: username too long')
  for (const length of [64, 9000])
    expect(read({ user: 'u', database: 'd'.repeat(length) }).database).toHaveLength(length)
})

test('tracked parameters are taken, ignored ones dropped, all others refused', () => {
  expect(read({ user: 'u', TIMEZONE: 'UTC', intervalstyle: 'iso_8601' }).parameters).toEqual([
    ['timezone', 'UTC'],
    ['intervalstyle', 'iso_8601'],
  ])
  expect(read({ user: 'u', Extra_Float_Digits: '3' }, ['extra_float_digits']).parameters).toEqual([])
  expect(refusal({ user: 'u', extra_float_digits: '3' })).toBe(
    'unsupported_startup_parameter: unsupported startup parameter: extra_float_digits',
  )
})

test('what is to be ignored is ignored even where it could be carried', () => {
  expect(read({ user: 'u', search_path: 'x' }).parameters).toEqual([['search_path', 'x']])
  expect(read({ user: 'u', search_path: 'x' }, ['search_path']).parameters).toEqual([])
  expect(read({ user: 'u', options: '-c search_path=x -c work_mem=1' }, ['options']).parameters).toEqual([
    ['search_path', 'x'],
  ])
  expect(read({ user: 'u', options: '-c search_path=x' }, ['search_path']).parameters).toEqual([])
})

test('options of the protocol are told apart from settings', () => {
  expect(read({ user: 'u', '_pq_.x': '1' })).toMatchObject({ protocolOptions: ['_pq_.x'], parameters: [] })
})

test.each<[string, ClientStartup['replication']]>([
  ['database', 'logical'],
  ['true', 'physical'],
  ['ON', 'physical'],
  ['1', 'physical'],
  ['t', 'physical'],
  ['Ye', 'physical'],
  ['false', 'none'],
  ['0', 'none'],
  ['fa', 'none'],
  ['of', 'none'],
  ['', 'none'],
])('replication=%s is %s', (value, expected) => {
  expect(read({ user: 'u', replication: value }).replication).toBe(expected)
})

test.each(['maybe', 'o', 'DATABASE', 'truest', ' true'])('replication=%s is refused', (value) => {
  expect(refusal({ user: 'u', replication: value })).toMatch(/^invalid_startup_parameter/)
})

test.each<[string, [string, string][]]>([
  ['-c timezone=UTC', [['timezone', 'UTC']]],
  ['-ctimezone=UTC', [['timezone', 'UTC']]],
  ['--timezone=UTC', [['timezone', 'UTC']]],
  ['--client-encoding=UTF8', [['client_encoding', 'UTF8']]],
  [
    '  -c   TimeZone=UTC  --DateStyle=ISO ',
    [
      ['timezone', 'UTC'],
      ['datestyle', 'ISO'],
    ],
  ],
  ['-c application_name=a\\ b\\\\c', [['application_name', 'a b\\c']]],
  ['-c application_name=', [['application_name', '']]],
  ['-c application_name=a=b', [['application_name', 'a=b']]],
  ['', []],
  ['   ', []],
])('options %j', (text, expected) => {
  expect(read({ user: 'u', options: text }).parameters).toEqual(expected)
})

test.each(['timezone=UTC', '-c', '-c timezone', '--timezone', '-c =x', '-d 3', '-', '--', 'x'])(
  'options %j are refused',
  (text) => {
    expect(refusal({ user: 'u', options: text })).toMatch(/^unsupported_options: unsupported options startup parameter/)
  },
)

test('what options name must be tracked or ignored', () => {
  expect(refusal({ user: 'u', options: '-c geqo=off' })).toBe(
    'unsupported_option_parameter: unsupported startup parameter in options: geqo',
  )
  for (const ignored of ['geqo', 'options'])
    expect(read({ user: 'u', options: '-c geqo=off' }, [ignored]).parameters).toEqual([])
})

test('whatever comes is read or refused, and soon', () => {
  const option = fc.array(fc.constantFrom('-c', '--', ' ', '\\', '=', 'timezone', "'", '\n', 'x'), { maxLength: 30 })
  fc.assert(
    fc.property(option, (parts) => {
      try {
        read({ user: 'u', options: parts.join('') })
      } catch (error) {
        expect(error).toBeInstanceOf(PgError)
      }
    }),
  )
  expect(refusal({ user: 'u', options: '\\'.repeat(9999) })).toMatch(/^unsupported_options/)
})
