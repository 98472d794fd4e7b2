// The whole process, as its users start, signal and stop it.

import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readFileSync, renameSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { asUser, isRoot, main, nobody, Running, run } from './command.js'
import { accepts, connectTo, listenOn, makeSetup, startReady } from './setup.js'

test("it starts with pgbouncer's lines, in its order", async () => {
  using setup = await makeSetup()
  await using running = await startReady([setup.ini])
  expect(running.lines()).toEqual([
    expect.stringMatching(
      /^LOG kernel file descriptor limit: \d+ \(hard: \d+\); max_client_conn: 100, max expected fd use: \d+$/,
    ),
    `LOG listening on 127.0.0.1:${setup.port}`,
    expect.stringMatching(
      /^LOG process up: PgBouncer 1\.26\.1 \(tsbouncer \S+\), node v\S+, libuv \S+, tls: OpenSSL \S+$/,
    ),
  ])
  expect(await accepts(setup.port)).toBe(true)
})

test.runIf(process.platform === 'linux').each(['pgbouncer', 'tsbouncer'])(
  'the process is called %s where the command was',
  async (name) => {
    using setup = await makeSetup()
    const link = join(setup.folder, name)
    symlinkSync(main, link)
    await using running = new Running(spawn(process.execPath, [link, ...asUser, setup.ini]))
    await running.says('process up: ')
    const pid = String(running.child.pid)
    expect(readFileSync(`/proc/${pid}/comm`, 'utf8')).toBe(`${name}\n`)
    const found = spawnSync('pgrep', ['-x', name], { encoding: 'utf8' })
    if (found.error === undefined) expect(found.stdout.split('\n')).toContain(pid)
    running.kill('SIGINT')
    expect(await running.ended).toBe(0)
  },
)

test('-v and -v -v: DEBUG and NOISE are in the log', async () => {
  using setup = await makeSetup()
  for (const [words, levels] of [
    [['-v'], ['DEBUG']],
    [
      ['-v', '-v'],
      ['DEBUG', 'NOISE'],
    ],
  ] as const) {
    await using running = await startReady([...words, setup.ini])
    const client = await connectTo('postgres', setup.port)
    await client.query('select 1')
    await client.end()
    const seen = running.lines().map((line) => line.split(' ', 1)[0]!)
    expect(['DEBUG', 'NOISE'].filter((level) => seen.includes(level))).toEqual(levels)
    running.kill('SIGINT')
    await running.ended
  }
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

test('a log file that cannot be, and nowhere to listen, are the end', async () => {
  for (const [settings, text] of [
    [{ logfile: '/absent/pooler.log' }, "Cannot open logfile: '/absent/pooler.log': no such file or directory"],
    [{ listen_addr: '' }, 'nowhere to listen on'],
  ] as const) {
    using setup = await makeSetup(settings)
    const running = run([...asUser, setup.ini])
    expect(await running.ended).toBe(1)
    expect(running.lines()).toEqual([`FATAL ${text}`])
  }
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
  await vi.waitFor(() => expect(readFileSync(setup.file('pooler.log'), 'utf8')).toContain(' LOG process up: '), 30_000)
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
  await vi.waitFor(() => expect(existsSync(setup.pidfile)).toBe(false), 30_000)
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
  await vi.waitFor(async () => expect(await maxClientConn()).toBe('77'), 30_000)
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
  await vi.waitFor(async () => expect(await accepts(setup.port)).toBe(false), 30_000)
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

test.each(['SIGTERM', 'SIGINT'] as const)('%s after a SHUTDOWN on the console waits for nobody', async (signal) => {
  using setup = await makeSetup()
  await using running = await startReady([setup.ini])
  const client = await connectTo('postgres', setup.port)
  const gone = new Promise((resolve) => client.once('end', resolve))
  const console = await connectTo('pgbouncer', setup.port)
  await console.query('SHUTDOWN WAIT_FOR_CLIENTS')
  running.kill(signal)
  expect(await running.ended).toBe(0)
  expect(running.lines()).toContain(`LOG got ${signal} while shutting down, fast exit`)
  await gone
})

test.each(['SIGTERM', 'SIGINT'] as const)(
  'shutdown_timeout bounds how long %s waits for a busy client',
  async (signal) => {
    using setup = await makeSetup({ shutdown_timeout: 0.5 })
    await using running = await startReady([setup.ini])
    const client = await connectTo('postgres', setup.port)
    const answer = client.query('SELECT pg_sleep(100)').catch((error: Error) => error.message)
    const console = await connectTo('pgbouncer', setup.port)
    await vi.waitFor(async () => {
      expect((await console.query<{ sv_active: number }>('SHOW POOLS')).rows.map((row) => row.sv_active)).toContain(1)
    }, 30_000)
    running.kill(signal)
    expect(await running.ended).toBe(0)
    expect(await answer).toBe('server shutting down')
    expect(running.lines()).toContain('WARNING not done after 0.5 s (shutdown_timeout), closing what is left')
  },
)

test('SIGTERM during SUSPEND leaves nothing behind', async () => {
  using setup = await makeSetup()
  setup.write({ unix_socket_dir: setup.folder })
  await using running = await startReady([setup.ini])
  const socket = setup.file(`.s.PGSQL.${setup.port}`)
  expect(existsSync(socket)).toBe(true)
  const console = await connectTo('pgbouncer', setup.port)
  await console.query('SUSPEND')
  running.kill('SIGTERM')
  expect(await running.ended).toBe(1)
  expect([existsSync(socket), existsSync(setup.pidfile)]).toEqual([false, false])
})
