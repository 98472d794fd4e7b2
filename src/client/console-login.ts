// Who may use the virtual database "pgbouncer", and as what: decided before any password is asked for.

import type { Cancels } from '../cancel/cancel.js'
import { PgError } from '../protocol/errors.js'
import type { MessageReader } from '../relay/message-reader.js'
import { ParameterSet } from '../relay/parameters.js'
import type { Attempt } from '../server/attempt.js'
import type { Context } from '../server/context.js'
import type { ClientSession } from './client-session.js'
import { type ConsoleHost, type ConsoleRole, DestinationRelay } from './destination.js'
import { type LoginSources, logInClient } from './login.js'
import { traceLogin } from './trace.js'
import { welcomeMessages } from './welcome.js'

/** What clients of the console come in by. */
interface ConsoleEntrance {
  readonly context: Context
  readonly registry: { readonly cancels: Cancels }
  readonly console: ConsoleHost
  readonly loginSources: LoginSources
}

/**
 * Logs a client in to the console.
 * @throws PgError not_allowed, or what the password check says
 */
export async function logInToConsole(
  entrance: ConsoleEntrance,
  client: ClientSession,
  reader: MessageReader,
  attempt: Attempt,
): Promise<ConsoleRole> {
  const { settings } = entrance.context.config
  const { user, origin } = client
  // Only processes of the pooler's own user can open such a socket: see docs/admin.md.
  if (user === 'pgbouncer' && origin.isOwnUser) return 'admin'
  const role = settings.admin_users.includes(user)
    ? 'admin'
    : settings.stats_users.includes(user) || settings.auth_type === 'any'
      ? 'stats'
      : undefined
  if (role === undefined) throw new PgError('not_allowed')
  await logInClient(
    reader,
    {
      user,
      database: undefined,
      databaseName: 'pgbouncer',
      replication: 'none',
      origin,
      who: client,
      attempt,
    },
    entrance.loginSources,
    entrance.context,
  )
  return role
}

/** Welcomes the client and hands it over to the console. */
export function openConsole(
  entrance: ConsoleEntrance,
  client: ClientSession,
  reader: MessageReader,
  role: ConsoleRole,
): void {
  entrance.registry.cancels.register(client, client.minor)
  entrance.console.counters.clientLogins++
  traceLogin(client)
  const relay = new DestinationRelay(
    reader.socket,
    entrance.console.counters,
    (consoleClient) => entrance.console.open(role, consoleClient, client),
    (reason) => client.close(reason),
  )
  const none = new ParameterSet(new Map())
  const notice = entrance.context.config.settings.login_notify_message
  reader.write(welcomeMessages(entrance.console.parameters, none, client.cancelKey, notice))
  client.phase = relay
  if (reader.rest.length > 0) relay.onBytes(reader.rest)
  reader.socket.resume()
}
