// auth_query: looks up the secret of a user that auth_file does not have, on a server of the database.

import { parseStoredSecret } from '../auth/secrets.js'
import { PgError } from '../protocol/errors.js'
import { extendedQuery } from '../protocol/frontend.js'
import type { Answer } from './ask.js'
import type { KnownUser } from './client-login.js'
import type { Database } from './database.js'
import type { Pool } from './pool.js'
import type { Registry } from './registry.js'
import type { ServerSession } from './server-session.js'

export class AuthQuery {
  private readonly registry: Registry

  constructor(registry: Registry) {
    this.registry = registry
  }

  /**
   * What the server knows of a user; undefined: nothing, or there is no auth_user to ask as.
   * @throws PgError where it can't be asked, or answers with an error
   */
  async find(database: Database, user: string): Promise<KnownUser | undefined> {
    const { context } = this.registry
    const { settings } = context.config
    const authUser = database.config.authUser ?? settings.auth_user
    if (authUser === undefined) return undefined
    if (context.log.verbose > 0) context.log.debug(`auth_query as ${authUser}: looking up ${user}`)
    const where = this.databaseToAsk(database)
    const pool = this.registry.authPool(where, authUser)
    const server = await this.acquire(pool)
    let answer: Answer
    try {
      answer = await server.query(extendedQuery(database.config.authQuery ?? settings.auth_query, [user]))
    } catch {
      throw new PgError('server_crashed')
    }
    pool.release(server)
    if (answer.error !== undefined) {
      context.log.warning(`S: error in auth_query: ${answer.error.message}`, server)
      throw new PgError('auth_query_failed')
    }
    return this.read(answer, server)
  }

  private acquire(pool: Pool): Promise<ServerSession> {
    return new Promise((resolve, reject) => {
      const onRefused = (error: PgError): void => {
        // What the server says to the auth_user is not for those who have not shown who they are: it is in the log.
        reject(error.condition === 'passed_on' ? new PgError('auth_query_failed') : error)
      }
      pool.acquire({ waitingSince: 0, wantsAlignment: false, onServer: resolve, onRefused })
    })
  }

  private databaseToAsk(database: Database): Database {
    const name = database.config.authDbname ?? this.registry.context.config.settings.auth_dbname
    if (name === undefined) return database
    const where = this.registry.databaseNamed(name)
    if (where === undefined) {
      this.registry.context.log.error(`authentication database "${name}" is not configured`)
      throw new PgError('config_error')
    }
    if (where.disabled) throw new PgError('auth_database_disabled', name)
    return where
  }

  private read(answer: Answer, server: ServerSession): KnownUser | undefined {
    if (answer.columns !== 2) return this.refuse(server, `expected 2 columns from auth_query, not ${answer.columns}`)
    const [name, secret] = answer.rows[0] ?? []
    if (typeof name !== 'string') return undefined // no row, or one of nulls, as functions that give a record do
    return { name, stored: parseStoredSecret(secret ?? null) }
  }

  private refuse(server: ServerSession, text: string): never {
    server.close(text)
    throw new PgError('auth_query_failed')
  }
}
