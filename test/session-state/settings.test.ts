import { expect, test } from 'vitest'
import { noSettings, restoring, setting } from '../../src/session-state/settings.js'

/** The text of a Query. */
const textOf = (query: Buffer | null): string | null =>
  query === null ? null : query.toString('latin1', 5, query.length - 1)

test('changes add up: what is set again comes last, what goes back to its default is forgotten', () => {
  const set = noSettings.with([
    { name: 'a', sql: 'SET a=1' },
    { name: 'b', sql: 'SET b=1' },
    { name: 'role', sql: 'SET ROLE r' },
    { name: 'a', sql: 'SET a=2' },
  ])
  expect(set.names).toEqual(['b', 'role', 'a'])
  expect(set.get('a')).toBe('SET a=2')
  expect(set.with([{ name: 'b', sql: '' }]).names).toEqual(['role', 'a'])
  expect(set.with([{ name: '*', sql: '' }]).names).toEqual(['role']) // RESET ALL leaves it
  expect(
    set.with([
      { name: '*', sql: '' },
      { name: 'role', sql: '' },
    ]),
  ).toBe(noSettings)
  expect(set.with([])).toBe(set)
  expect(noSettings.size).toBe(0)
})

test('a server is given what differs, and no more', () => {
  const one = noSettings.with([
    { name: 'a', sql: 'SET a=1' },
    { name: 'app.b', sql: 'SET app.b=1' },
  ])
  const same = noSettings.with([
    { name: 'app.b', sql: 'SET app.b=1' },
    { name: 'a', sql: 'SET a=1' },
  ])
  expect(restoring(one, same)).toBeNull()
  expect(textOf(restoring(one, noSettings))).toBe('RESET "a";RESET "app"."b"')
  expect(textOf(restoring(noSettings, one))).toBe('SET a=1;SET app.b=1')
  expect(textOf(restoring(one, one.with([{ name: 'a', sql: 'SET a=2' }])))).toBe('SET a=2')
  expect(textOf(restoring(one.doubted(), one))).toBe('SET a=1;SET app.b=1')
  expect(textOf(restoring(noSettings.with([{ name: 'x"y', sql: '?' }]), noSettings))).toBe('RESET "x""y"')
})

test('the role comes last, and steps aside for all else', () => {
  const actor = noSettings.with([
    { name: 'role', sql: 'SET ROLE r' },
    { name: 'session_authorization', sql: 'SET SESSION AUTHORIZATION s' },
  ])
  const more = actor.with([{ name: 'a', sql: 'SET a=1' }])
  expect(textOf(restoring(actor, more))).toBe(
    'RESET SESSION AUTHORIZATION;RESET ROLE;SET a=1;SET SESSION AUTHORIZATION s;SET ROLE r',
  )
  expect(textOf(restoring(more, noSettings))).toBe('RESET SESSION AUTHORIZATION;RESET ROLE;RESET "a"')
})

test('there is an end to what is carried', () => {
  const many = (count: number, sql: string) =>
    noSettings.with(Array.from({ length: count }, (_, at) => ({ name: `app.s${at}`, sql })))
  expect(many(200, 'SET x=1').isBounded).toBe(true)
  expect(many(201, 'SET x=1').isBounded).toBe(false)
  expect(many(2, 'x'.repeat(20_000)).isBounded).toBe(false)
})

test('a value means the same whatever standard_conforming_strings says', () => {
  expect(setting('app.a', "it's")).toBe("SELECT pg_catalog.set_config('app.a','it''s',false)")
  expect(setting('app.a', "\\'")).toBe("SELECT pg_catalog.set_config('app.a',E'\\\\''',false)")
})
