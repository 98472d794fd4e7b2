// Which texts may change what names stand for, by their first words.

import { expect, test } from 'vitest'
import { changesNames, mayChangeNames } from '../../src/relay/statements/name-resolution.js'

const change = [
  'SET search_path = a',
  'set local schema "a"',
  'RESET search_path',
  'reset all',
  'create table t ()',
  'ALTER TABLE t RENAME TO u',
  'drop table t',
  'do $$ begin end $$',
  'DO',
  "do'begin end'",
  'call p()',
  'discard temp',
  'import foreign schema a',
  "select set_config('search_path', 'a', true)",
  "SELECT pg_catalog.set_config('search_path', $1, true)",
  "select pg_catalog.\"set_config\" ( 'search_path', 'a', true)",
  'select set_config($1, $2, true)',
  '/* a */ -- b\n set search_path = a',
]
const keep = [
  'select 1',
  "set local lock_timeout = '1s'",
  'reset lock_timeout',
  'release a',
  'copy t from stdin',
  'commit',
  'close c',
  'analyze t',
  'delete from t',
  'declare c cursor for select 1',
  'deallocate s',
  'insert into t values (1)',
  'savepoint a',
  "select set_config('app.tenant', 'a', true)",
  "select some_function('search_path')",
  'select pg_sleep(0)',
  '-- set search_path',
]

test.each([...change.map((text) => [text, true] as const), ...keep.map((text) => [text, false] as const)])(
  '%j: %s',
  (text, expected) => {
    const chunk = Buffer.from(`Q0000${text}\0Q`)
    expect(mayChangeNames(chunk, 5, 5 + text.length)).toBe(expected)
    expect(changesNames(text)).toBe(expected)
  },
)

test('what begins later than is looked may be anything', () => {
  const text = `${' '.repeat(2000)}select 1`
  expect(mayChangeNames(Buffer.from(text), 0, text.length)).toBe(true)
})
