import fc from 'fast-check'
import { expect, test } from 'vitest'
import { identAllows, parseIdent } from '../../src/auth/ident.js'

test('system users may be who their map says', () => {
  const { maps, warnings } = parseIdent(
    [
      '# MAPNAME SYSTEM-USERNAME PG-USERNAME',
      'web bouncer.example.org app',
      'web bouncer.example.org "report er" # comment',
      '',
      'ops "root user" all',
      'ops root "all"',
    ].join('\r\n'),
    'ident.conf',
  )
  expect(warnings).toEqual([])
  const allows = (map: string, systemUser: string, user: string) => identAllows(maps.get(map)!, systemUser, user)
  expect(allows('web', 'bouncer.example.org', 'app')).toBe(true)
  expect(allows('web', 'bouncer.example.org', 'report er')).toBe(true)
  expect(allows('web', 'bouncer.example.org', 'root')).toBe(false)
  expect(allows('web', 'example.org', 'app')).toBe(false)
  expect(allows('ops', 'root user', 'anyone')).toBe(true)
  expect(allows('ops', 'root', 'anyone')).toBe(false)
  expect(allows('ops', 'root', 'all')).toBe(true)
})

test('without a map the names must be the same', () => {
  expect(identAllows(undefined, 'sam', 'sam')).toBe(true)
  expect(identAllows(undefined, 'sam', 'tom')).toBe(false)
})

test.each([
  ['a single word', 'web', []],
  ['two words', 'web a', []],
  ['a quoted map name', '"web" a b', []],
  ['a quote without end', 'web a "b', []],
  ['a comma', 'web a,b c', []],
  ['a fourth word', 'web a b c', ['ident line 2: unsupported parameters']],
  ['a fourth word after all', 'web a all c', ['ident line 2: unsupported parameters']],
])('%s is warned about and skipped', (_, line, more) => {
  const { maps, warnings } = parseIdent(`m a b\n${line}\nn a b`, 'ident.conf')
  expect([...maps.keys()]).toEqual(['m', 'n'])
  expect(warnings).toEqual([...more, 'could not parse ident config line 2 (ident.conf:2)'])
})

test('any text is read in some way', () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom('"', '""', 'a', 'all', ' ', '\n', '#', ',', '\0', 'é')), (parts) => {
      const { maps } = parseIdent(parts.join(''), 'i')
      for (const map of maps.values()) expect(map.mappings.length).toBeGreaterThan(0)
    }),
  )
})
