// The whole process, as its users start, signal and stop it.

import { existsSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import pg from 'pg'
import { expect, test, vi } from 'vitest'
import { postgres } from '../harness/postgres.js'
import { asUser, isRoot, makeFolder, nobody, type Running, run } from './command.js'

/** A configuration in a folder of its own, and the paths it names. */
async function makeSetup(settings: Record<string, string | number> = {}) {
  const folder = makeFolder()
  const file = (name: string): string => join(folder.path, name)
  const port = await freePort()
  const { host, port: serverPort } = postgres().primary
  writeFileSync(file('userlist.txt'), '"admin" ""\n"trust_user" ""\n')
  const write = (more: Record<string, string | number> = {}): void => {
    const all: Record<string, string | number> = {
      listen_addr: '127.0.0.1',
      listen_port: port,
      unix_socket_dir: '',
      auth_type: 'trust',
      auth_file: file('userlist.txt'),
      admin_users: 'admin',
      pidfile: file('pooler.pid'),
      ...settings,
      ...more,
    }
    const lines = Object.entries(all).map(([key, value]) => `${key} = ${value}`)
    writeFileSync(
      file('pooler.ini'),
      `[databases]\npostgres = host=${host} port=${serverPort}\n[pgbouncer]\n${lines.join('\n')}\n`,
    )
  }
  write()
  const pid = (): number => Number(readFileSync(file('pooler.pid'), 'utf8'))
  return {
    port,
    ini: file('pooler.ini'),
    pidfile: file('pooler.pid'),
    file,
    write,
    pid,
    [Symbol.dispose]: folder[Symbol.dispose],
  }
}

async function freePort(): Promise<number> {
  const server = await listenOn(0)
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

function listenOn(port: number): Promise<Server> {
  const server = createServer().listen(port, '127.0.0.1')
  return new Promise((resolve) => server.once('listening', () => resolve(server)))
}

async function startReady(words: readonly string[]): Promise<Running> {
  const running = run([...asUser, ...words])
  await running.says('process up: ')
  return running
}

async function connectTo(database: 'postgres' | 'pgbouncer', port: number): Promise<pg.Client> {
  const user = database === 'pgbouncer' ? 'admin' : 'trust_user'
  const client = new pg.Client({ host: '127.0.0.1', port, user, database })
  client.on('error', () => {}) // the pooler ends under some of them
  await client.connect()
  return client
}

const accepts = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })

test("it starts with pgbouncer's lines, in its order", async () => {
  using setup = await makeSetup()
  await using running = await startReady([setup.ini])
  expect(running.lines()).toEqual([
    expect.stringMatching(
      /^LOG kernel file descriptor limit: \d+ \(hard: \d+\); max_client_conn: 100, max expected fd use: \d+$/,
    ),
    `LOG listening on 127.0.0.1:${setup.port}`,
    expect.stringMatching(
      /^LOG process up: PgBouncer 1\.25\.2 \(tsbouncer \S+\), node v\S+, libuv \S+, tls: OpenSSL \S+$/,
    ),
  ])
  expect(await accepts(setup.port)).toBe(true)
})

test('the pid file is there when it is ready, and gone when it has ended', async () => {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGQUIT'] as const) {
    using setup = await makeSetup()
    await using running = await startReady([setup.ini])
    expect(setup.pid()).toBe(running.child.pid)
    running.kill(signal)
    expect(await running.ended).toBe(0)
    expect(existsSync(setup.pidfile)).toBe(false)
  }
})

test('a second one does not start beside the first', async () => {
  using setup = await makeSetup()
  await using first = await startReady([setup.ini])
  const second = run([...asUser, setup.ini])
  expect(await second.ended).toBe(1)
  expect(second.lines()).toEqual([`FATAL pidfile '${setup.pidfile}' exists, another instance running?`])
  expect(setup.pid()).toBe(first.child.pid)
})

test('after one that was killed, the next starts', async () => {
  using setup = await makeSetup()
  const first = await startReady([setup.ini])
  first.kill('SIGKILL')
  await first.ended
  await using second = await startReady([setup.ini])
  expect(second.lines()[0]).toBe('LOG stale pidfile, removing')
  expect(setup.pid()).toBe(second.child.pid)
})

