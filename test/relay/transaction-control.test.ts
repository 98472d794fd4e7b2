// What a text does to its transaction block: nothing that may commit is ever taken for plain.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import * as control from '../../src/relay/transaction-control.js'

const kindOf = (text: string, hasEscapes = false): number => {
  const chunk = Buffer.from(`Q....${text}\0rest; commit`, 'latin1')
  return control.kindOfText(chunk, 5, 5 + text.length + 1, chunk.indexOf(0x3b, 5), hasEscapes)
}

test.each<[string, number]>([
  ['select 1', control.Plain],
  ['insert into t values (1);', control.Plain],
  ['BEGIN', control.Begin],
  ['/* x */ begin read only', control.Begin],
  ['Start Transaction isolation level serializable', control.Begin],
  ['begin; select 1', control.Begin],
  ['commit', control.Commit],
  [' -- x\n End Transaction ;', control.Commit],
  ['commit work and no chain', control.Commit],
  ['commit and chain', control.CommitAndChain],
  ['rollback', control.Rollback],
  ['abort work', control.Rollback],
  ['abort and chain', control.RollbackAndChain],
  ['rollback to s', control.RollbackTo],
  ['rollback transaction to savepoint "S 1"', control.RollbackTo],
  ["prepare transaction 'x'", control.PrepareTransaction],
  ['prepare x as select 1', control.Plain],
  ["commit prepared 'x'", control.MayCommit],
  ["rollback prepared 'x'", control.MayCommit],
  ['call p()', control.MayCommit],
  ['do $$ begin commit; end $$', control.MayCommit],
  ['execute x', control.MayCommit],
  ['commit and', control.MayCommit],
  ['rollback to', control.MayCommit],
  ['select 1; commit', control.EndsAmong],
  ['rollback; select 1', control.EndsAmong],
  ['commit; begin', control.BeginsAmong],
  ['begin; commit', control.EndsAmong],
  ['commit; call p()', control.EndsAmong],
  ['select 1; call p()', control.MayCommit],
  ['begin; call p()', control.BeginsAmong],
  ["select 'a; commit'", control.Plain],
  ['select "a; commit"; select 1', control.Plain],
  ['select $$ ; commit $$; select 1', control.Plain],
  ["select 'no end; commit", control.MayCommit],
  ['savepoint s; release s', control.Plain],
  ['', control.Empty],
  [' ; -- commit', control.Empty],
  ['delete from t', control.Plain],
  ['copy t from stdin', control.Plain],
  ['explain select 1', control.Plain],
  ['(select 1)', control.Plain],
])('%s', (text, kind) => {
  expect(kindOf(text)).toBe(kind)
  expect(kindOf(text.toUpperCase())).toBe(kind)
})

test('a text that is not all there may commit', () => {
  const chunk = Buffer.from('insert into')
  expect(control.kindOfText(chunk, 0, 100, -1, false)).toBe(control.MayCommit)
})

test('where a backslash may hide the end of a string, it may commit', () => {
  expect(kindOf("select 'a\\'; commit; --'", true)).toBe(control.MayCommit)
})

test('a Parse has one statement: its first word tells', () => {
  const of = (text: string): number => control.kindOfParsed(Buffer.from(`${text}\0\0\0`), 0, text.length + 3)
  expect(['insert', 'commit', 'begin', ' rollback', 'call p()'].map(of)).toEqual([
    control.Plain,
    control.Commit,
    control.Begin,
    control.Rollback,
    control.MayCommit,
  ])
  expect(control.kindOfParsed(Buffer.from('commi'), 0, 100)).toBe(control.MayCommit)
})

test('whatever stands around them, words that commit are seen', () => {
  const blank = fc.constantFrom(' ', '\n', '\t', '/* ; */', '-- x\n', '/* /* ; */ */')
  const filler = fc.constantFrom(
    'select 1',
    "select ';'",
    'select $a$;$a$',
    'savepoint s',
    'begin',
    'rollback to s',
    '',
  )
  const ends = fc.constantFrom('commit', 'END', 'Commit and chain', "prepare transaction 'x'", 'call p()', 'do $$ $$')
  const texts = fc.tuple(fc.array(fc.tuple(blank, filler)), blank, ends, blank, fc.array(fc.tuple(blank, filler)))
  fc.assert(
    fc.property(texts, ([before, left, end, right, after]) => {
      const text = [
        ...before.map(([gap, word]) => gap + word),
        left + end + right,
        ...after.map(([gap, word]) => gap + word),
      ]
      expect(control.mayCommit(kindOf(text.join(';')))).toBe(true)
    }),
  )
})
