import { readFile, writeFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { readIni } from '../../src/config/ini.js'
import { loadConfig } from '../../src/config/load.js'
import { type Setting, settingNamed, settingNames, settings } from '../../src/config/settings.js'
import { renderSettingsPage } from '../../src/config/settings-page.js'

const rows = settingNames.map((name): [string, Setting<unknown>] => [name, settings[name]])
const sampleFile = new URL('../../pgbouncer.ini.example', import.meta.url)
const pageFile = new URL('../../docs/settings.md', import.meta.url)

/** The settings of pgbouncer 1.26 that a restart is needed for; all others change on reload. */
const bootOnly =
  `disable_pqexec job_name listen_addr listen_backlog listen_port pidfile pkt_buf resolv_conf so_reuseport
  track_extra_parameters unix_socket_dir unix_socket_group unix_socket_mode user`.split(/\s+/)

const live =
  `admin_users application_name_add_host auth_dbname auth_file auth_hba_file auth_ident_file auth_ldap_options
  auth_query auth_type auth_user autodb_idle_timeout cancel_wait_timeout client_idle_timeout client_login_timeout
  client_tls_sslmode client_tls_ca_file client_tls_cert_file client_tls_key_file client_tls_protocols client_tls_ciphers
  client_tls13_ciphers client_tls_dheparams client_tls_ecdhcurve conffile default_pool_size dns_max_ttl dns_nxdomain_ttl
  dns_zone_check_period idle_transaction_timeout ignore_startup_parameters log_connections log_disconnections
  log_pooler_errors log_stats logfile login_notify_message max_client_conn max_db_client_connections max_db_connections
  max_packet_size max_prepared_statements max_user_client_connections max_user_connections min_pool_size peer_id
  pool_mode pool_idle_timeout query_timeout query_wait_notify query_wait_timeout reserve_pool_size reserve_pool_timeout
  sbuf_loopcnt scram_iterations server_check_delay server_check_query server_connect_timeout server_fast_close
  server_idle_timeout server_lifetime server_login_retry server_reset_query server_reset_query_always server_round_robin
  server_tls_sslmode server_tls_ca_file server_tls_cert_file server_tls_key_file server_tls_protocols
  server_tls_ciphers server_tls13_ciphers stats_period stats_users suspend_timeout syslog syslog_facility syslog_ident
  tcp_defer_accept tcp_keepalive tcp_keepcnt tcp_keepidle tcp_keepintvl tcp_socket_buffer tcp_user_timeout
  transaction_timeout verbose`.split(/\s+/)

const ours = `auth_failure_delay host_check_period host_check_timeout host_check_user log_format max_replica_lag
  server_tls_sslnegotiation session_state shutdown_timeout`.split(/\s+/)

test('all settings of pgbouncer are there, each reloadable or not as in pgbouncer', () => {
  expect([...settingNames].sort()).toEqual([...bootOnly, ...live, ...ours].sort())
  for (const name of live) expect(rows.find(([row]) => row === name)?.[1].reloadable, name).toBe(true)
  for (const name of bootOnly) expect(rows.find(([row]) => row === name)?.[1].reloadable, name).toBe(false)
})

test('the order is that of SHOW CONFIG: alphabetical, but for pool_mode', () => {
  const sorted = [...settingNames].sort()
  const mode = sorted.splice(sorted.indexOf('pool_mode'), 1)
  sorted.splice(sorted.indexOf('pool_idle_timeout'), 0, ...mode)
  expect(settingNames).toEqual(sorted)
})

test.each(rows)('%s has a default that is a value of its type, and a meaning', (_, { type, fallback, meaning }) => {
  if (fallback !== null) expect(() => type.parse(fallback)).not.toThrow()
  expect(meaning).toMatch(/^[A-Z].*[.)]$/)
})

test('an unknown key is no setting, not even a name that every object has', () => {
  expect(settingNamed('service_name')).toBe('job_name')
  for (const key of ['', 'Listen_port', 'constructor', '__proto__', 'toString'])
    expect(settingNamed(key)).toBeUndefined()
})

test('the sample configuration loads, without a warning', async () => {
  const config = await loadConfig(sampleFile.pathname)
  expect([...config.databases.keys()]).toEqual(['pg_rw', 'pg_ro'])
  expect(config.warnings).toEqual([])
})

test.each(rows)('the sample configuration has %s once, with its default and its meaning', async (name, setting) => {
  const lines = (await readFile(sampleFile, 'utf8')).split('\n')
  const found = lines.flatMap((line, index) => {
    const [, comment, value] = new RegExp(`^(; )?${name} =(?: (.*))?$`).exec(line) ?? []
    return value === undefined && comment === undefined
      ? []
      : [{ comment, value: value ?? '', before: lines[index - 1] }]
  })
  expect(found).toHaveLength(1)
  expect(found[0]?.before).toBe(`; ${setting.meaning}`)
  if (found[0]?.comment) expect(found[0].value).toBe(setting.fallback ?? '')
})

test('every commented line of the sample configuration may be put into force', async () => {
  const text = (await readFile(sampleFile, 'utf8')).replace(/^; ((?:"[^"]*"|[\w*]+) =.*)$/gm, '$1')
  const entries = (await readIni('sample', async () => text)).filter(({ kind }) => kind === 'entry')
  expect(entries.length).toBeGreaterThan(rows.length + 6)
  const config = await loadConfig('sample', { readFile: async () => text })
  expect([...config.databases.keys()]).toEqual(['pg_rw', 'pg_ro', 'app_rw', 'app_ro', 'app', 'local', 'my database'])
  expect(config.peers.size).toBe(2)
  expect(config.users.size).toBe(1)
  expect(config.warnings).toEqual([
    expect.stringMatching(/^the roles of the hosts of "app_rw", "app_ro" .*: set host_check_user$/),
  ])
})

test('docs/settings.md is what the tables say', async () => {
  const page = renderSettingsPage()
  if (process.env.UPDATE_DOCS === '1') await writeFile(pageFile, page)
  expect(await readFile(pageFile, 'utf8')).toBe(page)
  for (const name of settingNames) expect(page).toMatch(new RegExp(`^### ${name}$`, 'm'))
})
