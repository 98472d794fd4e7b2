import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { PgError } from '../../../src/protocol/errors.js'
import type { Answer } from '../../../src/relay/own-query.js'
import { type Answers, lsnOf, type Report, readReport } from '../../../src/server/topology/report.js'

const row = (...values: (string | null)[]): Answer => ({
  rows: [values],
  columns: values.length,
  error: undefined,
  status: 73,
})
const nothing: Answer = { rows: [], columns: 0, error: undefined, status: 73 }
const forbidden: Answer = {
  ...nothing,
  error: new PgError({ sqlstate: '42501', severity: 'ERROR', text: 'permission denied for function' }),
}

/** With the position as hexadecimal digits: what is not JSON cannot be in a table of tests. */
type Told = (Omit<Report, 'lsn'> & { readonly lsn: string | undefined }) | undefined

const primary: Answers = {
  role: row('f'),
  position: row('f', '16/B374D848', '0000000A', null, '1700000000.25'),
  followed: row('7'),
  system: row('7000000000000000001'),
}
const standby: Answers = {
  role: row('t'),
  position: row('t', '0/3000060', null, '1234.5', '1700000000.25'),
  followed: row('10'),
  system: row('7000000000000000001'),
}

describe('a host says', () => {
  test.each<[string, Answers, string | undefined, Told]>([
    [
      'that it is a primary: its timeline is that of the WAL that it writes',
      primary,
      undefined,
      {
        isInRecovery: false,
        timeline: 10,
        systemId: '7000000000000000001',
        startedAt: '1700000000.25',
        lsn: '16b374d848',
        replayDelay: undefined,
      },
    ],
    [
      'that it is a standby: its timeline is that which it follows',
      standby,
      undefined,
      {
        isInRecovery: true,
        timeline: 10,
        systemId: '7000000000000000001',
        startedAt: '1700000000.25',
        lsn: '3000060',
        replayDelay: 1234.5,
      },
    ],
    [
      'the same again, without its system identifier',
      { ...standby, system: undefined },
      '42',
      {
        isInRecovery: true,
        timeline: 10,
        systemId: '42',
        startedAt: '1700000000.25',
        lsn: '3000060',
        replayDelay: 1234.5,
      },
    ],
    [
      'no more than its role',
      { role: row('t'), position: forbidden, followed: forbidden, system: forbidden },
      undefined,
      {
        isInRecovery: true,
        timeline: undefined,
        systemId: undefined,
        startedAt: undefined,
        lsn: undefined,
        replayDelay: undefined,
      },
    ],
    [
      'where it is, though not its role by itself',
      { ...primary, role: forbidden },
      undefined,
      {
        isInRecovery: false,
        timeline: 10,
        systemId: '7000000000000000001',
        startedAt: '1700000000.25',
        lsn: '16b374d848',
        replayDelay: undefined,
      },
    ],
    [
      'that it has replayed nothing yet',
      { ...standby, position: row('t', null, null, null, '1700000000.25'), followed: row(null) },
      undefined,
      {
        isInRecovery: true,
        timeline: undefined,
        systemId: '7000000000000000001',
        startedAt: '1700000000.25',
        lsn: undefined,
        replayDelay: undefined,
      },
    ],
    ['nothing', { role: forbidden, position: forbidden, followed: forbidden, system: forbidden }, '42', undefined],
    [
      'nothing that has rows',
      { role: nothing, position: nothing, followed: nothing, system: nothing },
      '42',
      undefined,
    ],
    ['something else', { ...primary, role: row('maybe'), position: row('maybe', null, null, null) }, '42', undefined],
    ['NULL', { ...primary, role: row(null), position: row(null) }, '42', undefined],
  ])('%s', (_, answers, systemId, told) => {
    const said = readReport(answers, systemId)
    expect(said && { ...said, lsn: said.lsn?.toString(16) }).toEqual(told)
  })

  test('that it was promoted between two questions: the later counts, as does its timeline', () => {
    const answers = { ...primary, role: row('t'), followed: row('1') }
    expect(readReport(answers, undefined)).toMatchObject({ isInRecovery: false, timeline: 10 })
  })

  test('whatever: it is read or not, and never throws', () => {
    const value = fc.option(fc.oneof(fc.string(), fc.constantFrom('t', 'f', '0/0', '00000001', 'Infinity', 'NaN')))
    const answer = fc.oneof(
      fc.array(value, { maxLength: 5 }).map((values) => row(...values)),
      fc.constantFrom(nothing, forbidden),
    )
    const answers = fc.record({
      role: answer,
      position: answer,
      followed: answer,
      system: fc.option(answer, { nil: undefined }),
    })
    fc.assert(
      fc.property(answers, (said) => {
        const told = readReport(said, undefined)
        if (told?.timeline !== undefined) expect(Number.isFinite(told.timeline)).toBe(true)
        if (told?.replayDelay !== undefined) expect(Number.isFinite(told.replayDelay)).toBe(true)
      }),
    )
  })
})

test.each([
  ['0/0', '0'],
  ['0/16B3748', '16b3748'],
  ['16/B374D848', '16b374d848'],
  ['1/00000001', '100000001'],
  ['FFFFFFFF/FFFFFFFF', 'ffffffffffffffff'],
  ['ff/0a', 'ff0000000a'],
  ['', undefined],
  [null, undefined],
  [undefined, undefined],
  ['1', undefined],
  ['0/', undefined],
  ['0/1 ', undefined],
  ['0/123456789', undefined],
  ['0x1/2', undefined],
])('the position %j is %j', (text, bytes) => {
  expect(lsnOf(text)?.toString(16)).toBe(bytes)
})
