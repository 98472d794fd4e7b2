// Totals and averages per database, and the line that is logged every stats_period.

import { averages, Counters } from '../observe/stats.js'
import type { Registry } from './registry.js'
import type { StatsStatus } from './status.js'

export class Statistics {
  private readonly registry: Registry
  private timer: { cancel(): void } | undefined
  private before = new Map<string, Counters>()
  private latest = new Map<string, Counters>()
  private beforeAt: number
  private latestAt: number

  constructor(registry: Registry) {
    this.registry = registry
    this.beforeAt = this.latestAt = registry.context.clock.now()
  }

  start(): void {
    const seconds = this.registry.context.config.settings.stats_period
    if (seconds > 0) this.timer = this.registry.context.clock.every(seconds * 1000, () => this.turn())
  }

  stop(): void {
    this.timer?.cancel()
  }

  /** The end of a period. */
  turn(): void {
    this.before = this.latest
    this.beforeAt = this.latestAt
    this.latest = this.totals()
    this.latestAt = this.registry.context.clock.now()
    if (this.registry.context.config.settings.log_stats) this.log()
  }

  status(): StatsStatus[] {
    return [...this.totals()].map(([database, total]) => ({ database, total, average: this.average(database) }))
  }

  private average(database: string): Counters {
    const now = this.latest.get(database) ?? new Counters()
    return averages(this.before.get(database) ?? new Counters(), now, (this.latestAt - this.beforeAt) / 1000)
  }

  /** By database; the console's own row, as in pgbouncer, is there with nothing in it but its clients' bytes left out. */
  private totals(): Map<string, Counters> {
    const totals = new Map<string, Counters>()
    for (const database of this.registry.databases.values()) {
      const sum = new Counters()
      for (const pool of this.registry.pools(database)) sum.add(pool.counters)
      totals.set(database.name, sum)
    }
    totals.set('pgbouncer', new Counters())
    return totals
  }

  private log(): void {
    const all = { before: new Counters(), now: new Counters() }
    for (const counters of this.before.values()) all.before.add(counters)
    for (const counters of this.latest.values()) all.now.add(counters)
    const a = averages(all.before, all.now, (this.latestAt - this.beforeAt) / 1000)
    this.registry.context.log.info(
      `stats: ${a.xacts} xacts/s, ${a.queries} queries/s, ${a.clientParses} client parses/s, ` +
        `${a.serverParses} server parses/s, ${a.binds} binds/s, ${a.clientLogins} client logins/s, ` +
        `in ${a.received} B/s, out ${a.sent} B/s, xact ${a.xactTime} us, query ${a.queryTime} us, wait ${a.waitTime} us`,
    )
  }
}
