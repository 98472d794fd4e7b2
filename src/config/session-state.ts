// Is session state looked after anywhere (`session_state`)?

import type { Config } from './load.js'

export function watchesSessions({ settings, databases, autodb, users }: Config): boolean {
  if (settings.session_state !== 'allow') return true
  const entries = [...databases.values(), ...users.values(), ...(autodb === undefined ? [] : [autodb])]
  return entries.some(({ sessionState = 'allow' }) => sessionState !== 'allow')
}
