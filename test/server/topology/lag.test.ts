import fc from 'fast-check'
import { expect, test } from 'vitest'
import { LagMeter } from '../../../src/server/topology/lag.js'

function meter(...marks: readonly (readonly [at: number, lsn: number])[]): LagMeter {
  const lag = new LagMeter()
  for (const [at, lsn] of marks) lag.note(BigInt(lsn), at)
  return lag
}

test('of nothing it knows nothing', () => {
  expect(meter().behind(5n, 1000)).toBeUndefined()
})

test.each([
  ['where the primary is', 300, 0],
  ['further, since it was asked later', 301, 0],
  ['where it was at the last check but one', 200, 700],
  ['between two checks: behind since the later of them', 250, 700],
  ['where it was long ago', 100, 1700],
  ['before all that is known: as far as is known', 1, 2700],
])('%s', (_, lsn, behind) => {
  expect(meter([1000, 100], [2000, 200], [3000, 300]).behind(BigInt(lsn), 3700)).toBe(behind)
})

test('a primary that writes nothing makes nobody late', () => {
  const lag = meter([1000, 100], [2000, 200])
  for (let at = 3000; at < 100_000; at += 1000) lag.note(200n, at)
  expect(lag.behind(200n, 100_000)).toBe(0)
  lag.note(201n, 100_000)
  expect(lag.behind(200n, 100_010)).toBe(10)
})

test('another primary begins anew where it is behind the former', () => {
  const lag = meter([1000, 100], [2000, 200])
  lag.note(150n, 3000)
  expect(lag.behind(120n, 3500)).toBe(500)
  expect(lag.behind(150n, 3500)).toBe(0)
})

test('a standby may be behind by hours, and is known to be so, about', () => {
  const lag = new LagMeter()
  const hour = 3_600_000
  for (let at = 0; at <= 5 * hour; at += 1000) lag.note(BigInt(at), at)
  for (const hours of [0.01, 0.5, 1, 2, 4]) {
    const behind = lag.behind(BigInt((5 - hours) * hour), 5 * hour)! / hour
    expect(behind).toBeGreaterThan(hours * 0.95 - 0.001)
    expect(behind).toBeLessThanOrEqual(hours)
  }
})

test('of what is so long ago that the marks do not reach, it forgets the oldest', () => {
  const lag = new LagMeter()
  const [now, marks] = [1e9, 1000]
  const ageOf = (n: number): number => 1.02 ** (marks - n) // so far from each other that none goes for being close
  for (let n = 0; n < marks; n++) lag.note(BigInt(n), now - ageOf(n))
  expect(Reflect.get(lag, 'marks')).toHaveLength(600)
  expect(lag.behind(900n, now)).toBeCloseTo(ageOf(901))
  expect(lag.behind(0n, now)).toBeCloseTo(ageOf(400))
})

test('it never grows beyond bounds, and who replays more is never further behind', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(50), fc.nat(50)), { maxLength: 2000 }),
      fc.nat(2000),
      fc.nat(2000),
      (steps, one, other) => {
        const lag = new LagMeter()
        let [now, lsn] = [0, 0]
        for (const [ms, bytes] of steps) {
          now += ms
          lsn += bytes
          lag.note(BigInt(lsn), now)
        }
        const [less, more] = [Math.min(one, other), Math.max(one, other)].map((at) => lag.behind(BigInt(at), now))
        if (less === undefined || more === undefined) return
        expect(more).toBeLessThanOrEqual(less)
        expect(less).toBeGreaterThanOrEqual(0)
        expect((lag as unknown as { marks: unknown[] }).marks.length).toBeLessThanOrEqual(600)
      },
    ),
    { numRuns: 50 },
  )
})
