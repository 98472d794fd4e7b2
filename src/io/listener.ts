// Where clients come in: TCP addresses and a Unix socket.

import { chmodSync, chownSync, readFileSync, rmSync, statSync } from 'node:fs'
import { createServer, type Socket as NetSocket, connect as netConnect, type Server } from 'node:net'

export interface TcpOptions {
  readonly kind: 'tcp'
  /** `*` is every address of the machine. */
  readonly host: string
  readonly port: number
  readonly backlog: number
  /** SO_REUSEPORT: several poolers on one port. */
  readonly reusePort: boolean
}

export interface UnixOptions {
  readonly kind: 'unix'
  readonly folder: string
  readonly port: number
  readonly backlog: number
  readonly mode: number
  /** Name of a group, or ''. */
  readonly group: string
}

/** Node on Windows has named pipes in their place. */
export const hasUnixSockets: boolean = process.platform !== 'win32'

export type ListenOptions = TcpOptions | UnixOptions

/** Does this version of Node.js know SO_REUSEPORT? Others would pass over `reusePort` without a word. */
export const canReusePort =
  isAtLeast(process.versions.node, [23, 1]) || /^22\.(1[2-9]|[2-9]\d)\./.test(process.versions.node)

/** A connection as it was accepted, not read from yet. `isOwnUser`: only our own user can have opened it. */
export type OnConnection = (socket: NetSocket, kind: 'tcp' | 'unix', isOwnUser: boolean) => void

export class Listener {
  /** As the log has it: `127.0.0.1:6432`, `[::1]:6432`, `unix:/tmp/.s.PGSQL.6432`. */
  readonly description: string
  readonly kind: 'tcp' | 'unix'
  readonly port: number
  private readonly server: Server
  private readonly path: string

  private constructor(server: Server, kind: 'tcp' | 'unix', description: string, port: number, path: string) {
    this.server = server
    this.kind = kind
    this.description = description
    this.port = port
    this.path = path
  }

  /** @throws Error of the system, such as EADDRINUSE, or `unix socket is in use, cannot continue` */
  static async open(options: ListenOptions, onConnection: OnConnection): Promise<Listener> {
    return options.kind === 'tcp' ? Listener.tcp(options, onConnection) : Listener.unix(options, onConnection)
  }

  private static async tcp(options: TcpOptions, onConnection: OnConnection): Promise<Listener> {
    const server = createServer({ pauseOnConnect: true, noDelay: true })
    server.on('connection', (socket) => onConnection(socket, 'tcp', false))
    const host = options.host === '*' ? undefined : options.host
    await listening(server, {
      port: options.port,
      ...(host !== undefined && { host }),
      backlog: options.backlog,
      ...(options.reusePort && { reusePort: true }),
    })
    const address = server.address()
    const port = typeof address === 'object' && address !== null ? address.port : options.port
    const name = host ?? '*'
    return new Listener(server, 'tcp', `${name.includes(':') ? `[${name}]` : name}:${port}`, port, '')
  }

  private static async unix(options: UnixOptions, onConnection: OnConnection): Promise<Listener> {
    const name = `.s.PGSQL.${options.port}`
    const isAbstract = options.folder.startsWith('@')
    const path = isAbstract ? `\0${options.folder.slice(1)}/${name}` : `${options.folder}/${name}`
    if (!isAbstract) await removeStale(path)
    const server = createServer({ pauseOnConnect: true })
    let isOwnUser = false
    server.on('connection', (socket) => onConnection(socket, 'unix', isOwnUser))
    // The mask makes the socket with its final permissions: there is no moment in which others could get in.
    const mask = process.umask(0o777 & ~options.mode)
    try {
      await listening(server, { path, backlog: options.backlog })
    } finally {
      process.umask(mask)
    }
    if (!isAbstract) {
      chmodSync(path, options.mode)
      if (options.group !== '') chownSync(path, process.getuid?.() ?? -1, groupId(options.group))
      isOwnUser = isClosedToOthers(path, options.folder)
    }
    const shown = isAbstract ? `unix:${options.folder}/${name}` : `unix:${path}`
    return new Listener(server, 'unix', shown, options.port, isAbstract ? '' : path)
  }

  /** Takes no more connections; those accepted go on. */
  close(): void {
    this.server.close()
    if (this.path !== '') rmSync(this.path, { force: true })
  }

  /** Keeps the process alive while listening, as a server does; a library may not want that. */
  unref(): void {
    this.server.unref()
  }
}

function isAtLeast(version: string, [major, minor]: readonly [number, number]): boolean {
  const [ownMajor = 0, ownMinor = 0] = version.split('.').map(Number)
  return ownMajor > major || (ownMajor === major && ownMinor >= minor)
}

/** An error that says all that is to be said, marked as the system's own are by its call. */
function refused(text: string): Error {
  return Object.assign(new Error(text), { syscall: 'listen' })
}

function listening(server: Server, options: object): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(options, () => {
      server.off('error', reject)
      server.on('error', () => {}) // running out of descriptors must not end the process: accept is tried again
      resolve()
    })
  })
}

/** Removes a socket file that nobody listens at any more. */
async function removeStale(path: string): Promise<void> {
  const isAlive = await new Promise<boolean>((resolve) => {
    const probe = netConnect(path, () => {
      probe.destroy()
      resolve(true)
    })
    probe.on('error', (error: NodeJS.ErrnoException) =>
      resolve(error.code !== 'ENOENT' && error.code !== 'ECONNREFUSED'),
    )
  })
  if (isAlive) throw refused('unix socket is in use, cannot continue')
  if (statSync(path, { throwIfNoEntry: false })?.isSocket()) rmSync(path, { force: true })
}

/**
 * May only our own user (and root) connect? Linux checks the write permission of the socket file, and the search
 * permission of its folder; either being ours alone is enough.
 */
function isClosedToOthers(path: string, folder: string): boolean {
  if (process.platform !== 'linux' || process.getuid === undefined) return false
  const uid = process.getuid()
  const socket = statSync(path)
  if (socket.uid === uid && (socket.mode & 0o022) === 0) return true
  const parent = statSync(folder)
  return parent.uid === uid && (parent.mode & 0o077) === 0
}

function groupId(name: string): number {
  if (/^\d+$/.test(name)) return Number(name)
  const line = readFileSync('/etc/group', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith(`${name}:`))
  const id = Number(line?.split(':')[2])
  if (!Number.isInteger(id)) throw refused(`could not find group "${name}" (unix_socket_group)`)
  return id
}
