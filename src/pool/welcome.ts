// What a client is told when its login is complete.

import * as backend from '../protocol/backend.js'
import type { ParameterSet } from './parameters.js'
import type { ClientStartup } from './startup-parameters.js'

/** Gives a client its parameters: what it asked for, and for the rest what its pool's servers have. */
export function setParameters(
  client: { readonly parameters: ParameterSet; readonly address: string },
  startup: ClientStartup,
  defaults: ParameterSet,
  addHost: boolean,
): void {
  const { parameters } = client
  for (const [name, value] of startup.parameters) parameters.set(name, value)
  if (addHost) {
    const name = parameters.get('application_name') || 'app'
    parameters.set('application_name', `${name} - ${client.address}`)
  }
  parameters.fill(defaults)
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
