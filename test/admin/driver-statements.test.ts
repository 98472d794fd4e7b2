import { expect, test } from 'vitest'
import { parameterNames } from '../../src/admin/show/parameters.js'
import { ConsoleClient } from './console-client.js'
import { bind, execute, extended, parse, query, sync, textsOf } from './wire.js'

test('a transaction block is a courtesy: its status is told, nothing else', async () => {
  const client = new ConsoleClient('stats')
  expect(await client.query('BEGIN')).toEqual(['C BEGIN', 'Z T'])
  expect(await client.query('SAVEPOINT "a b"')).toEqual(['C SAVEPOINT', 'Z T'])
  expect((await client.query('SHOW VERSION')).slice(-2)).toEqual(['C SHOW', 'Z T'])
  expect((await client.query('FOO')).at(-1)).toBe('Z T')
  expect(await client.query('ROLLBACK TO SAVEPOINT "a b"')).toEqual(['C ROLLBACK', 'Z T'])
  expect(await client.query('RELEASE SAVEPOINT "a b"')).toEqual(['C RELEASE', 'Z T'])
  expect(await client.query('COMMIT')).toEqual(['C COMMIT', 'Z I'])
  expect(await client.query('START TRANSACTION READ ONLY')).toEqual(['C START TRANSACTION', 'Z T'])
  expect(await client.query('ROLLBACK')).toEqual(['C ROLLBACK', 'Z I'])
  expect(await client.query('BEGIN ISOLATION LEVEL SERIALIZABLE')).toEqual(['C BEGIN', 'Z T'])
  expect(await client.query('END')).toEqual(['C COMMIT', 'Z I'])
})

test('a transaction block by the extended protocol has its status too', async () => {
  const client = new ConsoleClient('stats')
  expect(await client.ask(...extended('BEGIN'))).toEqual(['1', '2', 'n', 'C BEGIN', 'Z T'])
  expect(await client.ask(...extended('COMMIT'))).toEqual(['1', '2', 'n', 'C COMMIT', 'Z I'])
})

test.each([
  ...["SET client_encoding = 'UTF8'", 'set datestyle to iso', 'SET extra_float_digits = 3', "SET TIME ZONE 'UTC'"],
  ...["SET application_name = 'x y'", 'SET SESSION search_path TO a, b', "SET NAMES 'utf8'", 'SET LOCAL timezone=UTC'],
  ...['SET TRANSACTION ISOLATION LEVEL SERIALIZABLE', 'SET statement_timeout = 0'],
  'SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY',
])('%s is ignored with a notice', async (text) => {
  const client = new ConsoleClient('stats')
  expect(await client.query(text)).toEqual(['N NOTICE 00000 SET ignored', 'C SET', 'Z I'])
  expect(client.administration.calls).toEqual([])
})

test("parameters of PostgreSQL's are shown as pgbouncer shows them", async () => {
  const values: Record<string, string> = {}
  for (const name of parameterNames) {
    const [header, row, ...rest] = await new ConsoleClient('stats').query(`SHOW ${name.toUpperCase()}`)
    expect([header, ...rest]).toEqual([`T ${name}`, 'C SHOW', 'Z I'])
    values[name] = row!.slice(2)
  }
  expect(values).toMatchObject({
    client_encoding: 'UTF-8',
    default_transaction_isolation: 'read committed',
    standard_conforming_strings: 'on',
    datestyle: 'ISO',
    timezone: 'GMT',
  })
})

test.each([
  ['SELECT 1', '?column?', '1'],
  ['select version()', 'version', 'PgBouncer 1.26.1 (tsbouncer 0.1.0)'],
  ['SELECT pg_catalog.version();', 'version', 'PgBouncer 1.26.1 (tsbouncer 0.1.0)'],
  ['SELECT current_database()', 'current_database', 'pgbouncer'],
  ['SHOW TRANSACTION ISOLATION LEVEL', 'transaction_isolation', 'read committed'],
])('%s has an answer', async (text, column, value) => {
  expect(await new ConsoleClient('stats').query(text)).toEqual([`T ${column}`, `D ${value}`, 'C SHOW', 'Z I'])
})

test.each([
  ['RESET ALL', 'RESET'],
  ['UNLISTEN *', 'UNLISTEN'],
  ['CLOSE ALL', 'CLOSE CURSOR ALL'],
  ['DISCARD ALL', 'DISCARD ALL'],
  ['DEALLOCATE ALL', 'DEALLOCATE ALL'],
])('%s does no harm', async (text, tag) => {
  expect(await new ConsoleClient('stats').query(text)).toEqual([`C ${tag}`, 'Z I'])
})

test.each([
  ['DEALLOCATE one', ['26000', 'C SHOW']],
  ['DEALLOCATE PREPARE "one"', ['26000', 'C SHOW']],
  ['DEALLOCATE ALL', ['26000', '26000']],
  ['DISCARD ALL', ['26000', '26000']],
])('%s forgets prepared statements', async (text, expected) => {
  const client = new ConsoleClient('stats')
  await client.ask(parse('SHOW VERSION', 'one'), parse('SHOW VERSION', 'Two'), sync)
  await client.query(text)
  const found: string[] = []
  for (const statement of ['one', 'Two']) {
    const lines = await client.ask(bind({ statement }), execute(), sync)
    found.push(lines.find((line) => /^[CE]/.test(line))!.replace(/.*26000.*/, '26000'))
  }
  expect(found).toEqual(expected)
})

test('DEALLOCATE of what is not there is an error', async () => {
  const lines = await new ConsoleClient('stats').query('DEALLOCATE x')
  expect(lines).toEqual(['E ERROR 26000 prepared statement "x" does not exist', 'Z I'])
})

test('the probes of psql and other tools are refused, and the connection goes on', async () => {
  const client = new ConsoleClient('stats')
  for (const probe of [
    'SELECT d.datname as "Name" FROM pg_catalog.pg_database d ORDER BY 1;',
    'SELECT pg_catalog.quote_ident(c.relname) FROM pg_catalog.pg_class c',
    'SELECT pg_type.oid, enumlabel FROM pg_enum JOIN pg_type ON pg_type.oid=enumtypid',
    'SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;',
  ]) {
    expect((await client.query(probe)).map((line) => line.slice(0, 30))).toEqual([
      'E ERROR 08P01 invalid command ',
      'Z I',
    ])
  }
  const messages = await client.messages(query('SHOW VERSION'))
  expect(textsOf(messages[1]!)).toEqual(['PgBouncer 1.26.1 (tsbouncer 0.1.0)'])
})
