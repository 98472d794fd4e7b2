// auth_file: `"user" "secret"` per line, as pgbouncer's userlist.txt.
// https://www.pgbouncer.org/config.html#authentication-file-format

import { byteLength } from '../protocol/byte-text.js'
import { parseStoredSecret, type StoredSecret } from './secrets.js'

/** In bytes, as pgbouncer's MAX_USERNAME and MAX_PASSWORD less the final zero. */
const longestName = 127
const longestSecret = 65_530

export interface Userlist {
  /** A name that is listed twice has its last secret. */
  readonly users: ReadonlyMap<string, StoredSecret>
  /** For the log, each with file:line. */
  readonly warnings: readonly string[]
}

/** Name, then the secret; `""` within stands for a quote. What is between the two and after them is ignored. */
const entry = /^"([^"]*(?:""[^"]*)*)"(?!")[^"]*"([^"]*(?:""[^"]*)*)"(?!")/

/**
 * Reads an auth_file. What can't be read is warned about, and the lines after it are ignored, as pgbouncer does; unlike
 * there, an entry ends with its line (a forgotten secret is not made up from the name on the next line).
 * @param file its name, for the warnings
 */
export function parseUserlist(text: string, file: string): Userlist {
  const users = new Map<string, StoredSecret>()
  const warnings: string[] = []
  for (const [i, line] of text.split('\n').entries()) {
    const content = line.trim()
    if (content === '' || content.startsWith(';')) continue
    const where = `(${file}:${i + 1})`
    const problem = addUser(users, content, (note) => warnings.push(`${note} ${where}`))
    if (problem === undefined) continue
    warnings.push(`${problem} ${where}, ignoring the rest of the file`)
    break
  }
  return { users, warnings }
}

/** Returns what makes the line unreadable. */
function addUser(users: Map<string, StoredSecret>, line: string, note: (text: string) => void): string | undefined {
  const [, name, secret] = (entry.exec(line) ?? []).map((part) => part.replaceAll('""', '"'))
  if (name === undefined || secret === undefined || line.includes('\0')) return 'broken auth file'
  if (byteLength(name) > longestName) return 'username too long in auth file'
  if (byteLength(secret) > longestSecret) return 'password too long in auth file'
  const stored = parseStoredSecret(secret)
  users.set(name, stored)
  if (stored.kind !== 'plain') return undefined
  if (secret.startsWith('SCRAM-SHA-256$'))
    note(`secret of user "${name}" is no valid SCRAM secret, taken as a password`)
  return undefined
}
