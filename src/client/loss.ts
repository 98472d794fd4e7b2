// What the clients of a server that was lost are told of it.

import { PgError } from '../protocol/errors.js'
import { Loss } from '../relay/lost-block.js'
import { serverError } from '../relay/own-query.js'

/** Transactions that a server ends for what their clients do, or do not do: run again, they would end so again. */
const ownDoing = new Set(['25P03', '25P04'])

/** @param parting the body of the FATAL that the server ended with; null: it said nothing */
export function lossOf(parting: Buffer | null): Loss {
  const ofBlock = new PgError('server_lost')
  if (parting === null) return new Loss(ofBlock, '')
  const { sqlstate, message } = serverError(parting)
  if (!ownDoing.has(sqlstate)) return new Loss(ofBlock, message)
  return new Loss(new PgError({ sqlstate, severity: 'ERROR', text: message }), '')
}
