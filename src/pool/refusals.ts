// Statements that a server has refused as writes (25006), and that may be run again where its host turns out to be a standby.

import type { Clock, Timer } from '../observe/clock.js'
import type { ServerSession } from '../server/server-session.js'
import type { HostGroup } from '../server/topology/group.js'
import type { Topology } from '../server/topology/topology.js'
import type { RefusedClient } from './pool.js'

interface Refusal {
  readonly client: RefusedClient
  /** ms on the clock. */
  readonly since: number
  /** Its host has said nothing in time. */
  readonly late: Timer
}

/** What is needed of the Context. */
interface RefusalContext {
  readonly clock: Clock
  readonly topology: Topology
}

export class Refusals {
  private readonly context: RefusalContext
  private readonly waiting = new Map<ServerSession, Refusal>()

  constructor(context: RefusalContext) {
    this.context = context
  }

  /** Returns whether what is to become of a server's refusal is still being found out. */
  has(server: ServerSession): boolean {
    return this.waiting.has(server)
  }

  /**
   * Has the host of the server asked whether it is a standby, where its database wants a primary. Where it does not say so in
   * time, the client is told the refusal.
   * @returns whether the client's `decide` will be called
   */
  add(server: ServerSession, client: RefusedClient): boolean {
    const { roleHost, pool } = server
    if (roleHost === undefined || pool.database.target?.wantsPrimary !== true) return false
    const { clock, topology } = this.context
    const late = clock.after(2 * topology.checkTimeout, () => this.decide(server, false))
    this.waiting.set(server, { client, since: clock.now(), late })
    topology.suspect(roleHost)
    return true
  }

  /**
   * Hosts of a group were heard of: one that was asked since the refusal decides it.
   * @returns servers whose refusal is decided: whether they may stay where they are was left open until now
   */
  settle(group: HostGroup): ReadonlySet<ServerSession> {
    const decided = new Set<ServerSession>()
    for (const [server, { since }] of this.waiting) {
      const host = group.candidates.find((candidate) => candidate.host === server.roleHost)?.host
      if (host === undefined || host.checkedAt < since) continue
      decided.add(server)
      this.decide(server, host.report?.isInRecovery === true)
    }
    return decided
  }

  /**
   * A server on a host that does not fit any more is given to nobody. What became of a client whose server was closed meanwhile
   * is decided already.
   */
  private decide(server: ServerSession, isStandby: boolean): void {
    const refusal = this.waiting.get(server)
    if (refusal === undefined) return
    refusal.late.cancel()
    this.waiting.delete(server)
    if (server.state === 'closed') return
    if (isStandby || !mayStay(server)) server.retire('host_replaced')
    refusal.client.decide(isStandby)
  }
}

function mayStay({ roleHost, pool }: ServerSession): boolean {
  const standing = roleHost && pool.database.target?.standing(roleHost, pool.reach)
  return standing === undefined || standing === 'fit' || standing === 'unsure'
}
