// auth_query: looks up the secret of a user that auth_file does not have, on a server of the database.

import { type KnownUser, parseStoredSecret } from '../auth/secrets.js'
import * as logTexts from '../observe/log-texts.js'
import { PgError } from '../protocol/errors.js'
import { extendedQuery } from '../protocol/frontend.js'
import type { Answer } from '../relay/own-query.js'
import type { Attempt } from '../server/attempt.js'
import { leavePromise } from '../server/leave-promise.js'
import type { ServerSession } from '../server/server-session.js'
import type { Database } from './database.js'
import type { Pool } from './pool.js'
import { PoolQuery } from './pool-query.js'
import type { Registry } from './registry.js'

export class AuthQuery {
  private readonly registry: Registry

  constructor(registry: Registry) {
    this.registry = registry
  }

  /**
   * What the server knows of a user; undefined: nothing, or there is no auth_user to ask as, or nowhere to ask.
   * @param database that the client asked for; undefined: the console, for which `auth_dbname` is asked
   * @param attempt the login that it is for: who has left neither waits for a server nor keeps one busy
   * @throws PgError where it can't be asked, or answers with an error
   */
  async find(database: Database<Pool> | undefined, user: string, attempt: Attempt): Promise<KnownUser | undefined> {
    const { context } = this.registry
    const { settings } = context.config
    const authUser = database?.config.authUser ?? settings.auth_user
    const where = authUser === undefined ? undefined : this.databaseToAsk(database)
    if (authUser === undefined || where === undefined) return undefined
    if (context.log.verbose > 0) context.log.debug(`auth_query as ${authUser}: looking up ${user}`)
    const text = database?.config.authQuery ?? settings.auth_query
    const pool = this.registry.authPool(where, authUser)
    const answer = await attempt.wait(this.ask(pool, database, extendedQuery(text, [user]), attempt))
    // As pgbouncer, the last of several rows.
    const [name, secret] = answer.rows.at(-1) ?? []
    if (typeof name !== 'string') return undefined // no row, or one of nulls, as functions that give a record do
    return { name, stored: parseStoredSecret(secret ?? null) }
  }

  /** Rejects with PgError; settles not at all once the attempt has been given up. */
  private ask(pool: Pool, database: Database<Pool> | undefined, bytes: Buffer, attempt: Attempt): Promise<Answer> {
    const isConsole = database === undefined
    return new Promise((resolve, reject) => {
      leavePromise(() => {
        if (attempt.isOver) return
        // Whoever is to resume it must get in.
        if (isConsole && pool.isPaused) return reject(new PgError('auth_query_failed'))
        const query = new PoolQuery(pool, bytes, isConsole, (answer, server) => {
          forget()
          if (answer instanceof PgError) {
            const isAsked = server !== undefined
            return reject(isAsked ? answer : pool.database === database ? refusal(answer, pool) : hidden(answer, pool))
          }
          const problem = this.problemOf(answer, server!)
          if (problem === undefined) resolve(answer)
          else reject(problem)
        })
        const forget = attempt.onGivenUp(() => query.giveUp())
        query.begin()
      })
    })
  }

  /** Why an answer is of no use; the server is closed where it is none to this query. */
  private problemOf({ error, columns }: Answer, server: ServerSession): PgError | undefined {
    if (error !== undefined) {
      this.registry.context.log.warning(logTexts.authQueryFailed(error.message), server)
      return new PgError('auth_query_failed')
    }
    if (columns === 2) return undefined
    server.close('bad_auth_query', String(columns))
    return new PgError('auth_query_failed')
  }

  private databaseToAsk(database: Database<Pool> | undefined): Database<Pool> | undefined {
    const name = database?.config.authDbname ?? this.registry.context.config.settings.auth_dbname
    if (name === undefined) return database
    const where = this.registry.databases.find(name)
    if (where === undefined) {
      this.registry.context.log.error(`authentication database "${name}" is not configured`)
      throw new PgError('config_error')
    }
    if (where.disabled) throw new PgError('auth_database_disabled', name)
    return where
  }
}

/** What a server says of a database, and not of the auth_user. */
const ofDatabase: ReadonlySet<string> = new Set([
  '3D000', // invalid_catalog_name: it does not exist
  '55000', // object_not_in_prerequisite_state: it does not accept connections
])

/** For a client whose own database was asked: what the server says of that is for it to know. */
function refusal(error: PgError, pool: Pool): PgError {
  return ofDatabase.has(saidBy(error, pool)?.sqlstate ?? '') ? error : hidden(error, pool)
}

/**
 * What a server says to the auth_user is not for those who have not shown who they are, nor for those who come while it is
 * remembered: it is in the log.
 */
function hidden(error: PgError, pool: Pool): PgError {
  return saidBy(error, pool)?.condition === 'passed_on' ? new PgError('auth_query_failed') : error
}

function saidBy(error: PgError, { launcher }: Pool): PgError | undefined {
  return error.condition === 'server_login_failing' ? launcher.failure : error
}
