// Why servers are closed: a name for each reason, and the text that the log has for it.

/** The texts are pgbouncer's where it has the reason, since other tools read them: `closing because: server idle timeout`. */
export const serverCloseTexts = {
  // age and number
  server_idle_timeout: 'server idle timeout',
  server_lifetime: 'server lifetime over',
  too_many_servers: 'too many servers in the pool',
  evicted: 'evicted for %s',
  // configuration and administration
  database_changed: 'database configuration changed',
  database_removed: 'database removed',
  dns_changed: 'server DNS address changed',
  pause: 'pause mode',
  server_shutting_down: 'server shutting down',
  pooler_shutting_down: 'pooler is shutting down',
  // its host
  host_down: 'host is down',
  host_replaced: 'host is not the primary any more',
  role_changed: 'host does not have the role that is wanted',
  host_banned: 'host is banned',
  host_returned: 'another host is back and takes its share',
  // its client
  client_disconnect: 'client disconnect while server was not ready',
  replication_closed: 'replication client was closed',
  cancel_failed: 'cancel request failed',
  // what it said, or did not say
  server_crashed: 'server conn crashed?',
  out_of_sync: 'protocol out of sync',
  reset_failed: 'reset query failed: %s',
  check_failed: 'test query failed',
  bad_auth_query: 'expected 2 columns from auth_query, not %s',
  invalid_server_parameter: 'invalid server parameter',
  // before it was there
  connect_timeout: 'connect timeout',
  connect_failed: 'connect failed',
  no_host: 'no host has the role that is wanted',
  dns_failed: 'server DNS lookup failed',
  tls_failed: '%s',
  login_refused: '%s',
  login_failed: '%s',
} as const

export type ServerCloseReason = keyof typeof serverCloseTexts

/** @param detail what `%s` stands for */
export function serverCloseText(reason: ServerCloseReason, detail: string): string {
  return serverCloseTexts[reason].replace('%s', () => detail)
}
