// What the pooler logs in to servers with, as one login of a client after another teaches it.

import { sameSecret } from './secrets.js'
import type { Credentials } from './server-login.js'

/**
 * What is known after another login. One that proves less, such as by trust or by a certificate, takes nothing away: what an
 * earlier one has taught is good for as long as the stored secret is not another.
 */
export function learnt(known: Credentials, latest: Credentials): Credentials {
  const { stored } = latest
  if (stored.kind !== 'none' && known.stored.kind !== 'none' && !sameSecret(stored, known.stored)) return latest
  // A password that the file gives in clear text needs none that was learnt while it did not.
  if (stored.kind === 'plain' && known.stored.kind === 'none') return latest
  return {
    user: latest.user,
    stored: stored.kind === 'none' ? known.stored : stored,
    password: latest.password ?? known.password,
    keys: latest.keys ?? known.keys,
  }
}
