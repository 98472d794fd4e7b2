// What a host says of itself when it is probed: the questions, and how their answers are read.

import type { Answer } from '../../relay/own-query.js'

/** What a host has said; what it did not say, or what a service forbids to ask, is undefined. */
export interface Report {
  /** `pg_is_in_recovery()`: it is a standby, or still recovers. */
  readonly isInRecovery: boolean
  /** The timeline that it writes or follows; of a standby never more than that, maybe less. */
  readonly timeline: number | undefined
  /** `pg_control_system()`: the same for all that are copies of one another. */
  readonly systemId: string | undefined
  /** When the server was started: the same for two addresses of one server. */
  readonly startedAt: string | undefined
  /** Where it writes to, or has replayed to: bytes of WAL. */
  readonly lsn: bigint | undefined
  /** Of a standby that has received more than it has replayed: the age of the last transaction that it replayed, ms. */
  readonly replayDelay: number | undefined
}

/** All that a login tells. */
export function toldByLogin(isInRecovery: boolean): Report {
  const nothing = undefined
  return {
    isInRecovery,
    timeline: nothing,
    systemId: nothing,
    startedAt: nothing,
    lsn: nothing,
    replayDelay: nothing,
  }
}

/** Returns whether the role is all that is known: a login has told it, and the next one may tell another. */
export function isByLogin({ timeline, startedAt, lsn }: Report): boolean {
  return timeline === undefined && startedAt === undefined && lsn === undefined
}

export const roleQuestion = 'SELECT pg_catalog.pg_is_in_recovery()'

/** By `search_path` nobody gets in between. Of PostgreSQL 10 to 18; each part may be asked of either role. */
export const positionQuestion = `SELECT pg_catalog.pg_is_in_recovery(),
  CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_lsn() END,
  CASE WHEN NOT pg_catalog.pg_is_in_recovery()
    THEN pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8) END,
  CASE WHEN pg_catalog.pg_is_in_recovery()
      AND pg_catalog.pg_last_wal_receive_lsn() OPERATOR(pg_catalog.<>) pg_catalog.pg_last_wal_replay_lsn()
    THEN 1000 OPERATOR(pg_catalog.*) pg_catalog.date_part('epoch',
      pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.pg_last_xact_replay_timestamp()) END,
  pg_catalog.to_char(pg_catalog.timezone('UTC', pg_catalog.pg_postmaster_start_time()), 'YYYYMMDDHH24MISSUS')`

export const systemQuestion = 'SELECT system_identifier FROM pg_catalog.pg_control_system()'

/**
 * The control file's timeline is that of the last restartpoint, so that of the end of recovery and that of what is received
 * are asked for too; the last is NULL for who may not see it.
 */
export const followedQuestion = `SELECT greatest(
  (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()),
  (SELECT min_recovery_end_timeline FROM pg_catalog.pg_control_recovery()),
  (SELECT received_tli FROM pg_catalog.pg_stat_wal_receiver))`

/** Answers to the questions above; undefined: not asked this time. An answer with an error says nothing. */
export interface Answers {
  readonly role: Answer
  readonly position: Answer
  readonly followed: Answer
  readonly system: Answer | undefined
}

/**
 * @param systemId what was heard of it before on this connection
 * @returns undefined where not even the role is known
 */
export function readReport(
  { role, position, followed, system }: Answers,
  systemId: string | undefined,
): Report | undefined {
  const [ownRole, lsn, written, delay, startedAt] = rowOf(position)
  const isInRecovery = ownRole ?? rowOf(role)[0]
  if (isInRecovery !== 't' && isInRecovery !== 'f') return undefined
  const timeline = isInRecovery === 't' ? numberOf(rowOf(followed)[0]) : numberOf(written, 16)
  return {
    isInRecovery: isInRecovery === 't',
    timeline,
    systemId: system === undefined ? systemId : (rowOf(system)[0] ?? undefined),
    startedAt: startedAt ?? undefined,
    lsn: lsnOf(lsn),
    replayDelay: numberOf(delay),
  }
}

function rowOf(answer: Answer): readonly (string | null)[] {
  return answer.error === undefined ? (answer.rows[0] ?? []) : []
}

function numberOf(text: string | null | undefined, base?: 16): number | undefined {
  if (text === null || text === undefined) return undefined
  const value = base === 16 ? Number.parseInt(text, 16) : Number(text)
  return Number.isFinite(value) ? value : undefined
}

/** `16/B374D848` as a number of bytes. */
export function lsnOf(text: string | null | undefined): bigint | undefined {
  const [, high, low] = /^([0-9A-F]{1,8})\/([0-9A-F]{1,8})$/i.exec(text ?? '') ?? []
  return high === undefined ? undefined : (BigInt(`0x${high}`) << 32n) + BigInt(`0x${low}`)
}
