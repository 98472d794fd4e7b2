// A connection to a server or a peer, before anything has been said on it.

import { connect, type TcpNetConnectOpts } from 'node:net'
import { Socket } from '../io/socket.js'
import type { ServerAddress } from './hosts.js'

/** Nobody owns it yet: whoever takes it over reads what came meanwhile. */
const nobody = { onBytes() {}, onDrain() {}, onGone() {} }

/** @param options of TCP; without a meaning for a Unix socket */
export function dial(address: ServerAddress, options: Partial<TcpNetConnectOpts> = {}): Socket {
  const target = address.kind === 'unix' ? { path: address.path } : { host: address.address, port: address.port }
  return Socket.plain((onread) => connect({ ...target, ...options, onread: onread as never }), nobody)
}
