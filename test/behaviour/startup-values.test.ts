// A client is told of the parameters in its startup packet what PostgreSQL itself would tell it.

import { describe, expect, type TestContext, test } from 'vitest'
import { Gate } from '../harness/gate.js'
import { startPooler } from '../harness/pooler.js'
import { needs, postgres } from '../harness/postgres.js'
import { Ended, query, RawClient, startup } from '../harness/raw-client.js'

const user = 'trust_user'
const database = 'postgres'

/** Values that PostgreSQL calls by another name, or refuses. */
const values: Readonly<Record<string, readonly string[]>> = {
  application_name: ['', 'plain', 'x'.repeat(64), `${'x'.repeat(62)}é`, 'naïve\tname', 'C:\\path'],
  client_encoding: [
    'utf-8',
    'Unicode',
    'UTF8',
    'latin1',
    'ISO_8859_1',
    'iso-8859-15',
    'windows-1252',
    'koi8',
    'Shift_JIS',
    'sql_ascii',
    'nonsense',
    '',
  ],
  DateStyle: [
    'ISO',
    'iso',
    'sql',
    'postgres',
    'postgresql',
    'German',
    'german, ymd',
    'YMD',
    'ISO,DMY',
    'dmy , ISO',
    'european',
    'US',
    'noneuropean, sql',
    'ISO, SQL',
    'ISO, ISO',
    'DMY, MDY',
    'german, sql',
    'default',
    'nonsense',
    '',
  ],
  default_transaction_read_only: [
    'true',
    'on',
    'TRUE',
    'yes',
    't',
    '1',
    'off',
    'of',
    'o',
    'F',
    'no',
    '0',
    '2',
    '',
    ' on',
  ],
  standard_conforming_strings: ['ON', 'false'],
  IntervalStyle: ['ISO_8601', 'Postgres_Verbose', 'sql_standard', 'nonsense'],
  scram_iterations: ['4096', '10000', '0x1000', ' 5000', '0', '-1', 'many', '1e4', '2147483648'],
  TimeZone: ['UTC', 'utc', 'europe/ZURICH', 'Europe/Zurich', 'EST5EDT', '+02', '<+03>-3', 'Nowhere/AtAll', ''],
  search_path: ['', 'a, b', '"A",b', 'a,,b', '"a'],
}
const names = Object.keys(values)

/** What servers report, or know at all, from these versions on. */
const since: Readonly<Record<string, number>> = {
  default_transaction_read_only: 14,
  scram_iterations: 16,
  search_path: 18,
}

function needsReport(name: string, context: TestContext): void {
  needs(since[name] ?? 0, `it reports ${name}`, context)
}

/** What is reported of a parameter at a login, or the error that it ends with. */
async function told(port: number, name: string, value: string): Promise<string | undefined> {
  try {
    await using client = await RawClient.connect({ port, parameters: { user, database, [name]: value } })
    return client.reported.get(name)
  } catch (error) {
    if (error instanceof Ended) return error.message
    throw error
  }
}

test.for(names)('at login %s is called what PostgreSQL calls it, or is refused in its words', async (name, context) => {
  needsReport(name, context)
  await using pooler = await startPooler({ default_pool_size: 1 })
  await (await pooler.raw({ user })).ask(query('select 1'))
  const found: string[] = []
  const wanted: string[] = []
  for (const value of values[name]!) {
    wanted.push(`${name}=${value}: ${await told(postgres().primary.port, name, value)}`)
    for (let n = 0; n < 2; n++) found.push(`${name}=${value}: ${await told(pooler.port, name, value)}`)
  }
  // Older servers name a parameter in an error as it was spelt.
  const folded = (line: string): string => line.replaceAll(`"${name.toLowerCase()}"`, `"${name}"`)
  expect(found.map(folded)).toEqual(wanted.flatMap((line) => [folded(line), folded(line)]))
})

describe('while no server is free', () => {
  /** Those that only a server knows. */
  const askedOf = /^(?:TimeZone|search_path|scram_iterations=(?:0x|1e| ))/

  test.for(names)(
    'nobody waits, and most values of %s are called what PostgreSQL calls them',
    async (name, context) => {
      needsReport(name, context)
      await using pooler = await startPooler({ default_pool_size: 1 })
      await (await pooler.raw({ user })).ask(query('begin'))
      for (const value of values[name]!) {
        if (askedOf.test(`${name}=${value}`)) continue
        const real = await told(postgres().primary.port, name, value)
        const own = await told(pooler.port, name, value)
        // What PostgreSQL refuses is refused when it needs a server.
        expect(`${name}=${value}: ${own}`).toBe(`${name}=${value}: ${real?.startsWith('E ') ? value : real}`)
      }
    },
  )

  test('the rest is told when a server says so', async () => {
    await using pooler = await startPooler({ default_pool_size: 1 })
    const other = await pooler.raw({ user })
    await other.ask(query('begin'))
    const client = await pooler.raw({ user, parameters: { TimeZone: 'europe/zurich' } })
    const refused = await pooler.raw({ user, parameters: { TimeZone: 'Nowhere/AtAll' } })
    await other.ask(query('commit'))
    expect(await client.ask(query('select 1 as x'))).toEqual([
      'S TimeZone=Europe/Zurich',
      'T x',
      'D 1',
      'C SELECT 1',
      'Z I',
    ])
    expect(await client.ask(query('select 1 as x'))).toEqual(['T x', 'D 1', 'C SELECT 1', 'Z I'])
    refused.send(query('select 1'))
    expect(await refused.toTheEnd()).toEqual(['E FATAL 08P01 invalid server parameter'])
  })
})

test('a client that leaves while a server is asked for it takes nothing with it', async () => {
  await using gate = await Gate.start(postgres().primary)
  await using pooler = await startPooler({ default_pool_size: 1 }, { server: gate })
  const first = await pooler.raw({ user })
  await first.ask(query('select 1'))
  for (let round = 0; round < 3; round++) {
    gate.shut()
    const client = await RawClient.open(pooler.port)
    client.send(startup({ user, database, TimeZone: `Etc/GMT+${round}` }))
    await pooler.settles(() => gate.isHolding)
    if (round === 0) client.vanish()
    else client.stream.end()
    gate.open()
    expect(await first.ask(query("select current_setting('TimeZone') as x"))).toContain('D UTC')
    await pooler.until('SHOW POOLS', (row) => row.database === 'postgres' && row.sv_idle === 1 && row.cl_active === 1)
  }
})

test('a server that does not answer keeps nobody from logging in', async () => {
  await using gate = await Gate.start(postgres().primary)
  await using pooler = await startPooler({ default_pool_size: 1 }, { server: gate })
  await (await pooler.raw({ user })).ask(query('select 1'))
  gate.shut()
  const client = await pooler.raw({ user, parameters: { TimeZone: 'europe/zurich' } })
  expect(client.reported.get('TimeZone')).toBe('europe/zurich')
  gate.open()
  expect(await client.ask(query("select current_setting('TimeZone') as x"))).toContain('D Europe/Zurich')
})

test('a parameter that is not reported is looked at as well', async () => {
  await using pooler = await startPooler({ default_pool_size: 1, track_extra_parameters: 'work_mem, log_statement' })
  await (await pooler.raw({ user })).ask(query('select 1'))
  for (const [name, value] of [
    ['work_mem', 'much'],
    ['work_mem', '1kB'],
    ['log_statement', 'all'],
  ] as const) {
    expect(await told(pooler.port, name, value)).toBe(await told(postgres().primary.port, name, value))
  }
})
