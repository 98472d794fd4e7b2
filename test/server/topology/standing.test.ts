import { describe, expect, test } from 'vitest'
import { targetSessionAttrs } from '../../../src/config/choices.js'
import { type Place, type Standing, standingFor } from '../../../src/server/topology/standing.js'
import { ManualClock } from '../../harness/manual-clock.js'
import { heard, report, Scene } from './hosts.js'

type Attrs = ReturnType<typeof targetSessionAttrs.parse>

describe('what a host is to an entry', () => {
  /** While there is a standby that is not late; while there is none. */
  const rows: readonly (readonly [Attrs, Place, late: boolean, Standing, Standing])[] = [
    ['primary', 'primary', false, 'fit', 'fit'],
    ['primary', 'standby', false, 'wrong', 'wrong'],
    ['primary', 'standby', true, 'wrong', 'wrong'],
    ['read-write', 'primary', false, 'fit', 'fit'],
    ['read-write', 'standby', false, 'wrong', 'wrong'],
    ['standby', 'primary', false, 'spare', 'spare'],
    ['standby', 'standby', false, 'fit', 'fit'],
    ['standby', 'standby', true, 'spare', 'spare'],
    ['read-only', 'primary', false, 'spare', 'fit'],
    ['read-only', 'standby', false, 'fit', 'spare'],
    ['read-only', 'standby', true, 'spare', 'spare'],
    ['prefer-standby', 'primary', false, 'spare', 'fit'],
    ['prefer-standby', 'standby', false, 'fit', 'spare'],
    ['prefer-standby', 'standby', true, 'spare', 'spare'],
    ['any', 'primary', false, 'fit', 'fit'],
    ['any', 'standby', false, 'fit', 'fit'],
    ['any', 'standby', true, 'fit', 'fit'],
  ]

  test.each(rows)('%s: a host that is a %s, late: %s', (attrs, place, isLate, among, alone) => {
    expect(standingFor(attrs, place, isLate, true)).toBe(among)
    expect(standingFor(attrs, place, isLate, false)).toBe(alone)
  })

  test('one that is neither is the same to all of them', () => {
    for (const attrs of rows.map(([one]) => one)) {
      for (const place of ['spare', 'unsure', 'wrong', 'dead'] as const) {
        for (const [isLate, hasStandby] of [
          [false, false],
          [true, false],
          [false, true],
          [true, true],
        ] as const) {
          expect(standingFor(attrs, place, isLate, hasStandby)).toBe(place)
        }
      }
    }
  })

  test('every target_session_attrs is in the table', () => {
    for (const word of ['any', 'read-write', 'read-only', 'primary', 'standby', 'prefer-standby']) {
      expect(rows.map(([attrs]) => attrs)).toContain(targetSessionAttrs.parse(word))
    }
  })
})

describe('what a host is to all', () => {
  test('as it says, once all have spoken', () => {
    const all = new Scene(new ManualClock(), 'a', 'b', 'c')
    const now = () => ['a', 'b', 'c'].map((name) => all.group.placeOf(all.host(name)))
    expect(now()).toEqual(['unsure', 'unsure', 'unsure'])
    all.hear('a', 'primary')
    all.hear('b', 'standby')
    expect(now()).toEqual(['unsure', 'standby', 'unsure'])
    all.hear('c', 'down')
    expect(now()).toEqual(['primary', 'standby', 'dead'])
    all.hear('c', heard('starting', undefined, 'the database system is starting up'))
    expect(now()).toEqual(['primary', 'standby', 'replaced'])
    all.hear('c', heard('up', undefined, 'probe refused'))
    expect(now()).toEqual(['primary', 'standby', 'replaced'])
    all.hear('a', 'down')
    expect(now()).toEqual(['dead', 'standby', 'unsure'])
  })

  test('fenced, foreign and disputed hosts are of no use, also when they are down or banned', () => {
    const all = new Scene(new ManualClock(), 'a', 'b', 'c')
    const now = () => ['a', 'b', 'c'].map((name) => all.group.placeOf(all.host(name)))
    all.hear('a', 'primary', 1)
    all.hear('b', 'primary', 1)
    all.hear('c', heard('up', report('standby', 1, '0/1', 'X')))
    expect(now()).toEqual(['wrong', 'wrong', 'wrong'])
    all.hear('b', 'primary', 2)
    expect(now()).toEqual(['wrong', 'primary', 'wrong'])
    all.hear('a', 'down')
    all.host('c').bannedUntil = Number.POSITIVE_INFINITY
    expect(now()).toEqual(['wrong', 'primary', 'wrong'])
  })

  test('one that is banned is left when it is free, but for one that is dead', () => {
    const all = new Scene(new ManualClock(), 'a', 'b', 'c')
    all.hear('a', 'primary')
    all.hear('b', 'standby')
    all.hear('c', 'down')
    for (const name of ['a', 'b', 'c']) all.host(name).bannedUntil = Number.POSITIVE_INFINITY
    all.group.reconsider()
    expect(['a', 'b', 'c'].map((name) => all.group.placeOf(all.host(name)))).toEqual(['spare', 'spare', 'dead'])
  })
})
