// Programs in other languages that use the console, built in a folder outside of the repository that is kept between runs.

import { execFile } from 'node:child_process'
import { access, constants, cp, mkdir, stat } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const sources = join(dirname(fileURLToPath(import.meta.url)), 'consumers')
const builds = { timeout: 280_000 }

/** Is a program in the PATH? */
export async function isInstalled(program: string): Promise<boolean> {
  const found = (process.env.PATH ?? '').split(delimiter).map((folder) => access(join(folder, program), constants.X_OK))
  return Promise.any(found).then(
    () => true,
    () => false,
  )
}

/** The copied sources of one language, in a folder that is nobody else's, since what lies there is run. */
async function workspace(language: string): Promise<string> {
  const { uid, username } = userInfo()
  const own = join(tmpdir(), `tsbouncer-compat-${username}`)
  await mkdir(own, { recursive: true, mode: 0o700 })
  if ((await stat(own)).uid !== uid) throw new Error(`${own} belongs to another user`)
  const folder = join(own, language)
  await cp(join(sources, language), folder, { recursive: true })
  return folder
}

/** A virtual environment with psycopg 3 and the exporter of PyPI, beside our own programs. */
export async function buildPython(): Promise<string> {
  const folder = await workspace('python')
  const pip = join(folder, 'venv', 'bin', 'pip')
  await runProgram('python3', ['-m', 'venv', join(folder, 'venv')], builds)
  await runProgram(pip, ['install', '--quiet', '--requirement', join(folder, 'requirements.txt')], builds)
  // What it asks for is too old for today's Python; the requirements above have it in versions that work.
  await runProgram(pip, ['install', '--quiet', '--no-deps', 'prometheus-pgbouncer-exporter==2.1.2'], builds)
  return folder
}

export async function buildGo(): Promise<string> {
  const folder = await workspace('go')
  await runProgram('go', ['build', '-o', 'console', '.'], { ...builds, cwd: folder })
  return join(folder, 'console')
}

/** @returns its standard output; rejects with what it said where it fails */
export async function runProgram(
  file: string,
  args: readonly string[],
  options: { readonly env?: NodeJS.ProcessEnv; readonly cwd?: string; readonly timeout?: number } = {},
): Promise<string> {
  const { env, cwd, timeout = 30_000 } = options
  const { stdout } = await promisify(execFile)(file, args, {
    encoding: 'utf8',
    timeout,
    maxBuffer: 16 * 1024 * 1024,
    env: { ...process.env, ...env },
    ...(cwd !== undefined && { cwd }),
  })
  return stdout
}
