// The words that settings and keys of entries may have as values.

import { oneOf } from './setting-types.js'

export const sslMode = oneOf(['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'])
export type SslMode = ReturnType<typeof sslMode.parse>
export const sslNegotiation = oneOf(['postgres', 'direct'])
export type SslNegotiation = ReturnType<typeof sslNegotiation.parse>
/** Returns whether this mode takes no connection in the clear. */
export const mustEncrypt = (mode: SslMode): boolean => ['require', 'verify-ca', 'verify-full'].includes(mode)
export const authType = oneOf(['any', 'trust', 'plain', 'md5', 'cert', 'hba', 'ldap', 'scram-sha-256'], {
  pam: 'PAM cannot be reached from Node.js; use ldap, cert, hba or a password method',
  peer: 'Node.js does not tell who is at the other end of a Unix socket; use cert, hba or a password method',
})
export const facility = oneOf([
  ...(['auth', 'authpriv', 'daemon', 'user'] as const),
  ...(['local0', 'local1', 'local2', 'local3', 'local4', 'local5', 'local6', 'local7'] as const),
])
export const poolMode = oneOf(['session', 'transaction', 'statement'])
export type PoolMode = ReturnType<typeof poolMode.parse>
export const sessionState = oneOf(['allow', 'warn', 'track'])
export type SessionStateMode = ReturnType<typeof sessionState.parse>

export const targetSessionAttrs = oneOf(['any', 'read-write', 'read-only', 'primary', 'standby', 'prefer-standby'])
export type TargetSessionAttrs = ReturnType<typeof targetSessionAttrs.parse>
export const loadBalanceHosts = oneOf(['round-robin', 'disable', 'random', 'least-connections'])
export type LoadBalanceHosts = ReturnType<typeof loadBalanceHosts.parse>
export const serverLost = oneOf(['error', 'disconnect'])
/** What becomes of a client that has a server when that is lost, in transaction and statement mode. */
export type ServerLost = ReturnType<typeof serverLost.parse>
