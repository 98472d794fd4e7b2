// What the servers of a pool report (ParameterStatus) where no client has set it: clients are welcomed with it, and aligned to it.

import { isCarriable, ofTheServer, ParameterSet, type TrackedNames } from '../relay/parameters.js'
import type { ServerSession } from '../server/server-session.js'
import { Spellings } from './spellings.js'

/** Among spellings, no name of a parameter: values that turned out to be clients' own. */
const setByClients = '='

export class UsualParameters {
  /** As the server that logged in last reported them, in its order; and what running ones have reported since. */
  readonly reported: Map<string, string> = new Map()
  /** The tracked ones among them. */
  readonly defaults: ParameterSet
  /** What they make of the values that clients ask for. */
  readonly spellings: Spellings = new Spellings()
  /** What may be in the configuration of the servers by now, or was set by a client: the next login has one asked. */
  readonly suspects: Map<string, string> = new Map()
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
    this.defaults.become(server.parameters)
  }

  /**
   * A running server has reported this.
   * @param isItsOwn whether nobody can have set it just then: its configuration was read anew
   */
  learn(server: ServerSession, name: string, value: string, isItsOwn: boolean): void {
    if (!this.isKnown) return
    if (isItsOwn || name === ofTheServer) this.believe(name, value)
    else if (this.mayBeNews(server, name, value)) this.suspects.set(name, value)
  }

  /** Servers say that this is the value after a RESET. */
  explain(name: string, value: string): void {
    const suspected = this.suspects.get(name)
    this.suspects.delete(name)
    if (suspected === value) this.believe(name, value)
    else if (suspected !== undefined) this.spellings.set(setByClients, `${name}=${suspected}`, '')
  }

  private believe(name: string, value: string): void {
    this.suspects.delete(name)
    this.reported.set(name, value)
    this.defaults.report(name, value)
  }

  /** A client has set it, or the configuration was read anew: not the former where the server has had that value before. */
  private mayBeNews(server: ServerSession, name: string, value: string): boolean {
    if (name === 'application_name' || value === this.defaults.get(name) || !this.reported.has(name)) return false
    if (server.reported.get(name) === value || !isCarriable(value)) return false
    return this.spellings.get(setByClients, `${name}=${value}`) === undefined
  }
}
