// What monitoring asks of the console, asked by its own programs and drivers, in the protocol that each uses by default.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { tables } from '../../src/admin/tables.js'
import { findFreePort } from '../../src/demo/port.js'
import { eventually } from '../harness/pooler.js'
import { query, type RawClient } from '../harness/raw-client.js'
import { type Program, pgbouncerVersion, RunningProgram } from './program.js'
import { buildGo, buildPython, isInstalled, runProgram } from './toolchain.js'

const hasPython = await isInstalled('python3')
const hasGo = await isInstalled('go')

/** With something to be seen: a client in a transaction, one that waits, and one that idles. */
async function startBusy(
  program: Program,
): Promise<{ pooler: RunningProgram; [Symbol.asyncDispose](): Promise<void> }> {
  const pooler = await RunningProgram.start(program, { pgbouncer: { default_pool_size: 1 } })
  const clients: RawClient[] = []
  for (let n = 0; n < 3; n++) clients.push(await pooler.connect())
  await clients[0]!.ask(query('begin'))
  clients[1]!.send(query('select 1'))
  await pooler.until('SHOW POOLS', (row) => row.cl_waiting === '1')
  return {
    pooler,
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.stream.destroy()
      await pooler[Symbol.asyncDispose]()
    },
  }
}

const environment = (pooler: RunningProgram) => ({
  PGHOST: '127.0.0.1',
  PGPORT: String(pooler.port),
  PGUSER: 'stats',
  PGPASSWORD: 'stats',
  PGDATABASE: 'pgbouncer',
  PGSSLMODE: 'disable',
})

describe.skipIf(!hasPython)(hasPython ? 'python' : 'python3 is not installed', () => {
  let python: string
  beforeAll(async () => {
    python = await buildPython()
  }, 300_000)

  test('psycopg 3 reads every SHOW, as text and in binary, and gives commands', async () => {
    await using busy = await startBusy('tsbouncer')
    const shows = tables.map((table) => table.name)
    const output = await runProgram(join(python, 'venv', 'bin', 'python'), [join(python, 'console.py'), shows.join()], {
      env: { ...environment(busy.pooler), PGUSER: 'admin', PGPASSWORD: 'admin' },
    })
    const answers = JSON.parse(output) as Record<string, { columns: string[]; text: string[][]; binary: string[][] }>
    for (const table of tables) {
      const { columns, text, binary } = answers[table.name]!
      expect(columns).toEqual(table.columns.map((column) => column.name))
      expect(binary.map((row) => row.length)).toEqual(text.map((row) => row.length))
    }
    const { columns, text, binary } = answers.DATABASES!
    expect(binary).toEqual(text)
    expect(text.map((row) => row[columns.indexOf('name')])).toEqual(['app', 'pgbouncer'])
    expect(answers).toMatchObject({
      again: expect.stringMatching(/^PgBouncer 1\.26\.1/),
      error: ['08P01', "invalid command 'SHOW nonsense', use SHOW HELP;"],
      default_pool_size: '21',
    })
  })

  /** The metrics of prometheus-pgbouncer-exporter, lines of `name{labels} value`. */
  async function scrape(pooler: RunningProgram): Promise<string[]> {
    const port = await findFreePort(pooler.port)
    const config = pooler.file('exporter.yml')
    const dsn = `postgresql://stats:stats@127.0.0.1:${pooler.port}/pgbouncer`
    writeFileSync(config, `exporter_port: ${port}\npgbouncers:\n  - dsn: ${dsn}\n`)
    const exporter = spawn(join(python, 'venv', 'bin', 'pgbouncer-exporter'), ['--config', config], { stdio: 'ignore' })
    try {
      let text = ''
      await eventually(async () => {
        const answer = await fetch(`http://127.0.0.1:${port}/metrics`).catch(() => undefined)
        text = (await answer?.text()) ?? ''
        return text.includes('pgbouncer_up')
      })
      return text.split('\n').filter((line) => line.startsWith('pgbouncer_'))
    } finally {
      exporter.kill('SIGKILL')
      await once(exporter, 'close')
    }
  }

  test('prometheus-pgbouncer-exporter finds all that it finds in pgbouncer', async () => {
    await using busy = await startBusy('tsbouncer')
    const ours = await scrape(busy.pooler)
    expect(ours).toContain('pgbouncer_up 1.0')
    expect(ours).toContain('pgbouncer_pools_client_waiting_connections{database="app",user="trust_user"} 1.0')
    expect(ours).toContain('pgbouncer_pools_server_active_connections{database="app",user="trust_user"} 1.0')
    expect(ours).toContain(
      'pgbouncer_databases_database_current_connections{backend_database="postgres",database="app"} 1.0',
    )
    if (pgbouncerVersion() === undefined) return
    await using reference = await startBusy('pgbouncer')
    const nameOf = (line: string): string => line.slice(0, line.lastIndexOf(' '))
    const theirs = (await scrape(reference.pooler)).map(nameOf).filter((name) => !name.includes('reserve_pool_size'))
    expect(ours.map(nameOf)).toEqual(expect.arrayContaining(theirs))
  })
})

describe.skipIf(!hasGo)(hasGo ? 'go' : 'go is not installed', () => {
  let program: string
  beforeAll(async () => {
    program = await buildGo()
  }, 300_000)

  test('lib/pq with the queries of the community exporter, and pgx, read the same', async () => {
    await using busy = await startBusy('tsbouncer')
    const dsn = `host=127.0.0.1 port=${busy.pooler.port} user=stats password=stats dbname=pgbouncer sslmode=disable`
    const answers = JSON.parse(await runProgram(program, [], { env: { DSN: dsn } })) as Record<
      'pq' | 'pgx',
      Record<string, Record<string, string>[]>
    >
    const { pq, pgx } = answers
    for (const show of ['databases', 'config', 'version']) expect(pgx[show], show).toEqual(pq[show])
    for (const { pools, lists, stats } of [pq, pgx] as unknown as Record<string, Record<string, string>[]>[]) {
      expect(pools).toContainEqual(
        expect.objectContaining({ database: 'app', user: 'trust_user', cl_waiting: '1', sv_active: '1' }),
      )
      expect(lists).toContainEqual({ list: 'databases', items: '2' })
      expect(stats?.find((row) => row.database === 'app')).toMatchObject({
        total_xact_count: '0',
        total_query_count: '1',
        total_client_login_count: '3',
      })
    }
    // The numbers that the exporter reads from SHOW CONFIG with ParseFloat.
    for (const key of ['max_client_conn', 'max_user_connections']) {
      expect(Number(pq.config?.find((row) => row.key === key)?.value)).not.toBeNaN()
    }
  })
})
