// Which version this is, in the one text that SHOW VERSION and --version share.

import { createRequire } from 'node:module'

const { version } = createRequire(import.meta.url)('tsbouncer/package.json') as { version: string }

/** The pgbouncer whose surface this is: tools sniff it to choose columns. */
export const pgbouncerVersion = '1.25.2'

/** `PgBouncer 1.25.2 (tsbouncer X.Y.Z)` */
export const versionText = `PgBouncer ${pgbouncerVersion} (tsbouncer ${version})`
