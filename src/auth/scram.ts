// SCRAM-SHA-256 and SCRAM-SHA-256-PLUS in both roles: ScramServer towards clients, ScramClient towards servers.
// RFC 5802, RFC 7677, https://www.postgresql.org/docs/current/sasl-authentication.html

import { randomBytes, timingSafeEqual } from 'node:crypto'
import { Secret } from '../config/secret.js'
import { hmac, keyLength, mostIterations, type ScramKeyring, ScramKeys, sha256 } from './scram-keys.js'
import { Attributes, checkNonce, malformed, printable, readText, ScramError } from './scram-text.js'
import { decodeBase64, type StoredSecret } from './secrets.js'

export const scramMechanism = 'SCRAM-SHA-256'
export const scramPlusMechanism = 'SCRAM-SHA-256-PLUS'

/** PostgreSQL's own bound for what clients send (PG_MAX_SASL_MESSAGE_LENGTH). */
const longestFromClient = 1024
/** libpq's bound for an authentication request. */
const longestFromServer = 2000

const bindingHeader = 'p=tls-server-end-point,,'

function newNonce(): string {
  return randomBytes(18).toString('base64')
}

/** `c=` of client-final: the gs2 header of client-first, and what it binds to. */
function channelBindingInput(header: string, data?: Buffer): string {
  return Buffer.concat([Buffer.from(header), data ?? Buffer.alloc(0)]).toString('base64')
}

function sign(key: Buffer, authMessage: string): Buffer {
  return hmac(key, Buffer.from(authMessage, 'latin1'))
}

function xor(left: Buffer, right: Buffer): Buffer {
  return Buffer.from(left.map((byte, i) => byte ^ (right[i] ?? 0)))
}

export interface ScramServerOptions {
  readonly user: string
  /** Of the user; with none, or an md5 hash, the exchange is a mock one that fails at the end as for a wrong password. */
  readonly stored: StoredSecret
  /** scram_iterations: what is announced where there is no stored verifier that says it. */
  readonly iterations: number
  readonly keyring: ScramKeyring
  /** `tls-server-end-point` data of the TLS connection, RFC 5929; given, SCRAM-SHA-256-PLUS is offered. */
  readonly channelBinding?: Buffer | undefined
  readonly nonce?: string
}

export type ScramOutcome =
  | {
      readonly right: true
      /** server-final, for AuthenticationSASLFinal. */
      readonly message: string
      /** For a login to a server that stores the very same verifier; undefined where ours was made up on the fly. */
      readonly keys: ScramKeys | undefined
    }
  | { readonly right: false }

interface Verifier {
  readonly storedKey: Buffer
  readonly serverKey: Buffer
}

type ServerPhase =
  | { readonly name: 'started' }
  | {
      readonly name: 'challenged'
      readonly bound: boolean
      /** What `c=` has to be. */
      readonly binding: string
      readonly nonce: string
      /** client-first-message-bare, comma, server-first-message. */
      readonly soFar: string
      readonly verifier: Promise<Verifier>
    }
  | { readonly name: 'over' }

/** The pooler as backend. One exchange: `start` with SASLInitialResponse, then `finish` with SASLResponse. */
export class ScramServer {
  /** To offer in AuthenticationSASL, the preferred first. */
  readonly mechanisms: readonly string[]
  readonly #options: ScramServerOptions
  #phase: ServerPhase = { name: 'started' }

  constructor(options: ScramServerOptions) {
    this.#options = options
    this.mechanisms = options.channelBinding ? [scramPlusMechanism, scramMechanism] : [scramMechanism]
  }

