import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Command } from '../../src/admin/commands.js'
import { parseCommand } from '../../src/admin/parse.js'
import { tokenize } from '../../src/admin/tokens.js'
import { AdminError } from '../../src/control/status.js'
import { cost } from '../harness/growth.js'
import { ConsoleClient } from './console-client.js'
import { fakeConfig } from './fake-administration.js'

function refusalOf(text: string): string {
  try {
    const command: Command = parseCommand(text, 'admin', fakeConfig)
    return `accepted: ${command.does}`
  } catch (error) {
    if (error instanceof AdminError) return error.message
    throw error
  }
}

async function callsOf(text: string): Promise<string[]> {
  const client = new ConsoleClient('admin')
  await client.query(text)
  return client.administration.calls
}

test.each([
  ['kill pg', 'kill pg'],
  ['  KILL\tpg\r\n ; ', 'kill pg'],
  ['KiLl "pg";;', 'kill pg'],
  ['"kill" "My ""db"""', 'kill My "db"'],
  ['KILL MyDb', 'kill MyDb'],
  ['KILL my-db.eu', 'kill my-db.eu'],
  ['KILL größe', 'kill größe'],
  ['/* a /* nested */ comment */ KILL -- another\n pg -- the end', 'kill pg'],
  ['KILL/**/pg', 'kill pg'],
  ['KILL "pg -- not a comment"', 'kill pg -- not a comment'],
  ['KILL ""', 'kill '],
  ['SET verbose=1', 'set verbose 1'],
  ['set verbose to 1', 'set verbose 1'],
  ["SET server_check_query = 'select ''x'';'", "set server_check_query select 'x';"],
  ["SET server_check_query = ''", 'set server_check_query '],
  ['SET "verbose" = "0"', 'set verbose 0'],
  ['SET query_timeout = 1.5', 'set query_timeout 1.5'],
  ['SET admin_users = a, b,"c d"', 'set admin_users a,b,c d'],
  ['SET server_login_retry = -1', 'set server_login_retry -1'],
])('%j is understood', async (text, call) => {
  expect(await callsOf(text)).toEqual([call])
})

test.each([
  'KILL pg extra',
  'KILL "pg',
  "KILL 'pg'",
  'KILL pg /* no end',
  'KILL; KILL',
  'BEGIN; KILL',
  'SHOW POOLS; SHOW STATS',
  'SET verbose',
  'SET verbose =',
  'SET verbose = 1 2',
  'SET verbose = 1,',
  'SET verbose = 1 ; SET verbose = 2',
  'SET verbose = (1)',
  '= KILL',
  '\u0001',
  "SELECT n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname !~ '^pg_'",
  'SELECT 2',
  'COMMIT PREPARED x',
])('%j is no command', (text) => {
  expect(refusalOf(text)).toBe(`invalid command '${text}', use SHOW HELP;`)
})

test('too long words are bad arguments', () => {
  expect(refusalOf(`KILL ${'a'.repeat(63)}`)).toBe('accepted: act')
  expect(refusalOf(`KILL ${'a'.repeat(64)}`)).toBe('bad arguments')
  expect(refusalOf(`KILL ${'ä'.repeat(32)}`)).toBe('bad arguments')
  expect(refusalOf('a'.repeat(16))).toBe('bad arguments')
  expect(refusalOf(`SET ${'k'.repeat(64)} = 1`)).toBe('bad arguments')
  expect(refusalOf(`SET verbose = '${'1'.repeat(255)}'`)).toBe('accepted: act')
  expect(refusalOf(`SET verbose = '${'1'.repeat(256)}'`)).toBe('bad arguments')
  expect(refusalOf('SET "" = 1')).toBe('bad arguments')
})

test('of a long query only the beginning is told back', () => {
  const refusal = refusalOf(`SELECT ${'x, '.repeat(1000)}`)
  expect(refusal).toMatch(/^invalid command 'SELECT (x, )+/)
  expect(refusal.length).toBeLessThan(320)
})

test.each(['', ';', '  \n', '-- ping', '/* ping */ ;', ';;'])('%j is an empty query', async (text) => {
  expect(await new ConsoleClient('stats').query(text)).toEqual(['I', 'Z I'])
})

test('every text is understood or refused, in little time', () => {
  const pieces = [
    'SET',
    'SHOW',
    'KILL',
    'pools',
    ' ',
    ';',
    '=',
    "'",
    '"',
    '--',
    '/*',
    '*/',
    ',',
    '\n',
    '(',
    'x',
    'é',
    '\0',
  ]
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(fc.constantFrom(...pieces), { maxLength: 60 }).map((parts) => parts.join('')),
  )
  fc.assert(fc.property(text, (given) => void refusalOf(given)))
})

test('hostile texts cost time in proportion to their length only', () => {
  for (const piece of ['"', "'", '/*', '""', "''", '-', '/', 'a', ' ', ';', '/**/', "'a' "]) {
    const spent = cost(() => {
      refusalOf(piece.repeat(16_000 / piece.length))
      refusalOf(piece.repeat(1_000_000))
    })
    expect(spent, piece).toBeLessThan(1000)
  }
})

test('quoting any name gives it back', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (name) => {
      expect(tokenize(`"${name.replaceAll('"', '""')}"`)).toEqual([{ kind: 'name', value: name }])
      expect(tokenize(`'${name.replaceAll("'", "''")}'`)).toEqual([{ kind: 'text', value: name }])
    }),
  )
})
