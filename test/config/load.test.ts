import { inspect } from 'node:util'
import { expect, test } from 'vitest'
import { ConfigError } from '../../src/config/config-error.js'
import {
  autoDatabase,
  type Config,
  type LoadOptions,
  loadConfig,
  warningsOf,
  withSetting,
} from '../../src/config/load.js'
import { settings } from '../../src/config/settings.js'

function load(text: string, options: LoadOptions = {}): Promise<Config> {
  return loadConfig('x.ini', { ...options, readFile: async () => text })
}

async function failure(text: string, options: LoadOptions = {}): Promise<ConfigError> {
  const error = await load(text, options).then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (!(error instanceof ConfigError)) throw new Error('expected a ConfigError', { cause: error })
  return error
}

test('an empty [pgbouncer] section gives all defaults', async () => {
  const config = await load('[pgbouncer]')
  expect(config.settings).toMatchObject({
    listen_port: 6432,
    listen_addr: [],
    pool_mode: 'session',
    auth_type: 'md5',
    auth_user: undefined,
    log_connections: true,
    query_wait_timeout: 120,
    unix_socket_mode: 511,
    server_tls_protocols: ['TLSv1.2', 'TLSv1.3'],
    track_extra_parameters: [],
    conffile: 'x.ini',
  })
  expect(config).toMatchObject({ file: 'x.ini', autodb: undefined, warnings: [] })
  expect(config.databases.size + config.users.size + config.peers.size).toBe(0)
})

test('raw is what SHOW CONFIG shows: numbers in decimal, words as known, other texts as written, nothing for unset ones', async () => {
  const { raw } = await load(`[pgbouncer]
listen_port = 0x1921
unix_socket_mode = 0700
pool_mode = Transaction
query_timeout = 1.50
admin_users = a,  b
client_tls_protocols = TLSv1.2:tlsv1.3
auth_ldap_options = ldapbindpasswd="53cret"`)
  expect(Object.fromEntries(raw)).toMatchObject({
    listen_port: '6433',
    unix_socket_mode: '448',
    pool_mode: 'transaction',
    query_timeout: '1.5',
    admin_users: 'a,  b',
    client_tls_protocols: 'TLSv1.2:tlsv1.3',
    auth_ldap_options: '[hidden]',
    conffile: 'x.ini',
    log_format: 'text',
  })
  expect(raw.has('auth_user')).toBe(false)
})

test('the last value of a key counts', async () => {
  const config = await load('[pgbouncer]\nlisten_port=1\nlisten_port=2\n[databases]\na=host=x\na=host=y')
  expect(config.settings.listen_port).toBe(2)
  expect(config.databases.get('a')?.hosts).toEqual(['y'])
})

test('a second [pgbouncer] header sets back to the default what has one, and a warning says so', async () => {
  const config = await load('[pgbouncer]\nlisten_port=1\nauth_user=u\n[users]\n[pgbouncer]\nmax_client_conn=7')
  expect(config.settings).toMatchObject({ listen_port: 6432, auth_user: 'u', max_client_conn: 7 })
  expect(config.warnings).toEqual(['second [pgbouncer] section (x.ini:5) undoes listen_port (x.ini:2)'])
})

test('defaults given by the caller give way to the file, overrides do not', async () => {
  const options = { defaults: { verbose: '2', stats_period: '9' }, overrides: { user: 'nobody' } }
  const config = await load('[pgbouncer]\nstats_period = 30\nuser = root\n[pgbouncer]', options)
  expect(config.settings).toMatchObject({ verbose: 2, stats_period: 9, user: 'nobody' })
  expect((await load('[pgbouncer]\nverbose=1', options)).settings.verbose).toBe(1)
  expect((await failure('[pgbouncer]', { defaults: { verbose: 'x' } })).message).toBe(
    'invalid value "x" for parameter verbose in configuration (defaults.verbose): expected a whole number',
  )
})

