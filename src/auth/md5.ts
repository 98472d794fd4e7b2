// MD5 password authentication: the hash that is stored, the answer to a server's salt, the check of a client's answer.
// AuthenticationMD5Password in https://www.postgresql.org/docs/current/protocol-flow.html

import { createHash, timingSafeEqual } from 'node:crypto'
import { Secret } from '../config/secret.js'
import { bytesOf } from '../protocol/byte-text.js'
import type { StoredSecret } from './secrets.js'

function md5Hex(text: string | Uint8Array, more: string | Buffer): string {
  const bytes = typeof text === 'string' ? bytesOf(text) : text
  return createHash('md5')
    .update(bytes)
    .update(typeof more === 'string' ? bytesOf(more) : more)
    .digest('hex')
}

/** What PostgreSQL stores for a password: `md5` + hex of md5(password + user). */
export function md5Hash(password: string | Uint8Array, user: string): Secret {
  return new Secret(`md5${md5Hex(password, user)}`)
}

/** The hash that a stored secret amounts to; undefined where md5 can't be done with it (none, SCRAM). */
function hashOf(stored: StoredSecret, user: string): Secret | undefined {
  switch (stored.kind) {
    case 'md5':
      return stored.hash
    case 'plain':
      return md5Hash(stored.password.reveal(), user)
    case 'none':
    case 'scram':
      return undefined
  }
}

function answerTo(salt: Buffer, hash: Secret): string {
  return `md5${md5Hex(hash.reveal().slice(3), salt)}`
}

/** As frontend: the text of the PasswordMessage for a salt of 4 bytes; undefined where the secret doesn't allow md5. */
export function answerMd5(stored: StoredSecret, user: string, salt: Buffer): string | undefined {
  const hash = hashOf(stored, user)
  return hash && answerTo(salt, hash)
}

const mockHash = new Secret(`md5${'0'.repeat(32)}`)

/**
 * As backend: is `answer` (the client's PasswordMessage) right for the salt it was sent? A user without an md5-able
 * secret costs the same work and is always told false, so that names can't be probed.
 */
export function verifyMd5Answer(stored: StoredSecret, user: string, salt: Buffer, answer: Buffer): boolean {
  const hash = hashOf(stored, user)
  const expected = Buffer.from(answerTo(salt, hash ?? mockHash))
  return answer.length === expected.length && timingSafeEqual(answer, expected) && hash !== undefined
}
