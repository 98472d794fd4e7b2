// Texts of the log that are said in more than one place, or are looked for by tools that were written for pgbouncer: its own words.

/** A connection has ended; `ageMs`: how long it was there. */
export function closing(reason: string, ageMs: number): string {
  return `closing because: ${reason} (age=${Math.trunc(ageMs / 1000)}s)`
}

/** What a client was told. */
export function poolerError(text: string): string {
  return `pooler error: ${text}`
}

export function loginAttempt(database: string, user: string, tls: string, replication: string): string {
  return `login attempt: db=${database} user=${user} tls=${tls === '' ? 'no' : tls} replication=${replication}`
}

export function loginFailed(database: string, user: string): string {
  return `login failed: db=${database} user=${user}`
}

export function noSuchUser(user: string): string {
  return `no such user: ${user}`
}

/** @param from our end of it, where it has an address */
export function newServer(from: { readonly localAddress?: string; readonly localPort?: number }): string {
  const { localAddress, localPort } = from
  return `new connection to server${localAddress === undefined ? '' : ` (from ${localAddress}:${localPort})`}`
}

/** @param tls `TLSv1.3/TLS_AES_256_GCM_SHA384` */
export function tlsEstablished(tls: string): string {
  return `SSL established: ${tls}`
}

export function serverLoginFailed(text: string): string {
  return `server login failed: FATAL ${text}`
}

/** What a server said that nobody had asked. */
export function serverSaid(severity: string, text: string): string {
  return `server said: ${severity} ${text}`
}

export function authQueryFailed(text: string): string {
  return `S: error in auth_query: ${text}`
}

/** A CancelRequest could not be delivered, for whomever it was. */
export function cancelFailed(text: string): string {
  return `cancel request failed: ${text}`
}

export function newDatabase(name: string): string {
  return `registered new auto-database: ${name}`
}

export function databaseDropped(name: string): string {
  return `dropping database '${name}' as it does not exist anymore or inactive auto-database`
}

export const reserveTaken = 'taking connection from reserve_pool'

export const anyWithoutUser = 'auth_type=any requires forced user'

/** What is wrong with it stands in the line before. */
export const configNotLoaded = 'config file loading failed'
