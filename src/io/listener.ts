// Where clients come in: TCP addresses, a Unix socket, and sockets that somebody else opened for us.

import { chmodSync, chownSync, fstatSync, readFileSync, rmSync, statSync } from 'node:fs'
import { createServer, type Socket as NetSocket, connect as netConnect, type Server } from 'node:net'
import { refused, tcpFailure, unixFailure } from './listen-failure.js'
import { isClosedToOthers, isKnownClosed } from './socket-access.js'

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

/** A listening socket of whoever started us, who keeps it: who connects while nobody accepts has to wait, but is not refused. */
export interface InheritedOptions {
  readonly kind: 'inherited'
  readonly fd: number
  /** What connections are said to have come to, if it is a Unix socket. */
  readonly port: number
  readonly backlog: number
}

/** What a socket's address has room for; libuv would cut the rest off without a word. */
const longestPath = process.platform === 'linux' ? 107 : 103

/** Node on Windows has named pipes in their place. */
export const hasUnixSockets: boolean = process.platform !== 'win32'

export type ListenOptions = TcpOptions | UnixOptions | InheritedOptions

/** Does this version of Node.js know SO_REUSEPORT? Others would pass over `reusePort` without a word. */
export const canReusePort =
  isAtLeast(process.versions.node, [23, 1]) || /^22\.(1[2-9]|[2-9]\d)\./.test(process.versions.node)

/** A connection as it was accepted, not read from yet. `isOwnUser`: only our own user can have opened it. */
export type OnConnection = (socket: NetSocket, kind: 'tcp' | 'unix', isOwnUser: boolean) => void

interface Opened {
  readonly server: Server
  readonly kind: 'tcp' | 'unix'
  readonly description: string
  readonly port: number
  /** Of a file that goes with the listener. */
  readonly path?: string
  readonly isInherited?: boolean
}

export class Listener {
  /** As the log has it: `127.0.0.1:6432`, `[::1]:6432`, `unix:/tmp/.s.PGSQL.6432`. */
  readonly description: string
  readonly kind: 'tcp' | 'unix'
  readonly port: number
  readonly isInherited: boolean
  private readonly server: Server
  private readonly path: string

  private constructor({ server, kind, description, port, path = '', isInherited = false }: Opened) {
    this.server = server
    this.kind = kind
    this.description = description
    this.port = port
    this.path = path
    this.isInherited = isInherited
  }

  /** @throws Error with a text that names the setting, and the system's code, such as EADDRINUSE, if there is one */
  static async open(options: ListenOptions, onConnection: OnConnection): Promise<Listener> {
    switch (options.kind) {
      case 'tcp':
        return Listener.tcp(options, onConnection)
      case 'unix':
        return Listener.unix(options, onConnection)
      case 'inherited':
        return Listener.inherited(options, onConnection)
    }
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
    }).catch((error: Error) => {
      throw tcpFailure(error, host, options.port)
    })
    const address = server.address()
    const port = typeof address === 'object' && address !== null ? address.port : options.port
    return new Listener({ server, kind: 'tcp', description: hostAndPort(host ?? '*', port), port })
  }

  private static async unix(options: UnixOptions, onConnection: OnConnection): Promise<Listener> {
    const { folder } = options
    const name = `.s.PGSQL.${options.port}`
    const isAbstract = folder.startsWith('@')
    const path = isAbstract ? `\0${folder.slice(1)}/${name}` : `${folder}/${name}`
    if (Buffer.byteLength(path) > longestPath) {
      throw refused(`unix_socket_dir: ${folder}/${name} is too long for a socket: set a folder with a shorter path`)
    }
    if (!isAbstract) {
      // libuv would report EACCES for it, as Windows does.
      if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true) {
        throw refused(
          `unix_socket_dir: there is no folder ${folder}: make it, set another, or none to listen by TCP alone`,
        )
      }
      await removeStale(path)
    }
    const server = createServer({ pauseOnConnect: true })
    let isOwnUser = false
    server.on('connection', (socket) => onConnection(socket, 'unix', isOwnUser))
    // The mask makes the socket with its final permissions: there is no moment in which others could get in.
    const mask = process.umask(0o777 & ~options.mode)
    try {
      await listening(server, { path, backlog: options.backlog })
    } catch (error) {
      throw unixFailure(error as Error, folder, path.replace('\0', '@'))
    } finally {
      process.umask(mask)
    }
    if (!isAbstract) {
      try {
        setAccess(path, options)
      } catch (error) {
        server.close()
        throw error
      }
      isOwnUser = isClosedToOthers(path)
    }
    const description = isAbstract ? `unix:${folder}/${name}` : `unix:${path}`
    return new Listener({ server, kind: 'unix', description, port: options.port, path: isAbstract ? '' : path })
  }

  private static async inherited(
    { fd, port, backlog }: InheritedOptions,
    onConnection: OnConnection,
  ): Promise<Listener> {
    const path = unixPath(checkInherited(fd))
    const server = createServer({ pauseOnConnect: true, noDelay: true })
    await listening(server, { fd, backlog }).catch((error: NodeJS.ErrnoException) => {
      throw refused(`file descriptor ${fd} is not a socket to listen at: ${error.message}`)
    })
    const address = server.address()
    if (typeof address === 'object' && address !== null) {
      server.on('connection', (socket) => onConnection(socket, 'tcp', false))
      const description = hostAndPort(address.address, address.port)
      return new Listener({ server, kind: 'tcp', description, port: address.port, isInherited: true })
    }
    const isOwnUser = isKnownClosed(path)
    server.on('connection', (socket) => onConnection(socket, 'unix', isOwnUser))
    return new Listener({ server, kind: 'unix', description: `unix:${path}`, port, isInherited: true })
  }

  /**
   * Takes no more connections; those accepted go on. Who stands in the kernel's queue by then is let in by whoever has the
   * same socket, if it was inherited; else the connection is reset, also where others listen on the port by SO_REUSEPORT
   * (Linux 5.14 gives it to these if `net.ipv4.tcp_migrate_req` is 1).
   */
  close(): void {
    this.server.close()
    if (this.path !== '') rmSync(this.path, { force: true })
  }
}

