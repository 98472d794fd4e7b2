import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { pino } from 'pino'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { type Clock, systemClock } from '../../src/observe/clock.js'
import { createLog, type LogOptions, type LogPeer, logTo, silentLog } from '../../src/observe/log.js'

let folder: string
let logfile: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tsbouncer-log-'))
  logfile = join(folder, 'pooler.log')
})

afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(folder, { recursive: true })
})

const noon: Clock = { ...systemClock, date: () => new Date(2026, 10, 23, 2, 4, 5, 7) }

const client: LogPeer = {
  logPrefix: 'C-0x56481df9ba80: shop/sam@127.0.0.1:52130',
  id: 7,
  database: 'shop',
  user: 'sam',
  address: '127.0.0.1',
}

function fileLog(options: LogOptions = {}) {
  return createLog({ stderr: 'nothing', logfile, pid: 4711, clock: noon, ...options })
}

const written = (): string => readFileSync(logfile, 'utf8')

/** What follows time and process. */
const texts = (): string[] =>
  written()
    .split('\n')
    .slice(0, -1)
    .map((line) => line.replace(/^.*\[4711\] /, ''))

test("a line is pgbouncer's: local time with milliseconds, zone, process, level, text", () => {
  fileLog().info('listening on 127.0.0.1:6432')
  const zone = execFileSync('date', ['+%Z'], { encoding: 'utf8' }).trim()
  expect(written()).toBe(`2026-11-23 02:04:05.007 ${zone} [4711] LOG listening on 127.0.0.1:6432\n`)
})

test.each(['Europe/Berlin', 'Asia/Kolkata', 'America/New_York'])('the zone is named as date(1) does: %s', (zone) => {
  vi.stubEnv('TZ', zone)
  fileLog({ clock: systemClock }).info('x')
  const expected = execFileSync('date', ['+%Z'], { encoding: 'utf8' }).trim()
  expect(written().split(' ')[2]).toBe(expected)
  expect(expected).not.toBe('UTC')
})

test('without date(1) a zone still has a name', () => {
  vi.stubEnv('TZ', 'Asia/Tokyo')
  vi.stubEnv('PATH', folder)
  fileLog().info('x')
  expect(written().split(' ')[2]).toBe('GMT+9')
})

test('each level has its word, and those below LOG need -v', () => {
  const log = fileLog()
  const all = ['fatal', 'error', 'warning', 'info', 'debug', 'noise'] as const
  const wordsAt = (verbose: number) => {
    writeFileSync(logfile, '')
    log.verbose = verbose
    for (const level of all) log[level]('x')
    return texts()
  }
  expect(wordsAt(0)).toEqual(['FATAL x', 'ERROR x', 'WARNING x', 'LOG x'])
  expect(wordsAt(1)).toEqual(['FATAL x', 'ERROR x', 'WARNING x', 'LOG x', 'DEBUG x'])
  for (const verbose of [2, 3]) expect(wordsAt(verbose).slice(4)).toEqual(['DEBUG x', 'NOISE x'])
  expect(log.verbose).toBe(3)
})

test('a line about a client begins with it', () => {
  fileLog().info('login attempt: db=shop user=sam tls=no replication=no', client)
  expect(texts()).toEqual([
    'LOG C-0x56481df9ba80: shop/sam@127.0.0.1:52130 login attempt: db=shop user=sam tls=no replication=no',
  ])
})

test('what is logged is in the file when the call returns', () => {
  const log = fileLog()
  for (let number = 1; number <= 100; number++) {
    log.info(`line ${number}`)
    expect(texts()).toHaveLength(number)
  }
})

test('a text is taken as it is: percent signs are no formats', () => {
  fileLog().info('100% of %s and %d, %%')
  expect(texts()).toEqual(['LOG 100% of %s and %d, %%'])
})

test('further lines of a text are indented by a tab', () => {
  fileLog().error('first\nsecond\n\nfourth')
  expect(written().split('\n').slice(1)).toEqual(['\tsecond', '\t', '\tfourth', ''])
})

test('no text from outside can forge a line or command a terminal', () => {
  const log = fileLog()
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      writeFileSync(logfile, '')
      log.info('x', { ...client, logPrefix: `C-0x1: ${text}` })
      const [first, ...others] = written().split('\n').slice(0, -1)
      expect(first).toMatch(/^2026-11-23 .* LOG C-0x1: /)
      for (const other of others) expect(other).toMatch(/^\t/)
      expect(written().replace(/[\t\n]/g, '')).not.toMatch(/\p{Cc}/u)
    }),
  )
})

