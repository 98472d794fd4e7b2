// What every driver must be able to do through the pooler: the columns of the matrix.

/** Name of a check, and what it shows. Programs report by name: `ok NAME`, or `not ok NAME: why`. */
export const checks = {
  connect: 'logs in by SCRAM, and not with a wrong password',
  versions: 'every protocol version it knows, and one that is newer than both sides, is negotiated',
  types: 'values of all basic types, and NULLs, come back as they went in',
  prepared: 'a statement prepared once runs on either server',
  shared: '20 clients on 2 servers each get their own answers to statements of the same name',
  batch: 'a batch or pipeline is answered in order, with an error in the middle too',
  copy: 'COPY in and out, and one that fails half way',
  cancel: 'a running query is cancelled, and the connection is good afterwards',
  error: 'an error in a transaction, ROLLBACK to a savepoint, then ROLLBACK',
  reconnect: 'the server connection ends in a transaction: an error, and a new connection works',
  altered: 'a prepared statement survives ALTER TABLE',
  sql: 'PREPARE, EXECUTE and DEALLOCATE in SQL work on either server',
  migrate: 'tables are made and altered',
  crud: 'rows are made, found, changed and removed',
} as const

export type Check = keyof typeof checks

/** The title of a test; the word before the colon is the column. */
export function titleOf(check: Check): string {
  return `${check}: ${checks[check]}`
}
