// Stored forms of a password, made here so that PostgreSQL and the pooler's auth_file get the very same text.

import { createHash, createHmac, pbkdf2, randomBytes } from 'node:crypto'
import { promisify } from 'node:util'

const deriveKey = promisify(pbkdf2)

/** PostgreSQL's default, scram_iterations. */
const iterations = 4096

/**
 * `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, RFC 5802 section 3, with a fresh salt. The salt has to be
 * the same on both sides: the keys that the pooler sees when a client logs in must open the server too.
 * The password must be ASCII, so that SASLprep leaves it as it is.
 */
export async function scramSecret(password: string): Promise<string> {
  const salt = randomBytes(16)
  const salted = await deriveKey(password, salt, iterations, 32, 'sha256')
  const storedKey = createHash('sha256').update(hmac(salted, 'Client Key')).digest('base64')
  const serverKey = hmac(salted, 'Server Key').toString('base64')
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${storedKey}:${serverKey}`
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}

/** `md5` and the hash of password and name. */
export function md5Secret(user: string, password: string): string {
  return `md5${createHash('md5')
    .update(password + user)
    .digest('hex')}`
}

/** For roles that no person logs in as. */
export function randomPassword(): string {
  return randomBytes(18).toString('hex')
}
