// Who the pooler runs as: anyone but root, and with `user` or -u, who was named.

import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { systemReason } from '../config/config-error.js'
import { StartFailure } from './start-failure.js'

/** Documented, yet absent from @types/node. */
type WithInitgroups = { initgroups?(user: string, extraGroup: number): void }

/**
 * Becomes this user, for good, before anything is opened: files, sockets and the log then belong to it, and can be opened
 * again by a reload. Ports below 1024 are out of reach from there on, as in pgbouncer.
 * @throws StartFailure if there is no such user, if it can't be done, or if it would run as root
 */
export function becomeUser(name: string | undefined): void {
  if (process.getuid === undefined) return // Windows
  if (name !== undefined) assume(name)
  if (process.getuid() !== 0) return
  throw new StartFailure(
    'PgBouncer should not run as root: name another user with -u USER, or with user = USER in the configuration',
  )
}

function assume(name: string): void {
  const { uid, gid } = findUser(name)
  if (process.getuid?.() === uid) return
  try {
    ;(process as WithInitgroups).initgroups?.(name, gid)
    process.setgid?.(gid)
    process.setuid?.(uid)
  } catch (error) {
    throw new StartFailure(
      `failed to assume identity of user '${name}' (user, or -u): ${systemReason(error)}; only root can become somebody else`,
    )
  }
  if (canBeRootAgain()) throw new StartFailure('setuid() failed to work')
}

function canBeRootAgain(): boolean {
  if (process.getuid?.() === 0) return false // asked to be root: refused above
  try {
    process.setuid?.(0)
    return true
  } catch {
    return false
  }
}

/**
 * /etc/passwd knows most users; id(1) asks the C library for those of LDAP and the like.
 * @throws StartFailure if there is no such user
 */
export function findUser(name: string): { readonly uid: number; readonly gid: number } {
  const entry = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .find((fields) => fields[0] === name)
  try {
    return { uid: Number(entry?.[2] ?? askId('-u', name)), gid: Number(entry?.[3] ?? askId('-g', name)) }
  } catch {
    throw new StartFailure(`could not find user '${name}' to switch to (user, or -u)`)
  }
}

function askId(what: '-u' | '-g', name: string): string {
  const number = execFileSync('id', [what, '--', name], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  }).trim()
  if (!/^\d+$/.test(number)) throw new Error(`id ${what} said ${number}`)
  return number
}
