import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Pidfile } from '../../src/process/pidfile.js'
import { RecordingLog } from './recording-log.js'

let folder: string
let path: string
let log: RecordingLog

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tsbouncer-pidfile-'))
  path = join(folder, 'pooler.pid')
  log = new RecordingLog()
})

afterEach(() => rmSync(folder, { recursive: true }))

/** The number of a process that is no more. */
const deadPid = (): number => spawnSync('true').pid

test('it holds the process id and a newline, and is removed at the end', () => {
  const pidfile = new Pidfile(path)
  pidfile.check(log)
  pidfile.write()
  expect(readFileSync(path, 'utf8')).toBe(`${process.pid}\n`)
  expect(statSync(path).mode & 0o777).toBe(0o644 & ~process.umask())
  pidfile.remove()
  pidfile.remove()
  expect(existsSync(path)).toBe(false)
  expect(log.lines).toEqual([])
})

test('that of a process that lives keeps a second one from starting', () => {
  writeFileSync(path, `${process.ppid}\n`)
  expect(() => new Pidfile(path).check(log)).toThrow(`pidfile '${path}' exists, another instance running?`)
  expect(existsSync(path)).toBe(true)
})

test('that of a process that is no more is removed', () => {
  writeFileSync(path, `${deadPid()}\n`)
  new Pidfile(path).check(log)
  expect(existsSync(path)).toBe(false)
  expect(log.lines).toEqual(['info stale pidfile, removing'])
})

test('our own number in it is that of a predecessor, as in a container that was started again', () => {
  writeFileSync(path, `${process.pid}\n`)
  new Pidfile(path).check(log)
  expect(existsSync(path)).toBe(false)
})

test.each(['', '0\n', 'zork', '-1', '12 34'])('what is no process id is left alone: %j', (text) => {
  writeFileSync(path, text)
  expect(() => new Pidfile(path).check(log)).toThrow(/exists, another instance running/)
  expect(readFileSync(path, 'utf8')).toBe(text)
})

test('of two that start at the same time one wins', () => {
  const first = new Pidfile(path)
  const second = new Pidfile(path, 4711)
  first.check(log)
  second.check(log)
  first.write()
  expect(() => second.write()).toThrow(/could not write pidfile '.*': file already exists/)
  second.remove()
  expect(existsSync(path)).toBe(true)
})

test('what someone else has put in its place stays', () => {
  const pidfile = new Pidfile(path)
  pidfile.write()
  writeFileSync(path, '4711\n')
  pidfile.remove()
  expect(readFileSync(path, 'utf8')).toBe('4711\n')
})

test('a path that cannot be used is named', () => {
  const absent = join(folder, 'absent', 'pooler.pid')
  expect(() => new Pidfile(absent).write()).toThrow(`could not write pidfile '${absent}': no such file or directory`)
  expect(() => new Pidfile(folder).check(log)).toThrow(
    `could not read pidfile '${folder}': illegal operation on a directory`,
  )
})

test('no path, no file', () => {
  const pidfile = new Pidfile('')
  pidfile.check(log)
  pidfile.write()
  pidfile.remove()
})
