// What a scene has come to: every acknowledged token is looked for, and what clients saw is counted.

import { database, type FailoverCluster, type Reign } from './cluster.js'
import type { Load, Write } from './load.js'

/** Milliseconds and counts. `Infinity`: it has never come. */
export interface Figures {
  readonly writes: number
  readonly reads: number
  /** The longest time without an acknowledged write, or without a read. */
  readonly writeGap: number
  readonly readGap: number
  /** From the moment at which the new primary took writes to the first that it acknowledged through the pooler. */
  readonly gapAfterWritable: number
  readonly connectionsLost: number
  /** Errors of what may have reached a server: 40001 and 08007. */
  readonly inFlight: number
  /** The longest that a client waited to be told one of them. */
  readonly toldAfter: number
  /** All other errors, by code. */
  readonly otherErrors: Readonly<Record<string, number>>
  readonly unanswered: number
  /** How long after a new primary was writable an older one still acknowledged something. */
  readonly window: number
  /** Acknowledged and not there; of them, acknowledged after the pooler knew of the new primary. */
  readonly acknowledgedLost: number
  readonly lostByUs: number
  /** Written on another host that took it for its own after the new primary was writable. */
  readonly astray: number
  /** Told 40001, and there all the same. */
  readonly ghosts: number
  /** There more than once. */
  readonly twice: number
}

const inFlightCodes = new Set(['40001', '08007'])

/**
 * @param writableAt when the primary, new or come back, took a write past the pooler; undefined where it never went
 */
export async function figuresOf(load: Load, cluster: FailoverCluster, writableAt?: number): Promise<Figures> {
  const there = await tokensOn(cluster.primary, load)
  const acknowledged = load.writes.filter(({ outcome }) => outcome === 'acknowledged')
  const reigns = reignsOf(acknowledged, cluster)
  const last = reigns.at(-1)!
  const knownAt = firstAfter(acknowledged, last, last.since > load.began ? last.since : (writableAt ?? 0))
  const stale = acknowledged.flatMap((write) => laterReigns(write, reigns).map((reign) => ({ write, reign })))
  const lost = acknowledged.filter(({ token }) => !there.has(token))
  const inFlight = load.failures.filter(({ code }) => inFlightCodes.has(code))
  const others = load.failures.filter(({ code }) => !inFlightCodes.has(code))
  return {
    writes: acknowledged.length,
    reads: load.reads.length,
    writeGap: longestGap(
      acknowledged.map(({ endedAt }) => endedAt),
      load,
    ),
    readGap: longestGap(
      load.reads.map(({ at }) => at),
      load,
    ),
    gapAfterWritable: writableAt === undefined ? 0 : Math.max(0, knownAt - writableAt),
    connectionsLost: load.connectionsLost,
    inFlight: inFlight.length,
    toldAfter: Math.max(0, ...inFlight.map(({ waited }) => waited)),
    otherErrors: counted(others.map(({ code }) => code)),
    unanswered: load.unanswered,
    window: Math.max(0, ...stale.map(({ write, reign }) => write.endedAt - reign.writableAt)),
    acknowledgedLost: lost.length,
    lostByUs: lost.filter((write) => laterReigns(write, reigns).some(({ knownAt }) => knownAt < write.endedAt)).length,
    astray: writableAt === undefined ? 0 : await countAstray(load, cluster, writableAt),
    ghosts: load.writes.filter(({ code, token }) => code === '40001' && there.has(token)).length,
    twice: [...there.values()].filter((count) => count > 1).length,
  }
}

/** A reign as the pooler has had it: `knownAt` is when its host first acknowledged something through it. */
interface KnownReign extends Reign {
  readonly knownAt: number
}

function reignsOf(acknowledged: readonly Write[], { reigns }: FailoverCluster): KnownReign[] {
  return reigns.map((reign) => ({ ...reign, knownAt: firstAfter(acknowledged, reign, reign.since) }))
}

/** The first time that a host acknowledged something, from a moment on. */
function firstAfter(acknowledged: readonly Write[], { host }: Reign, from: number): number {
  const times = acknowledged.filter((write) => write.host === host.direct.port && write.endedAt >= from)
  return Math.min(...times.map(({ endedAt }) => endedAt))
}

/** Those that had begun, after the one in which this host was told to be primary, when it acknowledged this. */
function laterReigns(write: Write, reigns: readonly KnownReign[]): KnownReign[] {
  const begun = reigns.filter(({ since }) => since <= write.endedAt)
  const own = begun.findLastIndex(({ host }) => host.direct.port === write.host)
  return begun.slice(own + 1)
}

/** How often each token is on a host. */
async function tokensOn(host: FailoverCluster['primary'], load: Load): Promise<Map<string, number>> {
  const rows = await host.query(
    `SELECT token, count(*)::int AS count FROM tokens WHERE token LIKE '${load.pattern}' GROUP BY token`,
    database,
  )
  return new Map(rows.map(({ token, count }) => [String(token), Number(count)]))
}

async function countAstray(load: Load, cluster: FailoverCluster, writableAt: number): Promise<number> {
  const sent = new Map<string, Write>(load.writes.map((write) => [write.token, write]))
  let astray = 0
  for (const host of cluster.standbys.filter(({ isRunning }) => isRunning)) {
    const [row] = await host.query('SELECT pg_is_in_recovery() AS is')
    if (row?.is === true) continue
    const tokens = await tokensOn(host, load)
    astray += [...tokens.keys()].filter((token) => sent.get(token)!.sentAt > writableAt).length
  }
  return astray
}

function longestGap(times: readonly number[], { began, ended }: Load): number {
  const sorted = [began, ...times.toSorted((a, b) => a - b), ended]
  return Math.max(0, ...sorted.slice(1).map((time, index) => time - sorted[index]!))
}

function counted(items: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const item of items) counts[item] = (counts[item] ?? 0) + 1
  return counts
}

/** For people: one line a scene. */
export function tableOf(scenes: ReadonlyMap<string, Figures>): string {
  const heads = ['scene', 'writes', 'reads', 'gap', 'after', 'read gap', 'lost c.', 'in flight', 'told', 'other errors']
  const more = ['hung', 'window', 'acked lost', 'by us', 'astray', 'ghosts', 'twice']
  const lines = [...scenes].map(([scene, figures]) => [
    scene,
    String(figures.writes),
    String(figures.reads),
    ...[figures.writeGap, figures.gapAfterWritable, figures.readGap].map(milliseconds),
    String(figures.connectionsLost),
    String(figures.inFlight),
    milliseconds(figures.toldAfter),
    Object.entries(figures.otherErrors)
      .map(([code, count]) => `${count} x ${code}`)
      .join(' ') || '0',
    String(figures.unanswered),
    milliseconds(figures.window),
    ...[figures.acknowledgedLost, figures.lostByUs].map(String),
    ...[figures.astray, figures.ghosts, figures.twice].map(String),
  ])
  const table = [[...heads, ...more], ...lines]
  const widths = table[0]!.map((_, column) => Math.max(...table.map((line) => line[column]!.length)))
  return table.map((line) => line.map((cell, column) => cell.padEnd(widths[column]!)).join(' | ')).join('\n')
}

function milliseconds(value: number): string {
  return Number.isFinite(value) ? `${value.toFixed(0)} ms` : 'never'
}
