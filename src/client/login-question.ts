// A server asked, before a client is welcomed, what it makes of the values in the client's startup packet.

import type { Pool } from '../pool/pool.js'
import * as backend from '../protocol/backend.js'
import { PgError } from '../protocol/errors.js'
import * as frontend from '../protocol/frontend.js'
import type { Answer } from '../relay/own-query.js'
import { isAscii, quoteLiteral } from '../relay/parameters.js'
import type { ServerSession } from '../server/server-session.js'

type Asked = readonly [name: string, value: string]

/** A login does not wait for longer than this for a server that should answer at once, ms. */
const patience = 2000

/** Refusals of PostgreSQL that are about a value: data exception, access rule (42501), object state, feature not supported. */
const aboutValues = /^(?:22...|42501|42704|55...|0A...)$/

/**
 * Has a free server tell what it makes of values that a startup packet asks for; `pool.usual` knows it then. Where none is
 * free at once, nobody is kept waiting: what a server makes of it is told when the client first gets one.
 * @param asked by lower-case name
 * @param done called once, at once or when the server has answered; with PostgreSQL's refusal of a value, in its words
 */
export function askAbout(pool: Pool, asked: readonly Asked[], done: (refusal: PgError | undefined) => void): void {
  const { usual } = pool
  const unknown = asked.filter(([name, value]) => usual.spellings.get(name, value) === undefined)
  // One that may have been promoted says so when it is next asked anything.
  const mayBePromoted = usual.reported.get('in_hot_standby') === 'on'
  const suspects = [...usual.suspects.keys()]
  const server = unknown.length > 0 || mayBePromoted || suspects.length > 0 ? pool.lend() : null
  if (server === null) return done(undefined)
  let isWaiting = true
  const finish = (refusal: PgError | undefined): void => {
    if (!isWaiting) return
    isWaiting = false
    timer.cancel()
    done(refusal)
  }
  const timer = pool.context.clock.after(patience, () => finish(undefined))
  server.ask(question(server, unknown, suspects), (answer) => {
    if (answer instanceof Error) return finish(undefined)
    const refusal = answer.error === undefined ? undefined : refusalOf(answer.error)
    if (answer.error === undefined) {
      for (const [name, value] of answer.rows.slice(0, suspects.length)) usual.explain(name ?? '', value ?? '')
      learn(pool, unknown, answer.rows.slice(suspects.length))
    }
    giveBack(pool, server, answer)
    finish(refusal)
  })
}

function giveBack(pool: Pool, server: ServerSession, answer: Answer): void {
  if (answer.status === backend.Idle) return pool.serve(server)
  server.close('check_failed')
  pool.demand()
}

/** Undefined where it is about something else than a value. */
function refusalOf({ sqlstate, message }: PgError): PgError | undefined {
  return aboutValues.test(sqlstate) ? new PgError({ sqlstate, severity: 'FATAL', text: message }) : undefined
}

function learn(pool: Pool, asked: readonly Asked[], rows: Answer['rows']): void {
  const told = rows.flat().slice(-asked.length)
  // client_encoding comes last, in a statement of its own: it changes how all else is told.
  const inOrder = [...asked.filter((one) => !isEncoding(one)), ...asked.filter(isEncoding)]
  for (const [at, [name, value]] of inOrder.entries()) {
    const spelling = told[at]
    if (typeof spelling === 'string') pool.usual.spellings.set(name, value, spelling)
  }
}

const isEncoding = ([name]: Asked): boolean => name === 'client_encoding'

/** What a RESET would make of each, a row each: the configuration, as it is now, and what was set for the role or database. */
function resetValues(names: readonly string[]): string {
  const list = names.map(quoteLiteral).join(',')
  const value = `(SELECT s.reset_val FROM pg_catalog.pg_settings AS s WHERE s.name OPERATOR(pg_catalog.=) n)`
  return `SELECT n, ${value} FROM pg_catalog.unnest(ARRAY[${list}]::pg_catalog.text[]) AS n`
}

/** Sets for the length of a transaction, which ends with the Query, and asks what has become of it. */
function question({ parameters }: ServerSession, asked: readonly Asked[], suspects: readonly string[]): Buffer {
  const call = ([name, value]: Asked): string => `pg_catalog.set_config('${name}',${parameters.literal(value)},true)`
  const statement = (group: readonly Asked[]): string => `SELECT ${group.map(call).join(',')}`
  const groups = [asked.filter((one) => !isEncoding(one)), asked.filter(isEncoding)].filter(({ length }) => length > 0)
  // The server may still have the client_encoding of the client before.
  const isLegible = parameters.get('client_encoding') === 'UTF8' || asked.every(([, value]) => isAscii(value))
  const before = isLegible ? [] : [statement([['client_encoding', 'UTF8']])]
  const first = suspects.length === 0 ? [] : [resetValues(suspects)]
  return frontend.query([...first, ...before, ...groups.map(statement)].join(';'))
}
