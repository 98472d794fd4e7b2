// The package as npm packs it, in a folder where only its production dependencies are.

import { execFile } from 'node:child_process'
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { versionText } from '../src/observe/version.js'

const run = promisify(execFile)
const root = new URL('..', import.meta.url).pathname
let folder = ''
let files: string[] = []

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tsbouncer-package-'))
  const modules = join(folder, 'node_modules')
  const own = join(modules, 'tsbouncer')
  await mkdir(join(modules, '.bin'), { recursive: true })
  await mkdir(own)
  const packed = await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], { cwd: root })
  const [tarball] = JSON.parse(packed.stdout) as [{ filename: string; files: { path: string }[] }]
  files = tarball.files.map(({ path }) => path)
  await run('tar', ['-xzf', join(folder, tarball.filename), '-C', own, '--strip-components=1'])
  // As `npm install` does, without a network.
  const { bin, dependencies } = JSON.parse(await readFile(join(own, 'package.json'), 'utf8'))
  for (const name of Object.keys(dependencies)) {
    await mkdir(dirname(join(modules, name)), { recursive: true })
    await symlink(join(root, 'node_modules', name), join(modules, name))
  }
  for (const [name, path] of Object.entries<string>(bin)) {
    await chmod(join(own, path), 0o755)
    await symlink(join('..', 'tsbouncer', path), join(modules, '.bin', name))
  }
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }')
}, 60_000)

afterAll(() => rm(folder, { recursive: true, force: true }))

/** Runs a script as a module of that folder; what it prints as JSON. */
async function evaluate(script: string): Promise<unknown> {
  const file = join(folder, 'script.js')
  await writeFile(file, script)
  return JSON.parse((await run(process.execPath, [file])).stdout)
}

test('has what is needed, and nothing of how it is made', () => {
  expect(files).toEqual(
    expect.arrayContaining([
      'LICENSE',
      'README.md',
      'CHANGELOG.md',
      'pgbouncer.ini.example',
      'docs/settings.md',
      'dist/index.js',
      'dist/index.d.ts',
      'dist/process/main.js',
    ]),
  )
  expect(files.filter((path) => /^(src|test|bench|build|node_modules|\.)/.test(path))).toEqual([])
})

test.each(['tsbouncer', 'pgbouncer'])('%s is a command, and says which version it is', async (name) => {
  const { stdout } = await run(join(folder, 'node_modules', '.bin', name), ['--version'])
  expect(stdout.split('\n')[0]).toBe(versionText)
})

test('has these names for other programs, and no more', async () => {
  expect(await evaluate(`console.log(JSON.stringify(Object.keys(await import('tsbouncer')).sort()))`)).toEqual(
    ['AdminError', 'ConfigError', 'PgError', 'createLog', 'createPooler', 'loadConfig', 'logTo', 'silentLog'].sort(),
  )
  const inside = `import('tsbouncer/dist/pooler.js').catch(({ code }) => console.log(JSON.stringify(code)))`
  expect(await evaluate(inside)).toBe('ERR_PACKAGE_PATH_NOT_EXPORTED')
})

test('is a library that starts, shows and stops', async () => {
  const script = `
    import { createPooler } from 'tsbouncer'
    const config = { pgbouncer: { unix_socket_dir: '', auth_type: 'trust' }, databases: { app: { host: '127.0.0.1' } } }
    const pooler = createPooler({ config })
    await pooler.start()
    const rows = await pooler.show('databases')
    await pooler.close()
    console.log(JSON.stringify(rows.map((row) => row.name)))`
  expect(await evaluate(script)).toContain('app')
})

test('CommonJS has it, too', async () => {
  const script = join(folder, 'script.cjs')
  await writeFile(script, `console.log(typeof require('tsbouncer').createPooler)`)
  const { stdout, stderr } = await run(process.execPath, [script])
  expect([stdout, stderr]).toEqual(['function\n', ''])
})

