// All that is counted of one pool: the counters of SHOW STATS, and how its clients and servers have ended.

import { CloseCounts } from './close-counts.js'
import { Counters } from './stats.js'

export class PoolCounters extends Counters {
  readonly clientCloses: CloseCounts = new CloseCounts()
  readonly serverCloses: CloseCounts = new CloseCounts()
}
