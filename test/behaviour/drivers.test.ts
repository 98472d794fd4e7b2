// The Node drivers through a pooler in transaction mode: `pg` and `postgres`. Those of other languages: test/drivers.

import pg from 'pg'
import postgresJs from 'postgres'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { titleOf } from '../drivers/checks.js'
import { createDriverDatabase } from '../drivers/database.js'
import { type RunningPooler, startPooler } from '../drivers/pooler.js'
import { postgres, query, type TestDatabase } from '../harness/postgres.js'

let pooler: RunningPooler
let database: TestDatabase

beforeAll(async () => {
  ;[pooler, database] = await Promise.all([startPooler(postgres()), createDriverDatabase()])
})

afterAll(async () => {
  await pooler?.[Symbol.asyncDispose]()
  await database?.drop()
})

function login() {
  const { user, password } = postgres().roles.scram_user
  return { host: pooler.host, port: pooler.port, database: database.name, user, password }
}

/** Resolves when a server runs this statement. */
async function untilRuns(statement: string): Promise<void> {
  const running = `SELECT 1 FROM pg_stat_activity WHERE datname = $1 AND state = 'active' AND query = $2`
  await expect.poll(() => query(running, { values: [database.name, statement] })).toHaveLength(1)
}

interface Holder {
  begin(): Promise<unknown>
  pid(): Promise<number>
  rollback(): Promise<unknown>
}

/**
 * Calls `use` once for each server of the pool, which is then the only one free, with its process number: two holders
 * take both, and each in turn lets its own go.
 */
async function onEachServer(holders: readonly [Holder, Holder], use: (pid: number) => Promise<void>): Promise<void> {
  for (const holder of holders) await holder.begin()
  const pids = [await holders[0].pid(), await holders[1].pid()]
  expect(pids[0]).not.toBe(pids[1])
  for (const [index, holder] of holders.entries()) {
    await holder.rollback()
    await use(pids[index]!)
    await holder.begin()
  }
  for (const holder of holders) await holder.rollback()
}

const count = (n: number): number[] => Array.from({ length: n }, (_, index) => index)

/** Column, value as the driver reads it; written as the same value. */
const day = new Date('2024-02-29T23:59:59.123Z')
const values: readonly [column: string, value: unknown][] = [
  ['a_bool', true],
  ['a_int2', -32768],
  ['a_int4', 2147483647],
  ['a_int8', '-9223372036854775808'],
  ['a_float4', 1.5],
  ['a_float8', -1e300],
  ['a_numeric', '12345678901234567890.123456789'],
  ['a_text', "naïve 'quoted' \\ text ☃ \n"],
  ['a_varchar', ''],
  ['a_char', 'abc  '],
  ['a_bytea', Buffer.from([0, 1, 0x5c, 0x27, 0xff])],
  ['a_timestamptz', day],
  ['a_uuid', '00112233-4455-6677-8899-aabbccddeeff'],
  ['a_jsonb', { nested: [1, null, { deep: 'ü' }] }],
  ['a_inet', '192.168.0.0/24'],
  ['a_ints', [1, -2, 3]],
  ['a_texts', ['a', 'with, comma', '"quoted"', '']],
  ['a_mood', 'glad'],
]
const columns = values.map(([column]) => column)
const expectedRow = Object.fromEntries(values)
const nullRow = Object.fromEntries(columns.map((column) => [column, null]))

