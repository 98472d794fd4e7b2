// The other end of a login: says what the test tells it to, and hands over what was written to it.

import { ConnectionLost, type Conversation, type Received } from '../../src/protocol/conversation.js'
import { messagesOf } from '../protocol/wire.js'

export class ScriptedPeer {
  /** The end that the flow under test is given. */
  readonly conversation: Conversation
  private readonly toFlow: (Received | Error)[] = []
  private readonly written: Buffer[] = []
  private wakeFlow: (() => void) | undefined
  private wakePeer: (() => void) | undefined

  constructor() {
    this.conversation = {
      read: async () => {
        while (this.toFlow.length === 0) {
          await new Promise<void>((resolve) => {
            this.wakeFlow = resolve
          })
        }
        const next = this.toFlow.shift()!
        if (next instanceof Error) throw next
        return next
      },
      write: (bytes) => {
        this.written.push(Buffer.from(bytes))
        this.wakePeer?.()
      },
    }
  }

  /** Whole messages, as from the wire. */
  say(...messages: Buffer[]): void {
    for (const { code, body } of messagesOf(Buffer.concat(messages))) {
      this.toFlow.push({ code: code.charCodeAt(0), body: Buffer.from(body) })
    }
    this.wakeFlow?.()
  }

  leave(): void {
    this.toFlow.push(new ConnectionLost('connection lost'))
    this.wakeFlow?.()
  }

  /** The next piece that was written to it. */
  async heard(): Promise<Buffer> {
    while (this.written.length === 0) {
      await new Promise<void>((resolve) => {
        this.wakePeer = resolve
      })
    }
    return this.written.shift()!
  }

  /** What was written and not heard yet. */
  get unheard(): number {
    return this.written.length
  }
}
