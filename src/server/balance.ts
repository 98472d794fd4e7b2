// Which of several hosts is next, by `load_balance_hosts`.

import type { LoadBalanceHosts } from '../config/choices.js'

/**
 * @param hosts that may be used, in the order of their entry
 * @param turn how often one was chosen before, for round-robin
 * @param count servers of the database that are on a host
 * @returns undefined where there is none
 */
export function nextHost<Host>(
  balance: LoadBalanceHosts,
  hosts: readonly Host[],
  turn: number,
  count: (host: Host) => number,
): Host | undefined {
  switch (balance) {
    case 'disable':
      return hosts[0]
    case 'round-robin':
      return hosts[turn % hosts.length]
    case 'random':
      return hosts[Math.floor(Math.random() * hosts.length)]
    case 'least-connections': {
      const counts = hosts.map(count)
      return hosts[counts.indexOf(Math.min(...counts))]
    }
  }
}
