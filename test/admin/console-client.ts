// A client of an AdminConsole without a socket between them.

import type { Role } from '../../src/admin/commands.js'
import { AdminConsole } from '../../src/admin/console.js'
import { FakeAdministration } from './fake-administration.js'
import { type BackendMessage, type FrontendMessage, linesOf, messagesOf, query } from './wire.js'

export class ConsoleClient {
  readonly administration: FakeAdministration
  readonly console: AdminConsole
  /** Everything the console has written. */
  written: Buffer[] = []
  readonly log: string[] = []
  paused = false
  ended = false
  /** What `write` returns: false lets the console wait for `drained`. */
  takes = true
  onWrite: () => void = () => undefined

  constructor(role: Role = 'admin', administration: FakeAdministration = new FakeAdministration()) {
    this.administration = administration
    const to = (level: string) => (text: string) => void this.log.push(`${level} ${text}`)
    this.console = new AdminConsole({
      administration,
      role,
      log: { debug() {}, info: to('info'), warning: to('warning'), error: to('error') },
      write: (bytes) => {
        if (this.ended) throw new Error('written after the end')
        this.written.push(Buffer.from(bytes))
        this.onWrite()
        return this.takes
      },
      pause: () => {
        this.paused = true
      },
      resume: () => {
        this.paused = false
      },
      end: () => {
        this.ended = true
      },
    })
  }

  send(...messages: FrontendMessage[]): void {
    for (const { code, body } of messages) {
      // As from a socket's shared buffer: what the body was does not outlast the call.
      const view = Buffer.from(body)
      this.console.receive(code.charCodeAt(0), view)
      view.fill(0xff)
    }
  }

  /** Sends, and waits until the console has nothing more to say on its own. */
  async ask(...messages: FrontendMessage[]): Promise<string[]> {
    return linesOf(await this.bytes(...messages))
  }

  async messages(...messages: FrontendMessage[]): Promise<BackendMessage[]> {
    return messagesOf(await this.bytes(...messages))
  }

  async query(text: string): Promise<string[]> {
    return await this.ask(query(text))
  }

  async bytes(...messages: FrontendMessage[]): Promise<Buffer> {
    this.written = []
    this.send(...messages)
    await settled()
    return Buffer.concat(this.written)
  }
}

/** All promises that can go on have gone on: no timer or socket is involved, so one turn of the loop does. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
