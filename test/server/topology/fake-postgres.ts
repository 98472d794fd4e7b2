// A server that answers the questions of a probe, as a test says.

import {
  type BackendConnection,
  commandComplete,
  errorResponse,
  FakeBackend,
  readyForQuery,
} from '../../harness/fake-backend.js'
import { i16, i32, message, z } from '../../protocol/wire.js'

type Mood = 'well' | 'silent' | 'half' | readonly [sqlstate: string, text: string]

export class FakePostgres implements AsyncDisposable {
  role: 'primary' | 'standby' = 'standby'
  timeline = 1
  /** `silent`: it takes connections, and says nothing any more. `half`: the first bytes of an answer. An error: to the login. */
  mood: Mood = 'well'
  /** Logins so far, by user. */
  readonly users: string[] = []
  /** Questions so far. */
  asked = 0
  readonly backend: FakeBackend

  private constructor(backend: FakeBackend) {
    this.backend = backend
  }

  static async start(): Promise<FakePostgres> {
    const self: FakePostgres = new FakePostgres(await FakeBackend.start((connection) => self.serve(connection)))
    return self
  }

  get open(): number {
    return this.backend.connections.filter(({ socket }) => !socket.destroyed).length
  }

  /** All connections end, as when it crashes. */
  crash(): void {
    for (const { socket } of this.backend.connections) socket.destroy()
  }

  private async serve(connection: BackendConnection): Promise<void> {
    const startup = (await connection.packet()).toString('latin1')
    this.users.push(/user\0([^\0]*)/.exec(startup)?.[1] ?? '')
    const { mood } = this
    if (mood === 'silent' || mood === 'half') return
    if (mood !== 'well') return void connection.socket.end(errorResponse(...mood, 'FATAL'))
    connection.greet()
    for (;;) {
      const { code, body } = await connection.message()
      if (code === 'X') return void connection.socket.end()
      this.asked++
      const answer = Buffer.concat([
        ...this.rowFor(body.toString('latin1')),
        commandComplete('SELECT 1'),
        readyForQuery(),
      ])
      this.reply(connection, answer)
    }
  }

  private reply(connection: BackendConnection, answer: Buffer): void {
    const { mood } = this
    if (mood === 'well') connection.send(answer)
    else if (mood === 'half') connection.send(answer.subarray(0, 11))
    else if (mood !== 'silent') connection.send(errorResponse(...mood), readyForQuery())
  }

  private rowFor(question: string): Buffer[] {
    const [isStandby, timeline] = [this.role === 'standby', this.timeline]
    if (question.includes('system_identifier')) return row('42')
    if (question.includes('greatest')) return row(String(timeline))
    const role = isStandby ? 't' : 'f'
    if (!question.includes('walfile')) return row(role)
    return row(role, '0/1000', isStandby ? null : timeline.toString(16).padStart(8, '0'), null)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.backend[Symbol.asyncDispose]()
  }
}

function row(...values: (string | null)[]): Buffer[] {
  const columns = values.flatMap((_, n) => [z(`c${n}`), i32(0), i16(0), i32(25), i16(-1), i32(-1), i16(0)])
  const texts = values.map((value) =>
    value === null ? i32(-1) : Buffer.concat([i32(value.length), Buffer.from(value)]),
  )
  return [message('T', i16(values.length), ...columns), message('D', i16(values.length), ...texts)]
}
