import { expect, test } from 'vitest'
import { verbs } from '../../src/admin/commands.js'
import { tables } from '../../src/admin/tables.js'
import { ConfigError } from '../../src/config/config-error.js'
import { loadConfig } from '../../src/config/load.js'
import { AdminError } from '../../src/control/status.js'
import { ConsoleClient } from './console-client.js'
import { FakeAdministration } from './fake-administration.js'
import { fieldsOf, query } from './wire.js'

const denied = 'E ERROR 08P01 admin access needed'
const invalid = (text: string) => `E ERROR 08P01 invalid command '${text}', use SHOW HELP;`

/** Command; what an admin is answered; what Administration is asked; what a stats user is answered. */
const commands: readonly (readonly [text: string, admin: string, call: string | undefined, stats: string])[] = [
  ['RELOAD', 'C RELOAD', 'reload', denied],
  ['RELOAD x', invalid('RELOAD x'), undefined, invalid('RELOAD x')],
  ['RESUME', 'C RESUME', 'resume', denied],
  ['RESUME pg', 'C RESUME', 'resume pg', denied],
  ['RESUME nodb', 'E ERROR 08P01 no such database: nodb', 'resume nodb', denied],
  ['RESUME pgbouncer', 'E ERROR 08P01 database pgbouncer is not paused', undefined, denied],
  ['PAUSE nodb', 'E ERROR 08P01 no such database: nodb', 'pause nodb', denied],
  ['PAUSE pgbouncer', 'E ERROR 08P01 cannot pause admin db: pgbouncer', undefined, denied],
  ['SUSPEND x', invalid('SUSPEND x'), undefined, invalid('SUSPEND x')],
  ['DISABLE pg', 'C DISABLE', 'disable pg', denied],
  ['DISABLE', 'E ERROR 08P01 a database is required', undefined, denied],
  ['DISABLE pgbouncer', 'E ERROR 08P01 cannot disable admin db: pgbouncer', undefined, denied],
  ['ENABLE pg', 'C ENABLE', 'enable pg', denied],
  ['ENABLE', 'E ERROR 08P01 a database is required', undefined, denied],
  ['ENABLE pgbouncer', 'E ERROR 08P01 cannot enable admin db: pgbouncer', undefined, denied],
  ['KILL', 'C KILL', 'kill', denied],
  ['KILL pg', 'C KILL', 'kill pg', denied],
  ['KILL pgbouncer', 'E ERROR 08P01 cannot kill admin db: pgbouncer', undefined, denied],
  ['KILL_CLIENT 42', 'C KILL_CLIENT', 'killClient 42', denied],
  ['KILL_CLIENT', 'E ERROR 08P01 invalid client pointer supplied', undefined, denied],
  ['KILL_CLIENT 0x7f', 'E ERROR 08P01 invalid client pointer supplied', undefined, denied],
  ['RECONNECT', 'C RECONNECT', 'reconnect', denied],
  ['RECONNECT pg', 'C RECONNECT', 'reconnect pg', denied],
  ['RECONNECT pgbouncer', 'E ERROR 08P01 cannot reconnect admin db: pgbouncer', undefined, denied],
  ['WAIT_CLOSE pgbouncer', 'E ERROR 08P01 cannot wait in admin db: pgbouncer', undefined, denied],
  ['BAN HOST 10.0.0.1:5432', 'C BAN HOST', 'banHost 10.0.0.1:5432 0', denied],
  ['ban host [2001:db8::1]:5432 60', 'C BAN HOST', 'banHost [2001:db8::1]:5432 60', denied],
  ["BAN HOST '/tmp/a b/.s.PGSQL.5432' 0.5;", 'C BAN HOST', 'banHost /tmp/a b/.s.PGSQL.5432 0.5', denied],
  [`BAN HOST '/${'x'.repeat(90)}/.s.PGSQL.5432'`, 'C BAN HOST', `banHost /${'x'.repeat(90)}/.s.PGSQL.5432 0`, denied],
  [`BAN HOST ${'x'.repeat(256)}`, 'E ERROR 08P01 bad arguments', undefined, 'E ERROR 08P01 bad arguments'],
  ['BAN HOST "Db.Example"', 'C BAN HOST', 'banHost Db.Example 0', denied],
  ['BAN HOST', 'E ERROR 08P01 a host is required', undefined, denied],
  ["BAN HOST ''", 'E ERROR 08P01 a host is required', undefined, denied],
  ['BAN HOST a soon', 'E ERROR 08P01 expected a number of seconds', undefined, denied],
  ['BAN HOST a -1', 'E ERROR 08P01 expected a number of seconds', undefined, denied],
  ['BAN HOST a 1e3', 'E ERROR 08P01 expected a number of seconds', undefined, denied],
  ['BAN HOST a 1234567890', 'E ERROR 08P01 expected a number of seconds', undefined, denied],
  ['BAN HOST a 1 2', invalid('BAN HOST a 1 2'), undefined, invalid('BAN HOST a 1 2')],
  ['BAN HOST a, b', invalid('BAN HOST a, b'), undefined, invalid('BAN HOST a, b')],
  ['BAN', invalid('BAN'), undefined, invalid('BAN')],
  ['BAN a', invalid('BAN a'), undefined, invalid('BAN a')],
  ['UNBAN HOST 10.0.0.1:5432', 'C UNBAN HOST', 'unbanHost 10.0.0.1:5432', denied],
  ['UNBAN HOST', 'E ERROR 08P01 a host is required', undefined, denied],
  ['UNBAN HOST a 5', 'E ERROR 08P01 bad arguments', undefined, denied],
  ['WAIT PRIMARY', 'E ERROR 08P01 a database is required', undefined, denied],
  ['WAIT PRIMARY pg later', 'E ERROR 08P01 expected a number of seconds', undefined, denied],
  ['WAIT PRIMARY pgbouncer', 'E ERROR 08P01 admin db has no primary: pgbouncer', undefined, denied],
  ['SHUTDOWN WAIT_FOR_SERVERS', 'C SHUTDOWN', 'shutdown wait_for_servers', denied],
  ['shutdown wait_for_clients', 'C SHUTDOWN', 'shutdown wait_for_clients', denied],
  ['SHUTDOWN x', invalid('SHUTDOWN x'), undefined, invalid('SHUTDOWN x')],
  ['SET verbose = 1', 'C SET verbose=1', 'set verbose 1', denied],
  ['SHOW FDS', 'E ERROR 0A000 SHOW FDS is refused: it would show passwords and cancel keys', undefined, denied],
  ['SHOW nonsense', invalid('SHOW nonsense'), undefined, invalid('SHOW nonsense')],
  ['SHOW', invalid('SHOW'), undefined, invalid('SHOW')],
  ['NONSENSE', invalid('NONSENSE'), undefined, invalid('NONSENSE')],
]

