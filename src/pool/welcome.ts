// What a client is told when its login is complete.

import { pgbouncerVersion } from '../observe/version.js'
import * as backend from '../protocol/backend.js'
import type { ParameterSet } from './parameters.js'
import type { Pool } from './pool.js'
import type { ClientStartup } from './startup-parameters.js'

/** Gives a client its parameters: what it asked for, and for the rest what its pool's servers have. */
export function setParameters(
  client: { readonly parameters: ParameterSet; readonly address: string },
  startup: ClientStartup,
  defaults: ParameterSet,
  addHost: boolean,
): void {
  const { parameters } = client
  for (const [name, value] of startup.parameters) {
    parameters.set(name, name === 'datestyle' ? wholeDateStyle(value, defaults.get(name)) : value)
  }
  if (addHost) {
    parameters.set('application_name', withHost(parameters.get('application_name'), client.address))
  }
  parameters.fill(defaults)
}

/** `ISO` with the order of the default, as in PostgreSQL: on a server that another client has used, it may be another. */
function wholeDateStyle(value: string, usual = ''): string {
  const order = /\b(?:mdy|dmy|ymd)\b/i.exec(usual)?.[0]
  return order !== undefined && /^\s*(?:iso|sql|postgres)\s*$/i.test(value) ? `${value.trim()}, ${order}` : value
}

/** As `application_name_add_host` wants it. */
export function withHost(name: string | undefined, address: string): string {
  return `${name || 'app'} - ${address}`
}

/** What the pool's servers report, and what a driver that adapts itself to pgbouncer (1.26) looks for. */
export function reportOf(pool: Pool): ReadonlyMap<string, string> {
  const { settings } = pool.context.config
  return new Map([
    ...pool.welcome,
    ['pgbouncer.version', pgbouncerVersion],
    ['pgbouncer.pool_mode', pool.limits.poolMode],
    ['pgbouncer.max_prepared_statements', String(settings.max_prepared_statements)],
  ])
}

/** AuthenticationOk up to the first ReadyForQuery. `reported`: what a server reported; the client's own values beat it. */
export function welcomeMessages(
  reported: ReadonlyMap<string, string>,
  own: ParameterSet,
  cancelKey: Buffer,
  notice: string,
): Buffer {
  const messages = [backend.authenticationRequest(backend.authentication.ok)]
  for (const [name, value] of reported) messages.push(backend.parameterStatus(name, own.get(name) ?? value))
  messages.push(backend.backendKeyData(cancelKey))
  if (notice !== '') messages.push(backend.noticeResponse(notice))
  messages.push(backend.readyForQuery())
  return Buffer.concat(messages)
}
