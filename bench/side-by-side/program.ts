// Programs of this machine: is one installed, what does it print, and one that runs beside us until it is told to end.

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { access, constants } from 'node:fs/promises'
import { connect } from 'node:net'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

/** Where Debian puts what is not in everyone's PATH. */
const otherFolders = ['/usr/sbin', '/usr/local/sbin']

/** The path of an installed program, or undefined. */
export async function findProgram(name: string): Promise<string | undefined> {
  for (const folder of [...(process.env.PATH ?? '').split(delimiter), ...otherFolders]) {
    const path = join(folder, name)
    const found = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    )
    if (found) return path
  }
  return undefined
}

/** Without the caller's PG* variables, which libpq would listen to. */
const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('PG')))

/** Its standard output. Rejects with what it wrote to standard error if it fails or takes longer than `limit` ms. */
export async function run(program: string, args: readonly string[], limit: number): Promise<string> {
  const { stdout } = await promisify(execFile)(program, [...args], { env: environment, timeout: limit })
  return stdout
}

/** How long a program may take to listen, and to end when asked to, milliseconds. */
const patience = 10_000

export class Server implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #ended: Promise<unknown>
  #errors = ''

  private constructor(child: ChildProcess) {
    this.#child = child
    this.#ended = new Promise((resolve) => child.once('close', resolve).once('error', resolve))
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#errors = (this.#errors + text).slice(-4096)
    })
  }

  /** Resolves when it listens on `port` of this machine. Rejects with its last words if it ends instead. */
  static async start(program: string, args: readonly string[], port: number): Promise<Server> {
    const child = spawn(program, args, { env: environment, stdio: ['ignore', 'ignore', 'pipe'] })
    const server = new Server(child)
    const deadline = performance.now() + patience
    while (!(await isListening(port))) {
      if (child.exitCode !== null || child.pid === undefined || performance.now() > deadline) {
        await server[Symbol.asyncDispose]()
        throw new Error(`${program} did not start:\n${server.#errors}`)
      }
      await sleep(20)
    }
    return server
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** With SIGINT, which all that is started here takes for an orderly end; SIGKILL where that is not enough. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGINT')
    const killer = setTimeout(() => this.#child.kill('SIGKILL'), patience)
    await this.#ended
    clearTimeout(killer)
  }
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}
