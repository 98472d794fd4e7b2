import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Classifier, effectsOf } from '../../src/session-state/classify.js'
import * as kinds from '../../src/session-state/effects.js'
import { type Effects, harmless, unclear } from '../../src/session-state/effects.js'
import { cost } from '../harness/growth.js'

const bits = {
  unknown: kinds.UnknownSettings,
  listen: kinds.Listening,
  locks: kinds.Locks,
  temp: kinds.Temporary,
  cursors: kinds.Cursors,
}

function words(mask: number): string[] {
  return Object.entries(bits).flatMap(([word, bit]) => ((mask & bit) === 0 ? [] : [word]))
}

/** `+set +listen -locks work_mem=SET work_mem TO 1 app.x? a(+locks) !a`: begins, ends, changed for sure, to be asked, prepares, executes. */
function shown({ begins, ends, names, sets, certain, prepares, executes }: Effects): string {
  return [
    ...(sets.length > 0 ? ['+set'] : []),
    ...words(begins).map((word) => `+${word}`),
    ...words(ends).map((word) => `-${word}`),
    ...(certain === undefined
      ? [...names].sort().map((name) => `${name}?`)
      : certain.map(({ name, sql }) => `${name}=${sql}`)),
    ...prepares.map(([name, inner]) => `${name}(${shown(inner)})`),
    ...executes.map((name) => `!${name}`),
  ].join(' ')
}