  /**
   * Takes client-first, gives server-first.
   * @throws ScramError
   */
  start(mechanism: string, message: Buffer | string): string {
    if (this.#phase.name !== 'started') throw new ScramError('out_of_order', 'SASL exchange is already under way')
    this.#phase = { name: 'over' }
    if (!this.mechanisms.includes(mechanism)) {
      throw new ScramError('unsupported', 'client selected an invalid SASL authentication mechanism')
    }
    const { stored, user, keyring, channelBinding, nonce = newNonce() } = this.#options
    const bound = mechanism === scramPlusMechanism
    const first = readClientFirst(readText(message, longestFromClient), bound, channelBinding !== undefined)
    const { salt, iterations } =
      stored.kind === 'scram' ? stored : { salt: keyring.saltFor(user), iterations: this.#options.iterations }
    const fullNonce = first.nonce + nonce
    const serverFirst = `r=${fullNonce},s=${salt.toString('base64')},i=${iterations}`
    const verifier = this.#verifier(salt, iterations)
    verifier.catch(() => {}) // told when it is waited for; the client may never come that far
    this.#phase = {
      name: 'challenged',
      bound,
      binding: channelBindingInput(first.header, bound ? channelBinding : undefined),
      nonce: fullNonce,
      soFar: `${first.bare},${serverFirst}`,
      verifier,
    }
    return serverFirst
  }

  /**
   * Takes client-final. A wrong password and a mock exchange are outcomes, not errors.
   * @throws ScramError
   */
  async finish(message: Buffer | string): Promise<ScramOutcome> {
    const phase = this.#phase
    if (phase.name !== 'challenged') throw new ScramError('out_of_order', 'SASL response out of order')
    this.#phase = { name: 'over' }
    const { stored } = this.#options
    const final = readClientFinal(readText(message, longestFromClient))
    if (final.binding !== phase.binding) {
      throw phase.bound
        ? new ScramError('channel_binding', 'SCRAM channel binding check failed')
        : malformed('unexpected SCRAM channel-binding attribute in client-final-message')
    }
    if (final.nonce !== phase.nonce) throw new ScramError('nonce', 'invalid SCRAM response (nonce mismatch)')
    const { storedKey, serverKey } = await phase.verifier
    const authMessage = `${phase.soFar},${final.withoutProof}`
    const clientKey = xor(final.proof, sign(storedKey, authMessage))
    // Compared in a mock exchange too, so that it takes as long.
    const isRight = timingSafeEqual(sha256(clientKey), storedKey)
    if (!isRight || stored.kind === 'none' || stored.kind === 'md5') return { right: false }
    return {
      right: true,
      message: `v=${sign(serverKey, authMessage).toString('base64')}`,
      keys: stored.kind === 'scram' ? new ScramKeys(clientKey, serverKey) : undefined,
    }
  }

  /** Begun as soon as the challenge is out: a client needs as long for its own part. */
  async #verifier(salt: Buffer, iterations: number): Promise<Verifier> {
    const { stored, keyring } = this.#options
    switch (stored.kind) {
      case 'scram':
        return stored
      case 'plain':
        return keyring.keysFor(stored.password.reveal(), salt, iterations)
      case 'none':
      case 'md5':
        return { storedKey: randomBytes(keyLength), serverKey: randomBytes(keyLength) }
    }
  }
}

interface ClientFirst {
  /** The gs2 header, `n,,`, `y,,` or the one that names the binding. */
  readonly header: string
  readonly bare: string
  readonly nonce: string
}

/** `bound`: the client chose the -PLUS mechanism; `offered`: it could have. Same checks as PostgreSQL's. */
function readClientFirst(text: string, bound: boolean, offered: boolean): ClientFirst {
  const flag = text[0] ?? ''
  switch (flag) {
    case 'n':
    case 'y':
      if (bound) throw malformed('SCRAM-SHA-256-PLUS was selected, but there is no channel binding data')
      if (flag === 'y' && offered) {
        throw new ScramError(
          'channel_binding',
          'SCRAM channel binding negotiation error: the client thinks that it was not offered',
        )
      }
      if (text[1] !== ',') throw malformed(`comma expected, but found "${printable(text[1] ?? '')}"`)
      break
    case 'p': {
      if (!bound) throw malformed('channel binding data, but SCRAM-SHA-256 without channel binding was selected')
      const type = new Attributes(text).take('p')
      if (type !== 'tls-server-end-point') {
        throw new ScramError('unsupported', `unsupported SCRAM channel-binding type "${printable(type)}"`)
      }
      break
    }
    default:
      throw malformed(`unexpected channel-binding flag "${printable(flag)}"`)
  }
  const identity = text.indexOf(',') + 1 || text.length
  if (text[identity] === 'a') {
    throw new ScramError('unsupported', 'client uses authorization identity, but it is not supported')
  }
  if (text[identity] !== ',') throw malformed(`unexpected attribute "${printable(text[identity] ?? '')}"`)
  const start = identity + 1
  if (text[start] === 'm') throw new ScramError('unsupported', 'client requires an unsupported SCRAM extension')
  const attributes = new Attributes(text, start)
  attributes.take('n') // the name is the one of the startup packet
  const nonce = attributes.take('r')
  checkNonce(nonce)
  while (!attributes.done) attributes.any()
  return { header: text.slice(0, start), bare: text.slice(start), nonce }
}

interface ClientFinal {
  readonly binding: string
  readonly nonce: string
  readonly proof: Buffer
  readonly withoutProof: string
}

function readClientFinal(text: string): ClientFinal {
  const attributes = new Attributes(text)
  const binding = attributes.take('c')
  const nonce = attributes.take('r')
  for (;;) {
    const start = attributes.at
    const { name, value } = attributes.any()
    if (name !== 'p') continue
    const proof = decodeBase64(value)
    if (proof?.length !== keyLength) throw malformed('malformed proof in client-final-message')
    if (!attributes.done) throw malformed('garbage found at the end of client-final-message')
    return { binding, nonce, proof, withoutProof: text.slice(0, start - 1) }
  }
}

export interface ScramClientOptions {
  /** The password, or the keys of a client's own login where it was checked against the server's very verifier. */
  readonly credential: Secret | ScramKeys
  /** What the server offers in AuthenticationSASL. */
  readonly mechanisms: readonly string[]
  readonly keyring: ScramKeyring
  /** `tls-server-end-point` data of the TLS connection, RFC 5929; undefined where there is none to bind to. */
  readonly channelBinding?: Buffer | undefined
  readonly nonce?: string
}

