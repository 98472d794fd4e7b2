// A parameter whose value can't be given to another server: its client is told, and keeps the server that has it.

import type { Socket } from '../io/socket.js'
import * as backend from '../protocol/backend.js'
import type { ParameterSet } from '../relay/parameters.js'

interface ParameterOwner {
  readonly parameters: ParameterSet
  readonly relay: { readonly socket: Socket }
}

/** Tells a client, whose server is idle, of parameters that can't be given to another server: once of each. */
export function tellUncarried({ parameters, relay }: ParameterOwner): void {
  for (const name of parameters.takeNews()) {
    const fields = {
      S: 'WARNING',
      C: '01000',
      D: 'It is too long, or not in UTF-8. This client keeps its server until the parameter has another value.',
    }
    relay.socket.write(
      backend.noticeResponse(`value of parameter "${name}" cannot go along to another server connection`, fields),
    )
  }
}
