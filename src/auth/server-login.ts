// The pooler as frontend: logs in to a server.
// https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP

import type { Secret } from '../config/secret.js'
import * as backend from '../protocol/backend.js'
import type { Conversation } from '../protocol/conversation.js'
import { PgError } from '../protocol/errors.js'
import * as frontend from '../protocol/frontend.js'
import { answerMd5 } from './md5.js'
import { ScramClient } from './scram.js'
import type { ScramKeyring, ScramKeys } from './scram-keys.js'
import { ScramError } from './scram-text.js'
import type { StoredSecret } from './secrets.js'

/** What the pooler may log in with: a stored secret, and what a client's own login taught it. */
export interface Credentials {
  readonly user: string
  readonly stored: StoredSecret
  readonly password?: Secret | undefined
  readonly keys?: ScramKeys | undefined
}

export interface ServerLogin {
  readonly credentials: Credentials
  /** The startup packet: database and settings; user is added. */
  readonly parameters: Readonly<Record<string, string>>
  readonly keyring: ScramKeyring
  readonly channelBinding?: Buffer | undefined
  readonly onParameter: (name: string, value: string) => void
}

/** The server's key for CancelRequest. */
export interface BackendKey {
  readonly pid: number
  readonly secret: Buffer
}

/** A server's own error during login, with what it said. */
export class ServerRefused extends Error {
  override readonly name = 'ServerRefused'
  readonly fields: ReadonlyMap<string, string>

  constructor(fields: ReadonlyMap<string, string>) {
    super(fields.get('M') ?? 'unknown server error')
    this.fields = fields
  }
}

const wrongType = (): PgError => new PgError('server_login_wrong_password_type')

/**
 * Logs in, up to the first ReadyForQuery.
 * @throws ServerRefused, PgError (no usable secret, broken protocol), ConnectionLost
 */
export async function logIn(server: Conversation, login: ServerLogin): Promise<BackendKey> {
  server.write(frontend.startupMessage({ user: login.credentials.user, ...login.parameters }))
  await authenticate(server, login)
  let key: BackendKey = { pid: 0, secret: Buffer.alloc(4) }
  for (;;) {
    const { code, body } = await server.read()
    switch (code) {
      case backend.BackendKeyData:
        if (body.length >= 8) key = { pid: body.readInt32BE(0), secret: body.subarray(4) }
        break
      case backend.ParameterStatus: {
        const parameter = backend.readParameterStatus(body)
        if (parameter?.value !== undefined) login.onParameter(parameter.name, parameter.value)
        break
      }
      case backend.ReadyForQuery:
        return key
      case backend.ErrorResponse:
        throw new ServerRefused(backend.reportFields(body))
      case backend.NoticeResponse:
        break
      default:
        throw new PgError('unknown_packet')
    }
  }
}

/** What may come after the first request. */
const followUps: ReadonlySet<number> = new Set([
  backend.authentication.ok,
  backend.authentication.saslContinue,
  backend.authentication.saslFinal,
])

async function authenticate(server: Conversation, login: ServerLogin): Promise<void> {
  let scram: ScramClient | undefined
  let isAsked = false
  for (;;) {
    const { kind, rest } = await readRequest(server)
    // One method a login: in the middle of SCRAM, a server that has not shown what it knows is not told the password.
    if (isAsked && !followUps.has(kind)) throw new PgError('unknown_packet')
    isAsked = true
    switch (kind) {
      case backend.authentication.ok:
        if (scram !== undefined && !scram.trusted) throw new PgError('unknown_packet')
        return
      case backend.authentication.cleartextPassword:
        server.write(frontend.password(clearText(login.credentials)))
        break
      case backend.authentication.md5Password: {
        const answer = rest.length === 4 ? md5Answer(login.credentials, rest) : undefined
        if (answer === undefined) throw wrongType()
        server.write(frontend.password(answer))
        break
      }
      case backend.authentication.sasl:
        scram = startScram(login, rest)
        server.write(frontend.saslInitialResponse(scram.mechanism, scram.start()))
        break
      case backend.authentication.saslContinue:
        server.write(frontend.saslResponse(await orWrong(() => required(scram).prove(rest))))
        break
      case backend.authentication.saslFinal:
        await orWrong(() => required(scram).finish(rest))
        break
      default:
        throw wrongType()
    }
  }
}

async function readRequest(server: Conversation): Promise<{ kind: number; rest: Buffer }> {
  for (;;) {
    const { code, body } = await server.read()
    if (code === backend.ErrorResponse) throw new ServerRefused(backend.reportFields(body))
    if (code === backend.NoticeResponse) continue
    // NegotiateProtocolVersion too: protocol 3.0 without options is asked for, there is nothing to negotiate. As libpq.
    if (code !== backend.AuthenticationRequest || body.length < 4) throw new PgError('unknown_packet')
    return { kind: body.readInt32BE(0), rest: body.subarray(4) }
  }
}

function clearText({ password, stored }: Credentials): string {
  if (password !== undefined) return password.reveal()
  if (stored.kind === 'plain') return stored.password.reveal()
  throw wrongType()
}

function md5Answer({ user, password, stored }: Credentials, salt: Buffer): string | undefined {
  const secret: StoredSecret = password === undefined ? stored : { kind: 'plain', password }
  return answerMd5(secret, user, salt)
}

function startScram({ credentials, keyring, channelBinding }: ServerLogin, offer: Buffer): ScramClient {
  const credential = scramCredential(credentials)
  if (credential === undefined) throw wrongType()
  const mechanisms = offer.toString('latin1').split('\0').filter(Boolean)
  try {
    return new ScramClient({ credential, mechanisms, keyring, channelBinding })
  } catch (error) {
    throw error instanceof ScramError ? wrongType() : error
  }
}

function scramCredential({ password, stored, keys }: Credentials): Secret | ScramKeys | undefined {
  if (password !== undefined) return password
  if (stored.kind === 'plain') return stored.password
  return keys
}

function required(scram: ScramClient | undefined): ScramClient {
  if (scram === undefined) throw new PgError('unknown_packet')
  return scram
}

/** A SCRAM exchange that goes wrong on the server's side of it. */
async function orWrong<T>(step: () => T | Promise<T>): Promise<T> {
  try {
    return await step()
  } catch (error) {
    if (!(error instanceof ScramError)) throw error
    throw error.failure === 'too_costly'
      ? new PgError('server_login_failed', error.message)
      : new PgError('unknown_packet')
  }
}
