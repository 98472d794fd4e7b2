import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, mkdtemp, readdir, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { loadConfig } from '../../src/config/load.js'
import { type DemoOptions, runDemo } from '../../src/demo/demo.js'
import { findFreePort } from '../../src/demo/port.js'

let scratch: string

beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'tsbouncer-test-'))
  await chmod(scratch, 0o755) // the servers' user has to get in
})

afterEach(async () => {
  await rm(scratch, { recursive: true, force: true })
})

/** The demo with a pooler that does nothing, seen from outside. */
class Demo implements AsyncDisposable {
  readonly lines: string[] = []
  readonly done: Promise<void>
  /** Resolves with the path of the pooler's configuration. */
  readonly ready: Promise<string>
  readonly controller = new AbortController()
  readonly port: number
  pooler: 'not started' | 'started' | 'stopped' = 'not started'

  constructor(options: Partial<DemoOptions> & { port: number }, onLine: (line: string, demo: Demo) => void = () => {}) {
    this.port = options.port
    let configPath = ''
    let isReady = () => {}
    const ready = new Promise<void>((resolve) => {
      isReady = resolve
    })
    this.done = runDemo({
      ...options,
      signal: this.controller.signal,
      print: (line) => {
        this.lines.push(line)
        onLine(line, this)
        if (line.startsWith('Ctrl-C')) isReady()
      },
      startPooler: async (path) => {
        configPath = path
        this.pooler = 'started'
        return {
          stop: async () => {
            this.pooler = 'stopped'
          },
        }
      },
    })
    this.ready = Promise.race([ready, this.done]).then(() => configPath)
    this.ready.catch(() => {})
  }

  async stop(): Promise<void> {
    this.controller.abort()
    await this.done
  }

  get folder(): string {
    return /in (\S+)$/.exec(this.lines[0] ?? '')?.[1] ?? ''
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.controller.abort()
    await this.done.catch(() => {})
  }
}

/** `host` and `port` of the entries of `[databases]`. */
async function databases(configPath: string): Promise<Record<string, pg.ClientConfig>> {
  const lines = (await readFile(configPath, 'utf8')).matchAll(/^(\w+) = host=(\S+) port=(\d+)(?: dbname=(\w+))?$/gm)
  return Object.fromEntries(
    Array.from(lines, ([, name = '', host = '', port, database]) => [
      name,
      { host, port: Number(port), database: database ?? name },
    ]),
  )
}

async function ask(target: pg.ClientConfig | undefined, user: string, password: string, sql: string) {
  const client = new pg.Client({ ...target, user, password })
  await client.connect()
  try {
    return (await client.query(sql)).rows
  } finally {
    await client.end()
  }
}

/** Processes, by number and command, that have to do with a folder. */
async function processesIn(folder: string): Promise<string[]> {
  const found: string[] = []
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name) && name !== String(process.pid))) {
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
    const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => '')
    if (command.includes(folder) || cwd.startsWith(folder)) found.push(`${pid} ${command.replaceAll('\0', ' ')}`)
  }
  return found
}

const hasProc = existsSync('/proc/self/cmdline')

async function expectNothingLeft(folder: string): Promise<void> {
  expect(folder).toContain(tmpdir())
  expect(existsSync(folder)).toBe(false)
  if (hasProc) expect(await processesIn(folder)).toEqual([])
}