test.each<[text: string, effects: string]>([
  // settings
  ['SET work_mem TO 1', '+set work_mem=SET work_mem TO 1'],
  ['set SESSION search_path = \'a\', "B" ; ', `+set search_path=set SESSION search_path = 'a', "B"`],
  ['SET "App"."Tenant" = 7 -- seven', '+set app.tenant=SET "App"."Tenant" = 7'],
  ['SET app.a.b TO x', '+set app.a.b=SET app.a.b TO x'],
  ['SET LOCAL work_mem TO 1', ''],
  ['SET work_mem TO DEFAULT', 'work_mem='],
  ['SET x FROM CURRENT', ''],
  ['SET TIME ZONE LOCAL', 'timezone='],
  ["SET SESSION TIME ZONE 'UTC'", "+set timezone=SET SESSION TIME ZONE 'UTC'"],
  ["SET NAMES 'UTF8'", "+set client_encoding=SET NAMES 'UTF8'"],
  ["SET SCHEMA 'a'", "+set search_path=SET SCHEMA 'a'"],
  ['SET ROLE sam', '+set role=SET ROLE sam'],
  ['SET SESSION ROLE NONE', 'role='],
  ['SET role = sam', '+set role=SET role = sam'],
  ['SET SESSION AUTHORIZATION sam', '+set session_authorization=SET SESSION AUTHORIZATION sam role='],
  ['SET SESSION SESSION AUTHORIZATION DEFAULT', 'session_authorization= role='],
  ['SET TRANSACTION READ ONLY', ''],
  ['SET CONSTRAINTS ALL DEFERRED', ''],
  ['SET transaction_isolation TO serializable', ''],
  ['SET seed TO 0.5', ''],
  [
    'SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY',
    '+set default_transaction_deferrable? default_transaction_isolation? default_transaction_read_only?',
  ],
  ['SET XML OPTION DOCUMENT', '+set xmloption?'],
  ["SET app.x TO 'a\\b'", '+set app.x?'],
  ['RESET work_mem', 'work_mem='],
  ['RESET ALL', '*='],
  ['RESET TIME ZONE', 'timezone='],
  ['RESET SESSION AUTHORIZATION', 'session_authorization= role='],
  ['RESET ROLE', 'role='],
  ['RESET TRANSACTION ISOLATION LEVEL', ''],
  ['SET a.x=1; SET a.y=2', '+set a.x=SET a.x=1 a.y=SET a.y=2'],
  ['SET a.x=1; SELECT 1', '+set a.x=SET a.x=1'],
  ['BEGIN; SET a.x=1; COMMIT', '+set a.x?'],
  ['SET a.x=1; ROLLBACK', '+set a.x?'],
  // set_config
  ["SELECT set_config('App.X', 'it''s', false)", "+set app.x=SELECT pg_catalog.set_config('App.X', 'it''s', false)"],
  [
    "select pg_catalog.set_config('search_path', '', false);",
    "+set search_path=SELECT pg_catalog.set_config('search_path', '', false)",
  ],
  ["SELECT set_config('a.x', '1', true)", ''],
  ["SELECT set_config('a.x', '1', 't')", ''],
  ["SELECT set_config('a.x', $1, false)", '+set a.x?'],
  ["SELECT set_config('a.x'::text, '1', false)", '+set a.x?'],
  ["SELECT set_config('a.x', '1', $1)", '+set a.x?'],
  ["SELECT set_config('a.x', '1', false), set_config('a.y', '2', false)", '+set a.x? a.y?'],
  ["SELECT set_config('a.x', (SELECT max(b, ',')), false) FROM t", '+set a.x?'],
  ["SELECT set_config('a.x', '1', false) WHERE false", '+set a.x?'],
  ['SELECT set_config($1, $2, false)', '+unknown'],
  ['SELECT set_config($1, $2, true)', ''],
  ["SELECT set_config(is_local => false, setting_name => 'a.x', new_value => '1')", '+unknown'],
  ["SELECT set_config('a'", '+unknown'],
  ['SELECT set_config FROM t', ''],
  ["UPDATE pg_settings SET setting = '1' WHERE name = 'work_mem'", '+unknown'],
  // what pins
  ['LISTEN a', '+listen'],
  ['/* */ listen "A";', '+listen'],
  ['UNLISTEN *', '-listen'],
  ['NOTIFY a', ''],
  ['SELECT pg_advisory_lock(1)', '+locks'],
  ['SELECT pg_catalog.pg_try_advisory_lock_shared(1, 2)', '+locks'],
  ['SELECT "pg_advisory_lock"(1)', '+locks'],
  ['SELECT pg_advisory_xact_lock(1), pg_try_advisory_xact_lock(2)', ''],
  ['SELECT pg_advisory_unlock(1)', '-locks'],
  ['SELECT pg_advisory_unlock_all()', '-locks'],
  ['CREATE TEMP TABLE t (a int)', '+temp'],
  ['CREATE OR REPLACE TEMPORARY VIEW v AS SELECT 1', '+temp'],
  ['CREATE LOCAL TEMP SEQUENCE s', '+temp'],
  ['SELECT 1 AS a INTO TEMP t', '+temp'],
  ['EXPLAIN ANALYZE CREATE TEMP TABLE t AS SELECT 1', '+temp'],
  ['CREATE TEMP TABLE t (a int) ON COMMIT DROP', ''],
  ['CREATE TEMP TABLE t (a int) ON COMMIT DELETE ROWS', '+temp'],
  ['CREATE TABLE pg_temp.t (a int)', '+temp'],
  ['INSERT INTO temp SELECT 1', ''],
  ['SELECT temp FROM weather', ''],
  ['CREATE TABLE t (temp int)', ''],
  ['DISCARD TEMP', '-temp'],
  ['DISCARD PLANS', '-temp'],
  ['DROP TABLE t', '-temp'],
  ['DECLARE c CURSOR WITH HOLD FOR SELECT 1', '+cursors'],
  ['DECLARE c CURSOR WITHOUT HOLD FOR SELECT 1', ''],
  ['CLOSE c', '-cursors'],
  ['DISCARD ALL', '-unknown -listen -locks -temp -cursors *= session_authorization= role='],
  // prepared by SQL
  ['PREPARE a AS SELECT pg_advisory_lock($1)', 'a(+locks)'],
  ['PREPARE "A" (text) AS SELECT set_config(\'a.x\', $1, false)', 'A(+set a.x?)'],
  ['PREPARE a AS SELECT 1', ''],
  ['PREPARE a AS PREPARE b AS SELECT pg_advisory_lock(1)', ''],
  ['EXECUTE a(1)', '!a'],
  ['EXPLAIN ANALYZE EXECUTE a', '!a'],
  ["PREPARE TRANSACTION 'a'; SET b.c = 1", '+set b.c?'],
  // DO
  ['DO $$BEGIN NULL; END$$', ''],
  ['DO $$BEGIN PERFORM pg_advisory_lock(1); END$$', '+locks'],
  ["DO 'BEGIN SET a.x = 1; IF true THEN SET LOCAL a.y = 1; SET a.z = 1; END IF; END'", '+set a.x? a.z?'],
  ['DO $$BEGIN IF true THEN RESET a.x; END IF; END$$', 'a.x?'],
  ["DO $$BEGIN IF true THEN EXECUTE 'listen a'; END IF; END$$ LANGUAGE plpgsql", '+listen'],
  ["DO 'BEGIN PERFORM set_config(''a.x'', ''1'', false); END'", '+set a.x?'],
  ["DO 'BEGIN CREATE TEMP TABLE t (a int); DROP TABLE t; END'", '+temp -temp'],
  ["DO $a$BEGIN EXECUTE $b$DO 'BEGIN EXECUTE ''TABLE pg_temp.t'';END'$b$; END$a$", '+temp'],
  ['CREATE FUNCTION f() RETURNS void AS $$SELECT pg_advisory_lock(1)$$ LANGUAGE sql', ''],
  // not what it looks like
  ['SELECT \'set a = 1\', $$; listen a$$, "pg_advisory_lock;" -- set x = 1; discard all', ''],
  ['UPDATE t SET a = 1', ''],
  ['SELECT 1', ''],
  ['', ''],
  [';;', ''],
])('%j', (text, expected) => {
  expect(shown(effectsOf(text))).toBe(expected)
})

