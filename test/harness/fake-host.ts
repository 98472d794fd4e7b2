// A host of a cluster that says of itself what a test wants: its role, timeline and system, or that it does not say.

import {
  authenticationOk,
  type BackendConnection,
  backendKeyData,
  commandComplete,
  errorResponse,
  FakeBackend,
  parameterStatus,
  readyForQuery,
  reported,
} from './fake-backend.js'
import { message } from './raw-client.js'

const probeName = 'tsbouncer host check'

/** What the host is; may be changed at any time. */
export interface HostSelf {
  isInRecovery: boolean
  timeline: number
  /** Where it writes, or has replayed to. */
  lsn: string
  systemId: string
  startedAt: string
  /** The login of the probe ends with this SQLSTATE; '' lets it in. */
  refusesProbe: string
  /** It ends the probe's connection when it has answered. */
  isBrief: boolean
  /** The same of any other login. */
  refusesServers: string
}

export class FakeHost implements AsyncDisposable {
  readonly self: HostSelf
  /** Queries of pools, in order. */
  readonly asked: string[] = []
  /** How often a probe has logged in. */
  logins = 0
  /** How often somebody was not let in. */
  refusals = 0
  readonly probes = new Set<BackendConnection>()
  readonly servers = new Set<BackendConnection>()
  private backend!: FakeBackend

  private constructor(self: Partial<HostSelf>) {
    const usual = { isInRecovery: false, timeline: 1, lsn: '0/1000', systemId: '7', startedAt: `${Math.random()}` }
    this.self = { ...usual, refusesProbe: '', isBrief: false, refusesServers: '', ...self }
  }

  static async start(self: Partial<HostSelf> = {}, address?: string, port?: number): Promise<FakeHost> {
    const host = new FakeHost(self)
    host.backend = await FakeBackend.start((connection) => host.serve(connection), address, port)
    return host
  }

  get host(): string {
    return this.backend.host
  }

  get port(): number {
    return this.backend.port
  }

  get name(): string {
    return `${this.host}:${this.port}`
  }

  /** Ends the connections over which it is asked. */
  dropProbes(): void {
    for (const { socket } of this.probes) socket.destroy()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.backend[Symbol.asyncDispose]()
  }

  private async serve(connection: BackendConnection): Promise<void> {
    const { self } = this
    const isProbe = (await connection.packet()).includes(probeName)
    const refusal = isProbe ? self.refusesProbe : self.refusesServers
    if (isProbe) this.logins++
    if (refusal !== '') {
      this.refusals++
      connection.socket.end(errorResponse(refusal, 'not now', 'FATAL'))
      return
    }
    const all = isProbe ? this.probes : this.servers
    all.add(connection)
    void connection.ended.then(() => all.delete(connection))
    const parameters = {
      ...reported,
      in_hot_standby: self.isInRecovery ? 'on' : 'off',
      default_transaction_read_only: 'off',
    }
    const statuses = Object.entries(parameters).map(([name, value]) => parameterStatus(name, value))
    connection.send(
      authenticationOk,
      ...statuses,
      backendKeyData({ pid: 1, secret: Buffer.from('abcd') }),
      readyForQuery(),
    )
    let status: 'I' | 'T' = 'I'
    for (;;) {
      const { code, body } = await connection.message()
      if (code === 'X') return
      if (code !== 'Q') continue
      const text = body.toString('latin1', 0, body.length - 1)
      if (isProbe) {
        connection.send(this.answer(text), commandComplete('SELECT 1'), readyForQuery())
        if (self.isBrief && text.includes('system_identifier')) connection.socket.end()
        continue
      }
      this.asked.push(text)
      if (text === 'begin') status = 'T'
      if (text === 'commit' || text === 'rollback') status = 'I'
      connection.send(commandComplete(text.toUpperCase()), readyForQuery(status))
    }
  }

  private answer(text: string): Buffer {
    const { isInRecovery, timeline, lsn, systemId, startedAt } = this.self
    const role = isInRecovery ? 't' : 'f'
    if (text.includes('system_identifier')) return dataRow(systemId)
    if (text.includes('greatest')) return dataRow(`${timeline}`)
    if (!text.includes('walfile')) return dataRow(role)
    return dataRow(role, lsn, isInRecovery ? null : timeline.toString(16).padStart(8, '0'), null, startedAt)
  }
}

function dataRow(...values: (string | null)[]): Buffer {
  const count = Buffer.alloc(2)
  count.writeInt16BE(values.length)
  const parts = values.map((value) => {
    const bytes = Buffer.from(value ?? '')
    const length = Buffer.alloc(4)
    length.writeInt32BE(value === null ? -1 : bytes.length)
    return Buffer.concat([length, bytes])
  })
  return message('D', count, ...parts)
}