function isAtLeast(version: string, [major, minor]: readonly [number, number]): boolean {
  const [ownMajor = 0, ownMinor = 0] = version.split('.').map(Number)
  return ownMajor > major || (ownMajor === major && ownMinor >= minor)
}

/** `127.0.0.1:6432`, `[::1]:6432` */
export function hostAndPort(host: string, port: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
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

/** @returns the number of the socket in the kernel */
function checkInherited(fd: number): number {
  try {
    const file = fstatSync(fd)
    if (file.isSocket()) return file.ino
  } catch (error) {
    throw refused(`file descriptor ${fd} is not open: ${(error as Error).message}`)
  }
  throw refused(`file descriptor ${fd} is not a socket`)
}

/** Of a Unix socket: its path, `@name` if it is abstract. Linux tells; elsewhere, and for a socket of TCP, ''. */
function unixPath(inode: number): string {
  try {
    const row = new RegExp(`^(?:\\S+ +){6}${inode} (.+)$`, 'm').exec(readFileSync('/proc/net/unix', 'utf8'))
    return row?.[1] ?? ''
  } catch {
    return ''
  }
}

/** Removes a socket file that nobody listens at any more. */
async function removeStale(path: string): Promise<void> {
  if (statSync(path, { throwIfNoEntry: false })?.isSocket() !== true) return
  const isAlive = await new Promise<boolean>((resolve) => {
    const probe = netConnect(path, () => {
      probe.destroy()
      resolve(true)
    })
    probe.on('error', (error: NodeJS.ErrnoException) =>
      resolve(error.code !== 'ENOENT' && error.code !== 'ECONNREFUSED'),
    )
  })
  if (isAlive) {
    // pgbouncer's words, and how to go on.
    throw refused(
      `unix socket is in use, cannot continue: another process listens at ${path}: ` +
        'end it, or set another unix_socket_dir or listen_port',
    )
  }
  rmSync(path, { force: true })
}

/** `unix_socket_mode` and `unix_socket_group`. */
function setAccess(path: string, { mode, group }: UnixOptions): void {
  try {
    chmodSync(path, mode)
  } catch (error) {
    throw refused(`unix_socket_mode: cannot be set for ${path}: ${(error as Error).message}`, error as Error)
  }
  if (group === '') return
  const id = groupId(group)
  try {
    chownSync(path, process.getuid?.() ?? -1, id)
  } catch (error) {
    throw refused(
      `unix_socket_group: cannot give ${path} to group "${group}", of which this user must be a member: ` +
        (error as Error).message,
      error as Error,
    )
  }
}

function groupId(name: string): number {
  if (/^\d+$/.test(name)) return Number(name)
  const line = readFileSync('/etc/group', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith(`${name}:`))
  const id = Number(line?.split(':')[2])
  if (line === undefined || !Number.isInteger(id)) {
    throw refused(`unix_socket_group: there is no group "${name}": name one of /etc/group, or give its number`)
  }
  return id
}
