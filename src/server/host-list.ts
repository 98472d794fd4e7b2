// The hosts of one database without roles, which of them is next, and which of them failed lately.

import type { DatabaseConfig } from '../config/databases.js'
import { nextHost } from './balance.js'
import type { Context } from './context.js'
import { locate, type NamedHost, namedHostsOf, type ServerAddress } from './hosts.js'

/** What is needed of the Context: `server_login_retry`, `unix_socket_dir`, the time, and the addresses of names. */
export type HostContext = Pick<Context, 'clock' | 'config' | 'resolver'>

/** Whatever `server_login_retry` is, a host is not tried again sooner than this, ms: the janitor's period. */
const shortestPause = 333

/** Failures that are remembered before those that do not matter any more are thrown away. */
const manyFailures = 100

/**
 * A failure belongs to the host, or to the one of its addresses, that failed: for `server_login_retry` it is passed over
 * while there are others. One that says no to a user fails for that user alone.
 */
export class HostList {
  /** Index of the host whose turn it is, or of the one in use. */
  private turn = 0
  /** When they failed, ms on the clock, by `keyOf`. */
  private readonly failures = new Map<string, number>()

  /**
   * The host to connect to next. Where all have failed, the one for which that is longest ago.
   * @param count servers of the database that are on a host
   */
  next(database: DatabaseConfig, user: string, context: HostContext, count: (host: NamedHost) => number): NamedHost {
    const hosts = hostsOf(database, context)
    const inTurn = hosts.map((_, n) => hosts[(this.turn + n) % hosts.length]!)
    const failures = inTurn.map((host) => this.failureOf(host, user, context))
    const earliest = Math.min(...failures)
    const best = inTurn.filter((_, n) => failures[n] === earliest)
    const next = nextHost(database.loadBalanceHosts, best, 0, count)!
    if (database.loadBalanceHosts === 'round-robin') this.turn = (hosts.indexOf(next) + 1) % hosts.length
    return next
  }

  /**
   * Where a host is: one of its addresses, those that have not failed before the others.
   * @throws LookupFailed
   */
  locate({ name, port }: NamedHost, user: string, context: HostContext): Promise<ServerAddress> {
    const isFailing = (address: string): boolean => this.since(keyOf(address, port), user, context) !== never
    return locate(name, port, context.resolver, isFailing)
  }

  /** Returns whether there is a host, or an address of one, that has not failed. */
  hasOther(database: DatabaseConfig, user: string, context: HostContext): boolean {
    return hostsOf(database, context).some((host) => this.failureOf(host, user, context) === never)
  }

  /**
   * @param target undefined where its name could not be looked up
   * @param user undefined: it fails for everybody
   */
  failed(
    database: DatabaseConfig,
    host: NamedHost,
    target: ServerAddress | undefined,
    user: string | undefined,
    context: HostContext,
  ): void {
    const now = context.clock.now()
    if (this.failures.size >= manyFailures) {
      for (const [key, at] of this.failures) if (now - at >= pauseOf(context)) this.failures.delete(key)
    }
    const where = target?.kind === 'tcp' ? target.address : host.name
    this.failures.set(keyOf(where, host.port, user), now)
    if (database.loadBalanceHosts !== 'disable') return
    // The next one is taken from now on, unless another attempt has moved on already.
    const hosts = hostsOf(database, context)
    const { name, port } = hosts[this.turn % hosts.length]!
    if (name === host.name && port === host.port) this.turn = (this.turn + 1) % hosts.length
  }

  connected({ name, port }: NamedHost, target: ServerAddress, user: string): void {
    if (this.failures.size === 0) return
    for (const where of [name, target.kind === 'tcp' ? target.address : name]) {
      this.failures.delete(keyOf(where, port))
      this.failures.delete(keyOf(where, port, user))
    }
  }

  /** When a host failed, with all its addresses, ms on the clock; `never`: it has not, or long enough ago. */
  private failureOf({ name, port }: NamedHost, user: string, context: HostContext): number {
    const own = this.since(keyOf(name, port), user, context)
    const addresses = context.resolver.addressesOf(name)
    if (own !== never || addresses.length === 0) return own
    return Math.min(...addresses.map((address) => this.since(keyOf(address, port), user, context)))
  }

  private since(key: string, user: string, context: HostContext): number {
    const at = Math.max(this.failures.get(key) ?? never, this.failures.get(`${key}\0${user}`) ?? never)
    return context.clock.now() - at < pauseOf(context) ? at : never
  }
}

const never = Number.NEGATIVE_INFINITY

/** How long a host that has failed, or has said no, is passed over while there are others, ms. */
export function pauseOf({ config }: HostContext): number {
  return Math.max(config.settings.server_login_retry * 1000, shortestPause)
}

function keyOf(where: string, port: number, user?: string): string {
  return user === undefined ? `${where}\0${port}` : `${where}\0${port}\0${user}`
}

function hostsOf(database: DatabaseConfig, { config }: HostContext): NamedHost[] {
  return namedHostsOf(database, config.settings.unix_socket_dir)
}
