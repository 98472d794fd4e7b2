import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { urlServer } from '../../src/config/database-url.js'
import { configFromEnv, hideSecrets, loginsFromEnv } from '../../src/config/env.js'
import { type Environment, refuseUnknown, variablesInForce } from '../../src/config/env-variables.js'
import { loadConfig } from '../../src/config/load.js'
import { settingNames } from '../../src/config/settings.js'

const options = { authFile: '/etc/pgbouncer/userlist.txt', runAs: 'postgres' }

/** The entries of [databases] and the settings that are written, as lines. */
function linesOf(env: Environment) {
  const { ini } = configFromEnv(env, options)!
  const [databases = '', settings = ''] = ini.split('[databases]\n')[1]!.split('[pgbouncer]\n')
  const lines = (text: string) => text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return { databases: lines(databases), settings: lines(settings) }
}

const load = (env: Environment) => {
  const { ini } = configFromEnv(env, options)!
  return loadConfig('pgbouncer.ini', { readFile: async () => ini })
}

test('an environment that names no server makes no configuration', () => {
  expect(configFromEnv({ PGBOUNCER_POOL_MODE: 'session', DB_USER: 'a', DATABASES: '' }, options)).toBeUndefined()
})

test('DATABASES_HOST alone: one database for all names, and the defaults of pgbouncer/pgbouncer', async () => {
  expect(configFromEnv({ DATABASES_HOST: '10.0.0.1' }, options)).toEqual({
    contract: 'prefixed',
    ini: `#pgbouncer.ini

[databases]
* = host = 10.0.0.1 port=5432

[pgbouncer]
admin_users = postgres
auth_type = any
ignore_startup_parameters = extra_float_digits
listen_addr = 0.0.0.0
`,
  })
  const { autodb, settings } = await load({ DATABASES_HOST: '10.0.0.1' })
  expect(autodb).toMatchObject({ hosts: ['10.0.0.1'], ports: [5432] })
  expect(settings.listen_port).toBe(6432)
})

test('each DATABASES_ variable is a key of the entry, quoted where that is needed', async () => {
  const env = {
    DATABASES_CLIENT_SIDE_DBNAME: 'my app',
    DATABASES_HOST: 'db.example',
    DATABASES_PORT: '5433',
    DATABASES_USER: 'app',
    DATABASES_PASSWORD: "it's a secret",
    DATABASES_DBNAME: 'app',
    DATABASES_POOL_SIZE: '7',
    DATABASES_RESERVE_POOL: '3',
    DATABASES_CONNECT_QUERY: "'select ''x'''",
    DATABASES_POOL_MODE: 'transaction',
  }
  expect(linesOf(env).databases).toEqual([
    `"my app" = host = db.example port=5433 dbname=app user=app password='it''s a secret' pool_size=7 reserve_pool=3 pool_mode=transaction connect_query='select ''x'''`,
  ])
  const database = (await load(env)).databases.get('my app')
  expect(database?.password?.reveal()).toBe("it's a secret")
  expect(database).toMatchObject({ user: 'app', poolSize: 7, reservePoolSize: 3, connectQuery: "select 'x'" })
})

test('DATABASES has entries between commas, and goes before the single form', () => {
  const DATABASES = 'pg_rw = host = 10.0.0.1 port=5432 dbname=x,pg_ro = host = 10.0.0.2'
  expect(linesOf({ DATABASES, DATABASES_HOST: 'other' }).databases).toEqual([
    'pg_rw = host = 10.0.0.1 port=5432 dbname=x',
    'pg_ro = host = 10.0.0.2',
  ])
})

test('on lines of their own the entries of DATABASES may have commas', async () => {
  const { databases } = await load({ DATABASES: 'a = host=10.0.0.1,10.0.0.2 port=5432,\nb = host=10.0.0.3\n' })
  expect(databases.get('a')?.hosts).toEqual(['10.0.0.1', '10.0.0.2'])
  expect(databases.get('b')?.hosts).toEqual(['10.0.0.3'])
})

test.each(['[pgbouncer]', '[users]\na = pool_size=1', 'a = host=x,%include /etc/passwd'])(
  'DATABASES cannot begin another section: %j',
  (DATABASES) => {
    expect(() => configFromEnv({ DATABASES }, options)).toThrow('expected NAME = KEY=VALUE ... (DATABASES)')
  },
)

