import { expect, test } from 'vitest'
import { silentLog } from '../../src/observe/log.js'
import type { Pool } from '../../src/pool/pool.js'
import type { Registry } from '../../src/pool/registry.js'
import { Roles } from '../../src/pool/roles.js'
import type { ServerSession } from '../../src/server/server-session.js'
import type { HostGroup } from '../../src/server/topology/group.js'

test('a server whose client waits for what becomes of a refused write leaves its host when that is decided, not before', () => {
  const seen: string[] = []
  const group = {} as HostGroup
  const server = { roleHost: {}, state: 'active' } as unknown as ServerSession
  let [isWaiting, isChanged] = [true, true]
  const target = { group, update: () => isChanged, standing: () => 'wrong', returned: [], lateChanges: [] }
  const database = { target }
  const pool = {
    database,
    reach: 'role',
    servers: () => [server],
    onServerLost: (_server: ServerSession, reason: string) => seen.push(reason),
    launcher: { hostsChanged() {} },
    demand() {},
  } as unknown as Pool
  const registry = {
    context: { log: silentLog },
    databases: [database],
    pools: () => [pool],
    conditions: { look() {} },
    refusals: {
      has: () => isWaiting,
      settle() {
        if (isWaiting === isChanged) return new Set() // its host was asked before
        isWaiting = false
        seen.push('decided')
        return new Set([server])
      },
    },
  } as unknown as Registry
  const roles = new Roles(registry)
  roles.onReconsidered(group)
  expect(seen).toEqual([])
  isChanged = false
  roles.onReconsidered(group)
  expect(seen).toEqual(['decided', 'host_replaced'])
})

test.each([
  [{}, 2],
  [{ isReplication: true }, 0],
  [{ reach: 'anywhere' }, 0],
])('a host that fits again gets its part of the servers that others have taken over, %j', (kind, part) => {
  const seen: string[] = []
  const group = {} as HostGroup
  const [host, other, unfit] = [{}, {}, {}]
  const on = (roleHost: object, closeNeeded = false) => ({ roleHost, closeNeeded, state: 'idle' }) as ServerSession
  const servers = [...Array.from({ length: 5 }, () => on(other)), on(unfit), on(host), on(other, true)]
  const target = {
    group,
    returned: [host],
    lateChanges: [],
    fitting: 2,
    update: () => true,
    standing: (one: object) => (one === unfit ? 'unsure' : 'fit'),
    owe: (one: object, count: number) => seen.push(`owed ${one === host ? count : 'to another'}`),
  }
  const database = { target }
  const pool = {
    database,
    reach: 'role',
    isReplication: false,
    ...{ idle: servers.slice(0, 2), used: servers.slice(2, 3), active: servers.slice(3) },
    servers: () => servers,
    launcher: { hostsChanged: () => seen.push('hosts changed') },
    demand: () => seen.push('demand'),
    ...kind,
  } as unknown as Pool
  const registry = {
    context: { log: silentLog },
    databases: [database],
    pools: () => [pool],
    retire: (_pool: Pool, server: ServerSession, reason: string) => seen.push(`${reason} ${servers.indexOf(server)}`),
    conditions: { look: () => seen.push('looked') },
    refusals: { has: () => false, settle: () => new Set() },
  } as unknown as Registry
  new Roles(registry).onReconsidered(group)
  const shared = part === 0 ? [] : ['host_returned 0', 'host_returned 1', `owed ${part}`]
  expect(seen).toEqual(['hosts changed', ...shared, 'demand', 'looked'])
})
