// A connection to a server, opened, encrypted and logged in: that of a pool, or one of the pooler's own.

import type { ScramKeyring } from '../auth/scram-keys.js'
import { type BackendKey, type Credentials, logIn } from '../auth/server-login.js'
import type { Settings } from '../config/settings.js'
import type { Socket } from '../io/socket.js'
import { ConnectionLost } from '../protocol/conversation.js'
import { MessageReader } from '../relay/message-reader.js'
import type { Attempt } from './attempt.js'
import { failed } from './connect-failed.js'
import { dial } from './dial.js'
import type { ServerAddress } from './hosts.js'
import { secureServer } from './server-tls.js'
import type { ServerTls } from './tls-files.js'

export interface ServerOpening {
  readonly address: ServerAddress
  readonly security: ServerTls
  readonly settings: Pick<Settings, 'tcp_keepalive' | 'tcp_keepidle'>
  readonly credentials: Credentials
  /** Of the startup packet; `user` is added. */
  readonly parameters: Readonly<Record<string, string>>
  readonly keyring: ScramKeyring
  /** It is connected; nothing was said yet. */
  onConnected?(socket: Socket): void
  /** @param tls `TLSv1.3/TLS_AES_256_GCM_SHA384` */
  onSecured?(tls: string): void
  onParameter(name: string, value: string): void
}

export interface OpenedServer {
  /** What was read behind the login is its `rest`. */
  readonly reader: MessageReader
  readonly key: BackendKey
}

/**
 * Whatever it opens is closed when the attempt is given up.
 * @throws ConnectFailed, TlsFailed, ServerRefused, PgError, ConnectionLost
 */
export async function openServer(attempt: Attempt, opening: ServerOpening): Promise<OpenedServer> {
  const { address, settings } = opening
  const socket = dial(address, {
    noDelay: true,
    keepAlive: settings.tcp_keepalive,
    keepAliveInitialDelay: settings.tcp_keepidle * 1000,
  })
  const reader = new MessageReader(socket)
  attempt.onGivenUp(() => {
    reader.fail(new ConnectionLost('given up'))
    reader.socket.destroy()
  })
  await attempt.wait(connected(socket))
  opening.onConnected?.(socket)
  const channelBinding = await attempt.wait(secure(reader, opening))
  const { credentials, parameters, keyring } = opening
  const login = logIn(reader, {
    credentials,
    parameters,
    keyring,
    channelBinding,
    onParameter: (name, value) => opening.onParameter(name, value),
  })
  const key = await attempt.wait(login)
  attempt.check()
  return { reader, key }
}

/** TLS as the configuration wants it; gives the data for channel binding. */
async function secure(reader: MessageReader, opening: ServerOpening): Promise<Buffer | undefined> {
  const { address, security } = opening
  if (address.kind === 'unix') return undefined
  const secured = await secureServer(reader, security, address.name)
  if (secured === undefined) return undefined
  opening.onSecured?.(secured.description)
  return secured.channelBinding
}

function connected(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.stream.once('connect', resolve)
    socket.stream.once('error', ({ code, message }: NodeJS.ErrnoException) =>
      reject(failed('connect_failed', '', code ?? message)),
    )
    socket.stream.once('close', () => reject(failed('connect_failed')))
  })
}