test('every setting can be given as PGBOUNCER_ and its name, in both contracts', () => {
  for (const server of [{ DATABASES_HOST: 'h' }, { DB_HOST: 'h' }]) {
    for (const name of settingNames) {
      const env = { ...server, [`PGBOUNCER_${name.toUpperCase()}`]: 'given' }
      expect(linesOf(env).settings).toContain(`${name} = given`)
      expect(() => refuseUnknown(env)).not.toThrow()
    }
  }
})

test('settings without a prefix are for the plain contract alone, and give way to those with one', () => {
  expect(linesOf({ DATABASES_HOST: 'h', POOL_MODE: 'session' }).settings.join()).not.toContain('pool_mode')
  expect(linesOf({ DB_HOST: 'h', POOL_MODE: 'session' }).settings).toContain('pool_mode = session')
  expect(linesOf({ DB_HOST: 'h', POOL_MODE: 'session', PGBOUNCER_POOL_MODE: 'statement' }).settings).toContain(
    'pool_mode = statement',
  )
})

test('names that an environment has for other reasons are not taken for settings', () => {
  const env = { DB_HOST: 'h', USER: 'root', PIDFILE: '/x', SYSLOG: '1', CONFFILE: '/x', JOB_NAME: 'build' }
  expect(linesOf(env).settings).toEqual(linesOf({ DB_HOST: 'h' }).settings)
})

test('DB_HOST alone: the defaults of edoburu/pgbouncer', async () => {
  expect(configFromEnv({ DB_HOST: 'db' }, options)).toEqual({
    contract: 'plain',
    ini: `################## Auto generated ##################
[databases]
* = host=db port=5432 auth_user=postgres

[pgbouncer]
admin_users = postgres
auth_file = /etc/pgbouncer/userlist.txt
auth_type = md5
ignore_startup_parameters = extra_float_digits
listen_addr = 0.0.0.0
listen_port = 5432
unix_socket_dir =
user = postgres

################## end file ##################
`,
  })
  expect((await load({ DB_HOST: 'db' })).settings).toMatchObject({ listen_port: 5432, unix_socket_dir: '' })
})

test('no user is set for a process that may not become anyone', () => {
  const { ini } = configFromEnv({ DB_HOST: 'db' }, { ...options, runAs: undefined })!
  expect(ini).not.toContain('user = ')
})

test('the plain entry has neither user nor password, and what the other image puts in the wrong place', async () => {
  const env = {
    DB_HOST: 'db',
    DB_PORT: '5433',
    DB_NAME: 'app',
    DB_USER: 'sam',
    DB_PASSWORD: 'secret',
    POOL_SIZE: '9',
    TIMEZONE: 'Europe/Berlin',
    CLIENT_ENCODING: 'UTF8',
  }
  expect(linesOf(env).databases).toEqual([
    'app = host=db port=5433 auth_user=sam client_encoding=UTF8 timezone=Europe/Berlin pool_size=9',
  ])
  expect((await load(env)).databases.get('app')?.poolSize).toBe(9)
})

test('DATABASE_URL goes before DB_*, but for a port that it lacks', () => {
  const env = { DATABASE_URL: 'postgres://sam:secret@db/app', DB_HOST: 'other', DB_NAME: 'other', DB_PORT: '5433' }
  expect(linesOf(env).databases).toEqual(['app = host=db port=5433 auth_user=sam'])
})

test('DATABASE_URLS is a list', () => {
  const DATABASE_URLS = 'postgres://a:1@one:5433/x,postgresql://b@two/y'
  expect(linesOf({ DATABASE_URLS, DATABASE_URL: 'postgres://three/z' }).databases).toEqual([
    'x = host=one port=5433 auth_user=a',
    'y = host=two port=5432 auth_user=b',
  ])
})

test('the query of a URL goes into the entry, where it is judged', async () => {
  const app = await load({ DATABASE_URL: 'postgres://db/app?application_name=my%20app&pool_size=3' })
  expect(app.databases.get('app')).toMatchObject({ poolSize: 3, startupParameters: { application_name: 'my app' } })
  await expect(load({ DATABASE_URL: 'postgres://db/app?zork=1' })).rejects.toThrow('zork')
})

