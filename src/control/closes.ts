// How often clients and servers were closed, by pool and reason, as rows for SHOW.

import type { Clients } from '../client/clients.js'
import { CloseCounts } from '../observe/close-counts.js'
import type { CloseStatus } from './status.js'

/** One database and user, or neither. */
interface Place {
  readonly database: string | undefined
  readonly user: string | undefined
  readonly client: CloseCounts
  readonly server: CloseCounts
}

export function closeStatuses(clients: Clients): CloseStatus[] {
  return placesOf(clients).flatMap(({ database, user, ...counts }) =>
    (['client', 'server'] as const).flatMap((kind) =>
      [...counts[kind]].map(([reason, count]) => ({ kind, database, user, reason, count })),
    ),
  )
}

/** Pools for look-ups are pools of their own only to us; those for replication count with the clients' pool. */
function placesOf({ registry, console: onConsole, context }: Clients): Place[] {
  const places = new Map<string, Place>()
  for (const { isReplication, database, user, counters } of registry.pools()) {
    if (isReplication) continue
    const key = `${database.name}\0${user.name}`
    const place = places.get(key) ?? placeOf(database.name, user.name)
    places.set(key, place)
    place.client.addAll(counters.clientCloses)
    place.server.addAll(counters.serverCloses)
  }
  const ofConsole = { ...placeOf('pgbouncer', 'pgbouncer'), client: onConsole.counters.clientCloses }
  const elsewhere = { ...placeOf(undefined, undefined), client: context.closes }
  return [...places.values(), ofConsole, elsewhere]
}

function placeOf(database: string | undefined, user: string | undefined): Place {
  return { database, user, client: new CloseCounts(), server: new CloseCounts() }
}
