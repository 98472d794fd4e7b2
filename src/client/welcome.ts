// What a client is told when its login is complete.

import { pgbouncerVersion } from '../observe/version.js'
import type { Pool } from '../pool/pool.js'
import * as backend from '../protocol/backend.js'
import type { PgError } from '../protocol/errors.js'
import type { ParameterSet } from '../relay/parameters.js'
import { askAbout } from './login-question.js'
import type { ClientStartup } from './startup-parameters.js'
import { canonicalValue } from './startup-values.js'

/**
 * Gives a client its parameters: what it asked for, as a server calls it, and for the rest what its pool's servers have.
 * @param address where it comes from, for `application_name_add_host`
 * @param done called once, at once or when a server has answered; with PostgreSQL's refusal of a value
 */
export function setParameters(
  parameters: ParameterSet,
  startup: ClientStartup,
  pool: Pool,
  address: string,
  done: (refusal: PgError | undefined) => void,
): void {
  const { usual } = pool
  const asked = new Map(startup.parameters)
  const addsHost = pool.context.config.settings.application_name_add_host && !pool.isReplication
  if (addsHost) asked.set('application_name', withHost(asked.get('application_name'), address))
  const known = new Map([...asked].map(([name, value]) => [name, canonicalValue(name, value, usual)]))
  const unknown = [...asked].filter(([name]) => known.get(name) === undefined)
  askAbout(pool, unknown, (refusal) => {
    for (const [name, value] of asked) {
      parameters.set(name, known.get(name) ?? usual.spellings.get(name, value) ?? value)
    }
    parameters.follow(usual.defaults)
    done(refusal)
  })
}

/** As `application_name_add_host` wants it. */
export function withHost(name: string | undefined, address: string): string {
  return `${name || 'app'} - ${address}`
}

/** What the pool's servers report, and what a driver that adapts itself to pgbouncer (1.26) looks for. */
export function reportOf(pool: Pool): ReadonlyMap<string, string> {
  const { settings } = pool.context.config
  return new Map([
    ...pool.usual.reported,
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
