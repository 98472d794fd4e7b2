// Whether a host is one that an entry's servers may be on: its role held against `target_session_attrs`.

import type { TargetSessionAttrs } from '../../config/choices.js'
import type { Election } from './election.js'
import type { Host } from './host.js'

/**
 * `fit`: servers may be opened there. `spare`: those that are there may end what they do. `unsure`: nothing is opened, and
 * nothing is closed. `wrong`: what is done there may be lost or outdated: it is ended at once. `dead`: the same, since nothing comes
 * from there.
 */
export type Standing = 'fit' | 'spare' | 'unsure' | 'wrong' | 'dead'

/**
 * What follows from the role, before it matters whether others are better. `replaced`: it does not say what it is, and another
 * is the primary.
 */
export type Place = 'primary' | 'standby' | 'replaced' | Exclude<Standing, 'fit'>

/** What a host is to all entries with the same hosts. */
export function placeOf(host: Host, { primary, foreign, disputed }: Election, now: number): Place {
  const { name, state, report } = host
  if (foreign.has(name) || host.fencedBy.size > 0) return 'wrong'
  if (state === 'down') return 'dead'
  if (state !== 'up' || report === undefined) return primary === undefined ? 'unsure' : 'replaced'
  if (host.isBanned(now)) return 'spare'
  if (report.isInRecovery) return 'standby'
  if (name === primary) return 'primary'
  return disputed.has(name) ? 'wrong' : 'unsure'
}

/** What it is to an entry with this `target_session_attrs`, whose servers may be anywhere else: for look-ups of the pooler. */
export function standingFor(attrs: TargetSessionAttrs, place: Place, isLate: boolean, hasStandby: boolean): Standing {
  if (place === 'replaced') return attrs === 'primary' || attrs === 'read-write' ? 'wrong' : 'unsure'
  if (place !== 'primary' && place !== 'standby') return place
  const isStandby = place === 'standby'
  switch (attrs) {
    case 'primary':
    case 'read-write':
      return isStandby ? 'wrong' : 'fit'
    case 'standby':
      return isStandby && !isLate ? 'fit' : 'spare'
    case 'read-only':
    case 'prefer-standby':
      return isStandby === hasStandby && !(isStandby && isLate) ? 'fit' : 'spare'
    case 'any':
      return 'fit'
  }
}
