import { expect, test } from 'vitest'
import type { ConfigInput } from '../../src/config/input.js'
import { loadConfig } from '../../src/config/load.js'
import { applicable, diffConfig } from '../../src/config/reload.js'

async function diff(old: ConfigInput, next: ConfigInput) {
  return diffConfig(await loadConfig(old), await loadConfig(next))
}

test('the same configuration again is no change, wherever it stands in the file', async () => {
  const lines =
    '[databases]\na = host=x,y password=p timezone=UTC\n[users]\nu = pool_size=1\n[peers]\n1 = host=p\n[pgbouncer]\nadmin_users = a,b'
  const [old, next] = await Promise.all(
    [lines, `; a comment\n\n${lines}`].map((text) => loadConfig('x.ini', { readFile: async () => text })),
  )
  expect(diffConfig(old!, next!)).toEqual({
    settings: [],
    needRestart: [],
    databases: { added: [], removed: [], changed: [], adjusted: [] },
    users: { added: [], removed: [], changed: [] },
    peers: { added: [], removed: [], changed: [] },
  })
})

test('settings that changed are told apart by whether they need a restart', async () => {
  const changes = await diff(
    { pgbouncer: { listen_port: 1, pool_mode: 'session', admin_users: 'a', listen_addr: '*', auth_ldap_options: 'x' } },
    {
      pgbouncer: {
        listen_port: 2,
        pool_mode: 'statement',
        admin_users: 'a,b',
        listen_addr: ' * ',
        auth_ldap_options: 'y',
      },
    },
  )
  expect(changes.settings).toEqual(['admin_users', 'auth_ldap_options', 'pool_mode'])
  expect(changes.needRestart).toEqual(['listen_port'])
})

test('databases come, go, and change', async () => {
  const changes = await diff(
    { databases: { stays: 'host=x', goes: 'host=x', moves: 'host=x', grows: 'pool_size=1', '*': 'host=x' } },
    { databases: { stays: { host: 'x' }, comes: '', moves: 'host=y', grows: 'pool_size=2', '*': 'host=y' } },
  )
  expect(changes.databases).toEqual({
    added: ['comes'],
    removed: ['goes'],
    changed: ['moves', '*'],
    adjusted: ['grows'],
  })
})

test.each([
  'dbname=new',
  'host=x,z port=1',
  'host=x port=2',
  'host=x port=1 user=new',
  "connect_query='select 2'",
  'auth_dbname=new',
  "auth_query='select 2'",
  'load_balance_hosts=disable',
])('servers are to be closed after %s', async (line) => {
  const { changed, adjusted } = (await diff({ databases: { a: 'host=x port=1' } }, { databases: { a: line } }))
    .databases
  expect({ changed, adjusted }).toEqual({ changed: ['a'], adjusted: [] })
})

test('servers are to be closed when the forced user goes', async () => {
  expect((await diff({ databases: { a: 'user=u' } }, { databases: { a: '' } })).databases.changed).toEqual(['a'])
})

test.each(['password=new', 'pool_size=1', 'pool_mode=statement', 'server_lifetime=1', 'timezone=UTC', 'auth_user=x'])(
  'servers may stay after %s',
  async (line) => {
    const old = { databases: { a: 'password=old' } }
    const { changed, adjusted } = (await diff(old, { databases: { a: line } })).databases
    expect({ changed, adjusted }).toEqual({ changed: [], adjusted: ['a'] })
  },
)

test('* may come and go', async () => {
  expect((await diff({}, { databases: { '*': '' } })).databases.added).toEqual(['*'])
  expect((await diff({ databases: { '*': '' } }, {})).databases.removed).toEqual(['*'])
})

test('users and peers come, go, and change', async () => {
  const changes = await diff(
    { users: { a: 'pool_size=1', b: '' }, peers: { 1: 'host=a', 2: 'host=b' } },
    { users: { a: 'pool_size=2', c: '' }, peers: { 1: 'host=a port=1', 3: 'host=c' } },
  )
  expect(changes.users).toEqual({ added: ['c'], removed: ['b'], changed: ['a'] })
  expect(changes.peers).toEqual({ added: [3], removed: [2], changed: [1] })
})

test('what a reload puts into force keeps the settings that need a restart', async () => {
  const old = await loadConfig({ pgbouncer: { listen_port: 1, verbose: 1, user: 'u' } })
  const next = await loadConfig({ pgbouncer: { listen_port: 2, verbose: 2, pidfile: 'p' }, databases: { a: '' } })
  const applied = applicable(old, next)
  expect(applied.settings).toEqual({ ...next.settings, listen_port: 1, pidfile: '', user: 'u' })
  expect(applied.raw.get('listen_port')).toBe('1')
  expect(applied.raw.get('verbose')).toBe('2')
  expect(applied.raw.get('user')).toBe('u')
  expect(applicable(next, old).raw.has('user')).toBe(false)
  expect(applied.databases).toBe(next.databases)
  expect(diffConfig(old, applied).needRestart).toEqual([])
  expect([applied, applied.settings, applied.raw].every(Object.isFrozen)).toBe(true)
})
