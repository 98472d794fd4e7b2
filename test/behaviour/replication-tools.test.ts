// PostgreSQL's own tools through the pooler, where they are installed together with a server of their version.

import { accessSync, constants, readdirSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { afterAll, beforeAll, expect, type TestContext, test } from 'vitest'
import { EmbeddedPostgres } from '../../src/demo/embedded.js'
import { findFreePort, loopback } from '../../src/demo/port.js'
import { runProgram } from '../../src/demo/program.js'
import { findServerUser, type ServerUser } from '../../src/demo/server-user.js'
import { Workspace } from '../../src/demo/workspace.js'
import { eventually, startPooler, type TestPooler } from '../harness/pooler.js'
import { query as ask } from '../harness/postgres.js'

const needed = ['initdb', 'postgres', 'pg_basebackup', 'pg_receivewal', 'pg_recvlogical']

/** A folder with all that is needed: tools refuse servers that are newer than they are. */
function findPrograms(): string | undefined {
  const root = '/usr/lib/postgresql'
  const versions = (() => {
    try {
      return readdirSync(root).sort((one, other) => Number(other) - Number(one))
    } catch {
      return []
    }
  })()
  const folders = [
    ...versions.map((version) => join(root, version, 'bin')),
    ...(process.env.PATH ?? '').split(delimiter),
  ]
  return folders.find((folder) => needed.every((name) => isProgram(join(folder, name))))
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

const programs = findPrograms()

class Site implements AsyncDisposable {
  readonly user: ServerUser | undefined
  readonly workspace: Workspace
  readonly primary: EmbeddedPostgres
  readonly pooler: TestPooler

  constructor(user: ServerUser | undefined, workspace: Workspace, primary: EmbeddedPostgres, pooler: TestPooler) {
    this.user = user
    this.workspace = workspace
    this.primary = primary
    this.pooler = pooler
  }

  static async open(folder: string): Promise<Site> {
    const user = await findServerUser()
    const workspace = await Workspace.open({ user })
    const primary = server('primary', workspace, user, folder, await findFreePort())
    try {
      await primary.initialise(["ALTER ROLE postgres PASSWORD 'postgres'"])
      await primary.start()
      const { port } = primary.plan
      const pooler = await startPooler(
        { auth_type: 'scram-sha-256' },
        { databases: { '*': { host: loopback, port } }, secrets: { postgres: 'postgres' } },
      )
      return new Site(user, workspace, primary, pooler)
    } catch (error) {
      await primary.stop('immediate')
      await workspace.close()
      throw error
    }
  }

  /** What tools and standbys connect with: the pooler's address. */
  get conninfo(): string {
    return `host=${loopback} port=${this.pooler.port} user=postgres password=postgres`
  }

  /** Runs one of PostgreSQL's programs, as the user that the server runs as. */
  run(name: string, ...args: string[]): Promise<string> {
    return runProgram(join(programs!, name), args, { user: this.user })
  }

  /** Past the pooler. */
  ask(sql: string, on = this.primary): Promise<Record<string, unknown>[]> {
    return ask(sql, { on: { host: loopback, port: on.plan.port } })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pooler[Symbol.asyncDispose]()
    await this.primary.stop('immediate')
    await this.workspace.close()
  }
}

function server(
  name: 'primary' | 'standby',
  workspace: Workspace,
  user: ServerUser | undefined,
  folder: string,
  port: number,
): EmbeddedPostgres {
  const binaries = { initdb: join(folder, 'initdb'), postgres: join(folder, 'postgres'), version: '', major: 0, user }
  return new EmbeddedPostgres({
    name,
    binaries,
    data: workspace.data(name),
    log: workspace.file(`${name}.log`),
    port,
    settings: {
      listen_addresses: loopback,
      unix_socket_directories: '',
      fsync: 'off',
      wal_level: 'logical',
      hot_standby: 'on',
      wal_retrieve_retry_interval: '100ms',
    },
    hba: [`host all all ${loopback}/32 scram-sha-256`, `host replication all ${loopback}/32 scram-sha-256`],
  })
}

let site: Site | undefined
beforeAll(async () => {
  if (programs !== undefined) site = await Site.open(programs)
})
afterAll(() => site?.[Symbol.asyncDispose]())

function siteOf(context: TestContext): Site {
  if (site === undefined) context.skip('PostgreSQL with its tools is not installed')
  return site!
}

test('pg_basebackup makes a standby that streams through the pooler', async (context) => {
  const { run, ask, workspace, pooler, user, conninfo } = bound(siteOf(context))
  await ask('create table told as select generate_series(1, 1000) as n')
  const copy = workspace.data('standby')
  // -R writes the conninfo, which is the pooler's, as the standby's primary_conninfo.
  const slot = ['--create-slot', '--slot', 'standby']
  await run('pg_basebackup', '-D', copy, '-d', conninfo, '-R', '-X', 'stream', '-c', 'fast', '--no-sync', ...slot)
  if (isProgram(join(programs!, 'pg_verifybackup'))) await run('pg_verifybackup', copy)
  await pooler.untilEmpty()
  expect(await pooler.show('servers')).toEqual([])

  const standby = server('standby', workspace, user, programs!, await findFreePort())
  await using _stopped = { [Symbol.asyncDispose]: () => standby.stop('immediate') }
  await standby.start()
  await standby.untilStreaming()
  await ask('insert into told select generate_series(1001, 2000)')
  await eventually(async () => (await ask('select count(*)::int as n from told', standby))[0]?.n === 2000)
  expect(await pooler.show('clients')).toMatchObject([{ replication: 'physical', state: 'active' }])
})

test('pg_basebackup with compression at the client, WAL fetched, and a limited rate', async (context) => {
  const { run, workspace, conninfo } = bound(siteOf(context))
  const copy = workspace.file('compressed')
  await workspace.makeFolder('compressed')
  await run('pg_basebackup', '-D', copy, '-d', conninfo, '-Ft', '-z', '-X', 'fetch', '-c', 'fast', '-r', '100M')
  expect((await readdir(copy)).sort()).toEqual(['backup_manifest', 'base.tar.gz'])
})

test('pg_receivewal writes the WAL as the server has it, from a slot of its own', async (context) => {
  const { run, ask, workspace, conninfo, primary } = bound(siteOf(context))
  const folder = await workspace.makeFolder('received')
  // pg_receivewal makes slots that keep WAL from the first stream on, not from now.
  await ask("select pg_create_physical_replication_slot('wal', true)")
  await ask('create table walled as select generate_series(1, 100000) as n')
  await ask('select pg_switch_wal()')
  await ask('create table behind (n int)')
  const [end] = await ask('select pg_current_wal_flush_lsn()::text as lsn')
  const endpos = ['--endpos', String(end?.lsn)]
  const receiving = run('pg_receivewal', '-D', folder, '-d', conninfo, '--slot', 'wal', '--no-loop', ...endpos)
  await ask('insert into behind values (1)') // so that the end is passed
  await receiving

  const files = await readdir(folder)
  expect(files.filter((file) => !file.endsWith('.partial')).length).toBeGreaterThan(0)
  for (const file of files) {
    const received = await readFile(join(folder, file))
    const own = await readFile(join(primary.plan.data, 'pg_wal', file.replace('.partial', '')))
    const length = file.endsWith('.partial') ? offsetOf(String(end?.lsn)) : own.length
    expect(received.subarray(0, length).equals(own.subarray(0, length))).toBe(true)
  }
  await run('pg_receivewal', '-d', conninfo, '--slot', 'wal', '--drop-slot')
  expect(await ask("select 1 from pg_replication_slots where slot_name = 'wal'")).toEqual([])
})

test('pg_recvlogical creates a slot, streams changes and drops it', async (context) => {
  const { run, ask, conninfo, pooler } = bound(siteOf(context))
  const common = ['-d', `${conninfo} dbname=postgres`, '--slot', 'changes']
  await run('pg_recvlogical', ...common, '--create-slot', '--plugin', 'test_decoding')
  await ask('create table changed (n int)')
  await ask('insert into changed select generate_series(1, 3000)')
  const [end] = await ask('select pg_current_wal_flush_lsn()::text as lsn')
  const endpos = ['--endpos', String(end?.lsn)]
  const streaming = run('pg_recvlogical', ...common, '--start', '-f', '-', '--no-loop', ...endpos)
  await ask('insert into changed values (0)') // so that the end is passed, whatever comes at it
  const told = await streaming
  expect(told).toContain('table public.changed: INSERT: n[integer]:3000')
  await run('pg_recvlogical', ...common, '--drop-slot')
  expect(await ask("select 1 from pg_replication_slots where slot_name = 'changes'")).toEqual([])
  await pooler.untilEmpty()
  expect((await pooler.show('servers')).filter((row) => row.replication !== 'none')).toEqual([])
})

/** Its methods, to be called without it. */
function bound(site: Site) {
  const { workspace, pooler, user, conninfo, primary } = site
  return { workspace, pooler, user, conninfo, primary, run: site.run.bind(site), ask: site.ask.bind(site) }
}

/** Where a position lies in its WAL file of 16 MB. */
function offsetOf(lsn: string): number {
  return Number.parseInt(lsn.split('/')[1]!, 16) % (16 * 1024 * 1024)
}
