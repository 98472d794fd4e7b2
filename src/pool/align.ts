// The SETs that give a server the parameters and settings of whoever gets it next.

import * as backend from '../protocol/backend.js'
import { PgError } from '../protocol/errors.js'
import * as frontend from '../protocol/frontend.js'
import type { Answer } from '../relay/own-query.js'
import { traceLink } from '../server/trace.js'
import { restoring } from '../session-state/settings.js'
import type { Lease, Lender, Wants } from './lease.js'

/**
 * Gives the server what its borrower wants, which may have to wait for that.
 * @returns whether nothing is to be sent; else the lease holds, or is refused, when the server has answered
 */
export function align(pool: Lender, lease: Lease, wants: Wants): boolean {
  const { server } = lease
  const { parameters, settings } = wants
  wants.tell(parameters.hear(server.parameters))
  wants.tell(parameters.follow(pool.usual.defaults))
  const alignment = parameters.key === server.parameters.key ? null : parameters.alignment(server.parameters)
  const restored = settings === server.settings ? null : restoring(server.settings, settings)
  if (restored === null) server.settings = settings
  const isAligned = alignment === null && restored === null
  traceLink(pool.context, wants.who, server, isAligned)
  if (isAligned) return true
  // Behind the parameters, since client_encoding is one of them.
  if (alignment !== null) {
    server.parameters.expect(alignment)
    server.ask(frontend.query(alignment.sql), (answer) => {
      if (isDone(answer)) server.parameters.confirm(alignment)
      onAligned(pool, lease, wants, answer, restored === null)
    })
  }
  if (restored === null) return false
  server.settings = server.settings.doubtedWith(settings)
  server.ask(restored, (answer) => {
    if (isDone(answer)) server.settings = settings
    onAligned(pool, lease, wants, answer, true)
  })
  return false
}

/** @param isLast all that was sent has been answered */
function onAligned(pool: Lender, lease: Lease, wants: Wants, answer: Answer | Error, isLast: boolean): void {
  if (answer instanceof Error) return // the loss is told elsewhere
  const { server, borrower } = lease
  const isFine = isDone(answer)
  if (isFine && !isLast) return
  if (lease.state !== 'aligning') {
    if (isLast) pool.takeBack(server) // the borrower left meanwhile
  } else if (isFine) {
    wants.tell(wants.parameters.agree(server.parameters))
    lease.hold(pool.context.clock.now())
    borrower.resume()
  } else {
    pool.context.log.warning(`could not set parameters: ${answer.error?.message ?? ''}`, server)
    lease.refuse(new PgError('invalid_server_parameter'))
    server.close('invalid_server_parameter')
    pool.demand()
  }
}

/** Returns whether it has been carried out, for good. */
function isDone(answer: Answer | Error): boolean {
  return !(answer instanceof Error) && answer.error === undefined && answer.status === backend.Idle
}
