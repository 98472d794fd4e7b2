// Asks a directory whether a user has a password: LDAP, by simple bind or by search and bind.
// https://www.postgresql.org/docs/current/auth-ldap.html

import type { connect } from 'node:net'
import type { Client } from 'ldapts'
import type { Secret } from '../config/secret.js'
import { openLdap } from './ldap-connection.js'
import type { LdapOptions, LdapSearch, LdapSimpleBind } from './ldap-options.js'
import type { LdapTrusts } from './ldap-trust.js'

/** The directory could not be asked, or its answer is of no use. The message has no secret. */
export class LdapFailed extends Error {
  override readonly name = 'LdapFailed'
}

/**
 * Returns whether `user` has this password. An unknown or ambiguous one has not.
 * @param trusts whom to trust with TLS
 * @param signal ends the attempt; the connection is closed then
 * @throws LdapFailed where no server gives an answer
 */
export async function checkLdap(
  options: LdapOptions,
  user: string,
  given: Secret,
  trusts: LdapTrusts,
  signal: AbortSignal,
): Promise<boolean> {
  // An empty password, or an empty name of an entry, is a login as nobody, which succeeds (RFC 4513 section 5.1.2).
  if (given.reveal() === '' || user === '') return false
  let failure: unknown
  for (const server of options.servers) {
    if (signal.aborted) break
    try {
      return await askServer(server, options, user, given, trusts, signal)
    } catch (error) {
      failure = error
    }
  }
  const reason = signal.aborted ? 'no answer in time' : (failure as Error).message.split('\n', 1)[0]
  throw new LdapFailed(`LDAP server ${options.servers.join(', ')}: ${reason}`)
}

async function askServer(
  server: string,
  options: LdapOptions,
  user: string,
  given: Secret,
  trusts: LdapTrusts,
  signal: AbortSignal,
): Promise<boolean> {
  // Loaded by the first login that needs it.
  const { Client: LdapClient } = await import('ldapts')
  const socket = await openLdap(server, options, trusts, signal)
  const connections = [socket]
  const client = new LdapClient({
    url: 'ldap://localhost', // the connection is made already, and there is only this one
    createConnection: (() => {
      const ready = connections.pop()
      if (ready === undefined) throw new Error('connection lost')
      return ready
    }) as unknown as typeof connect,
  })
  try {
    const { mode } = options
    const dn = mode.kind === 'simple' ? entryName(mode, user) : await findEntry(client, mode, user)
    return dn !== undefined && dn !== '' && (await binds(client, dn, given))
  } finally {
    socket.destroy()
  }
}

/** Invalid credentials, and what directories say of an entry that is not there or has no password. */
const wrongCodes = new Set([49, 32, 48])

async function binds(client: Client, dn: string, password: Secret): Promise<boolean> {
  try {
    await client.bind(dn, password.reveal())
    return true
  } catch (error) {
    if (wrongCodes.has((error as { code?: number }).code ?? -1)) return false
    throw error
  }
}

async function findEntry(client: Client, search: LdapSearch, user: string): Promise<string | undefined> {
  const { base, scope, bindDn, bindPassword } = search
  if (bindDn !== '') await client.bind(bindDn, bindPassword?.reveal() ?? '')
  const filter = search.filter.replaceAll('$username', () => escapeInFilter(user))
  const { searchEntries } = await client.search(base, { scope, filter, attributes: ['1.1'], sizeLimit: 2 })
  return searchEntries.length === 1 ? searchEntries[0]!.dn : undefined
}

/** RFC 4515 section 3. Exported for its test. */
export function escapeInFilter(text: string): string {
  return text.replace(/[\0()*\\]/g, (sign) => `\\${sign.charCodeAt(0).toString(16).padStart(2, '0')}`)
}

/**
 * The name of the user's entry; undefined for a user who cannot have one: where what is made is no distinguished name but,
 * say, `user@example.net`, signs with a meaning can't be escaped. Exported for its test.
 */
export function entryName({ prefix, suffix }: LdapSimpleBind, user: string): string | undefined {
  if (/=\s*$/.test(prefix)) return prefix + escapeInName(user) + suffix
  return /[\p{Cc}"*+,/:;<=>@\\()[\]]/u.test(user) ? undefined : prefix + user + suffix
}

/** RFC 4514 section 2.4. */
function escapeInName(text: string): string {
  return text
    .replace(/["+,;<=>\\]/g, '\\$&')
    .replaceAll('\0', '\\00')
    .replace(/^[ #]| $/g, '\\$&')
}