test('what could not be read is told apart from what is harmless', () => {
  expect(effectsOf("SET a.x = '1")).toBe(unclear)
  expect(effectsOf("SELECT 'x")).toBe(harmless) // no word in it tells
  expect(effectsOf('UPDATE t SET a = 1')).toBe(harmless)
})

test('the text that is done again is that of the statement, comments within it and all', () => {
  expect(effectsOf('SELECT 1; SET a.x = /* ; */ 1 /* end */; -- more').certain).toEqual([
    { name: 'a.x', sql: 'SET a.x = /* ; */ 1' },
  ])
})

const telling = fc.constantFrom(
  ...['SET a.x = 1', 'RESET a.y', 'LISTEN b', 'SELECT pg_advisory_lock(1)', 'CREATE TEMP TABLE t ()', 'DISCARD ALL'],
  ...['DECLARE c CURSOR WITH HOLD FOR SELECT 1', "SELECT set_config('a.z', $1, false)", 'EXECUTE e', 'CLOSE c'],
  ...['DO $d$BEGIN SET a.d = 1; END$d$', 'PREPARE p AS SELECT pg_advisory_lock(1)', 'SELECT set_config($1, $2, false)'],
)
const plain = fc.constantFrom('SELECT 1', "UPDATE t SET a = ';'", 'BEGIN', 'COMMIT', 'INSERT INTO temp VALUES (1)')

test('a text of many statements may do what each of them may', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(telling, plain)), (parts) => {
      const whole = effectsOf(parts.join(';\n'))
      for (const part of parts.map(effectsOf)) {
        expect(whole.begins & part.begins).toBe(part.begins)
        expect(whole.ends & part.ends).toBe(part.ends)
        expect(whole.names).toEqual(expect.arrayContaining([...part.names]))
        expect(whole.executes).toEqual(expect.arrayContaining([...part.executes]))
      }
      if (parts.includes('BEGIN') && whole !== harmless) expect(whole.certain).toBeUndefined()
    }),
  )
})

const blank = fc.constantFrom(' ', '\n', '\t', ' -- it"s\n', ' /* $$ /* */ */ ')

