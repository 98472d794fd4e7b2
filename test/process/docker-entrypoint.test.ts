// The entrypoint of the image in a temporary root, with the environments that the two images of pgbouncer know.

import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { loadConfig } from '../../src/config/load.js'
import { findFreePort } from '../../src/demo/port.js'
import { prepareContainer } from '../../src/process/docker-entrypoint.js'
import { isRoot, makeFolder, nobody, run } from './command.js'

/** A root with a folder /etc/pgbouncer, and the entrypoint in it. */
function makeRoot() {
  const folder = makeFolder()
  const etc = join(folder.path, 'etc/pgbouncer')
  const ini = join(etc, 'pgbouncer.ini')
  const userlist = join(etc, 'userlist.txt')
  const printed: string[] = []
  const warned: string[] = []
  return {
    path: folder.path,
    etc,
    ini,
    userlist,
    printed,
    warned,
    put(file: string, text: string): void {
      mkdirSync(etc, { recursive: true })
      writeFileSync(file, text)
    },
    enter(env: Record<string, string>, words: readonly string[] = ['/usr/bin/pgbouncer', ini]) {
      return prepareContainer({
        env,
        words,
        root: folder.path,
        print: (line) => printed.push(...line.split('\n')),
        warn: (line) => warned.push(line),
      })
    },
    [Symbol.dispose]: folder[Symbol.dispose],
  }
}

test('pgbouncer/pgbouncer: writes the file, prints it without secrets, and starts', async () => {
  using root = makeRoot()
  const env = { DATABASES_HOST: '10.0.0.1', DATABASES_USER: 'app', DATABASES_PASSWORD: 'topsecret' }
  expect(await root.enter(env)).toEqual({ kind: 'own', words: [root.ini] })
  expect(root.printed).toEqual([
    `Creating pgbouncer config in ${root.etc}`,
    '#pgbouncer.ini',
    '',
    '[databases]',
    '* = host = 10.0.0.1 port=5432 user=app password=[hidden]',
    '',
    '[pgbouncer]',
    'admin_users = postgres',
    'auth_type = any',
    'ignore_startup_parameters = extra_float_digits',
    'listen_addr = 0.0.0.0',
    'Starting pgbouncer.',
  ])
  expect((await loadConfig(root.ini)).autodb?.password?.reveal()).toBe('topsecret')
  expect(statSync(root.ini).mode & 0o777).toBe(0o600)
  expect(existsSync(root.userlist)).toBe(false)
})

test('pgbouncer/pgbouncer: QUIET prints no file, PGBOUNCER_USER becomes -u, words are ignored', async () => {
  using root = makeRoot()
  const env = { DATABASES: 'a = host=h', QUIET: '1', PGBOUNCER_USER: 'nobody' }
  expect(await root.enter(env, ['sh'])).toEqual({ kind: 'own', words: ['-q', '-u', 'nobody', root.ini] })
  expect(root.printed).toEqual([`Creating pgbouncer config in ${root.etc}`, 'Starting pgbouncer.'])
  if (isRoot) expect(statSync(root.ini).uid).toBe(nobody)
})

test('pgbouncer/pgbouncer: an older file is overwritten', async () => {
  using root = makeRoot()
  root.put(root.ini, '[databases]\n[pgbouncer]\npool_mode = session\n')
  await root.enter({ DATABASES: 'a = host=h', PGBOUNCER_POOL_MODE: 'statement' })
  expect((await loadConfig(root.ini)).settings.pool_mode).toBe('statement')
})

test('edoburu/pgbouncer: writes the auth_file and the file, prints them, and starts', async () => {
  using root = makeRoot()
  const env = { DATABASE_URL: 'postgres://sam:sam@db/app', POOL_MODE: 'transaction' }
  const words = ['/usr/bin/pgbouncer', root.ini]
  expect(await root.enter(env, words)).toEqual({ kind: 'own', words: [root.ini] })
  expect(root.printed.filter((line) => line !== 'user = postgres')).toEqual([
    `Wrote authentication credentials for 'sam' to ${root.userlist}`,
    `Creating pgbouncer config in ${root.etc}`,
    '################## Auto generated ##################',
    '[databases]',
    'app = host=db port=5432 auth_user=sam',
    '',
    '[pgbouncer]',
    'admin_users = postgres',
    `auth_file = ${root.userlist}`,
    'auth_type = md5',
    'ignore_startup_parameters = extra_float_digits',
    'listen_addr = 0.0.0.0',
    'listen_port = 5432',
    'pool_mode = transaction',
    'unix_socket_dir =',
    '',
    '################## end file ##################',
    `Starting /usr/bin/pgbouncer ${root.ini}...`,
  ])
  expect(readFileSync(root.userlist, 'utf8')).toBe('"sam" "md5eadd934e2cc978fc622fc1324878d8af"\n')
  expect(statSync(root.userlist).mode & 0o777).toBe(0o600)
})

