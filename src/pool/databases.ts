// The databases and users that clients may name: configured ones, those that `*` makes up, and who is in them.

import type { DatabaseConfig } from '../config/databases.js'
import { autoDatabase } from '../config/load.js'
import * as logTexts from '../observe/log-texts.js'
import { PgError } from '../protocol/errors.js'
import type { Context } from '../server/context.js'
import { Database, User } from './database.js'
import { Limits } from './limits.js'
import type { Pool } from './pool.js'

/** Databases that `*` made up for look-ups alone, and that are remembered at a time. */
const mostNamed = 100

/** What a client has been let into; it counts there until it leaves. */
export interface Entered {
  readonly database: Database<Pool>
  readonly user: User
}

export class Databases {
  /** By the name that clients ask for. */
  readonly byName = new Map<string, Database<Pool>>()
  readonly users = new Map<string, User>()
  private readonly context: Context
  /** Databases that `*` made up, and that nobody has been let into yet; who is anybody may name them. */
  private readonly named = new Set<Database<Pool>>()

  constructor(context: Context) {
    this.context = context
    for (const config of context.config.databases.values()) {
      this.byName.set(config.name, this.make(config, false))
    }
  }

  [Symbol.iterator](): IterableIterator<Database<Pool>> {
    return this.byName.values()
  }

  get(name: string): Database<Pool> | undefined {
    return this.byName.get(name)
  }

  /** The database of this name. One that `*` makes up is remembered when it is `registered` only. */
  find(name: string): Database<Pool> | undefined {
    const known = this.byName.get(name)
    if (known !== undefined) return known
    const config = autoDatabase(this.context.config, name)
    if (config === undefined) return undefined
    return this.make(config, true)
  }

  /** @param isAuto made for a name that only `*` covers */
  make(config: DatabaseConfig, isAuto: boolean): Database<Pool> {
    const { clock, topology } = this.context
    return new Database(config, isAuto, clock.now(), topology.targetOf(config))
  }

  /** The database of this name, remembered from now on. */
  findOrMake(name: string): Database<Pool> | undefined {
    const found = this.find(name)
    return found && this.registered(found)
  }

  /**
   * The database as everyone knows it: one that `*` made up is remembered when somebody first connects to it.
   * @throws PgError where it has gone from the configuration while the client logged in
   */
  private registered(database: Database<Pool>): Database<Pool> {
    const known = this.byName.get(database.name)
    if (known !== undefined) return known
    if (!database.isAuto || this.find(database.name) === undefined) throw new PgError('database_removed')
    this.byName.set(database.name, database)
    this.context.log.info(logTexts.newDatabase(database.name))
    return database
  }

  /**
   * The same for a look-up on behalf of somebody who has not been let in yet.
   * @throws PgError
   */
  registeredForLookUp(asked: Database<Pool>): Database<Pool> {
    const isNew = !this.byName.has(asked.name)
    const database = this.registered(asked)
    if (isNew) this.rememberNamed(database)
    return database
  }

  private rememberNamed(database: Database<Pool>): void {
    this.named.add(database)
    if (this.named.size <= mostNamed) return
    for (const oldest of this.named) {
      if (oldest === database || !oldest.isUnused) continue // nor this one, which is about to be used
      this.forget(oldest)
      return
    }
  }

  /** Returns whether nobody has been let into it yet: then it is not remembered for long. */
  isOnlyNamed(database: Database<Pool>): boolean {
    return this.named.has(database)
  }

  /** Drops a database that is not configured any more, or that `*` made up and nobody uses. */
  forget(database: Database<Pool>): void {
    this.context.log.warning(logTexts.databaseDropped(database.name))
    this.byName.delete(database.name)
    this.named.delete(database)
  }

  user(name: string): User {
    let user = this.users.get(name)
    if (user === undefined) {
      user = new User(name, this.context.config.users.get(name))
      this.users.set(name, user)
    }
    return user
  }

  /**
   * Lets a client, whose user is proven, into a database.
   * @throws PgError disabled, or limits reached (`max_db_client_connections`, `max_user_client_connections`)
   */
  admit(asked: Database<Pool>, userName: string): Entered {
    const database = this.registered(asked)
    this.named.delete(database)
    if (database.disabled) throw new PgError('database_disabled', database.name)
    const user = this.user(userName)
    const limits = new Limits(this.context, database, user)
    if (limits.maxDbClients > 0 && database.clients >= limits.maxDbClients) throw new PgError('too_many_db_clients')
    const most = user.config?.maxUserClientConnections ?? this.context.config.settings.max_user_client_connections
    if (most > 0 && user.clients >= most) throw new PgError('too_many_user_clients')
    database.clients++
    user.clients++
    return { database, user }
  }

  /** The client has left. */
  depart({ database, user }: Entered): void {
    database.clients--
    user.clients--
    this.noteEmpty(database)
  }

  /** Notes since when a database has had neither clients nor servers. */
  noteEmpty(database: Database<Pool>): void {
    if (database.clients === 0 && database.servers === 0) database.emptySince = this.context.clock.now()
  }
}