test('neither the case of words nor blanks and comments matter', () => {
  fc.assert(
    fc.property(
      telling,
      plain,
      blank,
      fc.array(fc.tuple(fc.boolean(), blank), { minLength: 12, maxLength: 12 }),
      (text, first, lead, ways) => {
        const pieces = text.split(' ')
        const written = pieces.map((piece, at) => {
          const [upper, gap] = ways[at % ways.length]!
          const cased = /['$]/.test(piece) ? piece : upper ? piece.toUpperCase() : piece.toLowerCase()
          return at < pieces.length - 1 ? cased + gap : cased
        })
        if (text.includes('$d$')) return // comments within a string are the string's
        const { begins, ends, names, executes } = effectsOf(`${lead}${first};${lead}${written.join('')}`)
        const expected = effectsOf(text)
        expect({ begins, ends, names, executes }).toEqual({
          begins: expected.begins,
          ends: expected.ends,
          names: expected.names,
          executes: expected.executes,
        })
      },
    ),
  )
})

test('what stands in a string, a quoted name or a comment does nothing', () => {
  const inside = fc.string({
    unit: fc.constantFrom("'", '"', '*', '/', ';', ' ', '-', 'set a=1', 'listen b', 'discard all'),
  })
  fc.assert(
    fc.property(inside, (text) => {
      const quoted = `'${text.replaceAll("'", "''")}'`
      const named = `"x${text.replaceAll('"', '""')}"`
      const comment = `/* ${text.replaceAll('*', '').replaceAll('/', '')} */`
      expect(effectsOf(`SELECT ${quoted} AS ${named} ${comment} -- ${text}`)).toBe(harmless)
    }),
  )
})

test('any text is judged, in bounded time', () => {
  const soup = fc.array(
    fc.oneof(
      fc.constantFrom(
        ...'set reset all session local prepare as execute do set_config ( ) , ; temp create into'.split(' '),
      ),
      fc.constantFrom(
        "'a'",
        '$$',
        '$a$',
        '.',
        '=',
        'to',
        'role',
        'default',
        'authorization',
        "'",
        '"',
        'on commit drop',
        '::',
      ),
    ),
    { maxLength: 40 },
  )
  fc.assert(fc.property(soup, (parts) => void effectsOf(parts.join(' '))))
  const hostile = [
    'set_config(',
    'set_config(1,1,true),',
    'PREPARE a AS ',
    'create temp ',
    'set a=1;',
    "do '",
    'do $a$ set ',
  ]
  for (const unit of [
    ...hostile,
    '\n',
    ' ',
    ';\n',
    '/ ',
    '\n\t',
    'execute a ',
    'pg_advisory_lock;',
    'declare with ',
    'reset a,',
    'listen ',
  ]) {
    for (const prefix of ['', 'select ', 'do $$']) {
      const text = prefix + unit.repeat(256_000 / unit.length) + (prefix === 'do $$' ? '$$' : '')
      expect(
        cost(() => effectsOf(text)),
        text.slice(0, 40),
      ).toBeLessThan(3000)
    }
  }
  let nested = 'set a.x = 1'
  for (let i = 0; i < 300; i++) nested = `do $q${i}$ begin execute ${nested}; end $q${i}$`
  expect(effectsOf(nested).begins).toBe(kinds.Unclear)
})

test('a text is judged once while it is in use, and memory for texts is bounded', () => {
  const classifier = new Classifier()
  const often = classifier.of('SET a.x = 1')
  for (let i = 0; i < 30_000; i++) {
    classifier.of(`SET a.y = '${i} ${'x'.repeat(100)}'`)
    if (i % 1000 === 0) expect(classifier.of('SET a.x = 1')).toBe(often)
  }
  expect(classifier.count).toBeLessThan(10_000)
  classifier.of('SELECT 1')
  const { count } = classifier
  expect(classifier.of(`LISTEN a; --${'x'.repeat(20_000)}`).begins).toBe(kinds.Listening)
  expect(classifier.count).toBe(count) // too long to be remembered
})
