// Totals and averages per database, and the line that is logged every stats_period.

import type { Clients } from '../client/clients.js'
import { averages, Counters } from '../observe/stats.js'
import type { Registry } from '../pool/registry.js'
import type { StatsStatus } from './status.js'

export class Statistics {
  private readonly registry: Registry
  private readonly clients: Clients
  private timer: { cancel(): void } | undefined
  private before = new Map<string, Counters>()
  private latest = new Map<string, Counters>()
  private beforeAt: number
  private latestAt: number

  constructor(clients: Clients) {
    const { registry } = clients
    this.registry = registry
    this.clients = clients
    this.latestAt = registry.context.clock.now()
    this.beforeAt = this.latestAt - 1000 // so that what is shown at once is a rate already
  }

  start(): void {
    const { clock, config } = this.registry.context
    this.timer = clock.after(config.settings.stats_period * 1000, () => {
      this.turn()
      this.start()
    })
  }

  stop(): void {
    this.timer?.cancel()
  }

  /** The end of a period. */
  private turn(): void {
    this.before = this.latest
    this.beforeAt = this.latestAt
    this.latest = this.totals()
    this.latestAt = this.registry.context.clock.now()
    if (this.registry.context.config.settings.log_stats) this.log()
  }

  status(): StatsStatus[] {
    // As in pgbouncer, of the latest whole period together with what has passed of this one.
    const seconds = (this.registry.context.clock.now() - this.beforeAt) / 1000
    return [...this.totals()].map(([database, total]) => {
      return { database, total, average: averages(this.before.get(database) ?? new Counters(), total, seconds) }
    })
  }

  /** By database, as far as they have pools: what a pool has counted goes with it. */
  private totals(): Map<string, Counters> {
    const totals = new Map<string, Counters>()
    for (const pool of this.registry.pools()) {
      if (pool.isReplication) continue // counts with the clients' pool
      const { name } = pool.database
      const sum = totals.get(name) ?? new Counters()
      sum.add(pool.counters)
      totals.set(name, sum)
    }
    totals.set('pgbouncer', this.clients.console.counters.copy())
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
