// One CancelRequest on its way to a server or a peer: connected, protected, sent, taken.

import { ConnectionLost } from '../protocol/conversation.js'
import { cancelRequest } from '../protocol/frontend.js'
import { MessageReader } from '../relay/message-reader.js'
import type { Attempt } from '../server/attempt.js'
import type { Context } from '../server/context.js'
import { dial } from '../server/dial.js'
import type { ServerAddress } from '../server/hosts.js'
import { secureServer } from '../server/server-tls.js'
import type { ServerTls } from '../server/tls-files.js'

export interface Delivery {
  /** How the connection whose work it stops is protected: the key is as secret as what it guards. */
  readonly tls?: ServerTls | undefined
  /** Time for all of it, ms; 0: as long as it takes. */
  readonly limit: number
  readonly onConnected?: () => void
}

/** `cancel_wait_timeout` has passed. */
export class CancelExpired extends Error {
  override readonly name = 'CancelExpired'

  constructor() {
    super('cancel_wait_timeout')
  }
}

/**
 * Resolves when the other side has taken the request and closed the connection; nothing stays open, however it ends.
 * @param attempt given up when nobody wants it delivered any more
 * @param where looked up already, or being looked up
 * @throws CancelExpired, LookupFailed, or an Error with the system's code such as ECONNREFUSED
 */
export async function deliverCancel(
  attempt: Attempt,
  { clock }: Context,
  where: ServerAddress | Promise<ServerAddress>,
  key: Buffer,
  { tls, limit, onConnected }: Delivery,
): Promise<void> {
  attempt.limit(clock, limit, () => new CancelExpired())
  try {
    const target = await attempt.wait(Promise.resolve(where))
    const reader = new MessageReader(dial(target))
    attempt.onGivenUp(() => {
      reader.fail(new ConnectionLost('given up'))
      reader.socket.destroy()
    })
    await attempt.wait(reader.connected())
    onConnected?.()
    if (tls !== undefined && target.kind === 'tcp') await attempt.wait(secureServer(reader, tls, target.name))
    reader.write(cancelRequest(key.readInt32BE(0), key.subarray(4)))
    await attempt.wait(reader.closed())
  } finally {
    attempt.giveUp(new ConnectionLost('over'))
  }
}
