// Wrong passwords made slow: who fails again and again is told so later and later, and nobody else waits.

import { type Address, parseAddress, unmapAddress } from '../auth/address.js'
import type { Clock } from '../observe/clock.js'
import type { Attempt } from '../server/attempt.js'

/** The answer to the first failure waits this long, ms; to each after it twice as long as to the one before. */
const firstDelay = 25
/** Failures are forgotten when there has been none for so long, ms. */
const memory = 60_000
/** So many within that time: it is a program that tries passwords, and does not wait for the answers. */
const many = 100
/** Pairs of address and user that are remembered at a time; the one that failed longest ago goes first. */
const mostPairs = 10_000

interface Failures {
  /** Since there was a pause. */
  count: number
  /** The latest, ms on the clock. */
  at: number
  /** When a stretch of time began, ms on the clock, and how many there were in it. */
  stretchStart: number
  inStretch: number
}

/** Failures by address and user: a user who mistypes does not slow another, nor the same one elsewhere. */
export class FailedLogins {
  private readonly clock: Clock
  private readonly longest: () => number
  /** The one that failed longest ago first. */
  private readonly pairs = new Map<string, Failures>()

  /** @param longest delay, seconds (`auth_failure_delay`); 0: none */
  constructor(clock: Clock, longest: () => number) {
    this.clock = clock
    this.longest = longest
  }

  /** How many pairs are remembered. */
  get size(): number {
    return this.pairs.size
  }

  /**
   * Resolves when a password may be checked: at once, but for a pair that has failed too often for somebody who waits for
   * answers. Then right passwords wait too, or silence would tell that a password is wrong.
   */
  async admission(address: string, user: string, attempt: Attempt): Promise<void> {
    const known = this.pairs.get(pairOf(address, user))
    if (known === undefined || known.inStretch < many || this.clock.now() - known.stretchStart > memory) return
    await this.wait(this.longest() * 1000, attempt)
  }

  /** Notes a failure; resolves when its answer may be given. */
  async delay(address: string, user: string, attempt: Attempt): Promise<void> {
    const pair = pairOf(address, user)
    const now = this.clock.now()
    const known = this.pairs.get(pair) ?? { count: 0, at: now, stretchStart: now, inStretch: 0 }
    known.count = now - known.at > memory ? 1 : known.count + 1
    known.at = now
    if (now - known.stretchStart > memory) {
      known.stretchStart = now
      known.inStretch = 0
    }
    known.inStretch++
    this.pairs.delete(pair)
    this.pairs.set(pair, known)
    if (this.pairs.size > mostPairs) this.pairs.delete(this.pairs.keys().next().value!)
    await this.wait(Math.min(this.longest() * 1000, firstDelay * 2 ** Math.min(known.count - 1, 30)), attempt)
  }

  private wait(ms: number, attempt: Attempt): Promise<void> {
    if (ms <= 0) return Promise.resolve()
    const over = new Promise<void>((resolve) => {
      const timer = this.clock.after(ms, resolve)
      attempt.onGivenUp(() => timer.cancel())
    })
    return attempt.wait(over)
  }
}

/** Whoever has one IPv6 address has 2^64 of them. */
const networkBytes = 8

function pairOf(address: string, user: string): string {
  const parsed = parseAddress(address.replace(/%.*/s, ''))
  return `${parsed === undefined ? address : network(unmapAddress(parsed)).join('.')}\0${user}`
}

function network(address: Address): Address {
  return address.length === 16 ? address.slice(0, networkBytes) : address
}
