// The PostgreSQL servers that all tests of a run share, as a test file sees them.

import pg from 'pg'
import { inject, type TestContext } from 'vitest'
import type { Address, PostgresFacts } from './cluster.js'

export type { PostgresFacts, TestRole } from './cluster.js'

declare module 'vitest' {
  interface ProvidedContext {
    postgres: PostgresFacts
  }
}

let own: PostgresFacts | undefined

/** Where the primary and the standby are, and who may log in to them. */
export function postgres(): PostgresFacts {
  return own ?? inject('postgres')
}

/** For a program that is no test: the servers are those that it has started itself. */
export function usePostgres(facts: PostgresFacts): void {
  own = facts
}

/** Skips a test of what these servers are too old for, and says so. */
export function needs(version: number, what: string, context: TestContext): void {
  if (postgres().version < version) context.skip(`PostgreSQL ${version}: ${what}`)
}

/** A database of one test file's own. */
export interface TestDatabase extends AsyncDisposable {
  readonly name: string
  drop(): Promise<void>
}

let made = 0

/**
 * On the primary, owned by postgres and open to all roles; on the standby after `standbyCaughtUp`.
 * @param template a database that nobody is connected to, to be copied as it is
 */
export async function createDatabase(template = 'template1'): Promise<TestDatabase> {
  const name = `test_${process.pid}_${++made}`
  await query(`CREATE DATABASE ${name} TEMPLATE ${template}`)
  await query('GRANT ALL ON SCHEMA public TO PUBLIC', { database: name })
  const drop = async (): Promise<void> => {
    // FORCE ends sessions, but not who reads a logical slot; it is there from PostgreSQL 13 on.
    await endBackends(`datname = '${name}'`)
    await query(`DROP DATABASE IF EXISTS ${name} ${postgres().version < 13 ? '' : 'WITH (FORCE)'}`)
  }
  return { name, drop, [Symbol.asyncDispose]: drop }
}

/**
 * Ends backends of the primary, and resolves when they have gone.
 * @param which a condition on the columns of pg_stat_activity
 */
export async function endBackends(which: string): Promise<void> {
  await using client = await superuser({})
  for (;;) {
    const left = await client.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE ${which}`)
    if (left.length === 0) return
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

export interface QueryOptions {
  readonly values?: readonly unknown[]
  readonly database?: string
  /** The primary if left out. */
  readonly on?: Address
}

/** Asks a server itself, past any pooler, as the superuser, over a connection of its own. */
export async function query(sql: string, options: QueryOptions = {}): Promise<Record<string, unknown>[]> {
  await using client = await superuser(options)
  return await client.query(sql, options.values)
}

/** Resolves when the standby shows all that the primary has committed by now. */
export async function standbyCaughtUp(): Promise<void> {
  const [primary] = await query('SELECT pg_current_wal_lsn()::text AS lsn')
  await using standby = await superuser({ on: postgres().standby })
  const deadline = performance.now() + 20_000
  for (;;) {
    const [row] = await standby.query('SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn AS done', [primary?.lsn])
    if (row?.done === true) return
    if (performance.now() > deadline) throw new Error(`the standby has not reached ${String(primary?.lsn)}`)
  }
}

async function superuser({ database = 'postgres', on = postgres().primary }: QueryOptions) {
  const { user, password } = postgres().roles.postgres
  const client = new pg.Client({ ...on, user, password, database })
  await client.connect()
  return {
    async query(sql: string, values: readonly unknown[] = []): Promise<Record<string, unknown>[]> {
      return (await client.query<Record<string, unknown>>(sql, [...values])).rows
    },
    [Symbol.asyncDispose]: () => client.end(),
  }
}
