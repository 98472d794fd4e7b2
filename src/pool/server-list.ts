// hot path
// Servers in no order, each of which knows its place: put in and taken out for every transaction, without hashing.

import type { ServerSession } from '../server/server-session.js'

export class ServerList {
  private readonly items: ServerSession[] = []

  get size(): number {
    return this.items.length
  }

  add(server: ServerSession): void {
    server.place = this.items.length
    this.items.push(server)
  }

  /** The server must be in the list. */
  delete(server: ServerSession): void {
    const last = this.items.pop()!
    if (last === server) return
    this.items[server.place] = last
    last.place = server.place
  }

  /** As they are now: whoever walks may take servers out meanwhile. */
  [Symbol.iterator](): IterableIterator<ServerSession> {
    return this.items.slice().values()
  }
}