test.each([
  ['listen_prt = 1', 'unknown parameter: pgbouncer/listen_prt (x.ini:3): did you mean listen_port?'],
  ['pool_size = 1', 'unknown parameter: pgbouncer/pool_size (x.ini:3): it belongs to an entry of [databases]'],
  [
    'pool_sise = 1',
    'unknown parameter: pgbouncer/pool_sise (x.ini:3): did you mean pool_size, of an entry of [databases]?',
  ],
  ['qqqqqqqq = 1', 'unknown parameter: pgbouncer/qqqqqqqq (x.ini:3)'],
  ["'a\x1b[31m' = 1", 'unknown parameter: pgbouncer/a\\u001b[31m (x.ini:3)'],
  ['constructor = 1', 'unknown parameter: pgbouncer/constructor (x.ini:3)'],
  [
    'log_connections = yes',
    'invalid value "yes" for parameter log_connections in configuration (x.ini:3): expected 0 or 1',
  ],
  [
    'listen_port = 65536',
    'invalid value "65536" for parameter listen_port in configuration (x.ini:3): expected 0 to 65535',
  ],
  [
    'pool_mode = tx',
    'invalid value "tx" for parameter pool_mode in configuration (x.ini:3): expected one of session, transaction, statement',
  ],
  [
    'auth_type = pam',
    'invalid value "pam" for parameter auth_type in configuration (x.ini:3): PAM cannot be reached from Node.js; use ldap, cert, hba or a password method',
  ],
  [
    'auth_dbname = pgbouncer',
    'invalid value "pgbouncer" for parameter auth_dbname in configuration (x.ini:3): cannot use the reserved "pgbouncer" database as an auth_dbname',
  ],
  ['[nowhere]', 'invalid section "nowhere" in configuration (x.ini:3)'],
  ['auth_type = cert', 'auth_type=cert requires client_tls_sslmode=verify-full (x.ini:3)'],
  ['auth_type = hba', 'auth_type=hba requires auth_hba_file (x.ini:3)'],
  ['auth_type = ldap', 'auth_type=ldap requires auth_ldap_options (x.ini:3)'],
  [
    'client_tls_sslmode = require',
    'To allow TLS connections from clients, client_tls_key_file and client_tls_cert_file must be set. (x.ini:3)',
  ],
  ['server_tls_key_file = k', 'server_tls_key_file requires server_tls_cert_file (x.ini:3)'],
  ['server_tls_cert_file = c', 'server_tls_cert_file requires server_tls_key_file (x.ini:3)'],
])('%j is refused with file and line', async (line, message) => {
  const error = await failure(`[pgbouncer]\n\n${line}\n[databases]\n`)
  expect(error.message).toBe(message)
  expect(error).toMatchObject({ file: 'x.ini', line: 3 })
})

test('verify-full and cert need a CA file; with all files given they load', async () => {
  const files = '[pgbouncer]\nclient_tls_key_file=k\nclient_tls_cert_file=c\nclient_tls_sslmode=verify-full\n'
  expect((await failure(files)).message).toBe('client_tls_sslmode=verify-full requires client_tls_ca_file (x.ini:4)')
  const config = await load(`${files}auth_type=cert\nclient_tls_ca_file=ca`)
  expect(config.settings.auth_type).toBe('cert')
})

test.each(['any', 'trust', 'plain', 'md5', 'scram-sha-256'])('auth_type = %s loads alone', async (method) => {
  expect((await load(`[pgbouncer]\nauth_type = ${method}`)).settings.auth_type).toBe(method)
})

test('without a [pgbouncer] section nothing loads', async () => {
  expect((await failure('[databases]\na=')).message).toBe('main section missing from config file (x.ini:1)')
})