test.each([
  ['postgres://sam:pw@db:5433/app', { host: 'db', port: '5433', user: 'sam', password: 'pw', name: 'app' }],
  ['db', { host: 'db', port: undefined, user: undefined, password: undefined, name: undefined }],
  ['sam@db', { host: 'db', port: undefined, user: 'sam', password: undefined, name: undefined }],
  ['pgsql://sam:a:b/c@d?e@db/app', { host: 'db', port: undefined, user: 'sam', password: 'a:b/c@d?e', name: 'app' }],
  ['postgres://sam:p%40ss@db/a%20b', { host: 'db', port: undefined, user: 'sam', password: 'p@ss', name: 'a b' }],
  ['postgres://sam:100%@db/', { host: 'db', port: undefined, user: 'sam', password: '100%', name: undefined }],
  ['postgres://[::1]:5433/app', { host: '[::1]', port: '5433', user: undefined, password: undefined, name: 'app' }],
])('a URL is told apart by its signs: %s', (url, expected) => {
  const { password, pairs, ...rest } = urlServer(url, 'DATABASE_URL')
  expect({ ...rest, password: password?.reveal() }).toEqual(expected)
  expect(pairs).toEqual([])
})

test.each(['postgres://', 'postgres://a:topsecret@', 'postgres://a:topsecret@h:x/db', 'a:topsecret@h/%0Ax', 'h/x?=1'])(
  'a URL without sense is an error that does not show it: %s',
  (url) => {
    expect(() => urlServer(url, 'DATABASE_URL')).toThrow(/^(?!.*topsecret).*\(DATABASE_URL\)/)
  },
)

test('whatever a URL is, it is read or refused with a ConfigError', () => {
  const part = fc.constantFrom('postgres', '://', ':', '@', '/', '?', '=', '&', '%', '%41', '[', ']', 'a', '5432', '\n')
  fc.assert(
    fc.property(fc.array(part, { maxLength: 12 }), (parts) => {
      try {
        const { host, name } = urlServer(parts.join(''), 'DATABASE_URL')
        expect(`${host}${name}`).not.toContain('\n')
      } catch (error) {
        expect((error as Error).name).toBe('ConfigError')
      }
    }),
  )
})

test.each([
  [undefined, `md5${createHash('md5').update('secretsam').digest('hex')}`],
  ['md5', `md5${createHash('md5').update('secretsam').digest('hex')}`],
  ['hba', `md5${createHash('md5').update('secretsam').digest('hex')}`],
  ['plain', 'secret'],
  ['scram-sha-256', 'secret'],
])('with AUTH_TYPE %s the auth_file gets the secret in the form that it needs', (AUTH_TYPE, expected) => {
  const logins = loginsFromEnv({ DB_HOST: 'h', DB_USER: 'sam', DB_PASSWORD: 'secret', AUTH_TYPE })
  expect(logins.map(({ user, secret }) => [user, secret.reveal()])).toEqual([['sam', expected]])
})

test('a stored secret as the password is not hashed once more', () => {
  const verifier = 'SCRAM-SHA-256$4096:c2FsdA==$a:b'
  for (const DB_PASSWORD of [`md5${'0'.repeat(32)}`, verifier]) {
    expect(loginsFromEnv({ DB_USER: 'sam', DB_PASSWORD })[0]?.secret.reveal()).toBe(DB_PASSWORD)
  }
})

test('users without a password, and passwords without a user, are no logins', () => {
  expect(loginsFromEnv({ DB_USER: 'sam' })).toEqual([])
  expect(loginsFromEnv({ DB_PASSWORD: 'x' })).toEqual([])
  const logins = loginsFromEnv({ DATABASE_URLS: 'postgres://a:1@h/x,postgres://b@h/y,postgres://c:3@h/z' })
  expect(logins.map(({ user }) => user)).toEqual(['a', 'c'])
})

test('unknown names are refused, all of them at once, with the nearest that is known', () => {
  const env = { PGBOUNCER_POOL_MOD: '1', PGBOUNCER_ZORK: '1', DATABASES_HOTS: '1', PGBOUNCER_PORT: '6432', OTHER: '1' }
  expect(() => refuseUnknown(env)).toThrow(
    `unknown variable DATABASES_HOTS: did you mean DATABASES_HOST?
unknown variable PGBOUNCER_POOL_MOD: did you mean PGBOUNCER_POOL_MODE?
unknown variable PGBOUNCER_PORT: did you mean PGBOUNCER_LISTEN_PORT?
unknown variable PGBOUNCER_ZORK`,
  )
  expect(() => refuseUnknown({ pgbouncer_pool_mode: '1', PGBOUNCER_pool_mode: '1' })).toThrow('PGBOUNCER_pool_mode')
})

