// What the servers of a pool have where no client has set it: what clients are welcomed with, and aligned to. The newest word counts.

import { ofTheServer, ParameterSet, type TrackedNames } from './parameters.js'
import type { ServerSession } from './server-session.js'
import { Spellings } from './spellings.js'

export class UsualParameters {
  /** As the server that logged in last reported them, in its order; and what running ones have reported since. */
  readonly reported: Map<string, string> = new Map()
  /** The tracked ones among them. */
  readonly defaults: ParameterSet
  /** What they make of the values that clients ask for. */
  readonly spellings: Spellings = new Spellings()
  /** A server has logged in. */
  isKnown = false

  constructor(tracked: TrackedNames) {
    this.defaults = new ParameterSet(tracked)
  }

  /** A server has logged in, and its connect_query has been run. */
  learnFrom(server: ServerSession): void {
    this.isKnown = true
    this.reported.clear()
    for (const [name, value] of server.reported) this.reported.set(name, value)
    server.reported.clear()
    this.defaults.become(server.parameters)
  }

  /**
   * A running server has reported this.
   * @param isItsOwn whether nobody can have set it just then: its configuration was read anew
   */
  learn(name: string, value: string, isItsOwn: boolean): void {
    if (!this.isKnown || (!isItsOwn && name !== ofTheServer)) return
    this.reported.set(name, value)
    this.defaults.report(name, value)
  }
}
