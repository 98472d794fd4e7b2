// Drivers on connections within the process, which to them are net.Sockets, and what keeps a script alive that waits on one.

import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import postgresJs from 'postgres'
import { expect, test } from 'vitest'
import type { Pooler } from '../../src/pooler.js'
import { libraryConfig as config, startLibrary as start } from '../harness/library-pooler.js'
import { eventually } from '../harness/pooler.js'
import { query as ask } from '../harness/postgres.js'
import { query, RawClient } from '../harness/raw-client.js'

/** Until connections of several generations have come and gone, which they do by what the driver sees of its socket. */
async function untilRenewed(pooler: Pooler, ask: () => Promise<unknown>): Promise<void> {
  const seen = new Set<unknown>()
  await eventually(async () => {
    expect(await ask()).toBe(1)
    for (const row of await pooler.show('clients')) seen.add(row.ptr)
    return seen.size >= 3
  })
  await eventually(async () => (await pooler.show('clients')).length <= 1)
}

test('postgres.js renews its connections as its max_lifetime says, and ends', async () => {
  const pooler = await start()
  const options = { user: 'service', database: 'shop', max: 1, max_lifetime: 1, socket: () => pooler.connect() }
  const sql = postgresJs(options as postgresJs.Options<Record<string, never>>)
  await untilRenewed(pooler, async () => (await sql`select 1::int as one`)[0]?.one)
  const many = await Promise.all(Array.from({ length: 50 }, (_, n) => sql`select ${n}::int as n`))
  expect(many.map(([row]) => row?.n)).toEqual(Array.from({ length: 50 }, (_, n) => n))
  await sql.end()
  await eventually(async () => (await pooler.show('clients')).length === 0)
})

test('postgres.js cancels a query by a second connection, which is closed afterwards', async () => {
  const pooler = await start()
  const options = { user: 'service', database: 'shop', max: 1, socket: () => pooler.connect() }
  const sql = postgresJs(options as postgresJs.Options<Record<string, never>>)
  await sql`select 1`
  const query = sql`select pg_sleep(60)`.execute()
  await eventually(async () => (await pooler.show('servers')).some((row) => row.state === 'active'))
  query.cancel()
  await expect(query).rejects.toMatchObject({ code: '57014' })
  expect(await sql`select 1::int as one`).toEqual([{ one: 1 }])
  await sql.end()
  await eventually(async () => (await pooler.show('clients')).length === 0)
})

test('a pg.Pool renews its connections as its maxLifetimeSeconds says, and ends', async () => {
  const pooler = await start()
  const pool = new pg.Pool({
    user: 'service',
    database: 'shop',
    max: 1,
    maxLifetimeSeconds: 1,
    allowExitOnIdle: true, // calls ref and unref
    keepAlive: true,
    stream: () => pooler.connect(),
  })
  await untilRenewed(pooler, async () => (await pool.query('select 1 as one')).rows[0].one)
  await pool.end()
  await eventually(async () => (await pooler.show('clients')).length === 0)
})

const activeOnServer = async (text: string): Promise<boolean> =>
  (await ask(`select from pg_stat_activity where query like $1 and state = 'active'`, { values: [`select%${text}%`] }))
    .length > 0

test('who ends after a query is answered all the same', async () => {
  const pooler = await start()
  const client = new RawClient(pooler.connect())
  await client.logIn({ parameters: { user: 'service', database: 'shop' } })
  client.send(query('select pg_sleep(0.3), 1 as x'))
  client.stream.end()
  expect(await client.answer()).toEqual(['T pg_sleep|x', 'D |1', 'C SELECT 1', 'Z I'])
  await eventually(async () => (await pooler.show('clients')).length === 0)
})

test('who resets the connection has the query cancelled', async () => {
  const pooler = await start()
  const socket = pooler.connect()
  const client = new RawClient(socket)
  await client.logIn({ parameters: { user: 'service', database: 'shop' } })
  client.send(query("select pg_sleep(60), 'reset in process'"))
  await eventually(() => activeOnServer('reset in process'))
  socket.resetAndDestroy()
  await eventually(async () => !(await activeOnServer('reset in process')))
  await eventually(async () => (await pooler.show('clients')).length === 0)
})

/** Runs a module of its own, which prints; one that hangs is ended, and has no exit code. */
function run(script: string): Promise<{ code: number | null; output: string }> {
  const main = new URL('../../dist/index.js', import.meta.url).href
  const text = `
    import pg from 'pg'
    import { createPooler } from ${JSON.stringify(main)}
    const start = async (settings, place) => {
      const { pgbouncer, databases: { shop } } = ${JSON.stringify(config())}
      const config = { pgbouncer: { ...pgbouncer, ...settings }, databases: { shop: { ...shop, ...place } } }
      const pooler = createPooler({ config })
      await pooler.start()
      return pooler
    }
    const clientOf = (pooler) => new pg.Client({ user: 'service', database: 'shop', stream: () => pooler.connect() })
    ${script}`
  const options = { cwd: fileURLToPath(new URL('../..', import.meta.url)), timeout: 20_000 }
  return new Promise((resolve) => {
    const child = execFile(process.execPath, ['--input-type=module', '--eval', text], options, (_, stdout, stderr) =>
      resolve({ code: child.exitCode, output: stdout + stderr }),
    )
  })
}

test('a script whose client waits for a server goes on until it is told', async () => {
  const script = `
    // Nothing listens there, and it is tried again only after server_login_retry.
    const pooler = await start({ client_login_timeout: 1 }, { port: 1 })
    // No await at the top: Node.js would end with a code of its own for that.
    clientOf(pooler).connect().then(
      () => console.log('connected'),
      (error) => pooler.close().then(() => console.log(error.message)),
    )`
  expect(await run(script)).toEqual({ code: 0, output: expect.stringMatching(/^(?!connected).+\n$/) })
})

test('and gets its answer when the server comes', async () => {
  const script = `
    const pooler = await start()
    void pooler.admin.pause()
    setTimeout(() => pooler.admin.resume(), 300).unref()
    const client = clientOf(pooler)
    client.connect().then(() => client.query('select 42 as n')).then(async ({ rows }) => {
      console.log(rows[0].n)
      await client.end()
      await pooler.close()
    })`
  expect(await run(script)).toEqual({ code: 0, output: '42\n' })
})

test.each([
  ['a pooler that nobody uses', ''],
  ['a connection that was closed', 'const client = pooler.connect(); client.end(); client.resume()'],
  ['a connection that was let go', 'pooler.connect().unref()'],
  ['one that nobody read from, once the pooler is closed', 'pooler.connect(); pooler.close()'],
])('%s holds no process', async (_name, script) => {
  const text = `const pooler = await start({ client_login_timeout: 0 }); ${script}; console.log('done')`
  expect(await run(text)).toEqual({ code: 0, output: 'done\n' })
})
