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

  /** What comes before `to` is set aside to be sent. */
  protected collect(to: number): void {
    const owner = this.recipient()
    if (!this.cutter.collect(owner === null ? null : owner.socket, to)) this.block(owner!)
  }

  /** And these bytes behind it. */
  protected add(bytes: Buffer): void {
    const owner = this.recipient()
    if (!this.cutter.add(owner === null ? null : owner.socket, bytes)) this.block(owner!)
  }

  /** What comes before `to` goes on its way. */
  protected send(to: number): void {
    const owner = this.recipient()
    if (!this.cutter.send(owner === null ? null : owner.socket, to)) this.block(owner!)
  }

  /** The message at `at` goes to nobody. */
  protected drop(at: number): void {
    const owner = this.recipient()
    if (!this.cutter.drop(owner === null ? null : owner.socket, at, this.frames.end)) this.block(owner!)
  }

  private block(slow: ClientSide): void {
    this.socket.pause()
    slow.blockedServer = this
  }
}
