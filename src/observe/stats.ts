// hot path
// Counters of one pool, and their averages over the latest `stats_period`.

/** What is counted; times in microseconds, sizes in bytes. The order is SHOW STATS'. */
export class Counters {
  serverAssignments = 0
  xacts = 0
  queries = 0
  /** From clients. */
  received = 0
  /** From servers, towards clients. */
  sent = 0
  xactTime = 0
  queryTime = 0
  waitTime = 0
  clientParses = 0
  serverParses = 0
  binds = 0
  clientLogins = 0
  /** Statements that leave state of each kind in the session, where `session_state` has them looked for. */
  sessionSettings = 0
  sessionListens = 0
  sessionLocks = 0
  sessionTemporaries = 0
  sessionCursors = 0

  add(other: Counters): void {
    this.serverAssignments += other.serverAssignments
    this.xacts += other.xacts
    this.queries += other.queries
    this.received += other.received
    this.sent += other.sent
    this.xactTime += other.xactTime
    this.queryTime += other.queryTime
    this.waitTime += other.waitTime
    this.clientParses += other.clientParses
    this.serverParses += other.serverParses
    this.binds += other.binds
    this.clientLogins += other.clientLogins
    this.sessionSettings += other.sessionSettings
    this.sessionListens += other.sessionListens
    this.sessionLocks += other.sessionLocks
    this.sessionTemporaries += other.sessionTemporaries
    this.sessionCursors += other.sessionCursors
  }

  copy(): Counters {
    const copy = new Counters()
    copy.add(this)
    return copy
  }
}

/** Average of what was counted between two moments: counts and bytes per second, times per transaction, query or assignment. */
export function averages(before: Counters, now: Counters, seconds: number): Counters {
  const average = new Counters()
  if (seconds <= 0) return average
  average.serverAssignments = rate(before.serverAssignments, now.serverAssignments, seconds)
  average.xacts = rate(before.xacts, now.xacts, seconds)
  average.queries = rate(before.queries, now.queries, seconds)
  average.received = rate(before.received, now.received, seconds)
  average.sent = rate(before.sent, now.sent, seconds)
  average.xactTime = mean(before.xactTime, now.xactTime, now.xacts - before.xacts)
  average.queryTime = mean(before.queryTime, now.queryTime, now.queries - before.queries)
  average.waitTime = mean(before.waitTime, now.waitTime, now.serverAssignments - before.serverAssignments)
  average.clientParses = rate(before.clientParses, now.clientParses, seconds)
  average.serverParses = rate(before.serverParses, now.serverParses, seconds)
  average.binds = rate(before.binds, now.binds, seconds)
  average.clientLogins = rate(before.clientLogins, now.clientLogins, seconds)
  return average
}

function rate(before: number, now: number, seconds: number): number {
  return Math.max(0, Math.trunc((now - before) / seconds)) // what was counted before may be gone
}

function mean(before: number, now: number, count: number): number {
  return count > 0 ? Math.max(0, Math.trunc((now - before) / count)) : 0
}
