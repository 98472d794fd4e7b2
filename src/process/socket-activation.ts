// Sockets that a service manager has opened for us (sd_listen_fds(3)): systemd's .socket units.

import { StartFailure } from './start-failure.js'

/** The first of them; the others follow. */
export const firstDescriptor = 3

export interface PassedSocket {
  readonly fd: number
  /** FileDescriptorName= of its unit, or ''. */
  readonly name: string
}

/**
 * Takes the variables out of the environment: what we start is not to take them for its own.
 * @param pid whom they have to be meant for; sockets for another process are left alone
 * @throws StartFailure for values that no service manager would set
 */
export function takePassedSockets(env: NodeJS.ProcessEnv, pid: number): readonly PassedSocket[] {
  const { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES } = env
  for (const name of ['LISTEN_PID', 'LISTEN_PIDFDID', 'LISTEN_FDS', 'LISTEN_FDNAMES']) delete env[name]
  if (LISTEN_PID === undefined || LISTEN_FDS === undefined) return []
  if (parseNumber('LISTEN_PID', LISTEN_PID, /^\d{1,9}$/) !== pid) return []
  const count = parseNumber('LISTEN_FDS', LISTEN_FDS, /^\d{1,3}$/)
  const names = LISTEN_FDNAMES === undefined || count === 0 ? [] : LISTEN_FDNAMES.split(':')
  if (names.length > 0 && names.length !== count) {
    throw new StartFailure(`LISTEN_FDNAMES has ${names.length} names for LISTEN_FDS=${count}: ${LISTEN_FDNAMES}`)
  }
  return Array.from({ length: count }, (_, index) => ({ fd: firstDescriptor + index, name: names[index] ?? '' }))
}

function parseNumber(name: string, text: string, form: RegExp): number {
  if (form.test(text)) return Number(text)
  throw new StartFailure(`${name}=${text}: expected a number (see sd_listen_fds(3))`)
}
