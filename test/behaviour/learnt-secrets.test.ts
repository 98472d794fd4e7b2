// What a login has taught the pooler is not unlearnt by one that proves less.

import { expect, test } from 'vitest'
import { startPooler } from '../harness/pooler.js'
import { postgres } from '../harness/postgres.js'
import { query } from '../harness/raw-client.js'

test.each([
  ['plain', 'scram_user'],
  ['plain', 'plain_user'],
  ['scram-sha-256', 'scram_user'],
] as const)('auth_type %s taught it the secret of %s; then somebody logs in by trust', async (method, user) => {
  const { password, secret } = postgres().roles[user]
  // What is stored does not do for a login: SCRAM's verifier.
  await using pooler = await startPooler(
    { auth_type: method, default_pool_size: 1 },
    { secrets: { [user]: secret, postgres: 'postgres' } },
  )
  await using console = await pooler.connect({ database: 'pgbouncer' })
  const first = await pooler.connect({ user, password })
  await first.query('select 1')
  await console.query('SET auth_type = trust')
  const later = await pooler.raw({ user })
  await console.query('RECONNECT')
  expect(await later.ask(query('select 1 as x'))).toEqual(['T x', 'D 1', 'C SELECT 1', 'Z I'])
  await console.query('RECONNECT')
  expect((await first.query('select 2 as x')).rows).toEqual([{ x: 2 }])
})
