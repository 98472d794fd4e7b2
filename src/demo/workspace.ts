// The folder that holds all of a cluster: made, used again, kept or removed.

import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { DemoError } from './demo-error.js'
import { type Guard, startGuard } from './guard.js'
import { runProgram } from './program.js'
import { giveTo, type ServerUser } from './server-user.js'

export interface WorkspaceWanted {
  /** A folder to use, made if absent, and kept; undefined is a temporary one. */
  readonly folder?: string | undefined
  /** Keeps a temporary folder too. */
  readonly keep?: boolean
  /** Whom the servers run as. */
  readonly user: ServerUser | undefined
  /** The names of the servers that have a folder in it; default: a primary and a standby. */
  readonly servers?: readonly string[]
}

/** Written last, once the servers have been initialised; its text is the layout's version. */
const marker = 'tsbouncer-demo'
const layout = '1\n'

export class Workspace implements AsyncDisposable {
  readonly path: string
  /** False where an earlier run has initialised the servers in it. */
  readonly isNew: boolean
  readonly user: ServerUser | undefined
  /** Whether the data are meant to outlive this run. */
  readonly keep: boolean
  readonly #isTemporary: boolean
  readonly #guard: Guard
  #complete: boolean

  private constructor(path: string, wanted: WorkspaceWanted, isNew: boolean) {
    this.path = path
    this.isNew = isNew
    this.user = wanted.user
    this.#isTemporary = wanted.folder === undefined
    this.keep = !this.#isTemporary || wanted.keep === true
    this.#complete = !isNew
    this.#guard = startGuard({
      data: serversOf(wanted).map((server) => this.data(server)),
      remove: this.keep ? undefined : path,
      user: wanted.user,
    })
  }

  /** Rejects with a DemoError: a folder with other things in it, of a demo that runs, or closed to the servers' user. */
  static async open(wanted: WorkspaceWanted): Promise<Workspace> {
    if (wanted.folder === undefined) return new Workspace(await makeTemporary(wanted.user), wanted, true)
    const path = resolve(wanted.folder)
    const isNew = await prepareFolder(path, wanted)
    if (!(await mayEnter(path, wanted.user))) {
      throw new DemoError(
        `user ${wanted.user?.name}, whom PostgreSQL runs as here, may not enter ${path}: ` +
          'choose another folder, or run this as an ordinary user',
      )
    }
    return new Workspace(path, wanted, isNew)
  }

  /** Whether `path` outlives `close`: meant to, and worth it. */
  get isKept(): boolean {
    return this.keep && this.#complete
  }

  data(server: string): string {
    return join(this.path, server)
  }

  file(name: string): string {
    return join(this.path, name)
  }

  /** Makes a folder that belongs to the servers' user, unless it is there. */
  async makeFolder(name: string, mode = 0o700): Promise<string> {
    const path = this.file(name)
    await mkdir(path, { mode, recursive: true })
    await giveTo(path, this.user)
    return path
  }

  /** The servers are initialised: a later run may use the folder again. */
  async complete(): Promise<void> {
    if (this.#complete) return
    await writeFile(this.file(marker), layout)
    this.#complete = true
  }

  /** After the servers have been stopped. Removes the folder unless it is kept; never half an initialisation. */
  async close(): Promise<void> {
    if (!this.isKept) {
      const entries = this.#isTemporary ? [''] : await readdir(this.path)
      for (const entry of entries) await remove(this.file(entry))
    }
    await remove(this.file('binaries'))
    await this.#guard.release()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

function serversOf({ servers = ['primary', 'standby'] }: WorkspaceWanted): readonly string[] {
  return servers
}

/** Makes it or looks into it; true where it is empty. */
async function prepareFolder(path: string, wanted: WorkspaceWanted): Promise<boolean> {
  const problem = (error: NodeJS.ErrnoException): never => {
    throw new DemoError(`cannot use ${path}: ${error.code ?? error.message}`)
  }
  const made = await mkdir(path, { recursive: true }).catch(problem)
  if (made !== undefined) await giveTo(path, wanted.user)
  const entries = await readdir(path).catch(problem)
  if (entries.length === 0) return true
  const found = await readFile(join(path, marker), 'utf8').catch(() => undefined)
  if (found === undefined) {
    throw new DemoError(
      `${path} has other files in it, or an unfinished demo: choose an empty folder, or remove it first`,
    )
  }
  if (found !== layout) throw new DemoError(`${path} was made by another version of the demo: remove it first`)
  for (const server of serversOf(wanted)) {
    const pid = await runningServer(join(path, server))
    if (pid === undefined) continue
    throw new DemoError(
      `${path} is in use: its ${server} runs with pid ${pid} (if that is another program, remove ${server}/postmaster.pid)`,
    )
  }
  return false
}

async function runningServer(data: string): Promise<number | undefined> {
  const pid = Number.parseInt(await readFile(join(data, 'postmaster.pid'), 'utf8').catch(() => ''), 10)
  if (!(pid > 0)) return undefined
  try {
    process.kill(pid, 0)
    return pid
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM' ? pid : undefined
  }
}

async function makeTemporary(user: ServerUser | undefined): Promise<string> {
  for (const parent of new Set([tmpdir(), '/tmp', '/var/tmp'])) {
    if (!(await mayEnter(parent, user))) continue
    const path = await mkdtemp(join(parent, 'tsbouncer-'))
    await giveTo(path, user)
    return path
  }
  throw new DemoError(`user ${user?.name} may not enter ${tmpdir()}: set TMPDIR to a folder that everyone may enter`)
}

/** Asked of the system rather than computed from permissions, which are not all there is (ACLs, mount options). */
async function mayEnter(path: string, user: ServerUser | undefined): Promise<boolean> {
  if (user === undefined) return true
  const answer = await runProgram('/bin/sh', ['-c', 'cd -- "$1" 2>/dev/null && echo yes || echo no', 'sh', path], {
    user,
  })
  return answer === 'yes\n'
}

async function remove(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
}