describe('a demo that is up', () => {
  let demo: Demo
  let configPath: string
  let primary: pg.ClientConfig | undefined
  let standby: pg.ClientConfig | undefined

  beforeAll(async () => {
    demo = new Demo({ port: await findFreePort() })
    configPath = await demo.ready
    const entries = await databases(configPath)
    expect(entries.chensen).toEqual(entries.pg_rw)
    primary = entries.pg_rw
    standby = entries.pg_ro
  })

  afterAll(() => demo[Symbol.asyncDispose]())

  test('has the four users, with their passwords', async () => {
    for (const user of ['postgres', 'sam', 'clm', 'chensen']) {
      expect(await ask(primary, user, user, 'SELECT current_user::text AS name')).toEqual([{ name: user }])
      await expect(ask(primary, user, 'wrong', 'SELECT 1')).rejects.toThrow('password authentication failed')
    }
  })

  test('has a synchronous standby', async () => {
    await ask(primary, 'chensen', 'chensen', 'CREATE TABLE tree AS SELECT 7 AS age')
    // Received there when the commit has been answered; applied a moment later.
    const look = () => ask(standby, 'chensen', 'chensen', "SELECT to_regclass('tree')::text AS name")
    await expect.poll(look, { timeout: 10_000 }).toEqual([{ name: 'tree' }])
    const replication = 'SELECT application_name AS name, state, sync_state FROM pg_stat_replication'
    expect(await ask(primary, 'postgres', 'postgres', replication)).toEqual([
      { name: 'standby1', state: 'streaming', sync_state: 'sync' },
    ])
  })

  test('lets the administrator replicate: a base backup, a slot for logical changes', async () => {
    const { replication } = await databases(configPath)
    expect(replication).toEqual({ ...primary, database: 'replication' })
    const as = (kind: string, target: pg.ClientConfig | undefined) =>
      ({ ...target, replication: kind }) as pg.ClientConfig
    expect(await ask(as('true', replication), 'postgres', 'postgres', 'IDENTIFY_SYSTEM')).toMatchObject([
      { timeline: '1' },
    ])
    await expect(ask(as('true', replication), 'sam', 'sam', 'IDENTIFY_SYSTEM')).rejects.toThrow('no pg_hba.conf entry')
    const slot = 'CREATE_REPLICATION_SLOT changes TEMPORARY LOGICAL test_decoding'
    expect(await ask(as('database', primary), 'postgres', 'postgres', slot)).toMatchObject([{ slot_name: 'changes' }])
  })

  test('archives its WAL', async () => {
    await ask(primary, 'postgres', 'postgres', 'SELECT pg_switch_wal()')
    const archived = () => readdir(join(demo.folder, 'archive'))
    await expect.poll(archived, { timeout: 10_000 }).toContain('000000010000000000000001')
  })

  test('gives the pooler the secrets that PostgreSQL has, in a file that is its own', async () => {
    const userlist = join(dirname(configPath), 'userlist.txt')
    expect(await readFile(configPath, 'utf8')).toContain(`auth_file = ${userlist}\n`)
    for (const path of [configPath, userlist]) {
      const { mode, uid } = await stat(path)
      expect([mode & 0o777, uid]).toEqual([0o600, process.getuid?.()])
    }
    const lines = (await readFile(userlist, 'utf8')).matchAll(/^"(\w+)" "([^"]+)"$/gm)
    const known = new Map(Array.from(lines, ([, name = '', secret = '']) => [name, secret]))
    expect([...known.keys()]).toEqual(['postgres', 'sam', 'clm', 'pgbouncer']) // chensen is not there

    const sql = 'SELECT rolname, rolpassword FROM pg_authid WHERE rolcanlogin'
    const stored = await ask(primary, 'postgres', 'postgres', sql)
    const inPostgres = new Map(stored.map((row) => [row.rolname, row.rolpassword]))
    expect(known.get('postgres')).toBe('postgres')
    expect(known.get('sam')).toMatch(/^SCRAM-SHA-256\$4096:/)
    expect(known.get('clm')).toMatch(/^md5[0-9a-f]{32}$/)
    for (const name of ['sam', 'clm']) expect(inPostgres.get(name)).toBe(known.get(name))
    for (const host of [primary, standby]) {
      const lookup = "SELECT * FROM pgbouncer.get_auth('chensen')"
      const rows = await ask(host, 'pgbouncer', known.get('pgbouncer') ?? '', lookup)
      expect(rows).toEqual([{ usename: 'chensen', passwd: inPostgres.get('chensen') }])
    }
  })

  test('gives the pooler a configuration that it has nothing against', async () => {
    const config = await loadConfig(configPath)
    expect(config.warnings).toEqual([])
    expect([...config.databases.keys()]).toEqual(['pg_rw', 'pg_ro', 'chensen', 'replication'])
    expect(config.settings).toMatchObject({ auth_type: 'md5', pool_mode: 'transaction', listen_port: demo.port })
    expect(config.settings).toMatchObject({ default_pool_size: 30, max_client_conn: 500, auth_user: 'pgbouncer' })
  })

  test('leaves nothing when it is interrupted', async () => {
    if (hasProc) expect(await processesIn(demo.folder)).not.toEqual([])
    await demo.stop()
    expect(demo.pooler).toBe('stopped')
    expect(demo.lines.at(-1)).toBe('Stopped')
    await expectNothingLeft(demo.folder)
  })
})

test('a port in use is said before anything is started', async () => {
  const port = await findFreePort()
  const other = createServer()
  await new Promise<void>((resolve) => other.listen(port, '127.0.0.1', resolve))
  const demo = new Demo({ port })
  await expect(demo.done).rejects.toMatchObject({
    name: 'DemoError',
    message: `port ${port} on 127.0.0.1 is in use: choose another with --port`,
  })
  expect(demo.lines).toEqual([])
  other.close()
})

const steps = ['Bringing up', '  initialising', '  starting the primary', '  starting the pooler']

test.each(steps)('an interruption at "%s" leaves nothing', async (step) => {
  const demo = new Demo({ port: await findFreePort() }, (line, { controller }) => {
    if (line.startsWith(step)) controller.abort()
  })
  await demo.done
  expect(demo.lines.at(-2)?.startsWith(step)).toBe(true)
  expect(demo.lines.at(-1)).toBe('Stopped')
  expect(demo.pooler).not.toBe('started')
  await expectNothingLeft(demo.folder)
})

test.each(['primary/global/1213', 'standby/postmaster.pid'])(
  'an interruption once %s is there leaves nothing',
  async (file) => {
    const demo = new Demo({ port: await findFreePort() })
    await expect
      .poll(() => demo.folder !== '' && existsSync(join(demo.folder, file)), { interval: 2, timeout: 20_000 })
      .toBe(true)
    await demo.stop()
    await expectNothingLeft(demo.folder)
  },
)