describe('pg', () => {
  async function connect(more: object = {}): Promise<pg.Client & AsyncDisposable> {
    const client = new pg.Client({ ...login(), ...more })
    await client.connect()
    return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() })
  }

  const holder = (client: pg.Client): Holder => ({
    begin: () => client.query('BEGIN'),
    pid: async () => (await client.query('SELECT pg_backend_pid() AS pid')).rows[0].pid,
    rollback: () => client.query('ROLLBACK'),
  })

  test(titleOf('connect'), async () => {
    await using client = await connect()
    expect((await client.query('SELECT current_user AS who')).rows).toEqual([{ who: 'scram_user' }])
    await expect(connect({ password: 'wrong' })).rejects.toMatchObject({ severity: 'FATAL', code: '08P01' })
  })

  test(titleOf('types'), async () => {
    await using client = await connect()
    const list = columns.join(', ')
    const places = columns.map((_, index) => `$${index + 2}`).join(', ')
    const insert = `INSERT INTO basic_types (id, ${list}) VALUES ($1, ${places})`
    await client.query(insert, [1, ...values.map(([, value]) => value)])
    await client.query(insert, [2, ...values.map(() => null)])
    const { rows } = await client.query(`SELECT ${list} FROM basic_types WHERE id < 10 ORDER BY id`)
    expect(rows).toEqual([expectedRow, nullRow])
  })

  test(titleOf('prepared'), async () => {
    await using client = await connect()
    await using first = await connect()
    await using second = await connect()
    const ask = async (n: number) =>
      (await client.query({ name: 'twice', text: 'SELECT $1::int * 2 AS n, pg_backend_pid() AS pid', values: [n] }))
        .rows
    await ask(1)
    await onEachServer([holder(first), holder(second)], async (pid) => {
      expect(await ask(pid)).toEqual([{ n: pid * 2, pid }])
    })
  })

  test(titleOf('shared'), async () => {
    const clients = await Promise.all(count(20).map(() => connect()))
    const ask = async (client: pg.Client, who: number): Promise<void> => {
      const text = `SELECT ${who % 4} AS kind, $1::int AS n`
      for (const n of count(25)) {
        const { rows } = await client.query({ name: 'same', text, values: [who * 1000 + n] })
        expect(rows).toEqual([{ kind: who % 4, n: who * 1000 + n }])
      }
    }
    await Promise.all(clients.map(ask))
    await Promise.all(clients.map((client) => client.end()))
  })

  test(titleOf('batch'), async () => {
    await using client = await connect({ pipeline: true })
    const answers = await Promise.all(
      count(100).map((n) => client.query({ name: 'piped', text: 'SELECT $1::int AS n', values: [n] })),
    )
    expect(answers.map(({ rows }) => rows[0].n)).toEqual(count(100))
    const mixed = await Promise.allSettled(
      [1, 0, 2].map((n) => client.query({ name: 'divide', text: 'SELECT 10 / $1::int AS n', values: [n] })),
    )
    expect(mixed).toMatchObject([
      { status: 'fulfilled', value: { rows: [{ n: 10 }] } },
      { status: 'rejected', reason: { code: '22012' } },
      { status: 'fulfilled', value: { rows: [{ n: 5 }] } },
    ])
    const several = (await client.query('SELECT 1 AS a; SELECT 2 AS b')) as unknown as pg.QueryResult[]
    expect(several.map(({ rows }) => rows[0])).toEqual([{ a: 1 }, { b: 2 }])
  })

  test(titleOf('cancel'), async () => {
    await using client = await connect()
    const sleeping = expect(client.query('SELECT pg_sleep(60)')).rejects.toMatchObject({ code: '57014' })
    await untilRuns('SELECT pg_sleep(60)')
    cancel(client)
    await sleeping
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
  })

  /** What pg has for it is not in its types. */
  function cancel(client: pg.Client): void {
    const canceller = new pg.Client(login()) as pg.Client & { cancel(client: pg.Client, query: unknown): void }
    canceller.cancel(client, (client as pg.Client & { activeQuery: unknown }).activeQuery)
  }

  test(titleOf('error'), async () => {
    await using client = await connect()
    await client.query('BEGIN')
    await client.query("INSERT INTO items VALUES (1, 'one')")
    await client.query('SAVEPOINT here')
    await expect(client.query('SELECT 1 / $1::int', [0])).rejects.toMatchObject({ code: '22012' })
    await expect(client.query('SELECT 1')).rejects.toMatchObject({ code: '25P02' })
    await client.query('ROLLBACK TO here')
    expect((await client.query('SELECT name FROM items WHERE id = 1')).rows).toEqual([{ name: 'one' }])
    await client.query('ROLLBACK')
    expect((await client.query('SELECT name FROM items WHERE id = 1')).rows).toEqual([])
  })

  test(titleOf('reconnect'), async () => {
    const client = await connect()
    const lost = new Promise((resolve) => client.once('end', resolve))
    client.on('error', () => {}) // that the connection is lost; the query below is told so too
    await client.query('BEGIN')
    await expect(client.query('SELECT pg_terminate_backend(pg_backend_pid())')).rejects.toThrow()
    await lost
    await using next = await connect()
    expect((await next.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
  })
})

