// Who the embedded servers run as: ourselves, or an unprivileged user where we are root.

import { chown, readFile, writeFile } from 'node:fs/promises'
import { DemoError } from './demo-error.js'

/** A user of this machine; the programs run with its uid and gid and with no other groups. */
export interface ServerUser {
  readonly name: string
  readonly uid: number
  readonly gid: number
}

// nobody first: whoever knows the demo's superuser password can read what this user can, and `postgres` may own a real
// database on this machine.
const candidates = ['nobody', 'daemon', 'postgres', '_postgres']

/** The first candidate in the text of /etc/passwd that is not root. Exported for its test. */
export function unprivilegedUser(passwd: string): ServerUser | undefined {
  const users = passwd.split('\n').map((line) => line.split(':'))
  for (const name of candidates) {
    const entry = users.find((fields) => fields[0] === name)
    const uid = Number(entry?.[2])
    const gid = Number(entry?.[3])
    if (uid > 0 && gid > 0) return { name, uid, gid }
  }
  return undefined
}

/** undefined means: as ourselves. PostgreSQL refuses to run as root. */
export async function findServerUser(): Promise<ServerUser | undefined> {
  if (process.geteuid?.() !== 0) return undefined
  const user = unprivilegedUser(await readFile('/etc/passwd', 'utf8').catch(() => ''))
  if (user !== undefined) return user
  throw new DemoError(
    `PostgreSQL does not run as root, and /etc/passwd has none of ${candidates.join(', ')}: run this as an ordinary user`,
  )
}

/** Makes them the owner; does nothing where the servers run as ourselves. */
export async function giveTo(path: string, user: ServerUser | undefined): Promise<void> {
  if (user !== undefined) await chown(path, user.uid, user.gid)
}

/** A file that only they (and root) can read. */
export async function writeFor(user: ServerUser | undefined, path: string, text: string): Promise<void> {
  await writeFile(path, text, { mode: 0o600 })
  await giveTo(path, user)
}
