// What a server says of its session at login, as far as `target_session_attrs` asks for it.

export interface SessionRole {
  readonly isInRecovery: boolean
  /** `default_transaction_read_only` of this user and database. */
  readonly isReadOnly: boolean
}

/** For servers before PostgreSQL 14, which do not report it. */
export const sessionRoleQuestion =
  "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('default_transaction_read_only')"

/** @returns undefined where the server has not reported it */
export function sessionRoleOf(reported: ReadonlyMap<string, string>): SessionRole | undefined {
  const recovery = reported.get('in_hot_standby')
  const readOnly = reported.get('default_transaction_read_only')
  if (recovery === undefined || readOnly === undefined) return undefined
  return { isInRecovery: recovery === 'on', isReadOnly: readOnly === 'on' }
}