/** Those that wait: what is asked, and the tag when it has come true. */
const waiting = [
  ['PAUSE', 'pause'],
  ['PAUSE pg', 'pause pg'],
  ['SUSPEND', 'suspend'],
  ['WAIT_CLOSE', 'waitClose'],
  ['WAIT_CLOSE pg', 'waitClose pg'],
  ['WAIT PRIMARY pg', 'waitPrimary pg 0'],
  ['wait primary "pg" 2.5', 'waitPrimary pg 2.5'],
] as const

/** The verb that a command begins with: one word, or two. */
const verbOf = (text: string) => verbs.find(({ name }) => `${text.toUpperCase()} `.startsWith(`${name} `))?.name

test.each(commands)('%s, by an admin: %s', async (text, answer, call) => {
  const client = new ConsoleClient('admin')
  expect(await client.query(text)).toEqual([answer, 'Z I'])
  expect(client.administration.calls).toEqual(call === undefined ? [] : [call])
})

test('UNBAN HOST tells that the host is fenced again', async () => {
  const client = new ConsoleClient('admin')
  expect(await client.query('UNBAN HOST fenced')).toEqual([
    'N NOTICE 00000 fenced is fenced again',
    'C UNBAN HOST',
    'Z I',
  ])
})

test.each(commands)('%s, by a stats user, does nothing', async (text, _admin, _call, answer) => {
  const client = new ConsoleClient('stats')
  expect(await client.query(text)).toEqual([answer, 'Z I'])
  expect(client.administration.calls).toEqual([])
})

test.each(waiting)('%s waits until it is true', async (text, call) => {
  const client = new ConsoleClient('admin')
  expect(await client.query(text)).toEqual([])
  expect(client.administration.calls).toEqual([call])
  client.administration.finish()
  expect(await client.ask()).toEqual([`C ${verbOf(text)}`, 'Z I'])
})

test.each(waiting)('%s, by a stats user, does nothing', async (text) => {
  const client = new ConsoleClient('stats')
  expect(await client.query(text)).toEqual([denied, 'Z I'])
  expect(client.administration.calls).toEqual([])
})

test('every verb is among the commands above, for both roles', () => {
  const tested = [...commands, ...waiting].map(([text]) => verbOf(text))
  for (const { name } of verbs) expect(tested, name).toContain(name)
})

test.each(['admin', 'stats'] as const)('%s may run every SHOW, and SELECT is another word for it', async (role) => {
  for (const { name } of tables) {
    const client = new ConsoleClient(role)
    const shown = await client.query(`SHOW ${name}`)
    expect(shown.slice(-2), name).toEqual(['C SHOW', 'Z I'])
    expect(await client.query(`select ${name.toLowerCase()};`)).toEqual(shown)
  }
})