/** What must compile, and behind each @ts-expect-error what must not: that would be an error of its own. */
const typed = `
import { createLog, createPooler, logTo, type ShowName, type ShowRow } from 'tsbouncer'
import type { Socket } from 'node:net'

const pooler = createPooler({
  log: createLog({ log_format: 'json', syslog_facility: 'local0' }),
  config: {
    pgbouncer: {
      pool_mode: 'transaction', listen_port: 6432, max_client_conn: '100', log_stats: false, tcp_keepalive: 1,
      admin_users: ['a', 'b'], stats_users: 'c,d', server_tls_protocols: ['tlsv1.2', '!tlsv1.3'], auth_user: undefined,
    },
    databases: {
      app: { host: ['a', 'b'], port: [1, 2], password: 'secret', pool_size: 3, pool_mode: 'session', sslmode: 'require' },
      url: 'postgres://a/b', '*': {},
    },
    users: { sam: { pool_mode: 'statement', query_timeout: 2.5 } },
    peers: { 1: { host: 'other', port: 6432 } },
  },
})

// @ts-expect-error
createPooler({ config: { pgbouncer: { pool_mode: 'transactions' } } })
// @ts-expect-error
createPooler({ config: { pgbouncer: { pol_mode: 'transaction' } } })
// @ts-expect-error
createPooler({ config: { pgbouncer: { default_pool_size: 'twenty' } } })
// @ts-expect-error
createPooler({ config: { pgbouncer: { log_stats: 'yes' } } })
// @ts-expect-error
createPooler({ config: { pgbouncer: { listen_port: [1] } } })
// @ts-expect-error
createPooler({ config: { pgbouncer: { server_tls_protocols: 'tlsv1.4' } } })
// @ts-expect-error
createPooler({ config: { pgbouncer: { auth_type: 'scram' } } })
// @ts-expect-error
createPooler({ config: { databases: { app: { pool_mode: 'transactions' } } } })
// @ts-expect-error
createPooler({ config: { databases: { app: { hots: 'a' } } } })
// @ts-expect-error
createPooler({ config: { databases: { app: { sslmode: 'required' } } } })
// @ts-expect-error
createPooler({ config: { databases: { app: { pool_size: 'all' } } } })
// @ts-expect-error
createPooler({ config: { users: { sam: { pool_mode: 'transactions' } } } })
// @ts-expect-error
createPooler({ config: { peers: { 1: { host: 1 } } } })
// @ts-expect-error
createPooler({ config: { database: {} } })
// @ts-expect-error
createLog({ syslog_facility: 'daemmon' })
// @ts-expect-error
await pooler.shutdown('gracefully')
// @ts-expect-error
await pooler.show('poools')
// @ts-expect-error
await pooler.show('help')

const [pool] = await pooler.show('pools')
const waiting: number = pool!.cl_waiting
const hosts: string | null = pool!.load_balance_hosts
const mode: 'session' | 'transaction' | 'statement' = pool!.pool_mode
const wait: number = pool!.maxwait + pool!.maxwait_us
// @ts-expect-error
pool!.cl_wating
// @ts-expect-error
const text: string = pool!.cl_active
// @ts-expect-error
const host: string = pool!.load_balance_hosts
const since: Date | undefined = (await pooler.show('CLIENTS'))[0]?.connect_time
const session: string | undefined = (await pooler.show('clients'))[0]?.session
const [stats] = await pooler.show('stats')
const sums: [number, number | undefined] = [stats!.total_xact_count, stats!.total_session_lock_count]
const state: ShowRow<'state'> = { key: 'active', value: 'yes' }
const name: ShowName = 'dns_hosts'
const socket: Socket = pooler.connect()
export { hosts, logTo, mode, name, session, since, socket, state, sums, text, host, wait, waiting }
`

test.each([
  ['nodenext', 'nodenext'],
  ['preserve', 'bundler'],
])('its types are strict, and do for a project of module %s', async (module, moduleResolution) => {
  await mkdir(join(folder, 'node_modules/@types'), { recursive: true })
  for (const name of ['@types/node', 'undici-types']) {
    await symlink(join(root, 'node_modules', name), join(folder, 'node_modules', name)).catch(() => {})
  }
  const compilerOptions = { module, moduleResolution, target: 'es2022', strict: true, noEmit: true, types: ['node'] }
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['typed.ts'] }))
  await writeFile(join(folder, 'typed.ts'), typed)
  const compiled = await run(process.execPath, [join(root, 'scripts/compile.js'), '-p', folder]).catch((error) => error)
  expect(compiled.stdout).toBe('')
})

test('the lock file has the packages of every platform, without which npm ci refuses it, and names no registry', async () => {
  const text = await readFile(join(root, 'package-lock.json'), 'utf8')
  expect(text).not.toMatch(/"resolved"|registry\./)
  const { packages } = JSON.parse(text) as { packages: Record<string, { optionalDependencies?: object }> }
  const missing = Object.entries(packages).flatMap(([at, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies).filter(
      (name) => !(`node_modules/${name}` in packages || `${at}/node_modules/${name}` in packages),
    ),
  )
  expect(missing).toEqual([])
})