test('a configuration with an error: where it is, and the end', async () => {
  using setup = await makeSetup()
  writeFileSync(setup.ini, '[databases]\n[pgbouncer]\nzork\n')
  const running = run([...asUser, setup.ini])
  expect(await running.ended).toBe(1)
  expect(running.lines()).toEqual([expect.stringContaining(`(${setup.ini}:3)`), 'FATAL cannot load config file'])
  expect(running.lines()[0]).toMatch(/^ERROR /)
})

test('a configuration that is not there is named', async () => {
  const running = run([...asUser, '/absent/pooler.ini'])
  expect(await running.ended).toBe(1)
  expect(running.lines()).toEqual([
    expect.stringMatching(/^ERROR .*\/absent\/pooler\.ini/),
    'FATAL cannot load config file',
  ])
})

test('a port in use is the end, with the port named', async () => {
  using setup = await makeSetup()
  const other = await listenOn(setup.port)
  try {
    const running = run([...asUser, setup.ini])
    expect(await running.ended).toBe(1)
    expect(running.lines().at(-1)).toMatch(new RegExp(`^FATAL .*${setup.port}`))
    expect(existsSync(setup.pidfile)).toBe(false)
  } finally {
    other.close()
  }
})

test.runIf(isRoot)('root is refused, and told how to go on', async () => {
  using setup = await makeSetup()
  const running = run([setup.ini])
  expect(await running.ended).toBe(1)
  expect(running.lines()).toEqual([expect.stringMatching(/^FATAL PgBouncer should not run as root: .*-u USER/)])
})

test.runIf(isRoot)('what it makes belongs to the user that it becomes', async () => {
  using setup = await makeSetup({ user: 'nobody' })
  setup.write({ logfile: setup.file('pooler.log'), unix_socket_dir: setup.file('.') })
  await using running = run([setup.ini])
  await running.says('process up: ')
  for (const made of ['pooler.pid', 'pooler.log', `.s.PGSQL.${setup.port}`]) {
    expect(statSync(setup.file(made))).toMatchObject({ uid: nobody, gid: nobody })
  }
  expect(readFileSync(`/proc/${running.child.pid}/status`, 'utf8')).toMatch(new RegExp(`^Uid:(\\s+${nobody}){4}$`, 'm'))
})

test('-R is refused, and told how to go on', async () => {
  using setup = await makeSetup()
  const running = run([...asUser, '-R', setup.ini])
  expect(await running.ended).toBe(1)
  expect(running.lines()).toEqual([
    expect.stringMatching(/^FATAL online restart \(-R\) is not supported.*so_reuseport/),
  ])
})

test('-q: nothing on standard error, all of it in the log file', async () => {
  using setup = await makeSetup()
  setup.write({ logfile: setup.file('pooler.log') })
  await using running = run([...asUser, '-q', setup.ini])
  await vi.waitFor(() => expect(readFileSync(setup.file('pooler.log'), 'utf8')).toContain(' LOG process up: '), 5000)
  running.kill('SIGINT')
  expect(await running.ended).toBe(0)
  expect(running.stderr).toBe('')
})

test('log_format = json', async () => {
  using setup = await makeSetup({ log_format: 'json' })
  await using running = await startReady([setup.ini])
  for (const line of running.stderr.trim().split('\n')) {
    expect(JSON.parse(line)).toMatchObject({ level: 'info', pid: running.child.pid, msg: expect.any(String) })
  }
})

test('-d needs a pid file', async () => {
  using setup = await makeSetup({ pidfile: '' })
  const running = run([...asUser, '-d', setup.ini])
  expect(await running.ended).toBe(1)
  expect(running.lines()).toEqual(['FATAL daemon needs pidfile configured'])
})

test('-d: who started it comes back without a word, when clients are welcome', async () => {
  using setup = await makeSetup()
  setup.write({ logfile: setup.file('pooler.log') })
  const running = run([...asUser, '-d', setup.ini])
  expect(await running.ended).toBe(0)
  expect(running.stderr + running.stdout).toBe('')
  expect(await accepts(setup.port)).toBe(true)
  process.kill(setup.pid(), 'SIGINT')
  await vi.waitFor(() => expect(existsSync(setup.pidfile)).toBe(false), 5000)
  expect(readFileSync(setup.file('pooler.log'), 'utf8')).toContain('LOG got SIGINT, shutting down')
})

