// PostgreSQL's programs, seen to run: as they are, or out of an npm package, where npm may have left them half installed.

import { access, chmod, cp, readFile, rm, symlink } from 'node:fs/promises'
import { dirname, join, relative, resolve } from 'node:path'
import { DemoError } from './demo-error.js'
import { runProgram } from './program.js'
import type { ServerUser } from './server-user.js'
import type { Source } from './source.js'

export interface Binaries {
  readonly initdb: string
  readonly postgres: string
  /** As PostgreSQL says it: `18.4`. */
  readonly version: string
  /** `18` of `18.4`. */
  readonly major: number
  /** Whom they run as; undefined is ourselves. */
  readonly user: ServerUser | undefined
}

export interface BinariesWanted {
  readonly user: ServerUser | undefined
  /** A folder that need not exist: a private copy goes there if one is needed. Whoever calls removes it. */
  readonly copyTo: string
  readonly signal?: AbortSignal
}

/**
 * Programs that were seen to run: where they are, or once the links between libraries that npm has not made are there,
 * or as a copy (node_modules not ours to write, or in a folder that the user may not enter).
 */
export async function prepareBinaries({ kind, folder }: Source, wanted: BinariesWanted): Promise<Binaries> {
  const { copyTo, signal } = wanted
  signal?.throwIfAborted()
  if (kind === 'programs') {
    const binaries = await tryBinaries(folder, wanted)
    if (binaries instanceof DemoError) throw new DemoError(`PG_BIN=${folder} does not do: ${binaries.message}`)
    return binaries
  }
  const links = await readLinks(folder)
  const linked = await makeLinks(folder, links)
  const inPlace = linked ? await tryBinaries(programsOf(folder), wanted) : undefined
  if (inPlace !== undefined && !(inPlace instanceof DemoError)) return inPlace

  try {
    await copyPackage(folder, copyTo, links, wanted)
  } catch (error) {
    signal?.throwIfAborted()
    const why = inPlace === undefined ? 'links between libraries are missing' : inPlace.message
    throw new DemoError(`cannot run PostgreSQL from ${folder} (${why}), nor copy it from there: ${messageOf(error)}`)
  }
  const copy = await tryBinaries(programsOf(copyTo), wanted)
  if (copy instanceof DemoError) throw copy
  return copy
}

/** In the folder of a package. */
function programsOf(folder: string): string {
  return join(folder, 'native', 'bin')
}

interface Link {
  /** Both relative to the package's folder. */
  readonly source: string
  readonly target: string
}

// npm packs no links; the package brings a list of them for a postinstall script, which npm may be told not to run.
async function readLinks(folder: string): Promise<readonly Link[]> {
  const text = await readFile(join(folder, 'native', 'pg-symlinks.json'), 'utf8').catch(() => '[]')
  return JSON.parse(text) as readonly Link[]
}

/** False where one is missing that we cannot make. */
async function makeLinks(folder: string, links: readonly Link[]): Promise<boolean> {
  const made = await Promise.all(links.map((link) => makeLink(folder, link)))
  return made.every(Boolean)
}

async function makeLink(folder: string, { source, target }: Link): Promise<boolean> {
  const path = resolve(folder, target)
  try {
    await symlink(relative(dirname(target), source), path).catch(() => {}) // mostly: there already
    await access(path) // through it, to the library
    return true
  } catch {
    return false
  }
}

/** Runs both as the user who will: this proves the path, the permissions, the libraries and the C library at once. */
async function tryBinaries(folder: string, { user, signal }: BinariesWanted): Promise<Binaries | DemoError> {
  const initdb = join(folder, 'initdb')
  const postgres = join(folder, 'postgres')
  try {
    await runProgram(initdb, ['--version'], { user, signal })
    const said = await runProgram(postgres, ['--version'], { user, signal })
    const version = /[\d.]+/.exec(said)?.[0] ?? said.trim()
    return { initdb, postgres, version, major: Number.parseInt(version, 10), user }
  } catch (error) {
    if (error instanceof DemoError) return error
    throw error
  }
}

async function copyPackage(from: string, to: string, links: readonly Link[], wanted: BinariesWanted): Promise<void> {
  const { user, signal } = wanted
  await rm(to, { recursive: true, force: true })
  // Links that exist may be copied as files or as links to the original: ours are made anew.
  const left = new Set(links.map((link) => resolve(from, link.target)))
  await cp(join(from, 'native'), join(to, 'native'), {
    recursive: true,
    filter: (path) => !left.has(resolve(path)) && !path.endsWith('.a'), // .a: for linking C programs only
  })
  await runProgram('chmod', ['-R', 'u+rwX', to], { signal }) // a read-only original gives a read-only copy
  await makeLinks(to, links)
  for (const program of ['initdb', 'postgres']) await chmod(join(programsOf(to), program), 0o755)
  if (user !== undefined) await runProgram('chown', ['-R', `${user.uid}:${user.gid}`, to], { signal })
  signal?.throwIfAborted()
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
