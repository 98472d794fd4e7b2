import { expect, test } from 'vitest'
import { ConsoleClient, settled } from './console-client.js'
import { FakeAdministration, pool } from './fake-administration.js'
import {
  bind,
  cellsOf,
  close,
  columnsOf,
  describe,
  execute,
  extended,
  type FrontendMessage,
  flush,
  linesOf,
  parse,
  query,
  sync,
} from './wire.js'

const version = 'D PgBouncer 1.26.1 (tsbouncer 0.1.0)'

function withPools(count: number): FakeAdministration {
  const administration = new FakeAdministration()
  // One more is the console's own.
  administration.poolRows = Array.from({ length: count - 1 }, (_, at) => ({ ...pool, database: `db${at + 1}` }))
  return administration
}

test('Parse, Bind, Describe, Execute and Sync are answered in order', async () => {
  const client = new ConsoleClient('stats')
  expect(await client.ask(...extended('SHOW VERSION'))).toEqual(['1', '2', 'T version', version, 'C SHOW', 'Z I'])
  expect(await client.ask(...extended(''))).toEqual(['1', '2', 'n', 'I', 'Z I'])
  expect(await client.ask(...extended('SHOW HELP'))).toEqual([
    ...['1', '2', 'n', 'N NOTICE 00000 Console usage', 'C SHOW', 'Z I'],
  ])
})

test('commands run when they are executed, not when they are prepared', async () => {
  const client = new ConsoleClient('admin')
  expect(await client.ask(parse('KILL pg'), bind(), describe('S'), describe('P'), flush)).toEqual([
    ...['1', '2', 't', 'n', 'n'],
  ])
  expect(client.administration.calls).toEqual([])
  expect(await client.ask(execute(), sync)).toEqual(['C KILL', 'Z I'])
  expect(client.administration.calls).toEqual(['kill pg'])
})

test('a command by the extended protocol waits as by the simple one', async () => {
  const client = new ConsoleClient('admin')
  expect(await client.ask(...extended('PAUSE'), ...extended('SHOW VERSION'))).toEqual([])
  client.administration.finish()
  expect(await client.ask()).toEqual([
    ...['1', '2', 'n', 'C PAUSE', 'Z I', '1', '2', 'T version', version, 'C SHOW', 'Z I'],
  ])
})

test('Describe of a statement tells of no parameters and of the columns', async () => {
  const client = new ConsoleClient('stats')
  const messages = await client.messages(parse('SHOW LISTS', 's', [25]), describe('S', 's'), sync)
  expect(messages.map(({ code }) => code)).toEqual(['1', 't', 'T', 'Z'])
  expect(messages[1]!.body).toEqual(Buffer.of(0, 0))
  expect(columnsOf(messages[2]!).map((column) => column.name)).toEqual(['list', 'items'])
})

test('named statements stay and unnamed ones are replaced; portals end with Sync', async () => {
  const client = new ConsoleClient('stats')
  await client.ask(parse('SHOW VERSION', 's'), parse('SHOW STATE'), parse('SHOW VERSION'), sync)
  expect(await client.ask(bind({ statement: 's', portal: 'p' }), execute('p'), sync)).toEqual([
    ...['2', version, 'C SHOW', 'Z I'],
  ])
  expect(await client.ask(bind(), execute(), sync)).toEqual(['2', version, 'C SHOW', 'Z I'])
  expect(await client.ask(execute('p'), sync)).toEqual(['E ERROR 34000 portal "p" does not exist', 'Z I'])
  expect(await client.ask(execute(), sync)).toEqual(['E ERROR 34000 portal "" does not exist', 'Z I'])
})

test('within a transaction block portals outlast Sync, and end with it', async () => {
  const client = new ConsoleClient('stats')
  await client.ask(query('BEGIN'), parse('SHOW VERSION'), bind({ portal: 'p' }), sync)
  expect(await client.ask(execute('p'), sync)).toEqual([version, 'C SHOW', 'Z T'])
  await client.query('COMMIT')
  expect(await client.ask(execute('p'), sync)).toEqual(['E ERROR 34000 portal "p" does not exist', 'Z I'])
})

test('a simple query takes the place of the unnamed statement', async () => {
  const client = new ConsoleClient('stats')
  await client.ask(parse('SHOW VERSION'), sync)
  await client.query('SHOW STATE')
  expect(await client.ask(bind(), sync)).toEqual(['E ERROR 26000 unnamed prepared statement does not exist', 'Z I'])
})

