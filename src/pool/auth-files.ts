// The files that say who may log in: auth_file, auth_hba_file, auth_ident_file, read whole before any of them is used.

import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { type HbaRule, parseHba } from '../auth/hba.js'
import { parseIdent } from '../auth/ident.js'
import type { StoredSecret } from '../auth/secrets.js'
import { parseUserlist } from '../auth/userlist.js'
import { ConfigError } from '../config/config-error.js'
import type { Settings } from '../config/settings.js'

export interface AuthFiles {
  readonly users: ReadonlyMap<string, StoredSecret>
  readonly hba: readonly HbaRule[]
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
  let hba: readonly HbaRule[] = []
  if (settings.auth_type === 'hba') {
    const identFile = settings.auth_ident_file
    const ident = identFile === undefined ? undefined : parseIdent(await read('auth_ident_file', identFile), identFile)
    const file = parseHba(await read('auth_hba_file', settings.auth_hba_file), {
      file: settings.auth_hba_file,
      maps: ident?.maps ?? new Map(),
      read: (name) => readFileSync(name, 'utf8'),
    })
    hba = file.rules
    warnings.push(...(ident?.warnings ?? []), ...file.warnings)
  }
  return { users: userlist?.users ?? new Map(), hba, warnings }
}

async function read(name: string, file: string): Promise<string> {
  return readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new ConfigError(`could not open ${name} ${file}: ${error.code ?? error.message}`)
  })
}