describe('postgres', () => {
  type Sql = ReturnType<typeof postgresJs> & AsyncDisposable

  function connect(more: object = {}): Sql {
    const sql = postgresJs({ ...login(), max: 1, fetch_types: false, onnotice: () => {}, ...more })
    // With a limit: it may wait for ever where the server ended a connection.
    return Object.assign(sql, { [Symbol.asyncDispose]: () => sql.end({ timeout: 1 }) })
  }

  const holder = (sql: Sql): Holder => ({
    begin: () => sql`BEGIN`,
    pid: async () => (await sql`SELECT pg_backend_pid() AS pid`)[0]?.pid,
    rollback: () => sql`ROLLBACK`,
  })

  test(titleOf('connect'), async () => {
    await using sql = connect()
    expect([...(await sql`SELECT current_user AS who`)]).toEqual([{ who: 'scram_user' }])
    await using wrong = connect({ password: 'wrong' })
    await expect(Promise.resolve(wrong`SELECT 1`)).rejects.toMatchObject({ code: '08P01' })
  })

  test(titleOf('types'), async () => {
    await using sql = connect({ fetch_types: true })
    const row = { ...expectedRow, a_jsonb: sql.json({ nested: [1, null, { deep: 'ü' }] }) }
    await sql`INSERT INTO basic_types ${sql({ id: 11, ...row })}`
    await sql`INSERT INTO basic_types ${sql({ id: 12, ...nullRow })}`
    const rows = await sql`SELECT ${sql(columns)} FROM basic_types WHERE id > 10 ORDER BY id`
    expect([...rows]).toEqual([expectedRow, nullRow])
  })

  test(titleOf('prepared'), async () => {
    await using sql = connect()
    await using first = connect()
    await using second = connect()
    const ask = async (n: number) => [...(await sql`SELECT ${n}::int * 2 AS n, pg_backend_pid() AS pid`)]
    await ask(1)
    await onEachServer([holder(first), holder(second)], async (pid) => {
      expect(await ask(pid)).toEqual([{ n: pid * 2, pid }])
    })
  })

  test(titleOf('shared'), async () => {
    await using sql = connect({ max: 20 })
    const answers = count(500).map((n) => sql`SELECT ${n % 2 ? sql`1` : sql`0`} AS kind, ${n}::int AS n`)
    const rows = await Promise.all(answers)
    expect(rows.map(([row]) => row)).toEqual(count(500).map((n) => ({ kind: n % 2, n })))
  })

  test(titleOf('batch'), async () => {
    await using sql = connect()
    const answers = await Promise.all(count(100).map((n) => sql`SELECT ${n}::int AS n`))
    expect(answers.map(([row]) => row?.n)).toEqual(count(100))
    const mixed = await Promise.allSettled([1, 0, 2].map((n) => sql`SELECT 10 / ${n}::int AS n`))
    expect(mixed).toMatchObject([
      { status: 'fulfilled', value: [{ n: 10 }] },
      { status: 'rejected', reason: { code: '22012' } },
      { status: 'fulfilled', value: [{ n: 5 }] },
    ])
    const inOne = await sql.begin((transaction) => count(20).map((n) => transaction`SELECT ${n}::int AS n`))
    expect(inOne.map(([row]) => row?.n)).toEqual(count(20))
  })

  test(titleOf('copy'), async () => {
    await using sql = connect()
    const writable = await sql`COPY items FROM STDIN`.writable()
    const written = new Promise((resolve, reject) => writable.once('finish', resolve).once('error', reject))
    for (const n of count(1000)) writable.write(`${n}\tname ${n}\n`)
    writable.end()
    await written
    let text = ''
    for await (const chunk of await sql`COPY items TO STDOUT`.readable()) text += chunk
    expect(text).toBe(
      count(1000)
        .map((n) => `${n}\tname ${n}\n`)
        .join(''),
    )
    // postgres.js does not tell the stream of an error, so another way to fail: the stream is given up.
    const givenUp = await sql`COPY items FROM STDIN`.writable()
    givenUp.on('error', () => {}).destroy(new Error('given up'))
    expect([...(await sql`SELECT count(*)::int AS n FROM items`)]).toEqual([{ n: 1000 }])
    await sql`TRUNCATE items`
  })

  test(titleOf('cancel'), async () => {
    await using sql = connect()
    const sleeping = sql`SELECT pg_sleep(61)`
    const cancelled = expect(sleeping.execute()).rejects.toMatchObject({ code: '57014' })
    await untilRuns('SELECT pg_sleep(61)')
    sleeping.cancel()
    await cancelled
    expect([...(await sql`SELECT 1 AS one`)]).toEqual([{ one: 1 }])
  })

  test(titleOf('error'), async () => {
    await using sql = connect()
    const failing = sql.begin(async (transaction) => {
      await transaction`INSERT INTO items VALUES (2001, 'kept until rolled back')`
      const inner = transaction.savepoint((nested) => nested`SELECT 1 / ${0}::int`)
      await expect(inner).rejects.toMatchObject({ code: '22012' })
      expect([...(await transaction`SELECT count(*)::int AS n FROM items WHERE id = 2001`)]).toEqual([{ n: 1 }])
      throw new Error('roll back')
    })
    await expect(failing).rejects.toThrow('roll back')
    expect([...(await sql`SELECT name FROM items WHERE id = 2001`)]).toEqual([])
  })

  test(titleOf('reconnect'), async () => {
    await using sql = connect()
    await expect(sql.unsafe('BEGIN; SELECT pg_terminate_backend(pg_backend_pid())')).rejects.toThrow()
    await using next = connect()
    expect([...(await next`SELECT 1 AS one`)]).toEqual([{ one: 1 }])
  })
})