test('Close forgets, and closing what is not there is no error', async () => {
  const client = new ConsoleClient('stats')
  expect(await client.ask(close('S', 'x'), close('P', 'x'), sync)).toEqual(['3', '3', 'Z I'])
  await client.ask(parse('SHOW VERSION', 's'), sync)
  expect(await client.ask(close('S', 's'), bind({ statement: 's' }), sync)).toEqual([
    ...['3', 'E ERROR 26000 prepared statement "s" does not exist', 'Z I'],
  ])
  expect(await client.ask(parse('SHOW VERSION', 's'), bind({ statement: 's' }), close('P'), execute(), sync)).toEqual([
    ...['1', '2', '3', 'E ERROR 34000 portal "" does not exist', 'Z I'],
  ])
})

test('max_rows suspends the portal, and it goes on where it was', async () => {
  const client = new ConsoleClient('stats', withPools(5))
  const lines = await client.ask(parse('SHOW POOLS'), bind(), execute('', 2), execute('', 2), execute('', 2), sync)
  const names = lines.map((line) => line.split('|')[0])
  expect(names).toEqual([...['1', '2', 'D db1', 'D db2', 's', 'D db3', 'D db4', 's', 'D pgbouncer', 'C SHOW', 'Z I']])
})

test('a portal that gave its last row with the limit is suspended, then complete; as in PostgreSQL', async () => {
  const client = new ConsoleClient('stats', withPools(2))
  const lines = await client.ask(parse('SHOW POOLS'), bind(), execute('', 2), execute('', 2), execute('', 0), sync)
  expect(lines.filter((line) => !line.startsWith('D'))).toEqual(['1', '2', 's', 'C SHOW', 'C SHOW', 'Z I'])
})

test('a suspended portal has the rows of the moment when it began', async () => {
  const client = new ConsoleClient('stats', withPools(3))
  await client.ask(parse('SHOW POOLS'), bind(), execute('', 1), flush)
  client.administration.poolRows = []
  expect((await client.ask(execute(), sync)).map((line) => line.split('|')[0])).toEqual([
    ...['D db2', 'D pgbouncer', 'C SHOW', 'Z I'],
  ])
})

test('a command is not run twice by one portal', async () => {
  const client = new ConsoleClient('admin')
  const lines = await client.ask(parse('KILL pg'), bind(), execute(), execute(), sync)
  expect(lines).toEqual(['1', '2', 'C KILL', 'E ERROR 55000 portal has run already and cannot be run again', 'Z I'])
  expect(client.administration.calls).toEqual(['kill pg'])
})

test('after an error everything up to the next Sync is passed over, simple queries too', async () => {
  const client = new ConsoleClient('admin')
  const failed = [parse('FOO'), bind(), describe('P'), execute(), query('KILL pg'), parse('KILL pg'), bind(), execute()]
  expect(await client.ask(...failed, sync, ...extended('SHOW VERSION'))).toEqual([
    "E ERROR 08P01 invalid command 'FOO', use SHOW HELP;",
    ...['Z I', '1', '2', 'T version', version, 'C SHOW', 'Z I'],
  ])
  expect(client.administration.calls).toEqual([])
})

test('an error is sent at once, not with the next Sync', async () => {
  const client = new ConsoleClient('stats')
  expect(await client.ask(parse('SHOW VERSION'))).toEqual([])
  expect(await client.ask(parse('FOO'))).toEqual(['1', "E ERROR 08P01 invalid command 'FOO', use SHOW HELP;"])
})

test('Flush sends what there is', async () => {
  const client = new ConsoleClient('stats')
  expect(await client.ask(parse('SHOW VERSION'), flush)).toEqual(['1'])
})

test('rights are checked by the extended protocol as well', async () => {
  const client = new ConsoleClient('stats')
  expect(await client.ask(...extended('KILL pg'))).toEqual(['E ERROR 08P01 admin access needed', 'Z I'])
  expect(client.administration.calls).toEqual([])
})

const cases: [string, FrontendMessage[], string][] = [
  ['a statement name in use', [parse('SHOW STATE', 's'), parse('SHOW STATE', 's')], '42P05'],
  ['a portal name in use', [parse('SHOW STATE'), bind({ portal: 'p' }), bind({ portal: 'p' })], '42P03'],
  ['parameters', [parse('SHOW STATE'), bind({ values: ['1', null] })], '08P01'],
  ['a wrong number of formats', [parse('SHOW STATE'), bind({ formats: [0, 0, 0] })], '08P01'],
  ['an unknown format', [parse('SHOW STATE'), bind({ formats: [2] })], '22023'],
  ['a long name', [parse('SHOW STATE', 'n'.repeat(256))], '42622'],
  ['Describe of an unknown statement', [describe('S', 's')], '26000'],
  ['Describe of an unknown portal', [describe('P', 'p')], '34000'],
]
test.each(cases)('%s is an error and the connection goes on', async (_, messages, sqlstate) => {
  const client = new ConsoleClient('stats')
  const lines = await client.ask(...messages, sync)
  expect(lines.slice(-2).map((line) => line.slice(0, 13))).toEqual([`E ERROR ${sqlstate}`, 'Z I'])
  expect((await client.query('SHOW VERSION')).at(-2)).toBe('C SHOW')
})

