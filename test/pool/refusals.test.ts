import { describe, expect, test } from 'vitest'
import { Refusals } from '../../src/pool/refusals.js'
import type { ServerSession } from '../../src/server/server-session.js'
import type { HostGroup } from '../../src/server/topology/group.js'
import type { Host } from '../../src/server/topology/host.js'
import type { Topology } from '../../src/server/topology/topology.js'
import { ManualClock } from '../harness/manual-clock.js'

/** A server on a host, its client, and who is asked about the host. */
function scene({ wantsPrimary = true, hasRoles = true, standing = 'fit' } = {}) {
  const clock = new ManualClock()
  const said: { checkedAt: number; report: { isInRecovery: boolean } | undefined } = { checkedAt: 0, report: undefined }
  const host = said as unknown as Host
  const asked: Host[] = []
  const seen: string[] = []
  const server = {
    state: 'active',
    roleHost: hasRoles ? host : undefined,
    pool: { database: { target: { wantsPrimary, standing: () => standing } } },
    retire: (reason: string) => seen.push(`retired: ${reason}`),
  } as unknown as ServerSession
  const topology = { checkTimeout: 1000, suspect: (one: Host) => asked.push(one) } as unknown as Topology
  const refusals = new Refusals({ clock, topology })
  const client = { decide: (may: boolean) => void seen.push(`again: ${may}`) }
  const group = { candidates: [{ host }] } as unknown as HostGroup
  /** The host has answered a question that was asked at `at`. */
  const hear = (isInRecovery: boolean | undefined, at: number) => {
    said.checkedAt = at
    said.report = isInRecovery === undefined ? undefined : { isInRecovery }
    return refusals.settle(group)
  }
  return { clock, host, asked, seen, server, refusals, client, hear }
}

describe('a write that a server refuses', () => {
  test('is run again where its host says, asked since then, that it is a standby; the server is retired first', () => {
    const { clock, host, asked, seen, server, refusals, client, hear } = scene()
    const since = clock.now()
    expect(refusals.add(server, client)).toBe(true)
    expect([asked, refusals.has(server)]).toEqual([[host], true])
    expect(hear(true, since - 1)).toEqual(new Set()) // asked before
    expect(seen).toEqual([])
    expect(hear(true, since)).toEqual(new Set([server]))
    expect(seen).toEqual(['retired: host_replaced', 'again: true'])
    expect(refusals.has(server)).toBe(false)
    hear(true, since + 1)
    expect(seen).toHaveLength(2)
  })

  test.each([
    ['says that it is a primary: the client has made it so itself', false],
    ['says nothing', undefined],
  ])('is told where its host %s', (_what, isInRecovery) => {
    const { clock, seen, server, refusals, client, hear } = scene()
    refusals.add(server, client)
    hear(isInRecovery, clock.now())
    expect(seen).toEqual(['again: false'])
  })

  test('is told where nothing is heard in time', () => {
    const { clock, seen, server, refusals, client, hear } = scene()
    refusals.add(server, client)
    clock.advance(1.9)
    expect(seen).toEqual([])
    clock.advance(0.2)
    expect(seen).toEqual(['again: false'])
    hear(true, 1e9)
    expect(seen).toHaveLength(1)
  })

  test.each([
    ['fit', ['again: false']],
    ['unsure', ['again: false']],
    ['spare', ['retired: host_replaced', 'again: false']],
    ['wrong', ['retired: host_replaced', 'again: false']],
    ['dead', ['retired: host_replaced', 'again: false']],
  ])('is told, and nobody gets the server after it where its host does not fit any more: %s', (standing, happened) => {
    const { clock, seen, server, refusals, client, hear } = scene({ standing })
    refusals.add(server, client)
    hear(false, clock.now())
    expect(seen).toEqual(happened)
  })

  test('has all the time there is, however long ago the same server has refused another', () => {
    const { clock, seen, server, refusals, client, hear } = scene()
    refusals.add(server, client)
    hear(false, clock.now())
    clock.advance(1.9)
    refusals.add(server, client)
    clock.advance(1.9)
    expect(seen).toEqual(['again: false'])
    clock.advance(0.2)
    expect(seen).toEqual(['again: false', 'again: false'])
  })

  test('is of no interest any more where its server is closed: its client may have another one by now', () => {
    const { clock, seen, server, refusals, client, hear } = scene()
    refusals.add(server, client)
    Object.assign(server, { state: 'closed' })
    hear(true, clock.now())
    clock.advance(3)
    expect([seen, refusals.has(server)]).toEqual([[], false])
  })

  test('is told at once where no primary is wanted, or hosts have no roles', () => {
    for (const how of [{ wantsPrimary: false }, { hasRoles: false }]) {
      const { asked, server, refusals, client } = scene(how)
      expect([refusals.add(server, client), asked, refusals.has(server)]).toEqual([false, [], false])
    }
  })
})
