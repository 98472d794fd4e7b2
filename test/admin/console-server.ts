// AdminConsoles behind a TCP port, with a login that lets anyone in: for drivers, and for psql by hand.

import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import type { Role } from '../../src/admin/commands.js'
import { AdminConsole, consoleParameters } from '../../src/admin/console.js'
import type { Administration } from '../../src/control/status.js'

const cancelRequest = 80877102
const sslRequest = 80877103
const gssRequest = 80877104

export class ConsoleServer implements AsyncDisposable {
  /** What the consoles have logged. */
  readonly log: string[] = []
  readonly #server = createServer((socket) => this.#serve(socket))
  readonly #consoles = new Map<number, AdminConsole>()
  readonly #sockets = new Set<Socket>()
  readonly #administration: Administration
  readonly #role: Role

  private constructor(administration: Administration, role: Role) {
    this.#administration = administration
    this.#role = role
  }

  static async start(administration: Administration, role: Role = 'admin', port = 0): Promise<ConsoleServer> {
    const server = new ConsoleServer(administration, role)
    server.#server.listen(port, '127.0.0.1')
    await once(server.#server, 'listening')
    return server
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket)
    let unread = Buffer.alloc(0)
    let console: AdminConsole | undefined
    socket.setNoDelay(true)
    socket.on('error', () => socket.destroy())
    socket.on('close', () => console?.close())
    socket.on('drain', () => console?.drained())
    socket.on('data', (chunk) => {
      unread = Buffer.concat([unread, chunk])
      for (;;) {
        const head = console === undefined ? 0 : 1
        if (unread.length < head + 4) return
        const end = head + unread.readUInt32BE(head)
        if (unread.length < end) return
        const body = unread.subarray(head + 4, end)
        const code = unread.readUInt8(0)
        unread = unread.subarray(end)
        if (console === undefined) console = this.#login(socket, body)
        else console.receive(code, body)
      }
    })
  }

  #login(socket: Socket, body: Buffer): AdminConsole | undefined {
    const request = body.readUInt32BE(0)
    if (request === sslRequest || request === gssRequest) {
      socket.write('N')
      return undefined
    }
    if (request === cancelRequest) {
      this.#consoles.get(body.readUInt32BE(4))?.cancel()
      socket.end()
      return undefined
    }
    const to = (level: string) => (text: string) => void this.log.push(`${level} ${text}`)
    const console = new AdminConsole({
      administration: this.#administration,
      role: this.#role,
      log: { debug() {}, info: to('info'), warning: to('warning'), error: to('error') },
      write: (bytes) => socket.write(bytes),
      pause: () => void socket.pause(),
      resume: () => void socket.resume(),
      end: () => void socket.end(),
    })
    const id = this.#consoles.size + 1
    this.#consoles.set(id, console)
    const message = (code: string, text: string): Buffer => {
      const bytes = Buffer.alloc(5 + text.length)
      bytes.write(code)
      bytes.writeUInt32BE(4 + text.length, 1)
      bytes.write(text, 5, 'latin1')
      return bytes
    }
    socket.write(message('R', '\0\0\0\0'))
    for (const [name, value] of consoleParameters(this.#administration.version)) {
      socket.write(message('S', `${name}\0${value}\0`))
    }
    socket.write(message('K', `\0\0\0${String.fromCharCode(id)}\0\0\0\0`))
    socket.write(message('Z', 'I'))
    return console
  }
}
