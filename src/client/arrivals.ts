// By which sockets clients come in, as the settings say, and what is known of a client as it arrives.

import type { Socket as NetSocket } from 'node:net'
import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import { ConfigError } from '../config/config-error.js'
import type { Settings } from '../config/settings.js'
import { endPointBinding } from '../io/end-point-binding.js'
import { canReusePort, hasUnixSockets, hostAndPort, type ListenOptions } from '../io/listener.js'
import { clientCertificate, describeTls } from '../io/tls.js'

/** Where a client comes from, and how its connection is protected. */
export interface Arrival {
  readonly kind: 'tcp' | 'unix'
  /** Empty for a Unix socket. */
  readonly address: string
  readonly port: number
  readonly localAddress: string
  readonly localPort: number
  /** As log lines have it: `10.0.0.1:51234`, `[::1]:51234`, `unix`. */
  readonly description: string
  /** `TLSv1.3/TLS_AES_256_GCM_SHA384`, or '' without TLS. */
  readonly tls: string
  /** Common name of the client's certificate, where it showed one that was checked. */
  readonly certificateName: string | undefined
  /** It showed a certificate that was checked, with a name or without. */
  readonly isCertified: boolean
  /** Came by a Unix socket that only processes of the pooler's own user can open. */
  readonly isOwnUser: boolean
  /** `tls-server-end-point` data of the connection. */
  readonly channelBinding: Buffer | undefined
}

/**
 * @param fds sockets that were opened for us: they take the place of all others
 * @throws ConfigError
 */
export function listenOptions(settings: Settings, fds: readonly number[]): ListenOptions[] {
  const { listen_port: port, listen_backlog: backlog, so_reuseport: reusePort, unix_socket_dir: folder } = settings
  if (fds.length > 0) return fds.map((fd) => ({ kind: 'inherited', fd, port, backlog }))
  if (reusePort && !canReusePort) throw new ConfigError('so_reuseport needs Node.js 22.12, 23.1 or later')
  const options: ListenOptions[] = settings.listen_addr.map((host) => ({ kind: 'tcp', host, port, backlog, reusePort }))
  if (folder !== '' && hasUnixSockets) {
    const mode = settings.unix_socket_mode
    options.push({ kind: 'unix', folder, port, backlog, mode, group: settings.unix_socket_group })
  }
  return options
}

/** @param unixPort what a Unix socket's number is, which SHOW and the log have as its port */
export function arrivalOf(stream: Duplex, kind: 'tcp' | 'unix', isOwnUser: boolean, unixPort = 0): Arrival {
  const { remoteAddress = '', remotePort = 0, localAddress = '', localPort = 0 } = stream as Partial<NetSocket>
  const address = withoutMapping(remoteAddress)
  return {
    kind,
    address,
    port: kind === 'unix' ? unixPort : remotePort,
    localAddress: withoutMapping(localAddress),
    localPort: kind === 'unix' ? unixPort : localPort,
    description: kind === 'unix' ? `unix:${unixPort}` : hostAndPort(address, remotePort),
    isOwnUser,
    ...(stream instanceof TLSSocket ? protectionOf(stream) : inTheClear),
  }
}

interface Protection extends Pick<Arrival, 'tls' | 'certificateName' | 'isCertified' | 'channelBinding'> {}

const inTheClear: Protection = { tls: '', certificateName: undefined, isCertified: false, channelBinding: undefined }

/** TLS that somebody else has spoken with the client, who has checked its certificate as far as one was asked for. */
function protectionOf(stream: TLSSocket): Protection {
  const { verdict, commonName } = clientCertificate(stream)
  const own = stream.getX509Certificate()
  return {
    tls: describeTls(stream),
    certificateName: commonName,
    isCertified: verdict === 'trusted',
    channelBinding: own && endPointBinding(own),
  }
}

/** An IPv4 address that came by a socket of both families. */
function withoutMapping(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/, '')
}
