// The pooler as backend: asks a client for its password and checks it.
// https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP

import { randomBytes } from 'node:crypto'
import { Secret } from '../config/secret.js'
import * as backend from '../protocol/backend.js'
import { textOf } from '../protocol/byte-text.js'
import type { Conversation, Received } from '../protocol/conversation.js'
import { PgError } from '../protocol/errors.js'
import * as frontend from '../protocol/frontend.js'
import { verifyMd5Answer } from './md5.js'
import { verifyPassword } from './password.js'
import { ScramServer } from './scram.js'
import type { ScramKeyring, ScramKeys } from './scram-keys.js'
import { ScramError } from './scram-text.js'
import type { StoredSecret } from './secrets.js'

export type PasswordMethod = 'plain' | 'md5' | 'scram-sha-256'

export interface PasswordLogin {
  readonly method: PasswordMethod
  readonly user: string
  /** What is known of the user; of an unknown one nothing (`none`), and the exchange is played to its end all the same. */
  readonly stored: StoredSecret
  readonly keyring: ScramKeyring
  readonly scramIterations: number
  /** `tls-server-end-point` of the client's TLS connection. */
  readonly channelBinding?: Buffer | undefined
}

/** What was learnt of the client's secret and serves to log in to a server in its name. */
export interface LearntSecret {
  readonly password?: Secret
  readonly keys?: ScramKeys | undefined
}

/**
 * Checks a client's password. md5 turns into SCRAM where the stored secret is a SCRAM one.
 * @throws PgError the text is the same for an unknown user and a wrong password
 */
export async function checkPassword(client: Conversation, login: PasswordLogin): Promise<LearntSecret> {
  switch (login.method) {
    case 'plain':
      return checkPlain(client, login)
    case 'md5':
      return login.stored.kind === 'scram' ? checkScram(client, login) : checkMd5(client, login)
    case 'scram-sha-256':
      return checkScram(client, login)
  }
}

/**
 * Has the client send its password in clear text.
 * @returns its bytes, at least one
 * @throws PgError
 */
export async function askPassword(client: Conversation): Promise<Buffer> {
  client.write(backend.authenticationRequest(backend.authentication.cleartextPassword))
  return passwordBytes(await client.read())
}

async function checkPlain(client: Conversation, login: PasswordLogin): Promise<LearntSecret> {
  const given = await askPassword(client)
  if (!(await verifyPassword(login.stored, login.user, given, login.keyring))) throw new PgError('auth_failed')
  return { password: new Secret(textOf(given)) }
}

async function checkMd5(client: Conversation, login: PasswordLogin): Promise<LearntSecret> {
  const salt = randomBytes(4)
  client.write(backend.authenticationRequest(backend.authentication.md5Password, salt))
  const answer = passwordBytes(await client.read())
  if (!verifyMd5Answer(login.stored, login.user, salt, answer)) throw new PgError('auth_failed')
  return {}
}

async function checkScram(client: Conversation, login: PasswordLogin): Promise<LearntSecret> {
  const server = new ScramServer({
    user: login.user,
    stored: login.stored,
    iterations: login.scramIterations,
    keyring: login.keyring,
    channelBinding: login.channelBinding,
  })
  client.write(backend.authenticationSasl(server.mechanisms))
  try {
    const { mechanism, response } = readInitialResponse(await client.read())
    if (!server.mechanisms.includes(mechanism)) throw new PgError('bad_sasl_mechanism')
    const challenge = server.start(mechanism, response)
    client.write(backend.authenticationRequest(backend.authentication.saslContinue, Buffer.from(challenge)))
    const outcome = await server.finish(messageOf(await client.read()))
    if (!outcome.right) throw new PgError('sasl_failed')
    client.write(backend.authenticationRequest(backend.authentication.saslFinal, Buffer.from(outcome.message)))
    return { keys: outcome.keys }
  } catch (error) {
    throw error instanceof ScramError ? new PgError('sasl_failed') : error
  }
}

function messageOf(received: Received): Buffer {
  if (received.code !== frontend.Password) throw new PgError('unknown_packet')
  return received.body
}

/** @throws PgError for an empty password, or one that doesn't end where its message does */
function passwordBytes(received: Received): Buffer {
  const body = messageOf(received)
  if (body.indexOf(0) !== body.length - 1) throw new PgError('auth_failed')
  if (body.length === 1) throw new PgError('empty_password')
  return body.subarray(0, -1)
}

/** SASLInitialResponse: mechanism, length of the response (compared with what is there, never added to), response. */
function readInitialResponse(received: Received): { mechanism: string; response: Buffer } {
  const body = messageOf(received)
  const end = body.indexOf(0)
  if (end < 0 || body.length - end - 1 < 4) throw new PgError('sasl_failed')
  const response = body.subarray(end + 5)
  if (body.readInt32BE(end + 1) !== response.length) throw new PgError('sasl_failed')
  return { mechanism: body.toString('utf8', 0, end), response }
}
