// Which version this is, in the one text that SHOW VERSION and --version share.

import { createRequire } from 'node:module'

const { version } = createRequire(import.meta.url)('tsbouncer/package.json') as { version: string }

/** The pgbouncer whose surface this is, columns of SHOW and all: tools choose by it what they read and how. */
export const pgbouncerVersion = '1.26.1'

/** `PgBouncer 1.26.1 (tsbouncer X.Y.Z)` */
export const versionText = `PgBouncer ${pgbouncerVersion} (tsbouncer ${version})`
