// The states of a server, and which of them may follow which.

export type ServerState = 'connecting' | 'idle' | 'used' | 'tested' | 'active' | 'closed'

/** Returns whether a server may go from the one state to the other. */
export function mayMove(from: ServerState, to: ServerState): boolean {
  switch (from) {
    case 'idle':
      return to === 'active' || to === 'used' || to === 'tested' || to === 'closed'
    case 'active':
      return to === 'idle' || to === 'used' || to === 'tested' || to === 'closed'
    case 'tested':
      return to === 'idle' || to === 'used' || to === 'active' || to === 'closed'
    case 'connecting':
    case 'used':
      return to === 'tested' || to === 'closed'
    case 'closed':
      return false
  }
}
