// Poolers that look after session state, and what their clients find.

import { expect } from 'vitest'
import { type Settings, startPooler, type TestClient, type TestPooler } from '../harness/pooler.js'
import type { RawClient } from '../harness/raw-client.js'

/** With `session_state = track`, and one server unless settings say otherwise. */
export const track = (settings: Settings = {}): Promise<TestPooler> =>
  startPooler({ session_state: 'track', default_pool_size: 1, ...settings })

export async function value(client: TestClient, name: string): Promise<string | null> {
  return (await client.query(`SELECT current_setting('${name}', true) AS value`)).rows[0].value
}

/** Of the server that the client has, or is given for this. */
export async function pid(client: TestClient): Promise<number> {
  return (await client.query('SELECT pg_backend_pid() AS pid')).rows[0].pid
}

/** What SHOW CLIENTS says of each client, in the order they came. */
async function sessions(pooler: TestPooler): Promise<unknown[]> {
  const rows = await pooler.show('clients')
  return [...rows].sort((one, other) => Number(one.id) - Number(other.id)).map((row) => row.session)
}

/** They become this: what a client holds is known when its server has told, a moment later. */
export async function become(pooler: TestPooler, expected: string[]): Promise<void> {
  const isSo = async () => JSON.stringify(await sessions(pooler)) === JSON.stringify(expected)
  await pooler.settles(isSo).catch(async () => expect(await sessions(pooler)).toEqual(expected))
}

/** Clients of one database. */
export function clientsOf(database: () => string): {
  readonly connect: (pooler: TestPooler) => Promise<TestClient>
  readonly raw: (pooler: TestPooler) => Promise<RawClient>
} {
  return {
    connect: (pooler) => pooler.connect({ database: database() }),
    raw: (pooler) => pooler.raw({ database: database() }),
  }
}
