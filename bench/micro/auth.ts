// Logins: SCRAM in both roles, and md5.

import { answerMd5, md5Hash, verifyMd5Answer } from '../../src/auth/md5.js'
import { ScramClient, ScramServer, scramMechanism } from '../../src/auth/scram.js'
import { ScramKeyring } from '../../src/auth/scram-keys.js'
import { parseStoredSecret, type StoredSecret } from '../../src/auth/secrets.js'
import { Secret } from '../../src/config/secret.js'
import { scramSecret } from '../../src/demo/secrets.js'
import { type Suite, short } from './suite.js'

const user = 'sam'
const password = 'correct horse battery staple'
const iterations = 4096
const clientFirst = `n,,n=,r=${'x'.repeat(24)}`

/** A whole login, the pooler on both ends. */
async function logIn(stored: StoredSecret, onServer: ScramKeyring, onClient: ScramKeyring): Promise<void> {
  const server = new ScramServer({ user, stored, iterations, keyring: onServer })
  const client = new ScramClient({ credential: new Secret(password), mechanisms: [scramMechanism], keyring: onClient })
  const outcome = await server.finish(await client.prove(server.start(client.mechanism, client.start())))
  if (!outcome.right) throw new Error('the right password was refused')
  client.finish(outcome.message)
}

export const auth: Suite = {
  name: 'auth',
  async cases() {
    const verifier = parseStoredSecret(await scramSecret(password))
    const plain = parseStoredSecret(password)
    const md5 = parseStoredSecret(md5Hash(password, user).reveal())
    const salt = Buffer.from('salt')
    const answer = Buffer.from(answerMd5(md5, user, salt) ?? '')
    const keyring = new ScramKeyring()
    return [
      { name: 'SCRAM, both roles, keys remembered', run: () => logIn(verifier, keyring, keyring) },
      { name: 'SCRAM, both roles, keys derived once', run: () => logIn(verifier, keyring, new ScramKeyring()) },
      {
        name: 'SCRAM, both roles, both derive from plaintext',
        run: () => logIn(plain, new ScramKeyring(), new ScramKeyring()),
      },
      {
        name: 'SCRAM, as server, challenge alone',
        run: () => new ScramServer({ user, stored: verifier, iterations, keyring }).start(scramMechanism, clientFirst),
      },
      short('md5, answer a server', () => answerMd5(md5, user, salt)),
      short('md5, check a client', () => verifyMd5Answer(md5, user, salt, answer)),
    ]
  },
}
