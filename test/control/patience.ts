// Settings for tests of one time-out at a time.

/** Whatever is tested, seconds. */
export const limit = 5

/** No time-outs beside that. */
export const patient = {
  client_login_timeout: 0,
  query_wait_timeout: 0,
  query_wait_notify: 0,
  server_idle_timeout: 0,
} as const
