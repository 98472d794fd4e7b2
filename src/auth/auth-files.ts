// The files that say who may log in: auth_file, auth_hba_file, auth_ident_file, read whole before any of them is used.

import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { ConfigError, located, quoted, systemReason } from '../config/config-error.js'
import type { Settings } from '../config/settings.js'
import { readLdapConf } from '../io/ldap-conf.js'
import { textOf } from '../protocol/byte-text.js'
import { type HbaRule, parseHba } from './hba.js'
import { parseIdent } from './ident.js'
import { type LdapOptions, parseLdapOptions } from './ldap-options.js'
import { LdapTrusts, warningsOf } from './ldap-trust.js'
import type { StoredSecret } from './secrets.js'
import { parseUserlist } from './userlist.js'

export interface AuthFiles {
  readonly users: ReadonlyMap<string, StoredSecret>
  readonly hba: readonly HbaRule[]
  /** Of auth_ldap_options, where auth_type is ldap. */
  readonly ldap: LdapOptions | undefined
  /** Of directories that are spoken to over TLS. */
  readonly ldapTrusts: LdapTrusts
  readonly warnings: readonly string[]
}

/** @throws ConfigError for a file that can't be read; lines that make no sense are warnings */
export async function readAuthFiles(settings: Settings): Promise<AuthFiles> {
  const warnings: string[] = []
  const userlist =
    settings.auth_file === undefined
      ? undefined
      : parseUserlist(await read('auth_file', settings.auth_file), settings.auth_file)
  warnings.push(...(userlist?.warnings ?? []))
  const checker = settings.host_check_user
  if (checker !== undefined && userlist?.users.has(checker) !== true) {
    warnings.push(`host_check_user ${quoted(checker)} is not in auth_file: it may ask only hosts that want no password`)
  }
  let hba: readonly HbaRule[] = []
  if (settings.auth_type === 'hba') {
    const identFile = settings.auth_ident_file
    const ident = identFile === undefined ? undefined : parseIdent(await read('auth_ident_file', identFile), identFile)
    const file = parseHba(await read('auth_hba_file', settings.auth_hba_file), {
      file: settings.auth_hba_file,
      maps: ident?.maps ?? new Map(),
      read: (name) => textOf(readFileSync(name)),
    })
    hba = file.rules
    warnings.push(...(ident?.warnings ?? []), ...file.warnings)
    const byCertificate = hba.find((rule) => rule.method.name === 'cert')
    if (byCertificate !== undefined && settings.client_tls_ca_file === '') {
      warnings.push(`hba line ${byCertificate.line}: method cert refuses everybody: client_tls_ca_file is not set`)
    }
  }
  const ldap = readLdapOptions(settings)
  const conf = readLdapConf()
  if (ldap !== undefined || hba.some((rule) => rule.method.name === 'ldap')) warnings.push(...warningsOf(conf))
  return { users: userlist?.users ?? new Map(), hba, ldap, ldapTrusts: new LdapTrusts(conf), warnings }
}

function readLdapOptions({ auth_type, auth_ldap_options }: Settings): LdapOptions | undefined {
  if (auth_type !== 'ldap' || auth_ldap_options === undefined) return undefined
  return located('invalid value for parameter auth_ldap_options', undefined, () =>
    parseLdapOptions(auth_ldap_options.reveal()),
  )
}

async function read(name: string, file: string): Promise<string> {
  const bytes = await readFile(file).catch((error: unknown) => {
    throw new ConfigError(`could not open ${name} ${file}: ${systemReason(error)}`)
  })
  return textOf(bytes)
}
