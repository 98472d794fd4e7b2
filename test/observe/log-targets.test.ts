import { execFileSync, spawnSync } from 'node:child_process'
import {
  closeSync,
  constants,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { type Clock, systemClock } from '../../src/observe/clock.js'
import { createLog, type LogOptions } from '../../src/observe/log.js'
import { LogFile, StandardError } from '../../src/observe/log-file.js'
import { Syslog } from '../../src/observe/syslog.js'

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

let folder: string
const opened: number[] = []

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tsbouncer-log-'))
})

afterEach(() => {
  vi.unstubAllEnvs()
  for (const fd of opened.splice(0)) closeSync(fd)
  rmSync(folder, { recursive: true })
})

/** Standard error of a process that logs one line of each kind. */
function stderrOf(options: LogOptions): string[] {
  const program = `
    const { createLog } = await import('./dist/observe/log.js')
    const log = createLog(${JSON.stringify(options)})
    log.info('one\\ntwo')
    log.warning('three')
    log.fatal('four')`
  const { stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    cwd: root,
    encoding: 'utf8',
  })
  return stderr.split('\n').slice(0, -1)
}

test('standard error gets all, what is wrong, or nothing', () => {
  const words = (options: LogOptions) => stderrOf(options).map((line) => line.replace(/^.* \[\d+\] /, ''))
  expect(words({})).toEqual(['LOG one', '\ttwo', 'WARNING three', 'FATAL four'])
  expect(words({ stderr: 'problems' })).toEqual(['WARNING three', 'FATAL four'])
  expect(words({ stderr: 'nothing' })).toEqual([])
})

test('the journal gets priorities, and neither time nor process', () => {
  expect(stderrOf({ journald: true })).toEqual(['<6>LOG one', '<6>\ttwo', '<4>WARNING three', '<2>FATAL four'])
  expect(JSON.parse(stderrOf({ journald: true, log_format: 'json' })[0]!)).toMatchObject({ msg: 'one\ntwo' })
})

/** A pipe that does not block. */
function makePipe(): { readonly reader: number; readonly writer: number } {
  const path = join(folder, 'pipe')
  execFileSync('mkfifo', [path])
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  const writer = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK)
  return { reader, writer }
}

function drain(fd: number): string {
  const buffer = Buffer.alloc(1 << 20)
  return buffer.toString('utf8', 0, readSync(fd, buffer))
}

test('a reader of standard error that stalls costs lines, not time', () => {
  const { reader, writer } = makePipe()
  opened.push(reader, writer)
  const stderr = new StandardError(writer)
  const start = performance.now()
  for (let line = 0; line < 500; line++) stderr.write(`${'x'.repeat(1023)}\n`)
  // 64 KiB fit; to wait for each of the others would take over a minute.
  expect(performance.now() - start).toBeLessThan(10_000)
  expect(drain(reader).length).toBe(65_536)
  stderr.write('again\n')
  expect(drain(reader)).toBe('again\n')
})

test('a reader of standard error that has gone is nobody to end for', () => {
  const { reader, writer } = makePipe()
  opened.push(writer)
  const stderr = new StandardError(writer)
  stderr.write('x\n')
  closeSync(reader)
  stderr.write('y\n')
  stderr.write('z\n')
})

test('a log file that cannot be opened is complained of once, and written when it can be', () => {
  const complaints: string[] = []
  const path = join(folder, 'absent', 'pooler.log')
  const file = new LogFile(path, (text) => complaints.push(text))
  file.write('one\n')
  file.write('two\n')
  expect(complaints).toEqual([expect.stringMatching(/^could not write to log file: ENOENT.*absent\/pooler\.log/)])
  mkdirSync(dirname(path))
  file.write('three\n')
  file.close()
  expect(readFileSync(path, 'utf8')).toBe('three\n')
  expect(complaints).toHaveLength(1)
})

