// A pooler as a service has it: made by createPooler, started without a listener, closed when its test has ended.

import { afterEach } from 'vitest'
import type { ConfigInput } from '../../src/config/input.js'
import { createPooler, type Pooler } from '../../src/pooler.js'
import { postgres } from './postgres.js'

const poolers: Pooler[] = []
afterEach(async () => {
  for (const pooler of poolers.splice(0)) await pooler.close()
})

/** Its database `shop` is `postgres` on the primary, and lets anybody in. */
export function libraryConfig(settings: ConfigInput['pgbouncer'] = {}): ConfigInput {
  return {
    pgbouncer: { auth_type: 'any', pool_mode: 'transaction', server_tls_sslmode: 'disable', ...settings },
    databases: { shop: { ...postgres().primary, dbname: 'postgres', user: 'trust_user' } },
  }
}

export async function startLibrary(settings?: ConfigInput['pgbouncer']): Promise<Pooler> {
  const pooler = createPooler({ config: libraryConfig(settings) })
  poolers.push(pooler)
  await pooler.start()
  return pooler
}