test('SHUTDOWN is not answered, and nothing after it is done', async () => {
  const client = new ConsoleClient('admin')
  expect(await client.ask(query('SHUTDOWN'), query('RELOAD'))).toEqual([])
  expect(client.administration.calls).toEqual(['shutdown now'])
  expect(client.ended).toBe(false)
})

test('SHOW HELP is a notice that names every verb and every SHOW', async () => {
  const messages = await new ConsoleClient('stats').messages(query('SHOW HELP'))
  expect(messages.map(({ code }) => code)).toEqual(['N', 'C', 'Z'])
  const { S, C, M, D } = fieldsOf(messages[0]!)
  expect([S, C, M]).toEqual(['NOTICE', '00000', 'Console usage'])
  expect(D).toMatch(/^\n\tSHOW HELP\|CONFIG\|DATABASES\|POOLS\|CLIENTS\|SERVERS\|USERS\|VERSION\n/)
  const words = D?.split(/[\t\n| ]+/)
  for (const { name } of tables) expect(words).toContain(name)
  for (const { name } of verbs) expect(D).toMatch(new RegExp(`[\\t|]${name}(?=[ |\\n]|$)`))
})

test('what has worked is logged as pgbouncer does, and what has not as a warning', async () => {
  const client = new ConsoleClient('admin')
  for (const text of ['RELOAD', "KILL 'x'", 'KILL pg', 'shutdown wait_for_servers', 'FOO']) await client.query(text)
  expect(client.log).toEqual([
    'info RELOAD command issued',
    "warning pooler error: invalid command 'KILL 'x'', use SHOW HELP;",
    "info KILL 'pg' command issued",
    'info SHUTDOWN WAIT_FOR_SERVERS command issued',
    "warning pooler error: invalid command 'FOO', use SHOW HELP;",
  ])
})

test('the value of a SET is in no log, and errors are in none if log_pooler_errors is off', async () => {
  const client = new ConsoleClient('admin')
  await client.query('SET auth_ldap_options = "ldapbindpasswd=hunter2"')
  await client.query('SET auth_ldap_options to ldapbindpasswd = hunter2')
  await client.query('SELECT 5; SET auth_ldap_options=hunter2')
  expect(client.log).toHaveLength(3)
  expect(client.log.join()).not.toContain('hunter2')
  const silent = new FakeAdministration()
  silent.configNow = await loadConfig({ pgbouncer: { log_pooler_errors: false } })
  const other = new ConsoleClient('admin', silent)
  await other.query('FOO')
  expect(other.log).toEqual([])
})

test('RELOAD tells what has to wait for a restart', async () => {
  const client = new ConsoleClient('admin')
  client.administration.notices = ['listen_port is changed in a.ini: it needs a restart to take effect']
  expect(await client.query('RELOAD')).toEqual([
    'N NOTICE 00000 listen_port is changed in a.ini: it needs a restart to take effect',
    'C RELOAD',
    'Z I',
  ])
})

test('a refused RELOAD or SET has the text of pgbouncer, and says in the detail what is wrong with the file', async () => {
  const client = new ConsoleClient('admin')
  for (const [text, sqlstate, message] of [
    ['RELOAD', 'F0000', 'RELOAD failed, see logs for additional details'],
    ['SET pool_mode = sometimes', '08P01', 'SET failed'],
  ] as const) {
    client.administration.refusal = new ConfigError('invalid value', { file: 'pgbouncer.ini', line: 12 })
    const [error, ready] = await client.messages(query(text))
    expect(fieldsOf(error!)).toEqual({ S: 'ERROR', C: sqlstate, M: message, D: 'invalid value (pgbouncer.ini:12)' })
    expect(ready?.code).toBe('Z')
  }
  expect(client.log).toContain('error invalid value (pgbouncer.ini:12)')
})

test('a refusal by the pooler is told as it is', async () => {
  const client = new ConsoleClient('admin')
  client.administration.refusal = new AdminError('already suspended/paused')
  expect(await client.query('KILL pg')).toEqual(['E ERROR 08P01 already suspended/paused', 'Z I'])
})

test('a defect of ours is an internal error to the client, and a stack in the log', async () => {
  const client = new ConsoleClient('admin')
  client.administration.refusal = new TypeError('x is not a function')
  expect(await client.query('KILL pg')).toEqual(['E ERROR XX000 internal error', 'Z I'])
  expect(client.log.join('\n')).toMatch(/error TypeError: x is not a function\n\s+at /)
  client.administration.pools = () => {
    throw new RangeError('no pools today')
  }
  expect(await client.query('SHOW POOLS')).toContain('E ERROR XX000 internal error')
  expect(await client.query('SHOW VERSION')).toContain('C SHOW')
})
