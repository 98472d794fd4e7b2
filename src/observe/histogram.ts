// hot path
// How often something took how long: fixed buckets of microseconds, four to each power of two.

/** Ends at 2^31 µs, some 36 minutes; what takes longer is in the last bucket. */
const bucketCount = 120
const longest = 0x7fffffff

/** The bucket of a duration, in whole microseconds from 0 to 2^31 - 1: no wider than a quarter of where it begins. */
export function bucketOf(us: number): number {
  if (us < 4) return us
  const exponent = 31 - Math.clz32(us)
  return 4 * (exponent - 1) + ((us >> (exponent - 2)) & 3)
}

/** The shortest duration in a bucket, in microseconds; the next bucket's is where it ends. */
export function bucketStart(bucket: number): number {
  if (bucket < 4) return bucket
  const exponent = (bucket >> 2) + 1
  return 2 ** exponent + (bucket & 3) * 2 ** (exponent - 2)
}

export class Histogram {
  /** By bucket; whole numbers, that do not overflow. */
  readonly counts: Float64Array = new Float64Array(bucketCount)

  /** @param ms 0 or more */
  observe(ms: number): void {
    const us = 1000 * ms
    const bucket = bucketOf(us < longest ? us | 0 : longest)
    this.counts[bucket] = this.counts[bucket]! + 1
  }
}
