import pg from 'pg'
import postgres from 'postgres'
import { expect, test } from 'vitest'
import { ConsoleServer } from './console-server.js'
import { FakeAdministration } from './fake-administration.js'

async function connect(port: number): Promise<pg.Client & AsyncDisposable> {
  const client = new pg.Client({ host: '127.0.0.1', port, user: 'admin', database: 'pgbouncer' })
  await client.connect()
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() })
}

test('pg: simple, prepared and binary queries, errors, notices, transactions', async () => {
  await using server = await ConsoleServer.start(new FakeAdministration())
  await using client = await connect(server.port)
  const notices: (string | undefined)[] = []
  client.on('notice', (notice) => notices.push(notice.message))
  const pools = await client.query('SHOW POOLS')
  expect([pools.command, pools.rows[0].database, pools.rows[0].cl_active]).toEqual(['SHOW', 'pg', 1])
  const named = { name: 'stats', text: 'SHOW STATS' }
  expect((await client.query(named)).rows[0].total_xact_count).toBe('101')
  expect((await client.query(named)).rows[0].total_xact_count).toBe('101')
  const binary = await client.query({ text: 'SHOW LISTS', binary: true, values: [] } as pg.QueryConfig)
  expect(binary.rows[1]).toEqual({ list: 'users', items: 2 })
  await expect(client.query('FOO')).rejects.toMatchObject({ code: '08P01', severity: 'ERROR' })
  await expect(client.query({ text: 'SHOW POOLS WHERE database = $1', values: ['pg'] })).rejects.toThrow(/invalid/)
  await client.query('BEGIN')
  expect((await client.query('SHOW VERSION')).rows).toEqual([{ version: 'PgBouncer 1.26.1 (tsbouncer 0.1.0)' }])
  await client.query('ROLLBACK')
  await client.query("SET client_encoding = 'UTF8'")
  expect(notices).toEqual(['SET ignored'])
  expect((await client.query('')).rows).toEqual([])
  expect((await client.query('RELOAD')).command).toBe('RELOAD')
})

test('postgres.js, which speaks the extended protocol only', async () => {
  const administration = new FakeAdministration()
  await using server = await ConsoleServer.start(administration)
  const sql = postgres({
    host: '127.0.0.1',
    port: server.port,
    user: 'admin',
    database: 'pgbouncer',
    max: 1,
    onnotice: () => undefined,
  })
  try {
    const [first] = await sql`SHOW CLIENTS`
    expect(first).toMatchObject({ user: 'sam', port: 51234, wait_us: 234567 })
    expect(await sql`SHOW DATABASES`).toMatchObject([{ name: 'pg', force_user: null }, { name: 'pgbouncer' }])
    await expect(Promise.resolve(sql`SHOW NONSENSE`)).rejects.toThrow("invalid command 'SHOW NONSENSE', use SHOW HELP;")
    await sql`KILL pg`
    const seen = await sql.begin(async (transaction) => await transaction`SHOW VERSION`)
    expect(seen[0]?.version).toMatch(/^PgBouncer 1\.26\.1 /)
  } finally {
    await sql.end()
  }
  expect(administration.calls).toEqual(['kill pg'])
})

test('a cancelled PAUSE of a driver is resumed, and the connection is usable', async () => {
  const administration = new FakeAdministration()
  await using server = await ConsoleServer.start(administration)
  const sql = postgres({ host: '127.0.0.1', port: server.port, database: 'pgbouncer', max: 1, fetch_types: false })
  try {
    const pause = sql`PAUSE`
    void pause.execute()
    await expect.poll(() => administration.calls).toContain('pause')
    pause.cancel()
    await expect(Promise.resolve(pause)).rejects.toMatchObject({ code: '57014' })
    expect(administration.calls).toEqual(['pause', 'pause aborted', 'resume'])
    expect(await sql`SHOW VERSION`).toHaveLength(1)
  } finally {
    await sql.end()
  }
})

test('a connection that breaks during a PAUSE ends the waiting', async () => {
  const administration = new FakeAdministration()
  await using server = await ConsoleServer.start(administration)
  const client = new pg.Client({ host: '127.0.0.1', port: server.port, user: 'admin', database: 'pgbouncer' })
  await client.connect()
  client.on('error', () => undefined)
  const pause = client.query('PAUSE').catch(() => undefined)
  await expect.poll(() => administration.calls).toContain('pause')
  ;(client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy()
  await expect.poll(() => administration.calls).toEqual(['pause', 'pause aborted'])
  await pause
})