test('edoburu/pgbouncer: started again, everything is there already', async () => {
  using root = makeRoot()
  const env = { DATABASE_URL: 'postgres://sam:sam@db/app' }
  await root.enter(env)
  root.printed.length = 0
  await root.enter(env)
  expect(root.printed).toEqual([`Starting /usr/bin/pgbouncer ${root.ini}...`])
  expect(root.warned).toEqual([])
  expect(readFileSync(root.userlist, 'utf8').split('\n')).toHaveLength(2)
})

test('edoburu/pgbouncer: a mounted file stays, and what the environment wants otherwise is named', async () => {
  using root = makeRoot()
  const mounted = '[databases]\n[pgbouncer]\nlisten_port = 7000\n'
  root.put(root.ini, mounted)
  await root.enter({ DB_HOST: 'db', DB_USER: 'sam', DB_PASSWORD: 'sam', POOL_MODE: 'session', AUTH_TYPE: 'plain' })
  expect(readFileSync(root.ini, 'utf8')).toBe(mounted)
  expect(readFileSync(root.userlist, 'utf8')).toBe('"sam" "sam"\n')
  expect(root.warned).toEqual([`${root.ini} is there and stays as it is; without effect on it: DB_HOST, POOL_MODE`])
})

test('a mounted file alone is run as it is, and nothing is written', async () => {
  using root = makeRoot()
  root.put(root.ini, '[databases]\n[pgbouncer]\n')
  expect(await root.enter({ PATH: '/bin' })).toEqual({ kind: 'own', words: [root.ini] })
  expect(existsSync(root.userlist)).toBe(false)
  expect(root.warned).toEqual([])
})

test('users are added to an auth_file of any name, each once, whatever its last line', async () => {
  using root = makeRoot()
  const file = join(root.etc, 'users')
  root.put(file, '"ann" "x"\n"bob" "y"')
  const env = {
    DATABASE_URLS: 'postgres://ann:1@h/a,postgres://eve:"2"@h/b,postgres://eve:3@h/c',
    AUTH_FILE: file,
    AUTH_TYPE: 'scram-sha-256',
  }
  await root.enter(env)
  expect(readFileSync(file, 'utf8')).toBe('"ann" "x"\n"bob" "y"\n"eve" """2"""\n')
  expect((await loadConfig(root.ini)).settings.auth_file).toBe(file)
})

test.each([
  [{}, 'Setup pgbouncer config error! You must set DB_HOST env'],
  [{ DB_USER: 'sam', DB_PASSWORD: 'topsecret' }, 'Setup pgbouncer config error! You must set DB_HOST env'],
  [{ DB_HOST: 'h', PGBOUNCER_POOL_MOD: '1' }, 'unknown variable PGBOUNCER_POOL_MOD: did you mean PGBOUNCER_POOL_MODE?'],
  [{ DB_HOST: 'h', POOL_MODE: 'zork' }, 'invalid value "zork" for parameter pool_mode in configuration'],
  [{ DATABASES: 'a = host=h password=topsecret zork' }, 'syntax error in connection string'],
  [{ DATABASES_HOST: 'h', DATABASES_PASSWORD: 'topsecret', PGBOUNCER_LISTEN_PORT: 'x' }, 'parameter listen_port'],
])('what is wrong in %j is told, and nothing is written', async (env: Record<string, string>, text) => {
  using root = makeRoot()
  const failure = await root.enter(env).then(
    () => new Error('it was accepted'),
    (error: Error) => error,
  )
  expect(failure.message).toContain(text)
  expect(failure.message).not.toContain('topsecret')
  expect(root.printed).toEqual([])
  expect(existsSync(root.ini) || existsSync(root.userlist)).toBe(false)
})

test.each([
  [['sh', '-c', 'true'], { kind: 'foreign', words: ['sh', '-c', 'true'] }],
  [['tsbouncer', '--version'], { kind: 'own', words: ['--version'] }],
  [['/opt/pgbouncer/pgbouncer', '-q', '/x.ini'], { kind: 'own', words: ['-q', '/x.ini'] }],
])('a command that has nothing to do with the file needs no configuration: %j', async (words, expected) => {
  using root = makeRoot()
  expect(await root.enter({}, words)).toEqual(expected)
})

