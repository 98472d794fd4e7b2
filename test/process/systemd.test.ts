import { spawn, spawnSync } from 'node:child_process'
import { fstatSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createNotify, reloading, stderrIsJournal } from '../../src/process/systemd.js'
import { asUser, Running, root, run } from './command.js'
import { RecordingLog } from './recording-log.js'
import { makeSetup } from './setup.js'

let folder: string
let log: RecordingLog

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tsbouncer-systemd-'))
  log = new RecordingLog()
})

afterEach(() => rmSync(folder, { recursive: true }))

/** An environment where systemd-notify(1) is this script. */
function environment(script: string): NodeJS.ProcessEnv {
  writeFileSync(join(folder, 'systemd-notify'), `#!/bin/sh\n${script}\n`, { mode: 0o755 })
  return { PATH: `${folder}:${process.env.PATH}`, NOTIFY_SOCKET: join(folder, 'notify') }
}

test('systemd is told one thing after another', async () => {
  const notify = createNotify(environment(`sleep 0.0$1; echo "$@ $NOTIFY_SOCKET" >> ${folder}/told`), log)
  await Promise.all([notify('9', 'a=1'), notify('1'), notify('0')])
  const socket = join(folder, 'notify')
  expect(readFileSync(join(folder, 'told'), 'utf8')).toBe(`9 a=1 ${socket}\n1 ${socket}\n0 ${socket}\n`)
  expect(log.lines).toEqual([])
})

test('without NOTIFY_SOCKET nobody is told', async () => {
  const env = environment(`echo >> ${folder}/told`)
  await createNotify({ ...env, NOTIFY_SOCKET: undefined }, log)('READY=1')
  expect(() => readFileSync(join(folder, 'told'))).toThrow(/ENOENT/)
})

test('that systemd could not be told is a warning', async () => {
  await createNotify(environment('exit 3'), log)('READY=1')
  await createNotify({ PATH: `${folder}/absent`, NOTIFY_SOCKET: '/x' }, log)('STOPPING=1')
  expect(log.lines).toEqual([
    'warning could not notify systemd of READY=1: systemd-notify ended with 3',
    'warning could not notify systemd of STOPPING=1: spawn systemd-notify ENOENT',
  ])
})

test('the process does not end before systemd has been told that it does', async () => {
  using setup = await makeSetup()
  // The one that tells of readiness is still under way when the end comes.
  const script = 'test "$1" = READY=1 && sleep 1; echo "$1" >> "$TOLD"'
  writeFileSync(join(setup.folder, 'systemd-notify'), `#!/bin/sh\n${script}\n`, { mode: 0o755 })
  const told = setup.file('told')
  const path = `${setup.folder}:${process.env.PATH}`
  await using running = run([...asUser, setup.ini], { PATH: path, NOTIFY_SOCKET: '/none', TOLD: told })
  await running.says('process up: ')
  running.kill('SIGTERM')
  expect(await running.ended).toBe(0)
  expect(readFileSync(told, 'utf8')).toBe('READY=1\nSTOPPING=1\n')
})

test('a reload says when it began, in microseconds of the monotonic clock', () => {
  const [state, began] = reloading()
  expect(state).toBe('RELOADING=1')
  const [, microseconds] = /^MONOTONIC_USEC=(\d+)$/.exec(began!)!
  const uptime = Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0])
  // The two clocks differ only by suspended time.
  expect(Number(microseconds) / 1e6).toBeLessThanOrEqual(uptime + 1)
  expect(Number(microseconds)).toBeGreaterThan(0)
})

test('standard error is the journal if it is the very file that JOURNAL_STREAM names', () => {
  const program = `
    const { stderrIsJournal } = await import('./dist/process/systemd.js')
    console.log(stderrIsJournal(process.env))`
  const journal = openSync(join(folder, 'journal'), 'w')
  const { dev, ino } = fstatSync(journal)
  const says = (stream: string, stderr: number | 'pipe') =>
    spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      cwd: root,
      encoding: 'utf8',
      env: { ...process.env, JOURNAL_STREAM: stream },
      stdio: ['ignore', 'pipe', stderr],
    }).stdout
  expect(says(`${dev}:${ino}`, journal)).toBe('true\n')
  expect(says(`${dev}:${ino}`, 'pipe')).toBe('false\n')
  expect(says(`${dev}:${ino}0`, journal)).toBe('false\n')
  expect(stderrIsJournal({})).toBe(false)
})

/** What Node.js cannot: receives datagrams at a Unix socket, and prints each as a line of JSON. */
const receiver = `
import json, os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
path = sys.argv[1]
s.bind(path.replace('@', chr(0)))
if path[0] != '@': os.chmod(path, 0o777)
while True:
  print(json.dumps(s.recv(4096).decode()), flush=True, file=sys.stderr)
`

const isInstalled = (program: string): boolean => spawnSync(program, ['--version']).status === 0
const canReceive = isInstalled('python3') && isInstalled('systemd-notify')
if (!canReceive) console.warn('messages to systemd are not received: python3 or systemd-notify is not installed')

test.runIf(canReceive).each(['path', 'abstract'])(
  'the service manager is told of readiness, reload and end, at a socket with %s name',
  async (kind) => {
    using setup = await makeSetup()
    const socket = kind === 'path' ? setup.file('notify') : `@tsbouncer-notify-${process.pid}`
    await using manager = new Running(spawn('python3', ['-c', receiver, socket]))
    await vi.waitFor(() => {
      expect(readFileSync('/proc/net/unix', 'utf8')).toContain(` ${socket}\n`)
    }, 10_000)
    await using running = run([...asUser, setup.ini], { NOTIFY_SOCKET: socket })
    // systemd-notify waits with a BARRIER=1 of its own until what it said has been read.
    const told = (): string[] => {
      const messages = manager.stderr
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line) as string)
      return messages.filter((message) => message !== 'BARRIER=1')
    }
    const hears = (...messages: unknown[]) => vi.waitFor(() => expect(told()).toEqual(messages), 10_000)
    const reload = expect.stringMatching(/^RELOADING=1\nMONOTONIC_USEC=\d+$/)
    await hears('READY=1')
    expect(running.stderr).toContain('process up: ')
    running.kill('SIGHUP')
    await hears('READY=1', reload, 'READY=1')
    running.kill('SIGTERM')
    expect(await running.ended).toBe(0)
    await hears('READY=1', reload, 'READY=1', 'STOPPING=1')
    expect(running.stderr).not.toContain('WARNING')
  },
)
