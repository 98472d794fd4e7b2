import { expect, test } from 'vitest'
import {
  Certain,
  CopySearch,
  Countable,
  doubtBehind,
  isCopyText,
  mayCopy,
  takenByCopy,
  Unknowable,
} from '../../src/relay/copy-in.js'
import * as request from '../../src/relay/outstanding.js'
import { BadFlush, CopyEnd, Dues, Execute, Outstanding, Parse, Query, Sync } from '../../src/relay/outstanding.js'

function queueOf(kinds: readonly number[]): Outstanding<string, never> {
  const queue = new Outstanding<string, never>()
  const dues = new Dues()
  for (const kind of kinds) queue.push(kind, 'x', null, dues)
  return queue
}

test.each<[kinds: readonly number[], doubt: number, what: string]>([
  [[Query], Certain, 'nothing behind it'],
  [[Query, CopyEnd, Query], Certain, 'its end, and others behind'],
  [[Query, CopyEnd, Sync], Certain, 'a Sync behind its end'],
  [[Query, Sync], Countable, 'a Sync'],
  [[Execute, Sync, Sync, CopyEnd, CopyEnd, Sync], Countable, 'Syncs on both sides of its end'],
  [[Query, Query], Unknowable, 'a Query, which PostgreSQL before 14 may have passed over'],
  [[Execute, Parse, Sync, Query], Certain, 'what is skipped up to its Sync, wherever it was read'],
  [[Execute, Sync, Parse], Unknowable, 'a Parse behind a Sync'],
  [[Query, Sync, CopyEnd, Parse], Unknowable, 'a Parse behind its end, with a Sync before'],
  [[Execute, BadFlush], Certain, 'a Flush with a body, which is skipped or passed over'],
  [[Query, BadFlush], Unknowable, 'the same behind a Query, where it may be answered'],
  [[Execute, BadFlush, Sync], Unknowable, 'a Flush with a body, and a Sync that may have been passed over like it'],
  [[Execute, Sync, BadFlush, CopyEnd], Unknowable, 'a Flush with a body that may stand behind a Sync that counts'],
])('behind a COPY that failed stands %j: %i', (kinds, doubt, what) => {
  expect(doubtBehind(queueOf(kinds)), what).toBe(doubt)
})

test.each([
  [[Query, CopyEnd], 1],
  [[Execute, Sync, BadFlush, Sync, CopyEnd, Sync], 4],
  [[Query, Sync], -1],
  [[Query, Parse, CopyEnd], -1],
])('a COPY that succeeded takes with it of %j: %i', (kinds, taken) => {
  expect(takenByCopy(queueOf(kinds))).toBe(taken)
  expect(request.isUnanswered(CopyEnd)).toBe(true)
})

test.each([
  ['copy t from stdin', true],
  [' /* a */ -- b\n\tCoPy t', true],
  ['select 1', false],
  ['-- copy\nselect 1', false],
  ['co', true],
  ['', true],
])('%j may be the beginning of a COPY: %s', (text, may) => {
  expect(isCopyText(Buffer.from(text), 0, text.length + 1)).toBe(may)
})

test.each([
  ["select 'a'; COPY t from stdin", true],
  ['select 1; select 2', false],
  ['select 1;', false],
  ['copy t to stdout', true],
])('%j may copy: %s', (text, may) => {
  expect(mayCopy(Buffer.from(`${text}\0`), 0, text.length + 1, text.indexOf(';'))).toBe(may)
})

test('a COPY behind the cut of a Query is found, wherever that is cut, and nothing else is', () => {
  for (const [text, expected] of [
    ['select 1; copy t from stdin', true],
    ['select 1; CoPy t from stdin; select 2', true],
    ['select 1; select 2 from scops', false],
  ] as const) {
    const bytes = Buffer.from(text)
    for (let first = 0; first <= bytes.length; first++) {
      for (let second = first; second <= bytes.length; second++) {
        const search = new CopySearch()
        search.begin(bytes.subarray(0, first))
        const found = [
          /copy/i.test(text.slice(0, first)),
          search.finds(bytes.subarray(first, second), second - first, false),
          search.finds(bytes.subarray(second), bytes.length - second, true),
        ]
        expect(found.includes(true), `${first}, ${second}`).toBe(expected)
        expect(search.isUnderWay).toBe(false)
      }
    }
  }
})