test('a folder of its own is kept, refused to a second demo meanwhile, and used again', async () => {
  const data = join(scratch, "it's 100% mine")
  await using first = new Demo({ port: await findFreePort(), data })
  const configPath = await first.ready
  const before = await databases(configPath)
  await ask(before.pg_rw, 'sam', 'sam', 'CREATE TEMP TABLE mine AS SELECT 1')
  await ask(before.pg_rw, 'chensen', 'chensen', 'CREATE TABLE tree AS SELECT 7 AS age')

  const second = new Demo({ port: await findFreePort(), data })
  await expect(second.done).rejects.toThrow(/it's 100% mine is in use: its primary runs with pid \d+/)
  expect(await ask(before.pg_rw, 'chensen', 'chensen', 'SELECT age FROM tree')).toEqual([{ age: 7 }])
  await first.stop()
  expect(first.lines.at(-2)).toBe(`The data is kept in ${data}`)
  if (hasProc) expect(await processesIn(data)).toEqual([])

  await using again = new Demo({ port: await findFreePort(), data })
  const after = await databases(await again.ready)
  expect(after.pg_rw?.port).not.toBe(before.pg_rw?.port)
  for (const user of ['sam', 'clm', 'chensen']) {
    expect(await ask(after.pg_ro, user, user, "SELECT to_regclass('tree')::text AS name")).toEqual([{ name: 'tree' }])
  }
  const replication = 'SELECT sync_state FROM pg_stat_replication'
  expect(await ask(after.pg_rw, 'postgres', 'postgres', replication)).toEqual([{ sync_state: 'sync' }])
  expect(await readdir(join(data, 'archive'))).not.toEqual([])
})

test('a temporary folder is kept if so asked', async () => {
  const demo = new Demo({ port: await findFreePort(), keep: true })
  await demo.ready
  await demo.stop()
  expect(demo.lines.at(-2)).toBe(`The data is kept in ${demo.folder}`)
  expect(existsSync(join(demo.folder, 'primary/PG_VERSION'))).toBe(true)
  await rm(demo.folder, { recursive: true })
})

test('an interrupted initialisation leaves a given folder empty, to be used again', async () => {
  const data = join(scratch, 'data')
  await new Demo({ port: await findFreePort(), data }, (line, { controller }) => {
    if (line.startsWith('  copying')) controller.abort()
  }).done
  expect(await readdir(data)).toEqual([])
})

test('a folder with other files in it is not touched', async () => {
  await writeFile(join(scratch, 'letter'), '')
  const demo = new Demo({ port: await findFreePort(), data: scratch })
  await expect(demo.done).rejects.toThrow(`${scratch} has other files in it`)
  expect(await readdir(scratch)).toEqual(['letter'])
})

test.runIf(process.geteuid?.() === 0)('a folder that the servers may not enter is refused', async () => {
  await chmod(scratch, 0o700)
  await expect(new Demo({ port: await findFreePort(), data: scratch }).done).rejects.toThrow(
    /^user \w+, .* may not enter/,
  )
})

test('a pooler that does not start is an error, and nothing is left', async () => {
  const lines: string[] = []
  const failing = runDemo({
    port: await findFreePort(),
    print: (line) => lines.push(line),
    signal: new AbortController().signal,
    startPooler: () => Promise.reject(new Error('no pooler today')),
  })
  await expect(failing).rejects.toThrow('no pooler today')
  await expectNothingLeft(/in (\S+)$/.exec(lines[0] ?? '')?.[1] ?? '')
})

test('a server that ends is told of, and the demo ends with the last one', async () => {
  await using demo = new Demo({ port: await findFreePort() })
  await demo.ready
  const end = async (server: string): Promise<void> => {
    const pid = Number.parseInt(await readFile(join(demo.folder, server, 'postmaster.pid'), 'utf8'), 10)
    process.kill(pid, 'SIGQUIT')
  }
  await end('primary')
  await expect.poll(() => demo.lines.at(-1)).toMatch(/^The primary has gone: it ended with exit code \d+\n/)
  await end('standby')
  await expect(demo.done).rejects.toThrow('both PostgreSQL servers have gone')
  expect(demo.pooler).toBe('stopped')
  await expectNothingLeft(demo.folder)
})

test.runIf(hasProc)('the servers end and the folder goes when the demo is killed', async () => {
  const script = `
    import { runDemo } from './dist/demo/demo.js'
    const signal = new AbortController().signal
    const print = (line) => console.log(line)
    await runDemo({ port: ${await findFreePort()}, print, signal, startPooler: async () => ({ stop: async () => {} }) })`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text) => {
    output += text
  })
  await expect.poll(() => output, { timeout: 20_000 }).toContain('Ctrl-C')
  const folder = /in (\S+)$/m.exec(output)?.[1] ?? ''
  expect(await processesIn(folder)).not.toEqual([])
  child.kill('SIGKILL')
  await expect.poll(() => processesIn(folder), { timeout: 20_000 }).toEqual([])
  expect(existsSync(folder)).toBe(false)
})
