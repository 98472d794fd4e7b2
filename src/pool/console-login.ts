// Who may use the virtual database "pgbouncer", and as what: decided before any password is asked for.

import { PgError } from '../protocol/errors.js'
import { ParameterSet } from '../relay/parameters.js'
import type { MessageReader } from '../relay/reader.js'
import type { Attempt } from '../server/attempt.js'
import { logInClient } from './client-login.js'
import type { ClientSession } from './client-session.js'
import type { ConsoleRole } from './destination.js'
import { DestinationRelay } from './destination.js'
import type { Registry } from './registry.js'
import { welcomeMessages } from './welcome.js'

/**
 * Logs a client in to the console.
 * @throws PgError not_allowed, or what the password check says
 */
export async function logInToConsole(
  registry: Registry,
  client: ClientSession,
  reader: MessageReader,
  attempt: Attempt,
): Promise<ConsoleRole> {
  const { settings } = registry.context.config
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
      origin: { ...origin, tls: origin.tls !== '' },
      who: client,
      attempt,
    },
    registry.loginSources,
    registry.context,
  )
  return role
}

/** Welcomes the client and hands it over to the console. */
export function openConsole(
  registry: Registry,
  client: ClientSession,
  reader: MessageReader,
  role: ConsoleRole,
): DestinationRelay {
  registry.cancels.register(client, client.minor)
  registry.consoleCounters.clientLogins++
  const relay = new DestinationRelay(
    reader.socket,
    registry.consoleCounters,
    (consoleClient) => registry.openDestination(role, consoleClient, client),
    (reason) => client.close(reason),
  )
  const none = new ParameterSet(new Map())
  const notice = registry.context.config.settings.login_notify_message
  reader.write(welcomeMessages(registry.consoleParameters, none, client.cancelKey, notice))
  if (reader.rest.length > 0) relay.onBytes(reader.rest)
  reader.socket.resume()
  return relay
}