test('options alone are for the pooler, as are no words at all', async () => {
  using root = makeRoot()
  root.put(root.ini, '[databases]\n[pgbouncer]\n')
  expect(await root.enter({}, ['-v'])).toEqual({ kind: 'own', words: ['-v', root.ini] })
  expect(await root.enter({}, [])).toEqual({ kind: 'own', words: [root.ini] })
})

test.skipIf(isRoot)('a folder that cannot be written to is told by its name', async () => {
  using root = makeRoot()
  mkdirSync(root.etc, { recursive: true })
  chmodSync(root.etc, 0o500)
  await expect(root.enter({ DATABASES: 'a = host=h' })).rejects.toThrow(`cannot use ${root.ini}: EACCES`)
})

test('the command runs the pooler in its own process, and ping finds it', async () => {
  using root = makeRoot()
  const port = String(await findFreePort())
  const env = {
    DATABASES: 'a = host=127.0.0.1',
    PGBOUNCER_LISTEN_ADDR: '127.0.0.1',
    PGBOUNCER_LISTEN_PORT: port,
    PGBOUNCER_UNIX_SOCKET_DIR: root.path,
    ...(isRoot && { PGBOUNCER_USER: 'nobody' }),
  }
  await using pooler = run(['docker-entrypoint', '--root', root.path, 'pgbouncer'], env)
  await pooler.says('process up: PgBouncer')
  expect(pooler.stdout).toContain('Starting pgbouncer.\n')
  expect(pooler.lines()).toContain(`LOG listening on 127.0.0.1:${port}`)

  await using found = run(['ping', root.ini])
  expect(await found.ended).toBe(0)
  expect(found.stdout).toBe(`127.0.0.1:${port} - accepting connections\n`)

  pooler.kill('SIGTERM')
  expect(await pooler.ended).toBe(0)
  expect(pooler.stderr).not.toContain('closing because')

  await using lost = run(['ping', root.ini])
  expect(await lost.ended).toBe(1)
  expect(lost.stderr).toBe(`127.0.0.1:${port} - no response: ECONNREFUSED\n`)
})

test('ping asks at the Unix socket where there is no address', async () => {
  using root = makeRoot()
  const answering = createServer((socket) => socket.once('data', () => socket.end('N')))
  await new Promise<void>((resolve) => answering.listen(join(root.path, '.s.PGSQL.6432'), resolve))
  root.put(root.ini, `[databases]\n[pgbouncer]\nunix_socket_dir = ${root.path}\n`)
  await using found = run(['ping', root.ini])
  expect(await found.ended).toBe(0)
  expect(found.stdout).toBe(`${root.path}/.s.PGSQL.6432 - accepting connections\n`)
  answering.close()
})

test('ping is not deceived by another program, nor by one that closes', async () => {
  using root = makeRoot()
  let answer = 'HTTP/1.1 400 Bad Request'
  const other = createServer((socket) => {
    socket.on('error', () => {}).end(answer)
  })
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
  const { port } = other.address() as { port: number }
  root.put(root.ini, `[databases]\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = ${port}\n`)
  await using deceived = run(['ping', root.ini])
  expect(await deceived.ended).toBe(1)
  expect(deceived.stderr).toBe(`127.0.0.1:${port} - something else listens there\n`)
  answer = ''
  await using closed = run(['ping', root.ini])
  expect(await closed.ended).toBe(1)
  expect(closed.stderr).toContain('no response')
  other.close()
})

test('another program gets the signals, and its exit code is ours', async () => {
  using root = makeRoot()
  const script = "process.on('SIGTERM', () => process.exit(7)); console.error('here'); setInterval(() => {}, 1000)"
  const words = ['docker-entrypoint', '--root', root.path, process.execPath, '-e', script]
  await using entrypoint = run(words)
  await entrypoint.says('here')
  entrypoint.kill('SIGTERM')
  expect(await entrypoint.ended).toBe(7)
})

test('a program that is not there is told as by a shell', async () => {
  using root = makeRoot()
  await using entrypoint = run(['docker-entrypoint', '--root', root.path, '/no/such/program'])
  expect(await entrypoint.ended).toBe(127)
  expect(entrypoint.stderr).toContain('could not run /no/such/program')
})
