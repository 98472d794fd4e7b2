import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { bucketOf, bucketStart, Histogram } from '../../src/observe/histogram.js'

const anyUs = fc.oneof(
  fc.nat({ max: 0x7fffffff }),
  fc.nat({ max: 100 }),
  fc.integer({ min: 0, max: 30 }).chain((bits) => fc.integer({ min: Math.max(0, 2 ** bits - 2), max: 2 ** bits + 2 })),
)

/** Buckets that are not empty, with what is in them. */
function filled({ counts }: Histogram): [start: number, count: number][] {
  return [...counts].flatMap((count, bucket) => (count === 0 ? [] : [[bucketStart(bucket), count] as [number, number]]))
}

describe('buckets', () => {
  test('a duration is in the bucket that begins at or before it, and ends behind it', () => {
    fc.assert(
      fc.property(anyUs, (us) => {
        const bucket = bucketOf(us)
        expect(bucketStart(bucket)).toBeLessThanOrEqual(us)
        expect(bucketStart(bucket + 1)).toBeGreaterThan(us)
      }),
    )
  })

  test('none is wider than a quarter of where it begins, from 4 µs on', () => {
    for (let bucket = 4; bucket < 120; bucket++) {
      const start = bucketStart(bucket)
      expect(bucketStart(bucket + 1) - start).toBeLessThanOrEqual(start / 4)
    }
  })

  test('each is the bucket of where it begins: there is no gap, and no overlap', () => {
    for (let bucket = 0; bucket < 120; bucket++) expect(bucketOf(bucketStart(bucket))).toBe(bucket)
    expect(bucketStart(120)).toBe(2 ** 31)
  })
})

test('what is observed is counted once, in its bucket', () => {
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0, max: 1e9, noNaN: true })), (durations) => {
      const histogram = new Histogram()
      const expected = new Map<number, number>()
      for (const ms of durations) {
        histogram.observe(ms)
        const start = bucketStart(bucketOf(Math.min(Math.trunc(1000 * ms), 0x7fffffff)))
        expected.set(start, (expected.get(start) ?? 0) + 1)
      }
      expect(filled(histogram)).toEqual([...expected].sort(([one], [other]) => one - other))
    }),
  )
})

test('what takes longer than there are buckets is in the last', () => {
  const histogram = new Histogram()
  for (const ms of [0x7fffffff / 1000, 1e7, Number.MAX_SAFE_INTEGER, Number.POSITIVE_INFINITY]) histogram.observe(ms)
  expect(filled(histogram)).toEqual([[bucketStart(119), 4]])
})