test('the number of statements and portals is bounded', async () => {
  const client = new ConsoleClient('stats')
  const names = Array.from({ length: 1001 }, (_, at) => `n${at}`)
  const statements = await client.ask(...names.map((name) => parse('SHOW STATE', name)), sync)
  expect(statements.slice(-3)).toEqual(['1', 'E ERROR 53400 too many prepared statements on the console (1000)', 'Z I'])
  const portals = await client.ask(...names.map((portal) => bind({ statement: 'n0', portal })), sync)
  expect(portals.slice(99)).toEqual(['2', 'E ERROR 53400 too many portals on the console (100)', 'Z I'])
})

test('columns come in the binary format where Bind asks for it', async () => {
  const administration = new FakeAdministration()
  const counters = { ...administration.statsRows[0]!.total, xacts: 120_003, queries: 0, received: 98_765_432_109 }
  administration.statsRows = [{ database: 'pg', total: counters, average: { ...counters, xacts: 10_000 } }]
  const client = new ConsoleClient('stats', administration)
  const cells = async (show: string, formats: number[]): Promise<string[]> => {
    const messages = await client.messages(...extended(show, formats))
    const columns = columnsOf(messages.find(({ code }) => code === 'T')!)
    expect(columns.map((column) => column.format)).toEqual(columns.map((_, at) => formats[at] ?? formats[0]))
    return cellsOf(messages.find(({ code }) => code === 'D')!).map((cell) => cell?.toString('hex') ?? 'null')
  }
  expect((await cells('SHOW POOLS', [1])).slice(0, 3)).toEqual(['7067', '73616d', '00000001'])
  expect((await cells('SHOW POOLS', [1])).at(-1)).toBe('null')
  expect((await cells('SHOW DNS_HOSTS', [1]))[1]).toBe('000000000000000f')
  expect(await cells('SHOW LISTS', [0, 1])).toEqual([Buffer.from('databases').toString('hex'), '00000001'])
  // PostgreSQL's numeric_send gives these bytes for 120003, 0, 98765432109 and 10000.
  const stats = await cells('SHOW STATS', [1])
  expect(stats[2]).toBe('0002000100000000' + '000c0003')
  expect(stats[3]).toBe('0000000000000000')
  expect(stats[4]).toBe('0003000200000000' + '03db198f083d')
  expect(stats[14]).toBe('0001000100000000' + '0001')
})

test('binary and text format tell of the same client', async () => {
  const client = new ConsoleClient('stats')
  const [text, binary] = await Promise.all(
    [0, 1].map(async (format) => {
      const other = new ConsoleClient('stats', client.administration)
      const messages = await other.messages(...extended('SHOW CLIENTS', [format]))
      const oids = columnsOf(messages[2]!).map((column) => column.oid)
      return cellsOf(messages[3]!).map((cell, at) => {
        if (format === 1 && oids[at] === 23) return String(cell!.readInt32BE())
        return cell!.toString()
      })
    }),
  )
  expect(binary).toEqual(text)
})

test('the answers are the same however the messages come', async () => {
  const conversation = [
    ...extended('SHOW VERSION'),
    parse('SHOW POOLS', 's'),
    describe('S', 's'),
    bind({ statement: 's', portal: 'p' }),
    execute('p', 1),
    execute('p', 1),
    close('P', 'p'),
    sync,
    query('BEGIN'),
    parse('FOO'),
    execute(),
    sync,
    query('SHOW STATE'),
    ...extended('COMMIT'),
    query(''),
  ]
  const answered = async (cut: number): Promise<Buffer> => {
    const client = new ConsoleClient('stats')
    client.send(...conversation.slice(0, cut))
    await settled()
    client.send(...conversation.slice(cut))
    await settled()
    return Buffer.concat(client.written)
  }
  const whole = await answered(0)
  expect(linesOf(whole).filter((line) => line.startsWith('Z'))).toEqual([
    'Z I',
    'Z I',
    'Z T',
    'Z T',
    'Z T',
    'Z I',
    'Z I',
  ])
  for (let cut = 1; cut < conversation.length; cut++) expect(await answered(cut)).toEqual(whole)
})
