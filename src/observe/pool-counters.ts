// All that is counted of one pool: the counters of SHOW STATS, how long things took, and how its clients and servers have ended.

import { CloseCounts } from './close-counts.js'
import { Histogram } from './histogram.js'
import { Counters } from './stats.js'

export class PoolCounters extends Counters {
  /** Until a client had the server that it wanted. */
  readonly waitTimes: Histogram = new Histogram()
  readonly queryTimes: Histogram = new Histogram()
  readonly xactTimes: Histogram = new Histogram()
  /** Until a new server had logged in. */
  readonly connectTimes: Histogram = new Histogram()
  readonly clientCloses: CloseCounts = new CloseCounts()
  readonly serverCloses: CloseCounts = new CloseCounts()
}
