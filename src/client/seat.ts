// What a client takes up when it has proven who it is, and gives back when it leaves: its place in a database and in a pool.

import type { Credentials } from '../auth/server-login.js'
import type { Database } from '../pool/database.js'
import type { Databases, Entered } from '../pool/databases.js'
import type { Pool } from '../pool/pool.js'
import type { Registry } from '../pool/registry.js'
import { endReplication, openReplication } from './replication.js'
import type { ClientStartup } from './startup-parameters.js'
import { Timeouts } from './timeouts.js'

export class Seat {
  readonly pool: Pool
  readonly timeouts: Timeouts
  private readonly databases: Databases
  private readonly entered: Entered

  constructor(databases: Databases, entered: Entered, pool: Pool) {
    this.databases = databases
    this.entered = entered
    this.pool = pool
    this.timeouts = new Timeouts(pool.context, entered.database, entered.user, pool)
  }

  /**
   * @param credentials of the client, which has been let in with them
   * @param address where it comes from, for `application_name_add_host`
   * @throws PgError where the database is disabled, or a limit reached
   */
  static take(
    registry: Registry,
    asked: Database<Pool>,
    credentials: Credentials,
    startup: ClientStartup,
    address: string,
  ): Seat {
    const { databases } = registry
    const entered = databases.admit(asked, credentials.user)
    const pool =
      startup.replication === 'none'
        ? registry.joinPool(entered.database, credentials)
        : openReplication(registry, address, entered.database, credentials, startup)
    return new Seat(databases, entered, pool)
  }

  leave(): void {
    if (this.pool.isReplication) endReplication(this.pool)
    this.databases.depart(this.entered)
  }
}
