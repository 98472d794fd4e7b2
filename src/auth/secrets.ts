// What a user's password is stored as: nothing, plaintext, an md5 hash or a SCRAM verifier.
// https://www.postgresql.org/docs/current/catalog-pg-authid.html

import { inspect } from 'node:util'
import { Secret } from '../config/secret.js'

/** No valid password (NULL, expired, empty). A state of its own: there is no text that could match it. */
export interface NoSecret {
  readonly kind: 'none'
}

export interface PlainSecret {
  readonly kind: 'plain'
  readonly password: Secret
}

export interface Md5Secret {
  readonly kind: 'md5'
  /** `md5` and the 32 hexadecimal digits of md5(password + user name). */
  readonly hash: Secret
}

/** `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`. Prints without salt and keys. */
export class ScramSecret {
  readonly kind = 'scram'
  readonly iterations: number
  readonly #salt: Buffer
  readonly #storedKey: Buffer
  readonly #serverKey: Buffer

  constructor(iterations: number, salt: Buffer, storedKey: Buffer, serverKey: Buffer) {
    this.iterations = iterations
    this.#salt = salt
    this.#storedKey = storedKey
    this.#serverKey = serverKey
  }

  get salt(): Buffer {
    return this.#salt
  }

  get storedKey(): Buffer {
    return this.#storedKey
  }

  get serverKey(): Buffer {
    return this.#serverKey
  }

  [inspect.custom](): string {
    return 'ScramSecret [hidden]'
  }
}

export type StoredSecret = NoSecret | PlainSecret | Md5Secret | ScramSecret

/** What is known of a user. `name`: as auth_query gives it, or as asked. */
export interface KnownUser {
  readonly name: string
  readonly stored: StoredSecret
}

/** Returns whether it is the same secret: to notice a change, not to check a password. */
export function sameSecret(one: StoredSecret, other: StoredSecret): boolean {
  if (one.kind === 'plain') return other.kind === 'plain' && one.password.equals(other.password)
  if (one.kind === 'md5') return other.kind === 'md5' && one.hash.equals(other.hash)
  if (one.kind === 'none') return other.kind === 'none'
  return (
    other.kind === 'scram' &&
    one.iterations === other.iterations &&
    one.salt.equals(other.salt) &&
    one.storedKey.equals(other.storedKey) &&
    one.serverKey.equals(other.serverKey)
  )
}

const noSecret: NoSecret = { kind: 'none' }
const md5Pattern = /^md5[0-9a-f]{32}$/
const scramPattern = /^SCRAM-SHA-256\$(\d{1,10}):([\w+/=]*)\$([\w+/]{43}=):([\w+/]{43}=)$/

/**
 * Tells the kinds apart as PostgreSQL does (get_password_type): what is not quite an md5 hash or a SCRAM verifier is a
 * plaintext password. `text` is what auth_file, auth_query (NULL: null) or `password=` of a database gives.
 */
export function parseStoredSecret(text: string | null): StoredSecret {
  if (text === null || text === '') return noSecret
  if (md5Pattern.test(text)) return { kind: 'md5', hash: new Secret(text) }
  return parseScramSecret(text) ?? { kind: 'plain', password: new Secret(text) }
}

function parseScramSecret(text: string): ScramSecret | undefined {
  const [, digits = '', salt = '', stored = '', server = ''] = scramPattern.exec(text) ?? []
  const iterations = Number(digits)
  if (iterations < 1 || iterations > 0x7fff_ffff) return undefined
  const [saltBytes, storedKey, serverKey] = [salt, stored, server].map(decodeBase64)
  if (saltBytes === undefined || storedKey === undefined || serverKey === undefined) return undefined
  return new ScramSecret(iterations, saltBytes, storedKey, serverKey)
}

const base64Pattern = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

/** Strict, unlike `Buffer.from`: undefined for anything but whole, padded groups of the standard alphabet. */
export function decodeBase64(text: string): Buffer | undefined {
  return base64Pattern.test(text) ? Buffer.from(text, 'base64') : undefined
}
