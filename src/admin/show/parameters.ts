// SHOW of PostgreSQL's own parameters: fixed values for drivers that ask for them, or set them, without being told to.

import { defineTable, type Table, text } from '../table.js'

/** The first five are pgbouncer's; the others are what drivers and tools of today touch when they connect. */
const parameters: Readonly<Record<string, string>> = {
  client_encoding: 'UTF-8',
  default_transaction_isolation: 'read committed',
  standard_conforming_strings: 'on',
  datestyle: 'ISO',
  timezone: 'GMT',
  application_name: '',
  bytea_output: 'hex',
  client_min_messages: 'notice',
  default_transaction_read_only: 'off',
  extra_float_digits: '1',
  idle_in_transaction_session_timeout: '0',
  intervalstyle: 'postgres',
  lock_timeout: '0',
  search_path: '',
  statement_timeout: '0',
  transaction_isolation: 'read committed',
  transaction_read_only: 'off',
}

export const parameterNames: readonly string[] = Object.keys(parameters)

export function isParameter(name: string): boolean {
  return Object.hasOwn(parameters, name.toLowerCase())
}

export function parameterTable(name: string): Table | undefined {
  const column = name.toLowerCase()
  if (!isParameter(column)) return undefined
  return defineTable(column, () => [parameters[column]], [[column, text, (value) => value]])
}
