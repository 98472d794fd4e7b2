// Checks a password that a client sent in clear text (auth_type plain, HBA method password) against what is stored.

import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { bytesOf } from '../protocol/byte-text.js'
import { md5Hash } from './md5.js'
import { mostIterations, type ScramKeyring } from './scram-keys.js'
import type { StoredSecret } from './secrets.js'

/**
 * Returns whether `given`, the bytes of the client's PasswordMessage without the final zero, is the password of `user`. Bytes, because
 * decoding what is not UTF-8 would make different passwords equal. An empty one never is.
 */
export async function verifyPassword(
  stored: StoredSecret,
  user: string,
  given: Buffer,
  keyring: ScramKeyring,
): Promise<boolean> {
  if (given.length === 0) return false
  switch (stored.kind) {
    case 'none':
      return false
    case 'plain':
      return same(bytesOf(stored.password.reveal()), given)
    case 'md5':
      return same(Buffer.from(stored.hash.reveal()), Buffer.from(md5Hash(given, user).reveal()))
    case 'scram': {
      if (stored.iterations > mostIterations) return false
      const isRight = (keys: { readonly serverKey: Buffer }) => timingSafeEqual(keys.serverKey, stored.serverKey)
      return isRight(await keyring.keysFor(given, stored.salt, stored.iterations, isRight))
    }
  }
}

/** In a time that tells nothing about where they differ, nor about the length. */
function same(expected: Buffer, given: Buffer): boolean {
  const key = randomBytes(32)
  const digest = (bytes: Buffer) => createHmac('sha256', key).update(bytes).digest()
  return timingSafeEqual(digest(expected), digest(given))
}
