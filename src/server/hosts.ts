// Where servers are: host names looked up and remembered, their addresses taken in turn.

import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import type { DatabaseTemplate } from '../config/databases.js'
import type { Clock } from '../observe/clock.js'

export interface DnsStatus {
  readonly hostname: string
  /** Seconds until it is looked up again. */
  readonly ttl: number
  readonly addresses: readonly string[]
}

/** As configured: name, address, folder of a Unix socket. */
export interface NamedHost {
  readonly name: string
  readonly port: number
}

/** What to connect to: an address and port, or a Unix socket. `name`: as configured, for TLS and SHOW. */
export type ServerAddress =
  | { readonly kind: 'tcp'; readonly name: string; readonly address: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string; readonly port: number }

export class LookupFailed extends Error {
  override readonly name = 'LookupFailed'
}

interface Known {
  readonly addresses: readonly string[]
  /** Clock time until which it is used, ms. */
  readonly until: number
}

export interface DnsLimits {
  /** Seconds an answer is used (`dns_max_ttl`), and a failure (`dns_nxdomain_ttl`). */
  readonly maxTtl: number
  readonly failureTtl: number
}

/** All addresses of a name; rejects where there are none. */
type LookUp = (name: string) => Promise<readonly string[]>

async function askSystem(name: string): Promise<string[]> {
  return (await lookup(name, { all: true })).map(({ address }) => address)
}

/** Looks names up, several callers at once in one look-up, and keeps answers and failures for a while. */
export class Resolver {
  private readonly known = new Map<string, Known>()
  private readonly running = new Map<string, Promise<Known>>()
  private readonly turns = new Map<string, number>()
  private readonly clock: Clock
  private readonly limits: () => DnsLimits
  private readonly onGone: (name: string, addresses: readonly string[]) => void
  private readonly lookUp: LookUp

  /** @param onGone is told which addresses a name does not have any more, when it is looked up again */
  constructor(
    clock: Clock,
    limits: () => DnsLimits,
    onGone: (name: string, addresses: readonly string[]) => void = () => {},
    lookUp: LookUp = askSystem,
  ) {
    this.clock = clock
    this.limits = limits
    this.onGone = onGone
    this.lookUp = lookUp
  }

  get pending(): number {
    return this.running.size
  }

  /**
   * One address of the name; several are taken in turn.
   * @param isFailing passed over while there are others
   * @throws LookupFailed
   */
  async address(name: string, isFailing: (address: string) => boolean = () => false): Promise<string> {
    if (isIP(name) !== 0) return name
    const { addresses } = await this.find(name)
    if (addresses.length === 0) throw new LookupFailed(`could not look up ${name}`)
    const turn = this.turns.get(name) ?? 0
    const inTurn = addresses.map((_, n) => addresses[(turn + n) % addresses.length]!)
    const address = inTurn.find((candidate) => !isFailing(candidate)) ?? inTurn[0]!
    this.turns.set(name, addresses.indexOf(address) + 1)
    return address
  }

  /** All addresses of the name; none where it can't be looked up. */
  async addresses(name: string): Promise<readonly string[]> {
    return isIP(name) !== 0 ? [name] : (await this.find(name)).addresses
  }

  /** What is known of a name without looking it up; none: nothing. */
  addressesOf(name: string): readonly string[] {
    return isIP(name) !== 0 ? [name] : (this.known.get(name)?.addresses ?? [])
  }

  /** For SHOW DNS_HOSTS. */
  status(): DnsStatus[] {
    return [...this.known].map(([hostname, known]) => ({
      hostname,
      ttl: Math.max(0, Math.ceil((known.until - this.clock.now()) / 1000)),
      addresses: known.addresses,
    }))
  }

  private async find(name: string): Promise<Known> {
    const known = this.known.get(name)
    if (known !== undefined && known.until > this.clock.now()) return known
    let running = this.running.get(name)
    if (running === undefined) {
      running = this.ask(name).finally(() => this.running.delete(name))
      this.running.set(name, running)
    }
    return running
  }

  private async ask(name: string): Promise<Known> {
    const addresses = await this.lookUp(name).catch((): readonly string[] => [])
    const { maxTtl, failureTtl } = this.limits()
    const known = { addresses, until: this.clock.now() + (addresses.length > 0 ? maxTtl : failureTtl) * 1000 }
    const gone = this.known.get(name)?.addresses.filter((address) => !addresses.includes(address)) ?? []
    this.known.set(name, known)
    // A look-up that fails says nothing of the servers that are connected.
    if (addresses.length > 0 && gone.length > 0) this.onGone(name, gone)
    return known
  }
}

/**
 * @param host name, address, folder of a Unix socket (`/dir`), or the same in the abstract namespace (`@name`)
 * @throws LookupFailed
 */
export async function locate(
  host: string,
  port: number,
  resolver: Resolver,
  isFailing?: (address: string) => boolean,
): Promise<ServerAddress> {
  return unixPlace(host, port) ?? { kind: 'tcp', name: host, address: await resolver.address(host, isFailing), port }
}

/** The same, all of its addresses; none where the name can't be looked up. */
export async function placesOf({ name, port }: NamedHost, resolver: Resolver): Promise<ServerAddress[]> {
  const socket = unixPlace(name, port)
  if (socket !== undefined) return [socket]
  return (await resolver.addresses(name)).map((address) => ({ kind: 'tcp', name, address, port }))
}

function unixPlace(host: string, port: number): ServerAddress | undefined {
  if (host.startsWith('/')) return { kind: 'unix', path: `${host}/.s.PGSQL.${port}`, port }
  if (host.startsWith('@')) return { kind: 'unix', path: `\0${host.slice(1)}/.s.PGSQL.${port}`, port }
  return undefined
}

/**
 * The hosts of an entry, as configured.
 * @param ownFolder of the Unix socket, for an entry that names none (`unix_socket_dir`)
 */
export function namedHostsOf(
  { hosts, ports }: Pick<DatabaseTemplate, 'hosts' | 'ports'>,
  ownFolder: string,
): NamedHost[] {
  const names = hosts.length === 0 ? [ownFolder || '/tmp'] : hosts
  return names.map((name, n) => ({ name, port: (ports.length > 1 ? ports[n] : ports[0]) ?? 5432 }))
}
