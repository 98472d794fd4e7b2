// Who can open a Unix socket: Node.js does not tell who is at its other end, but permissions may leave nobody but ourselves.

import { readFileSync, realpathSync, type Stats, statSync } from 'node:fs'
import { userInfo } from 'node:os'
import { dirname } from 'node:path'

/**
 * Returns whether only our own user (and root) may connect. Linux checks the write permission of the socket file, and the search permission of
 * every folder on the way to it; one of them that is closed to all others is enough. A folder above the mount point is not
 * asked: the same files may be reached past it, in another container for one.
 * What is out of our own reach is not known to be closed.
 * @param mountPoints default: those of this process
 */
export function isClosedToOthers(
  path: string,
  mountPoints: readonly string[] | undefined = readMountPoints(),
): boolean {
  const uid = process.getuid?.()
  if (process.platform !== 'linux' || uid === undefined) return false
  try {
    return isClosed(path, uid, mountPoints)
  } catch {
    return false
  }
}

function isClosed(path: string, uid: number, mountPoints: readonly string[] | undefined): boolean {
  const socket = statSync(path)
  if (socket.uid === uid && (socket.mode & 0o022) === 0) return true
  const folder = realpathSync(dirname(path))
  const end = mountPoints === undefined ? folder : mountPointOf(folder, mountPoints)
  for (let at = folder; ; at = dirname(at)) {
    if (isOurs(statSync(at), uid)) return true
    if (at === end || at === '/') return false
  }
}

/** The same of a socket that somebody else has made; an abstract one has no permissions. */
export function isKnownClosed(path: string): boolean {
  return path.startsWith('/') && isClosedToOthers(path)
}

/** Root may go anywhere, so a folder of root's is as good as one of our own. */
function isOurs(folder: Stats, uid: number): boolean {
  return (folder.uid === uid || folder.uid === 0) && (folder.mode & 0o077) === 0
}

function mountPointOf(folder: string, mountPoints: readonly string[]): string {
  const over = mountPoints.filter((point) => `${folder}/`.startsWith(point === '/' ? '/' : `${point}/`))
  return over.reduce((longest, point) => (point.length > longest.length ? point : longest), '/')
}

/** Undefined where the kernel does not tell. proc(5): the fifth field of a line, blanks and others in octal. */
function readMountPoints(): readonly string[] | undefined {
  try {
    const lines = readFileSync('/proc/self/mountinfo', 'utf8').split('\n')
    return lines
      .map((line) => line.split(' ')[4] ?? '')
      .filter((point) => point !== '')
      .map(unescaped)
  } catch {
    return undefined
  }
}

function unescaped(point: string): string {
  return point.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
}

/** The name of our own user; undefined for a number without one. */
export function ownUserName(): string | undefined {
  try {
    return userInfo().username
  } catch {
    return undefined
  }
}
