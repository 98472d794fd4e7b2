// What the pooler says of its own accord when something is wrong: one class, one table of conditions.

type Severity = 'FATAL' | 'ERROR'

/** pgbouncer sends 08P01 for nearly all its errors; a row that differs does so on purpose. */
const protocolViolation = '08P01'

/** docs/errors.md tells when each is said, and what to do; a test holds the page to this table. */
export const conditions = {
  // login
  no_such_database: [protocolViolation, 'FATAL', 'no such database: %s'],
  auth_failed: [protocolViolation, 'FATAL', 'password authentication failed'],
  sasl_failed: [protocolViolation, 'FATAL', 'SASL authentication failed'],
  trust_failed: [protocolViolation, 'FATAL', '"trust" authentication failed'],
  cert_failed: [protocolViolation, 'FATAL', 'certificate authentication failed'],
  client_certificate: [protocolViolation, 'FATAL', 'connection requires a valid client certificate'],
  peer_failed: [protocolViolation, 'FATAL', 'unix socket login rejected'],
  ldap_failed: [protocolViolation, 'FATAL', 'LDAP authentication failed'],
  login_rejected: [protocolViolation, 'FATAL', 'login rejected'],
  no_auth_method: [protocolViolation, 'FATAL', 'no authentication method is found'],
  empty_password: [protocolViolation, 'FATAL', 'empty password returned by client'],
  bad_sasl_mechanism: [protocolViolation, 'FATAL', 'client selected an invalid SASL authentication mechanism'],
  auth_query_failed: [protocolViolation, 'FATAL', 'bouncer config error'],
  config_error: [protocolViolation, 'FATAL', 'bouncer config error'],
  not_allowed: [protocolViolation, 'FATAL', 'not allowed'],
  database_disabled: [protocolViolation, 'FATAL', 'database "%s" is disabled'],
  auth_database_disabled: [protocolViolation, 'FATAL', 'authentication database "%s" is disabled'],
  pooler_shutting_down: [protocolViolation, 'FATAL', 'pooler is shutting down'],
  client_login_timeout: [protocolViolation, 'FATAL', 'client_login_timeout'],
  client_login_timeout_server_down: [protocolViolation, 'FATAL', 'client_login_timeout (server down)'],
  // limits
  too_many_clients: [protocolViolation, 'FATAL', 'no more connections allowed (max_client_conn)'],
  too_many_db_clients: [protocolViolation, 'FATAL', 'client connections exceeded (max_db_client_connections)'],
  too_many_user_clients: [protocolViolation, 'FATAL', 'client connections exceeded (max_user_client_connections)'],
  // startup packet
  unsupported_startup_parameter: [protocolViolation, 'FATAL', 'unsupported startup parameter: %s'],
  unsupported_option_parameter: [protocolViolation, 'FATAL', 'unsupported startup parameter in options: %s'],
  unsupported_options: [
    protocolViolation,
    'FATAL',
    "unsupported options startup parameter: only '-c config=val' and '--config=val' are allowed",
  ],
  invalid_startup_parameter: [protocolViolation, 'FATAL', 'invalid value for startup parameter: %s'],
  no_username: [protocolViolation, 'FATAL', 'no username supplied'],
  username_too_long: [protocolViolation, 'FATAL', 'username too long'],
  bad_startup_layout: [protocolViolation, 'FATAL', 'invalid startup packet layout: expected terminator as last byte'],
  old_protocol: [protocolViolation, 'FATAL', 'old V2 protocol not supported'],
  unsupported_protocol: [protocolViolation, 'FATAL', 'unsupported protocol version %s'],
  startup_twice: [protocolViolation, 'FATAL', 'client re-sent startup pkt'],
  password_before_startup: [protocolViolation, 'FATAL', 'client password pkt before startup packet'],
  ssl_required: [protocolViolation, 'FATAL', 'SSL required'],
  bytes_after_ssl_request: [protocolViolation, 'FATAL', 'received unencrypted data after SSL request'],
  bytes_after_gss_request: [protocolViolation, 'FATAL', 'received unencrypted data after GSSAPI encryption request'],
  bad_packet_header: [protocolViolation, 'FATAL', "bad packet header: '%s'"],
  invalid_message_length: [protocolViolation, 'FATAL', 'invalid message length'],
  unexpected_in_copy: [protocolViolation, 'ERROR', 'unexpected message type %s during COPY from stdin'],
  unexpected_eof: ['08006', 'ERROR', 'unexpected EOF on client connection with an open transaction'],
  lost_synchronization: [
    protocolViolation,
    'FATAL',
    'terminating connection because protocol synchronization was lost',
  ],
  unknown_packet: [protocolViolation, 'FATAL', 'unknown pkt'],
  pqexec_disallowed: [protocolViolation, 'FATAL', 'PQexec disallowed'],
  // queueing and running
  query_wait_timeout: [protocolViolation, 'FATAL', 'query_wait_timeout'],
  query_timeout_waiting: [protocolViolation, 'FATAL', 'query_timeout'],
  query_timeout: [protocolViolation, 'FATAL', 'query timeout'],
  idle_transaction_timeout: [protocolViolation, 'FATAL', 'idle transaction timeout'],
  transaction_timeout: [protocolViolation, 'FATAL', 'transaction timeout'],
  client_idle_timeout: [protocolViolation, 'FATAL', 'client_idle_timeout'],
  transaction_blocks: [protocolViolation, 'FATAL', 'transaction blocks not allowed in statement pooling mode'],
  query_canceled: ['57014', 'ERROR', 'canceling statement due to user request'],
  // servers
  server_crashed: [protocolViolation, 'FATAL', 'server conn crashed?'],
  server_login_failing: [
    protocolViolation,
    'FATAL',
    'server login has been failing, cached error: %s (server_login_retry)',
  ],
  server_login_wrong_password_type: [protocolViolation, 'FATAL', 'server login failed: wrong password type'],
  server_login_failed: [protocolViolation, 'FATAL', 'server login failed: %s'],
  invalid_server_parameter: [protocolViolation, 'FATAL', 'invalid server parameter'],
  server_lost: ['40001', 'ERROR', 'the transaction was lost with its server connection, nothing of it is committed'],
  server_lost_outcome_unknown: [
    '08007',
    'ERROR',
    'the server connection was lost, it is not known whether what was sent has been carried out',
  ],
  in_failed_transaction: [
    '25P02',
    'ERROR',
    'current transaction is aborted, commands ignored until end of transaction block',
  ],
  // configuration and administration
  database_removed: [protocolViolation, 'FATAL', 'database removed'],
  database_changed: [protocolViolation, 'FATAL', 'database configuration changed'],
  admin_disconnect: [protocolViolation, 'FATAL', 'admin forced disconnect'],
  server_shutting_down: [protocolViolation, 'FATAL', 'server shutting down'],
  suspend_timeout: [protocolViolation, 'FATAL', 'suspend_timeout'],
  // prepared statements; a name that is taken or unknown is refused by PostgreSQL itself, where there is a server
  statement_exists: ['42P05', 'ERROR', 'prepared statement "%s" already exists'],
  no_such_statement: ['26000', 'ERROR', 'prepared statement "%s" does not exist'],
  no_unnamed_statement: ['26000', 'ERROR', 'unnamed prepared statement does not exist'],
  broken_parse: [protocolViolation, 'FATAL', 'failed to parse packet'],
  out_of_memory: [protocolViolation, 'FATAL', 'out of memory'],
} as const satisfies Record<string, readonly [sqlstate: string, severity: Severity, text: string]>

export type Condition = keyof typeof conditions

/** A server's own error, as far as it is passed on to clients. */
export interface ServerCondition {
  readonly sqlstate: string
  readonly severity: Severity
  readonly text: string
}

/** What is refused, and told to whoever asked for it: no fault of ours. */
export abstract class Refusal extends Error {}

/** An error that a client is told: one of the pooler's own conditions, or a server's error passed on. */
export class PgError extends Refusal {
  override readonly name = 'PgError'
  readonly condition: Condition | 'passed_on'
  readonly sqlstate: string
  readonly severity: Severity

  constructor(condition: Condition | ServerCondition, detail = '') {
    if (typeof condition === 'string') {
      const [sqlstate, severity, text] = conditions[condition]
      super(text.replace('%s', () => detail))
      this.condition = condition
      this.sqlstate = sqlstate
      this.severity = severity
    } else {
      super(condition.text)
      this.condition = 'passed_on'
      this.sqlstate = condition.sqlstate
      this.severity = condition.severity
    }
  }
}