type ClientPhase =
  | { readonly name: 'new' }
  | { readonly name: 'started'; readonly bare: string }
  | { readonly name: 'proven'; readonly serverSignature: Buffer }
  | { readonly name: 'over'; readonly trusted: boolean }

/** The pooler as frontend: `start`, then `prove` with AuthenticationSASLContinue, `finish` with AuthenticationSASLFinal. */
export class ScramClient {
  /** For SASLInitialResponse. */
  readonly mechanism: string
  readonly #options: ScramClientOptions
  readonly #header: string
  readonly #nonce: string
  #phase: ClientPhase = { name: 'new' }

  /** @throws ScramError where the server offers no mechanism that we have */
  constructor(options: ScramClientOptions) {
    const { mechanisms, channelBinding, nonce = newNonce() } = options
    const bound = channelBinding !== undefined && mechanisms.includes(scramPlusMechanism)
    this.mechanism = bound ? scramPlusMechanism : scramMechanism
    if (!mechanisms.includes(this.mechanism)) {
      throw new ScramError('unsupported', "none of the server's SASL authentication mechanisms are supported")
    }
    this.#options = options
    this.#nonce = nonce
    // "y": we could, but the server didn't offer. If it did, someone has cut its offer, and the server will notice.
    if (bound) this.#header = bindingHeader
    else this.#header = channelBinding ? 'y,,' : 'n,,'
  }

  /** Gives client-first. The name is left empty, as libpq does: the server knows it from the startup packet. */
  start(): string {
    if (this.#phase.name !== 'new') throw new ScramError('out_of_order', 'SASL exchange is already under way')
    const bare = `n=,r=${this.#nonce}`
    this.#phase = { name: 'started', bare }
    return this.#header + bare
  }

  /**
   * Takes server-first, gives client-final.
   * @throws ScramError
   */
  async prove(message: Buffer | string): Promise<string> {
    const phase = this.#phase
    if (phase.name !== 'started') throw new ScramError('out_of_order', 'SASL challenge out of order')
    this.#phase = { name: 'over', trusted: false }
    const { credential, keyring, channelBinding } = this.#options
    const text = readText(message, longestFromServer)
    const { nonce, salt, iterations } = readServerFirst(text)
    if (!nonce.startsWith(this.#nonce) || nonce.length === this.#nonce.length) {
      throw new ScramError('nonce', 'invalid SCRAM response (nonce mismatch)')
    }
    const binding = channelBindingInput(
      this.#header,
      this.mechanism === scramPlusMechanism ? channelBinding : undefined,
    )
    const withoutProof = `c=${binding},r=${nonce}`
    const authMessage = `${phase.bare},${text},${withoutProof}`
    const { clientKey, serverKey } =
      credential instanceof Secret ? await keyring.keysFor(credential.reveal(), salt, iterations) : credential
    const proof = xor(clientKey, sign(sha256(clientKey), authMessage))
    this.#phase = { name: 'proven', serverSignature: sign(serverKey, authMessage) }
    return `${withoutProof},p=${proof.toString('base64')}`
  }

  /** The server has shown that it knows the secret. AuthenticationOk is worth nothing before it has. */
  get trusted(): boolean {
    return this.#phase.name === 'over' && this.#phase.trusted
  }

  /**
   * Takes server-final; returns if the server has shown that it knows the secret.
   * @throws ScramError
   */
  finish(message: Buffer | string): void {
    const phase = this.#phase
    if (phase.name !== 'proven') throw new ScramError('out_of_order', 'SASL outcome out of order')
    this.#phase = { name: 'over', trusted: false }
    const text = readText(message, longestFromServer)
    const attributes = new Attributes(text)
    if (text[0] === 'e') {
      throw new ScramError(
        'refused',
        `error received from server in SCRAM exchange: ${printable(attributes.any().value)}`,
      )
    }
    const signature = decodeBase64(attributes.take('v'))
    if (signature?.length !== keyLength) throw malformed('invalid server signature')
    if (!attributes.done) throw malformed('garbage at end of server-final-message')
    if (!timingSafeEqual(signature, phase.serverSignature)) {
      throw new ScramError('signature', 'incorrect server signature')
    }
    this.#phase = { name: 'over', trusted: true }
  }
}

function readServerFirst(text: string): { nonce: string; salt: Buffer; iterations: number } {
  const attributes = new Attributes(text)
  const nonce = attributes.take('r')
  checkNonce(nonce)
  const salt = decodeBase64(attributes.take('s'))
  if (salt === undefined) throw malformed('invalid salt')
  const count = attributes.take('i')
  if (!/^[1-9]\d{0,9}$/.test(count)) throw malformed('invalid iteration count')
  if (!attributes.done) throw malformed('garbage at end of server-first-message')
  const iterations = Number(count)
  if (iterations > mostIterations) {
    throw new ScramError(
      'too_costly',
      `server asks for ${iterations} SCRAM iterations, at most ${mostIterations} are done`,
    )
  }
  return { nonce, salt, iterations }
}