test('one bad line anywhere fails the whole load and names the line', async () => {
  const good = [
    '[databases]',
    'a = host=x',
    '[users]',
    'u = pool_size=1',
    '[peers]',
    '1 = host=p',
    '[pgbouncer]',
    'verbose = 1',
  ]
  for (let line = 1; line <= good.length; line++) {
    const error = await failure(good.toSpliced(line, 0, 'bad = bad=1').join('\n'))
    expect(error).toMatchObject({ file: 'x.ini', line: line + 1 })
  }
})

test('a setting without effect gives a warning by name, unless its value asks for what happens anyway', async () => {
  const config = await load('[pgbouncer]\npkt_buf = 8192\ntcp_keepcnt = 0\ntcp_defer_accept = 0\ntcp_user_timeout = 5')
  expect(config.warnings).toEqual([
    'parameter pkt_buf (x.ini:2) has no effect: all sockets share one read buffer of a fixed size',
    'parameter tcp_user_timeout (x.ini:5) has no effect: Node.js has no access to this socket option; the system value stays',
  ])
  expect((await load('[pgbouncer]\npkt_buf = 0x1000\ntcp_defer_accept = 1')).warnings).toEqual([])
})

test('hosts that nobody may be asked as before a client has logged in give one warning', async () => {
  const entries = `[databases]
one = host=a,b target_session_attrs=primary
two = host=a,b target_session_attrs=standby
any = host=a,b
own = host=a,b target_session_attrs=primary user=app
`
  expect((await load(`${entries}[pgbouncer]`)).warnings).toEqual([
    'the roles of the hosts of "one", "two" (x.ini:2) are not known before a client has logged in: set host_check_user',
  ])
  expect((await load(`${entries}[pgbouncer]\nhost_check_user = checker`)).warnings).toEqual([])
  expect((await load(`${entries}[pgbouncer]\nauth_user = asker`)).warnings).toEqual([])
})

test('a period says what the least is, whatever is wrong with it', async () => {
  for (const value of ['0', '-1']) {
    const { message } = await failure(`[pgbouncer]\nhost_check_period = ${value}`)
    expect(message).toMatch(/: expected 0\.01 or more seconds$/)
  }
})

test('a setting that may not be passed over is refused', () => {
  const setting = { ...settings.pkt_buf, support: { kind: 'refused', reason: 'not here' } } as const
  const place = { file: 'x.ini', line: 2 }
  expect(() => warningsOf('pkt_buf', setting, { value: 1, shown: '1', place })).toThrow(
    'parameter pkt_buf is not supported (x.ini:2): not here',
  )
  expect(warningsOf('pkt_buf', setting, { value: 4096, shown: '4096', place })).toEqual([])
})

test('* makes databases of names that have no entry', async () => {
  const config = await load('[databases]\n* = host=h pool_size=3\n[pgbouncer]')
  expect(autoDatabase(config, 'app')).toMatchObject({ name: 'app', dbname: 'app', hosts: ['h'], poolSize: 3 })
  expect(config.databases.has('*')).toBe(false)
  expect(autoDatabase(config, 'x'.repeat(63))?.name).toHaveLength(63)
  for (const name of ['', 'pgbouncer', 'x'.repeat(64), 'é'.repeat(32), 'x'.repeat(65535)]) {
    expect(autoDatabase(config, name)).toBeUndefined()
  }
  const named = await load('[databases]\n* = dbname=one\n[pgbouncer]')
  expect(autoDatabase(named, 'app')).toMatchObject({ name: 'app', dbname: 'one' })
  expect(autoDatabase(await load('[pgbouncer]'), 'app')).toBeUndefined()
})

test('a configuration cannot be changed at any depth', async () => {
  const config = await load(
    '[pgbouncer]\nadmin_users=a\n[databases]\na=host=x,y timezone=UTC\n[users]\nu=\n[peers]\n1=host=p',
  )
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return
    expect(Object.isFrozen(value)).toBe(true)
    for (const inner of value instanceof Map ? value.values() : Object.values(value)) visit(inner)
  }
  const { databases, users, peers, raw } = config
  for (const part of [config, config.settings, databases, users, peers, raw, config.warnings]) visit(part)
  for (const map of [databases, users, peers, raw] as Map<unknown, unknown>[]) {
    expect(() => map.set('x', 1)).toThrow('cannot be changed')
    expect(() => map.delete('a')).toThrow('cannot be changed')
    expect(() => map.clear()).toThrow('cannot be changed')
  }
})

