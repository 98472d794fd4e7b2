// Two connected sockets of this process: reads and writes as the pooler does them, the kernel's part included.

import { type AddressInfo, connect, createServer, type Socket as NetSocket } from 'node:net'
import { Socket, type SocketOwner } from '../../src/io/socket.js'
import type { Suite } from './suite.js'

const rounds = 100
const message = Buffer.alloc(100, 'x')
const nobody: SocketOwner = { onBytes() {}, onDrain() {}, onGone() {} }

interface Pair {
  readonly near: Socket
  readonly far: Socket
  close(): void
}

/** Over TCP on this machine, as clients and servers are. */
async function connectPair(): Promise<Pair> {
  const server = createServer({ pauseOnConnect: true, noDelay: true }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const accepted = new Promise<NetSocket>((resolve) => server.once('connection', resolve))
  const { port } = server.address() as AddressInfo
  const near = Socket.plain((onread) => connect({ host: '127.0.0.1', port, onread: onread as never }), nobody)
  const connected = new Promise((resolve) => near.stream.once('connect', resolve))
  const far = Socket.accepted(await accepted, nobody)
  await connected
  near.resume()
  far.resume()
  const close = (): void => {
    near.destroy()
    far.destroy()
    server.close()
  }
  return { near, far, close }
}

/** The far end sends back what it gets; resolves after so many round trips. */
function pingPong({ near, far }: Pair): Promise<void> {
  far.owner = { ...nobody, onBytes: (chunk) => void far.write(chunk) }
  return new Promise((resolve) => {
    let left = rounds
    const onBytes = (): void => {
      if (--left === 0) resolve()
      else near.write(message)
    }
    near.owner = { ...nobody, onBytes }
    near.write(message)
  })
}

export const socket: Suite = {
  name: 'socket',
  async cases() {
    const pair = await connectPair()
    return [
      {
        name: 'there and back: two reads, two writes',
        operations: rounds,
        run: () => pingPong(pair),
        close: () => pair.close(),
      },
    ]
  },
}
