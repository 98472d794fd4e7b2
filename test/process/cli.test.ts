import { spawn } from 'node:child_process'
import { readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parseCommandLine } from '../../src/process/cli.js'
import { makeFolder, Running, root, run } from './command.js'

const parse = (...words: string[]) => parseCommandLine(words, 'tsbouncer')
const serve = { name: 'serve', daemon: false, quiet: false, reboot: false, user: undefined, verbose: 0 }

test.each([
  [['a.ini'], { file: 'a.ini' }],
  [['-d', 'a.ini'], { file: 'a.ini', daemon: true }],
  [['--daemon', 'a.ini'], { file: 'a.ini', daemon: true }],
  [['-q', 'a.ini'], { file: 'a.ini', quiet: true }],
  [['--quiet', 'a.ini'], { file: 'a.ini', quiet: true }],
  [['-R', 'a.ini'], { file: 'a.ini', reboot: true }],
  [['--reboot', 'a.ini'], { file: 'a.ini', reboot: true }],
  [['-v', 'a.ini'], { file: 'a.ini', verbose: 1 }],
  [['-vv', '--verbose', 'a.ini'], { file: 'a.ini', verbose: 3 }],
  [['-u', 'postgres', 'a.ini'], { file: 'a.ini', user: 'postgres' }],
  [['-upostgres', 'a.ini'], { file: 'a.ini', user: 'postgres' }],
  [['--user', 'postgres', 'a.ini'], { file: 'a.ini', user: 'postgres' }],
  [['--user=postgres', 'a.ini'], { file: 'a.ini', user: 'postgres' }],
  [['-u', 'a', '-u', 'b', 'a.ini'], { file: 'a.ini', user: 'b' }],
  [['a.ini', '-d'], { file: 'a.ini', daemon: true }],
  [['-dqv', 'a.ini'], { file: 'a.ini', daemon: true, quiet: true, verbose: 1 }],
  [['-dvupostgres', 'a.ini'], { file: 'a.ini', daemon: true, verbose: 1, user: 'postgres' }],
  [['-dvu', 'postgres', 'a.ini'], { file: 'a.ini', daemon: true, verbose: 1, user: 'postgres' }],
  [['-v', '1'], { file: '1', verbose: 1 }],
  [['--', '-upostgres'], { file: '-upostgres' }],
  [['./demo'], { file: './demo' }],
])('flags are those of pgbouncer: %j', async (words, expected) => {
  expect(await parse(...words)).toEqual({ ...serve, ...expected })
})

test.each([
  [[], 'no configuration file specified'],
  [['-d'], 'no configuration file specified'],
  [['-x', 'a.ini'], 'Unknown argument: x'],
  [['--zork', 'a.ini'], 'Unknown argument: zork'],
  [['--no-daemon', 'a.ini'], 'Unknown argument: no-daemon'],
  [['-u'], 'Not enough arguments following: u'],
  [['a.ini', 'b.ini'], 'one configuration file only, not also b.ini'],
])('what is wrong is told with the usage: %j', async (words, problem) => {
  expect(await parse(...words)).toEqual({
    name: 'say',
    exitCode: 1,
    text: `tsbouncer: ${problem}
Usage: tsbouncer [-d] [-q] [-R] [-u USER] [-v...] CONFIG_FILE
Try "tsbouncer --help" for more information.`,
  })
})

test('demo has flags of its own', async () => {
  expect(await parse('demo')).toEqual({ name: 'demo', port: 5439, data: undefined, keep: false, failover: false })
  expect(await parse('demo', '--port', '7000', '--data', '/tmp/x', '--keep')).toEqual({
    name: 'demo',
    port: 7000,
    data: '/tmp/x',
    keep: true,
    failover: false,
  })
  expect(await parse('demo', '--failover')).toMatchObject({ failover: true })
  expect(await parse('demo', '--failover', '--data', '/tmp/x')).toMatchObject({ exitCode: 1 })
  for (const port of ['0', '65536', '70000', 'x', '-1', '1e3']) {
    expect(await parse('demo', `--port=${port}`)).toMatchObject({
      exitCode: 1,
      text: expect.stringContaining('--port'),
    })
  }
  expect(await parse('demo', 'a.ini')).toMatchObject({ exitCode: 1 })
  expect(await parse('demo', '-d')).toMatchObject({ exitCode: 1 })
})

test('the first line of --version is what SHOW VERSION says', async () => {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
  for (const flag of ['-V', '--version']) {
    const running = run([flag])
    expect(await running.ended).toBe(0)
    expect(running.stderr).toBe('')
    expect(running.stdout.split('\n')).toEqual([
      `PgBouncer 1.26.1 (tsbouncer ${version})`,
      `node ${process.version}`,
      `libuv ${process.versions.uv}`,
      `tls: OpenSSL ${process.versions.openssl}`,
      '',
    ])
  }
})

test('ping --help says what it does', async () => {
  const running = run(['ping', '--help'])
  expect(await running.ended).toBe(0)
  expect(running.stdout).toContain('ping CONFIG_FILE')
})

test('--help names every flag', async () => {
  for (const flag of ['-h', '--help']) {
    const running = run([flag])
    expect(await running.ended).toBe(0)
    for (const name of [
      '-d, --daemon',
      '-q, --quiet',
      '-R, --reboot',
      '-u, --user',
      '-v, --verbose',
      '-V, --version',
    ]) {
      expect(running.stdout).toContain(name)
    }
  }
})

test('without a file it ends with 1, and says so on standard error', async () => {
  const running = run([])
  expect(await running.ended).toBe(1)
  expect(running.stdout).toBe('')
  expect(running.stderr).toMatch(/^tsbouncer: no configuration file specified\n/)
})

test('called pgbouncer, it speaks of itself as pgbouncer', async () => {
  using folder = makeFolder()
  const link = join(folder.path, 'pgbouncer')
  symlinkSync(join(root, 'dist', 'process', 'main.js'), link)
  const running = new Running(spawn(process.execPath, [link]))
  expect(await running.ended).toBe(1)
  expect(running.stderr).toMatch(/^pgbouncer: .*\nUsage: pgbouncer /)
})