test('-d: who started it hears why it failed', async () => {
  using setup = await makeSetup()
  const other = await listenOn(setup.port)
  try {
    const running = run([...asUser, '-d', setup.ini])
    expect(await running.ended).toBe(1)
    expect(running.lines()).toEqual([expect.stringMatching(new RegExp(`^FATAL .*${setup.port}`))])
  } finally {
    other.close()
  }
})

test('SIGHUP reads the configuration and opens the log anew; with an error in it, all stays as it was', async () => {
  using setup = await makeSetup()
  const logfile = setup.file('pooler.log')
  setup.write({ logfile })
  await using running = await startReady([setup.ini])
  renameSync(logfile, `${logfile}.1`)
  setup.write({ logfile, max_client_conn: 77 })
  running.kill('SIGHUP')
  await running.says('got SIGHUP, re-reading config')
  const client = await connectTo('pgbouncer', setup.port)
  const maxClientConn = async () => {
    const { rows } = await client.query<{ key: string; value: string }>('SHOW CONFIG')
    return rows.find(({ key }) => key === 'max_client_conn')?.value
  }
  await vi.waitFor(async () => expect(await maxClientConn()).toBe('77'))
  expect(readFileSync(logfile, 'utf8')).not.toContain('process up')
  expect(readFileSync(logfile, 'utf8')).toContain('login attempt')

  setup.write({ logfile, max_client_conn: 'zork' })
  running.kill('SIGHUP')
  await running.says('WARNING config file loading failed')
  expect(running.stderr).toMatch(/ERROR invalid value "zork" for parameter max_client_conn in configuration \(.*:\d+\)/)
  expect(await maxClientConn()).toBe('77')
  await client.end()
})

test('SIGUSR1 pauses and SIGUSR2 resumes', async () => {
  using setup = await makeSetup()
  await using running = await startReady([setup.ini])
  running.kill('SIGUSR2')
  await running.says('got SIGUSR2, but not paused/suspended')
  running.kill('SIGUSR1')
  await running.says('got SIGUSR1, pausing all activity')
  running.kill('SIGUSR1')
  await running.says('got SIGUSR1, but already paused/suspended')
  running.kill('SIGUSR2')
  await running.says('got SIGUSR2, continuing from PAUSE')
})

test('SIGTERM: no new clients, and an end when the last has left', async () => {
  using setup = await makeSetup()
  await using running = await startReady([setup.ini])
  const client = await connectTo('postgres', setup.port)
  running.kill('SIGTERM')
  await running.says('got SIGTERM, shutting down, waiting for all clients disconnect')
  await vi.waitFor(async () => expect(await accepts(setup.port)).toBe(false), 5000)
  expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
  expect(existsSync(setup.pidfile)).toBe(true)
  await client.end()
  expect(await running.ended).toBe(0)
})

test.each(['SIGTERM', 'SIGINT', 'SIGQUIT'] as const)('%s after SIGTERM waits for nobody', async (second) => {
  using setup = await makeSetup()
  await using running = await startReady([setup.ini])
  const client = await connectTo('postgres', setup.port)
  const gone = new Promise((resolve) => client.once('end', resolve))
  running.kill('SIGTERM')
  await running.says('got SIGTERM')
  running.kill(second)
  expect(await running.ended).toBe(0)
  expect(running.lines()).toContainEqual(expect.stringMatching(/^LOG got .*, fast exit$/))
  await gone
})

test('SIGINT ends it when the servers are free, though clients are there', async () => {
  using setup = await makeSetup({ pool_mode: 'transaction' })
  await using running = await startReady([setup.ini])
  const [busy, idle] = [await connectTo('postgres', setup.port), await connectTo('postgres', setup.port)]
  await busy.query('BEGIN')
  running.kill('SIGINT')
  await running.says('got SIGINT, shutting down, waiting for all servers connections to be released')
  expect((await busy.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
  const gone = new Promise((resolve) => idle.once('end', resolve))
  await busy.query('COMMIT')
  expect(await running.ended).toBe(0)
  await gone
})

test('SHUTDOWN on the console ends the process, with 0', async () => {
  using setup = await makeSetup()
  await using running = await startReady([setup.ini])
  const client = await connectTo('pgbouncer', setup.port)
  await client.query('SHUTDOWN').catch(() => {})
  expect(await running.ended).toBe(0)
  expect(existsSync(setup.pidfile)).toBe(false)
})
