import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ConfigError } from '../../src/config/config-error.js'
import type { ConfigInput } from '../../src/config/input.js'
import { loadConfig } from '../../src/config/load.js'
import { diffConfig } from '../../src/config/reload.js'
import { Secret } from '../../src/config/secret.js'

test('an object gives the same configuration as a file', async () => {
  const fromObject = await loadConfig({
    pgbouncer: {
      listen_port: 7000,
      pool_mode: 'transaction',
      admin_users: ['a', 'b'],
      log_stats: false,
      query_timeout: 1.5,
      auth_user: undefined,
    },
    databases: {
      pg_rw: 'host=a,b port=1,2 password=p',
      pg_ro: { host: ['a', 'b'], port: [1, 2], password: new Secret('p'), pool_size: 3, connect_query: "select '=' " },
      app: 'postgres://u@h/d',
      '*': {},
    },
    users: { sam: { pool_size: 1, query_timeout: 2 }, 'o p': 'pool_size=4' },
    peers: { 1: { host: 'p' } },
  })
  const text = `[pgbouncer]
listen_port = 7000
pool_mode = transaction
admin_users = a,b
log_stats = 0
query_timeout = 1.5
[databases]
pg_rw = host=a,b port=1,2 password=p
pg_ro = host=a,b port=1,2 password=p pool_size=3 connect_query='select ''='' '
app = postgres://u@h/d
* =
[users]
sam = pool_size=1 query_timeout=2
'o p' = pool_size=4
[peers]
1 = host=p`
  const fromFile = await loadConfig('x.ini', { readFile: async () => text })
  expect(diffConfig(fromFile, fromObject)).toEqual({
    settings: ['conffile'],
    needRestart: [],
    databases: { added: [], removed: [], changed: [], adjusted: [] },
    users: { added: [], removed: [], changed: [] },
    peers: { added: [], removed: [], changed: [] },
  })
  expect(fromObject.file).toBeUndefined()
})

test('an empty object gives the defaults', async () => {
  expect((await loadConfig({})).settings.listen_port).toBe(6432)
})

/** What a caller without types may give. */
const load = (input: unknown) => loadConfig(input as ConfigInput)

test.each([
  [
    { pgbouncer: { listen_prt: 1 } },
    'unknown parameter: pgbouncer/listen_prt (pgbouncer.listen_prt): did you mean listen_port?',
  ],
  [
    { pgbouncer: { listen_port: -1 } },
    'invalid value "-1" for parameter listen_port in configuration (pgbouncer.listen_port): expected 0 to 65535',
  ],
  [{ pgbouncer: { listen_port: null } }, 'expected a text, a number, true or false (pgbouncer.listen_port)'],
  [{ pgbouncer: { logfile: 'a\nb' } }, 'a value is one line (pgbouncer.logfile)'],
  [undefined, 'expected an object (config)'],
  [3, 'expected an object (config)'],
  [{ pgbouncer: [] }, 'expected an object (pgbouncer)'],
  [{ pgbouncer: 'listen_port=1' }, 'expected an object (pgbouncer)'],
  [{ nowhere: {} }, 'invalid section "nowhere" in configuration (nowhere)'],
  [{ databases: { a: 1 } }, 'expected an object (databases.a)'],
  [{ databases: { a: new Secret('host=x') } }, 'expected an object (databases.a)'],
  [{ databases: { a: 'hots=x' } }, 'unrecognized connection parameter: hots (databases.a.hots): did you mean host?'],
  [{ databases: { a: 'host' } }, "syntax error in connection string (databases.a): expected 'key=value'"],
  [
    { databases: { a: { port: 0 } } },
    'invalid value for port in configuration (databases.a.port): expected a whole number from 1 to 65535',
  ],
  [{ databases: { a: { password: '' } } }, 'password has an empty value (databases.a.password)'],
  [{ databases: { a: { host: {} } } }, 'expected a text, a number, true or false (databases.a.host)'],
  [{ databases: { pgbouncer: {} } }, 'database name "pgbouncer" is reserved (databases.pgbouncer)'],
  [
    { users: { u: { pool_mode: 'x' } } },
    'invalid value for pool_mode in configuration (users.u.pool_mode): expected one of session, transaction, statement',
  ],
  [{ peers: { x: { host: 'p' } } }, 'ids of peers must be a number from 1 to 65535 (peers.x)'],
  [
    JSON.parse('{ "databases": { "__proto__": { "x": 1 } } }'),
    'unrecognized connection parameter: x (databases.__proto__.x)',
  ],
])('%j is refused with its key path', async (input, message) => {
  const error: unknown = await load(input).catch((reason: unknown) => reason)
  expect(error).toBeInstanceOf(ConfigError)
  expect(error).toMatchObject({ message, file: undefined, path: /\(([^()]+)\)(?=$|:)/.exec(message)?.[1] })
})

test('any object loads or is refused with a ConfigError', async () => {
  const anything = fc.anything({ withNullPrototype: true, withMap: true })
  const section = fc.oneof(anything, fc.dictionary(fc.string(), anything))
  const input = fc.record(
    { pgbouncer: section, databases: section, users: section, peers: section },
    { requiredKeys: [] },
  )
  await fc.assert(
    fc.asyncProperty(input, async (given) => {
      await load(given).catch((error: unknown) => expect(error).toBeInstanceOf(ConfigError))
    }),
  )
})