test('no secret shows when a configuration is printed', async () => {
  const config = await load('[pgbouncer]\nauth_ldap_options = 53cret\n[databases]\na = postgres://u:53cret@h/d')
  expect(config.databases.get('a')?.password?.reveal()).toBe('53cret')
  expect(inspect(config, { depth: 9 }) + JSON.stringify(config) + JSON.stringify([...config.databases])).not.toContain(
    '53cret',
  )
})

test('SET gives the same configuration with one setting changed', async () => {
  const config = await load('[pgbouncer]\npkt_buf = 1\n[databases]\na=')
  const changed = withSetting(config, 'default_pool_size', '0x10')
  expect(changed.settings).toEqual({ ...config.settings, default_pool_size: 16 })
  expect(changed.raw.get('default_pool_size')).toBe('16')
  expect(changed.databases).toBe(config.databases)
  expect(changed.warnings).toEqual([])
  expect(config.settings.default_pool_size).toBe(20)
  expect(withSetting(changed, 'tcp_keepcnt', '3').warnings).toEqual([
    'parameter tcp_keepcnt has no effect: Node.js has no access to this socket option; the system value stays',
  ])
  expect(withSetting(withSetting(config, 'auth_user', 'u'), 'auth_user', '').raw.has('auth_user')).toBe(false)
})

test.each([
  ['listen_port', '1', 'parameter listen_port cannot be changed without a restart'],
  ['listen_prt', '1', 'unknown parameter: pgbouncer/listen_prt: did you mean listen_port?'],
  ['verbose', 'x', 'invalid value "x" for parameter verbose: expected a whole number'],
  ['auth_type', 'cert', 'auth_type=cert requires client_tls_sslmode=verify-full'],
])('SET %s = %s is refused', async (key, text, message) => {
  const config = await load('[pgbouncer]')
  expect(() => withSetting(config, key, text)).toThrow(new ConfigError(message))
})

test.each([
  [
    '[pgbouncer]\nlogfile = /tmp/caf\udce9',
    'invalid value "/tmp/caf\\xe9" for parameter logfile in configuration (x.ini:2): not valid UTF-8',
  ],
  [
    '[pgbouncer]\nauth_file = \udcff',
    'invalid value "\\xff" for parameter auth_file in configuration (x.ini:2): not valid UTF-8',
  ],
  [
    '[databases]\na = host=/run/\udce9\n[pgbouncer]',
    'invalid value for host in configuration (x.ini:2): not valid UTF-8',
  ],
  [
    '[databases]\na = sslrootcert=\udce9\n[pgbouncer]',
    'invalid value for sslrootcert in configuration (x.ini:2): not valid UTF-8',
  ],
])('what goes to the system has to be UTF-8: %j', async (text, message) => {
  expect((await failure(text)).message).toBe(message)
})

test('names, SQL and passwords need not be UTF-8, and their length is in bytes', async () => {
  const name = '\udce9'.repeat(63)
  const text = `[databases]\n'${name}' = user=\udce8 password=\udcff\n[users]\n'\udce7' = pool_mode=session\n[pgbouncer]\nadmin_users = a\udce9, b`
  const config = await load(text)
  expect(config.databases.get(name)).toMatchObject({ dbname: name, user: '\udce8' })
  expect(config.users.has('\udce7')).toBe(true)
  expect(config.settings.admin_users).toEqual(['a\udce9', 'b'])
  const long = await failure(`[databases]\n'${name}x' =\n[pgbouncer]`)
  expect(long.message).toContain('at most 63 bytes')
})
