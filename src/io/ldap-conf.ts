// What an LDAP library would take of TLS from ldap.conf, ldaprc and variables such as LDAPTLS_CACERT: ldap.conf(5) of OpenLDAP.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Options by their names in ldap.conf, `TLS_CACERT`; those that are not about TLS are left out. */
export type LdapConf = ReadonlyMap<string, string>

/** Where the file is, as distributions have it; a library knows one of them. */
const systemFiles = ['/etc/ldap/ldap.conf', '/etc/openldap/ldap.conf', '/usr/local/etc/openldap/ldap.conf']

/** They are a user's own: the file for all users cannot set them. */
const ofUsers: ReadonlySet<string> = new Set(['TLS_CERT', 'TLS_KEY'])

/**
 * The later word wins: the system's file, the user's, those that variables name, LDAPTLS_... themselves. A file that is not
 * there, or cannot be read, says nothing.
 */
export function readLdapConf(env: NodeJS.ProcessEnv = process.env, files: readonly string[] = systemFiles): LdapConf {
  const conf = new Map<string, string>()
  if (env.LDAPNOINIT !== undefined) return conf
  const take = (path: string, isOfUser: boolean): boolean => {
    const text = textOf(path)
    for (const [name, value] of linesOf(text ?? '')) if (isOfUser || !ofUsers.has(name)) conf.set(name, value)
    return text !== undefined
  }
  const takeOfUser = (name: string): void => {
    if (env.HOME !== undefined) for (const file of [name, `.${name}`]) take(join(env.HOME, file), true)
    take(name, true) // relative to the working directory
  }
  files.find((path) => take(path, false))
  takeOfUser('ldaprc')
  if (env.LDAPCONF !== undefined) take(env.LDAPCONF, false)
  if (env.LDAPRC !== undefined) takeOfUser(env.LDAPRC)
  for (const [name, value] of Object.entries(env)) {
    if (name.startsWith('LDAPTLS_') && value !== undefined) conf.set(name.slice('LDAP'.length), value)
  }
  return conf
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

/** `NAME value with blanks`; the name in any case of letters, `#` in the first column begins a comment. */
function* linesOf(text: string): Generator<[name: string, value: string]> {
  for (const line of text.split('\n')) {
    if (line.startsWith('#')) continue
    const [, name, value] = /^\s*(TLS_\S+)\s+(\S.*?)\s*$/i.exec(line) ?? []
    if (name !== undefined && value !== undefined) yield [name.toUpperCase(), value]
  }
}
