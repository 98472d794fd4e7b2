// The other side of a SCRAM exchange for tests, written apart from src/: synchronous and trusting.

import { createHash, createHmac, pbkdf2Sync } from 'node:crypto'

const hmac = (key: Buffer, text: string) => createHmac('sha256', key).update(text).digest()
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest()
const xor = (a: Buffer, b: Buffer) => Buffer.from(a.map((byte, i) => byte ^ b[i]!))
const value = (message: string, name: string) => new RegExp(`(?:^|,)${name}=([^,]*)`).exec(message)![1]!

/** `password` has been normalised already. */
export function verifierOf(password: string | Buffer, salt: Buffer, iterations: number) {
  const salted = pbkdf2Sync(password, salt, iterations, 32, 'sha256')
  const clientKey = hmac(salted, 'Client Key')
  const serverKey = hmac(salted, 'Server Key')
  const storedKey = sha256(clientKey)
  const [s, k, v] = [salt, storedKey, serverKey].map((bytes) => bytes.toString('base64'))
  return { clientKey, serverKey, storedKey, text: `SCRAM-SHA-256$${iterations}:${s}$${k}:${v}` }
}

export interface PeerClient {
  readonly first: string
  /** `extension`: to be signed, too. */
  final(serverFirst: string, extension?: string): string
  /** What the server has to say at the end. */
  expected: string
}

/** A client; `header` is the gs2 header, `binding` what it adds to it in client-final. */
export function peerClient(
  password: string | Buffer,
  header = 'n,,',
  binding = Buffer.alloc(0),
  user = '',
): PeerClient {
  const bare = `n=${user},r=clientnonce`
  const client: PeerClient = {
    first: header + bare,
    expected: '',
    final(serverFirst, extension = '') {
      const salt = Buffer.from(value(serverFirst, 's'), 'base64')
      const keys = verifierOf(password, salt, Number(value(serverFirst, 'i')))
      const c = Buffer.concat([Buffer.from(header), binding]).toString('base64')
      const withoutProof = `c=${c},r=${value(serverFirst, 'r')}${extension}`
      const authMessage = `${bare},${serverFirst},${withoutProof}`
      client.expected = `v=${hmac(keys.serverKey, authMessage).toString('base64')}`
      return `${withoutProof},p=${xor(keys.clientKey, hmac(keys.storedKey, authMessage)).toString('base64')}`
    },
  }
  return client
}

/** What a server with this verifier makes of an exchange: is the proof right, and its server-final. */
export function peerServer(
  verifier: ReturnType<typeof verifierOf>,
  { clientFirst, serverFirst, clientFinal }: { clientFirst: string; serverFirst: string; clientFinal: string },
) {
  const bare = clientFirst.slice(clientFirst.indexOf('n='))
  const authMessage = `${bare},${serverFirst},${clientFinal.slice(0, clientFinal.indexOf(',p='))}`
  const signature = hmac(verifier.storedKey, authMessage)
  const right = sha256(xor(Buffer.from(value(clientFinal, 'p'), 'base64'), signature)).equals(verifier.storedKey)
  return { right, message: `v=${hmac(verifier.serverKey, authMessage).toString('base64')}` }
}