test('a full disk is complained of once', () => {
  const complaints: string[] = []
  const file = new LogFile('/dev/full', (text) => complaints.push(text))
  file.write('one\n')
  file.write('two\n')
  file.close()
  expect(complaints).toEqual([expect.stringContaining('ENOSPC')])
})

test('the complaint about a log file is in the log', () => {
  const lines = stderrOf({ logfile: join(folder, 'absent', 'pooler.log') })
  expect(lines.filter((line) => line.includes('WARNING could not write to log file'))).toHaveLength(1)
  expect(lines.at(-1)).toMatch(/FATAL four$/)
})

/** Stands for logger(1): keeps its arguments and what it is fed. */
function fakeLogger(script: string): void {
  writeFileSync(join(folder, 'logger'), `#!/bin/sh\ncd ${folder}\n${script}\n`, { mode: 0o755 })
  vi.stubEnv('PATH', `${folder}:${process.env.PATH}`)
}

const read = (name: string): string => readFileSync(join(folder, name), 'utf8')

test('syslog gets each line with facility, severity, name and process', async () => {
  fakeLogger('echo "$@" > arguments; cat > lines')
  const log = createLog({
    stderr: 'nothing',
    syslog: true,
    syslog_facility: 'local3',
    syslog_ident: 'pool',
    pid: 4711,
    verbose: 1,
  })
  log.info('one\ntwo')
  log.error('three')
  log.debug('four')
  log.close()
  // local3 is 19: 19 * 8 + 6, 3, 7
  await vi.waitFor(() => expect(read('lines')).toBe('<158>one\n<158>\ttwo\n<155>three\n<159>four\n'), 30_000)
  expect(read('arguments')).toBe('--prio-prefix --socket-errors=on --size 8192 --id=4711 --tag=pool\n')
})

test('without logger(1), or without syslog, the log says so once', async () => {
  const complaints: string[] = []
  const surroundings = { pid: 1, clock: systemClock }
  const complain = (text: string) => complaints.push(text)
  fakeLogger('echo "logger: socket /dev/log: No such file or directory" >&2; exit 1')
  const noSyslog = new Syslog('pool', surroundings, complain)
  noSyslog.write('<30>one\n')
  await vi.waitFor(() => expect(complaints).toHaveLength(1), 30_000)
  noSyslog.write('<30>two\n')
  vi.stubEnv('PATH', join(folder, 'absent'))
  const noLogger = new Syslog('pool', surroundings, complain)
  noLogger.write('<30>one\n')
  await vi.waitFor(() => expect(complaints).toHaveLength(2), 30_000)
  expect(complaints[0]).toBe('could not log to syslog: logger: socket /dev/log: No such file or directory')
  expect(complaints[1]).toMatch(/could not log to syslog: spawn logger ENOENT/)
})

test('a logger(1) that has ended is started again, after a while', async () => {
  fakeLogger('read -r line; echo "$line" >> lines')
  let now = 0
  const clock: Clock = { ...systemClock, now: () => now }
  let lost = 0
  const syslog = new Syslog('pool', { pid: 1, clock }, () => lost++)
  syslog.write('<30>one\n')
  await vi.waitFor(() => expect(lost).toBe(1), 30_000)
  syslog.write('<30>dropped\n')
  now += 60_000
  syslog.write('<30>two\n')
  await vi.waitFor(() => expect(read('lines')).toBe('<30>one\n<30>two\n'), 30_000)
  syslog.close()
})

test('a syslog that takes nothing costs lines, not memory', async () => {
  fakeLogger('sleep 60 & echo $! > sleeper; wait')
  const syslog = new Syslog('pool', { pid: 1, clock: systemClock }, () => {})
  const before = process.memoryUsage.rss()
  for (let line = 0; line < 100_000; line++) syslog.write(`<30>${'x'.repeat(1000)}\n`)
  expect(process.memoryUsage.rss() - before).toBeLessThan(50_000_000)
  await vi.waitFor(() => expect(read('sleeper')).toMatch(/\d/), 30_000)
  process.kill(Number(read('sleeper')))
  syslog.close()
})