test('what Kubernetes tells of Services is neither a setting nor unknown', () => {
  const links = {
    PGBOUNCER_SERVICE_HOST: '10.0.0.9',
    PGBOUNCER_SERVICE_PORT: '6432',
    PGBOUNCER_SERVICE_PORT_POSTGRES: '6432',
    PGBOUNCER_PORT: 'tcp://10.0.0.9:6432',
    PGBOUNCER_PORT_6432_TCP: 'tcp://10.0.0.9:6432',
    PGBOUNCER_PORT_6432_TCP_ADDR: '10.0.0.9',
    PGBOUNCER_RW_SERVICE_HOST: '10.0.0.9',
    PGBOUNCER_LISTEN_PORT: 'tcp://10.0.0.9:6432',
    DATABASES_SERVICE_HOST: '10.0.0.9',
    DB_PORT: 'tcp://10.0.0.8:5432',
    DB_SERVICE_HOST: '10.0.0.8',
  }
  expect(() => refuseUnknown(links)).not.toThrow()
  expect(variablesInForce(links)).toEqual([])
  expect(configFromEnv({ ...links, DB_HOST: 'h' }, options)).toEqual(configFromEnv({ DB_HOST: 'h' }, options))
})

test('a value of several lines cannot add lines to the file', () => {
  const env = { DB_HOST: 'h', PGBOUNCER_POOL_MODE: 'session\nadmin_users = eve' }
  expect(() => configFromEnv(env, options)).toThrow('a value is one line (PGBOUNCER_POOL_MODE)')
})

test('an empty variable is one that is not set', () => {
  expect(linesOf({ DB_HOST: 'h', LISTEN_PORT: '', PGBOUNCER_POOL_MODE: '' }).settings).toEqual(
    linesOf({ DB_HOST: 'h' }).settings,
  )
})

test.each([
  ['a = host=h password=topsecret port=1', 'a = host=h password=[hidden] port=1'],
  ['a = host = h password = topsecret', 'a = host = h password = [hidden]'],
  [`a = password='top''sec ret' port=1`, 'a = password=[hidden] port=1'],
  ['a = password=top&secret', 'a = password=[hidden]'],
  ['a = postgres://u:topsecret@h/db port=1', 'a = postgres://u:[hidden]@h/db port=1'],
  ['a = postgres://u:top@secret@h/db', 'a = postgres://u:[hidden]@h/db'],
  ['a = postgres://h/db?password=topsecret', 'a = postgres://h/db?password=[hidden]'],
  ['auth_ldap_options = ldapbindpasswd=topsecret', 'auth_ldap_options = [hidden]'],
  ['a = host=h port=1\npool_mode = session', 'a = host=h port=1\npool_mode = session'],
])('secrets are hidden in what is printed: %j', (line, expected) => {
  expect(hideSecrets(line)).toBe(expected)
})

test('no password of an entry is left, whatever it is', async () => {
  await fc.assert(
    fc.asyncProperty(fc.string({ minLength: 1, unit: 'grapheme-ascii' }), async (text) => {
      const password = `<<${text}>>`
      const { ini } = configFromEnv({ DATABASES_HOST: 'h', DATABASES_PASSWORD: password }, options)!
      const { autodb } = await loadConfig('x.ini', { readFile: async () => ini })
      expect(autodb?.password?.reveal()).toBe(password)
      expect(hideSecrets(ini)).toContain('* = host = h port=5432 password=[hidden]\n')
    }),
  )
})

test.each([
  { DATABASES_HOST: 'h', PGBOUNCER_AUTH_USER: 'caf\ufffd' },
  { DATABASES: 'a = host=h user=caf\ufffd' },
  { DB_HOST: 'h', DB_PASSWORD: 'p\ufffd' },
])('what was not UTF-8 in the environment is refused, since it cannot be known: %o', (env) => {
  expect(() => [configFromEnv(env, options), loginsFromEnv(env)]).toThrow('not valid UTF-8')
})
