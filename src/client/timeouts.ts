// The time-outs of one client, taken from the entries of its user and its database and from the settings.

import type { Database, User } from '../pool/database.js'
import type { Context } from '../server/context.js'

type UserTimeout =
  | 'queryTimeout'
  | 'queryWaitTimeout'
  | 'idleTransactionTimeout'
  | 'transactionTimeout'
  | 'clientIdleTimeout'

/** Time-outs of one client, ms; 0 is never. The client's own user counts first, then a forced one. */
export class Timeouts {
  private readonly context: Context
  private readonly database: Database
  private readonly user: User
  private readonly pool: { readonly user: User }

  constructor(context: Context, database: Database, user: User, pool: { readonly user: User }) {
    this.context = context
    this.database = database
    this.user = user
    this.pool = pool
  }

  get query(): number {
    return 1000 * (this.ofUser('queryTimeout') ?? this.context.config.settings.query_timeout)
  }

  get queryWait(): number {
    return (
      1000 *
      (this.ofUser('queryWaitTimeout') ??
        this.database.config.queryWaitTimeout ??
        this.context.config.settings.query_wait_timeout)
    )
  }

  get idleTransaction(): number {
    return 1000 * (this.ofUser('idleTransactionTimeout') ?? this.context.config.settings.idle_transaction_timeout)
  }

  get transaction(): number {
    return 1000 * (this.ofUser('transactionTimeout') ?? this.context.config.settings.transaction_timeout)
  }

  get clientIdle(): number {
    return 1000 * (this.ofUser('clientIdleTimeout') ?? this.context.config.settings.client_idle_timeout)
  }

  private ofUser(timeout: UserTimeout): number | undefined {
    return this.user.config?.[timeout] ?? this.pool.user.config?.[timeout]
  }
}