test('a text without end is cut', () => {
  fileLog().info('x'.repeat(1_000_000))
  expect(written().length).toBeLessThan(10_000)
})

test('JSON: one object a line, with the peer in fields', () => {
  const log = fileLog({ log_format: 'json' })
  log.warning('pooler error: "no"\nsuch user', client)
  log.info('process up')
  expect(
    written()
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line)),
  ).toEqual([
    {
      level: 'warning',
      time: noon.date().toISOString(),
      pid: 4711,
      socket: 'C-0x56481df9ba80',
      id: 7,
      database: 'shop',
      user: 'sam',
      address: '127.0.0.1',
      msg: 'pooler error: "no"\nsuch user',
    },
    { level: 'info', time: noon.date().toISOString(), pid: 4711, msg: 'process up' },
  ])
})

test('bytes of names that are not UTF-8 are legible: in lines, in JSON, and in the log of a service', () => {
  const who = { ...client, logPrefix: 'C-0x1: d\udce9p/caf\udce9@x', database: 'd\udce9p', user: 'caf\udce9' }
  fileLog().info('no such user: caf\udce9', who)
  expect(texts()).toEqual(['LOG C-0x1: d\\xE9p/caf\\xE9@x no such user: caf\\xE9'])
  writeFileSync(logfile, '')
  fileLog({ log_format: 'json' }).info('no such user: caf\udce9', who)
  expect(written()).not.toContain('\\ud')
  expect(JSON.parse(written())).toMatchObject({ database: 'd\\xE9p', user: 'caf\\xE9', msg: 'no such user: caf\\xE9' })
  const lines: string[] = []
  logTo(pino({}, { write: (text: string) => void lines.push(text) })).info('no such user: caf\udce9', who)
  expect(JSON.parse(lines[0]!)).toMatchObject({ database: 'd\\xE9p', user: 'caf\\xE9', msg: 'no such user: caf\\xE9' })
})

test('after a rotation, reopen goes on in a new file', () => {
  const log = fileLog()
  log.info('old')
  renameSync(logfile, `${logfile}.1`)
  log.info('still old')
  log.reopen()
  log.info('new')
  expect(texts()).toEqual(['LOG new'])
  expect(readFileSync(`${logfile}.1`, 'utf8')).toMatch(/LOG old\n.*LOG still old\n$/)
})

test('reopen takes over other settings', () => {
  const log = fileLog()
  const other = join(folder, 'other.log')
  log.reopen({
    log_format: 'json',
    logfile: other,
    syslog: false,
    syslog_facility: 'daemon',
    syslog_ident: 'pgbouncer',
    verbose: 1,
  })
  log.debug('x')
  expect(JSON.parse(readFileSync(other, 'utf8'))).toMatchObject({ level: 'debug', msg: 'x' })
})

test("a service's own pino logger gets levels, texts and peers", () => {
  const lines: unknown[] = []
  const logger = pino(
    { level: 'debug', base: null, timestamp: false },
    { write: (line) => lines.push(JSON.parse(line)) },
  )
  const log = logTo(logger)
  for (const level of ['fatal', 'error', 'warning', 'info', 'debug', 'noise'] as const) log[level]('100%')
  log.info('x', client)
  expect(lines).toEqual([
    ...[60, 50, 40, 30, 20].map((level) => ({ level, msg: '100%' })),
    { level: 30, socket: 'C-0x56481df9ba80', id: 7, database: 'shop', user: 'sam', address: '127.0.0.1', msg: 'x' },
  ])
})

test('how much such a logger wants to know is its own affair', () => {
  const logger = pino({ level: 'info' }, { write() {} })
  const log = logTo(logger)
  log.verbose = 3
  expect(log.verbose).toBe(0)
  logger.level = 'debug'
  expect(log.verbose).toBe(1)
  logger.level = 'trace'
  expect(log.verbose).toBe(2)
})

test('the silent log takes everything, and nobody can make it speak', () => {
  silentLog.fatal('x', client)
  silentLog.verbose = 3
  silentLog.reopen()
  silentLog.close()
  expect(silentLog.verbose).toBe(0)
})
