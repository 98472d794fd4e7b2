// Which version this is, in the one text that SHOW VERSION and --version share.

/** That of package.json, which a bundle does not have beside it. */
const version = '0.1.0'

/** The pgbouncer whose surface this is, columns of SHOW and all: tools choose by it what they read and how. */
export const pgbouncerVersion = '1.26.1'

/** `PgBouncer 1.26.1 (tsbouncer X.Y.Z)` */
export const versionText = `PgBouncer ${pgbouncerVersion} (tsbouncer ${version})`
