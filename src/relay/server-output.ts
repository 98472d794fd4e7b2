// hot path
// What a server says, on its way to whom it is owed. A slow client stops the server.

import type { Socket } from '../io/socket.js'
import type { Note } from './note.js'
import { Outstanding } from './outstanding.js'
import type { ClientSide } from './pair.js'
import { Passage } from './passage.js'

export abstract class ServerOutput extends Passage {
  readonly socket: Socket
  readonly owed: Outstanding<ClientSide, Note> = new Outstanding<ClientSide, Note>()
  /** The client that has this server, or null. */
  client: ClientSide | null = null

  constructor(socket: Socket) {
    super(0x7fffffff)
    this.socket = socket
  }

  /** Whose the bytes at hand are: the head's owner, or outside of any exchange the client that has this server. */
  protected recipient(): ClientSide | null {
    return this.owed.length === 0 ? this.client : this.owed.owner
  }

  protected destination(): Socket | null {
    const owner = this.recipient()
    return owner === null ? null : owner.socket
  }

  protected block(): void {
    this.socket.pause()
    this.recipient()!.blockedServer = this
  }
}
