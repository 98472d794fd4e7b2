// What builds and starts the programs of each language, in a folder outside of the repository that is kept between runs.

import { spawn } from 'node:child_process'
import { access, constants, cp, mkdir, stat } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

type Command = readonly [file: string, ...args: string[]]

interface Recipe {
  /** Programs that must be there. */
  readonly needs: readonly string[]
  /** In the folder of the copied sources. */
  readonly build: readonly Command[]
  /** Starts one program, from that folder. */
  readonly start: (program: string) => Command
}

const recipes = {
  libpq: { needs: ['sh', 'psql', 'pgbench', 'timeout'], build: [], start: (program) => ['sh', program] },
  python: {
    needs: ['python3'],
    build: [
      ['python3', '-m', 'venv', 'venv'],
      ['venv/bin/pip', 'install', '--quiet', '--requirement', 'requirements.txt'],
    ],
    start: (program) => ['venv/bin/python', program],
  },
  go: {
    needs: ['go'],
    build: [['go', 'build', '-o', 'bin/', './...']],
    start: (program) => [`bin/${program}`],
  },
  rust: {
    needs: ['cargo'],
    build: [['cargo', 'build', '--quiet', '--jobs', '2']],
    start: (program) => [`target/debug/${program}`],
  },
  java: {
    needs: ['java', 'mvn'],
    build: [['mvn', '--quiet', '--batch-mode', 'package', 'dependency:copy-dependencies']],
    start: (program) => ['java', '-cp', 'target/classes:target/dependency/*', program],
  },
  node: {
    needs: ['npm'],
    build: [['npm', 'install', '--silent', '--no-audit', '--no-fund', '--no-package-lock']],
    start: (program) => ['node', program],
  },
} as const satisfies Record<string, Recipe>

export type Toolchain = keyof typeof recipes

/** Milliseconds: the first build fetches and compiles the driver itself. */
const buildLimit = 25 * 60_000

const sources = dirname(fileURLToPath(import.meta.url))
const builds = new Map<Toolchain, Promise<string>>()

/** The first program that a toolchain needs and this machine lacks. */
export async function missing(toolchain: Toolchain): Promise<string | undefined> {
  for (const program of recipes[toolchain].needs) if (!(await isInstalled(program))) return program
  return undefined
}

/** Builds if that has not been done in this run; rejects with what the build said. */
export async function built(toolchain: Toolchain): Promise<string> {
  const folder = builds.get(toolchain) ?? build(toolchain)
  builds.set(toolchain, folder)
  return await folder
}

async function build(toolchain: Toolchain): Promise<string> {
  const folder = join(await ownFolder(), toolchain)
  await cp(join(sources, toolchain), folder, { recursive: true, preserveTimestamps: true })
  for (const command of recipes[toolchain].build) {
    const { code, output } = await runProgram(command, { cwd: folder, limit: buildLimit })
    if (code !== 0) throw new Error(`${command.join(' ')} ended with ${code}\n${output}`)
  }
  return folder
}

/** The folder with what was built; nobody else's, since what lies there is run. */
async function ownFolder(): Promise<string> {
  const { uid, username } = userInfo()
  const folder = join(tmpdir(), `tsbouncer-drivers-${username}`)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  if ((await stat(folder)).uid !== uid) throw new Error(`${folder} belongs to another user`)
  return folder
}

export interface Outcome {
  /** Exit code, or the signal that ended it. */
  readonly code: number | NodeJS.Signals | null
  /** Standard output and standard error. */
  readonly output: string
}

/** Starts one of a toolchain's programs in the folder where they were built, and waits for its end. */
export async function start(
  toolchain: Toolchain,
  program: string,
  options: { readonly env: NodeJS.ProcessEnv; readonly limit: number },
): Promise<Outcome> {
  const cwd = await built(toolchain)
  return await runProgram(recipes[toolchain].start(program), { cwd, ...options })
}

/** @throws the system's error where it can't be started */
function runProgram(
  [file, ...args]: Command,
  options: { readonly cwd: string; readonly env?: NodeJS.ProcessEnv; readonly limit: number },
): Promise<Outcome> {
  const { cwd, env, limit } = options
  const path = file.includes('/') ? join(cwd, file) : file
  const child = spawn(path, args, {
    cwd,
    env: { ...process.env, ...env },
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  return new Promise((resolve, reject) => {
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text
      })
    }
    const killer = setTimeout(() => {
      output += `\nended after ${limit / 1000} seconds\n`
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL') // with its children
    }, limit)
    child.once('error', reject)
    child.once('close', (code, signal) => {
      clearTimeout(killer)
      resolve({ code: code ?? signal, output })
    })
  })
}

async function isInstalled(program: string): Promise<boolean> {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const found = await access(join(folder, program), constants.X_OK).then(
      () => true,
      () => false,
    )
    if (found) return true
  }
  return false
}
