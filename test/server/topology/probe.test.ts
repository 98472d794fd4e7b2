import { beforeAll, describe, expect, test } from 'vitest'
import { ScramKeyring } from '../../../src/auth/scram-keys.js'
import { type Config, loadConfig } from '../../../src/config/load.js'
import type { Attempt } from '../../../src/server/attempt.js'
import { type OpenedServer, openServer } from '../../../src/server/open-server.js'
import { TlsFiles } from '../../../src/server/tls-files.js'
import { type Heard, Host } from '../../../src/server/topology/host.js'
import { Probe, type ProbeOwner } from '../../../src/server/topology/probe.js'
import { ManualClock } from '../../harness/manual-clock.js'
import { eventually } from '../../harness/pooler.js'
import { FakePostgres } from './fake-postgres.js'

let config: Config
let tls: TlsFiles
beforeAll(async () => {
  config = await loadConfig({ pgbouncer: { server_tls_sslmode: 'disable' }, databases: { app: 'host=127.0.0.1' } })
  tls = await TlsFiles.read(config)
})

/** A probe that is asked for by the test alone: one second between checks, and for each of them. */
class Rig implements ProbeOwner, AsyncDisposable {
  readonly clock = new ManualClock()
  readonly host: Host
  readonly probe: Probe
  readonly heard: Heard[] = []
  /** Who may log in, in turn. */
  users: string[] = ['postgres']
  refusals = 0
  /** Of other connections to the host. */
  bytes = new Map<object, number>()
  period = 1000
  checkTimeout = 1000
  readonly server: FakePostgres

  constructor(server: FakePostgres) {
    this.server = server
    const { host, port } = server.backend
    this.host = new Host({ kind: 'tcp', name: host, address: host, port }, this.clock.now())
    this.probe = new Probe(this.host, this)
  }

  static async start(): Promise<Rig> {
    return new Rig(await FakePostgres.start())
  }

  periodOf(): number {
    return this.period
  }

  open(host: Host, attempt: Attempt): Promise<OpenedServer> | undefined {
    const user = this.users[this.refusals % this.users.length]
    if (user === undefined) return undefined
    return openServer(attempt, {
      address: host.address,
      security: tls.serversOf(config.databases.get('app')!),
      settings: config.settings,
      credentials: { user, stored: { kind: 'none' } },
      parameters: { database: 'app' },
      keyring: new ScramKeyring(),
      onParameter() {},
    })
  }

  onRefused(): void {
    this.refusals++
  }

  bytesFrom(): ReadonlyMap<object, number> {
    return new Map(this.bytes)
  }

  onHeard(host: Host, heard: Heard): void {
    host.hear(heard, this.clock.now())
    this.heard.push(heard)
  }

  /** What is heard next; time passes for it, where it is to. */
  async next(seconds?: number): Promise<Heard> {
    const before = this.heard.length
    if (seconds !== undefined) this.clock.advance(seconds)
    await eventually(() => this.heard.length > before)
    return this.heard[before]!
  }

  async first(): Promise<Heard> {
    this.probe.hurry()
    return this.next(0)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.probe.stop()
    await this.server[Symbol.asyncDispose]()
  }
}

/** Until what is under way on the loopback has come. */
const soon = () => new Promise((resolve) => setTimeout(resolve, 60))

describe('a host that answers', () => {
  test('is asked once a period, over one connection, and for its system identifier once', async () => {
    await using rig = await Rig.start()
    expect(await rig.first()).toEqual({
      state: 'up',
      error: '',
      report: {
        isInRecovery: true,
        timeline: 1,
        systemId: '42',
        startedAt: undefined,
        lsn: 0x1000n,
        replayDelay: undefined,
      },
    })
    expect(rig.server.asked).toBe(4)
    rig.clock.advance(0.99)
    await soon()
    expect(rig.server.asked).toBe(4)
    rig.server.role = 'primary'
    rig.server.timeline = 0x1a
    expect((await rig.next(0.01)).report).toMatchObject({ isInRecovery: false, timeline: 26, systemId: '42' })
    expect([rig.server.asked, rig.server.users]).toEqual([7, ['postgres']])
  })

  test('is asked at once when there is a reason, and right after a check that is under way', async () => {
    await using rig = await Rig.start()
    await rig.first()
    rig.probe.hurry()
    rig.clock.advance(0.019) // but not more often than every 20 ms
    expect(rig.server.asked).toBe(4)
    rig.clock.advance(0.001)
    rig.probe.hurry()
    rig.probe.hurry()
    await rig.next()
    await rig.next(0.02) // and it is the last
    await soon()
    rig.clock.advance(0.5)
    await soon()
    expect(rig.heard).toHaveLength(3)
  })

  test('is asked more often from now on', async () => {
    await using rig = await Rig.start()
    await rig.first()
    rig.period = 100
    rig.probe.replan()
    await rig.next(0.1)
    await rig.next(0.1)
    expect(rig.heard).toHaveLength(3)
  })

  test('whose connection ends between two checks is asked at once over another, unless it was there for a moment only', async () => {
    await using rig = await Rig.start()
    await rig.first()
    expect(await rig.next(1)).toMatchObject({ state: 'up' })
    rig.server.crash()
    await soon()
    expect(await rig.next(0.02)).toMatchObject({ state: 'up' })
    expect(rig.server.users).toHaveLength(2)
  })
})

describe('a host that does not', () => {
  test('refuses connections: down, and up when it is back', async () => {
    await using rig = await Rig.start()
    const gone = await FakePostgres.start()
    await gone[Symbol.asyncDispose]()
    await using other = new Rig(gone)
    expect(await other.first()).toEqual({
      state: 'down',
      report: undefined,
      error: expect.stringContaining('ECONNREFUSED'),
    })
    expect(await rig.first()).toMatchObject({ state: 'up' })
  })

  test.each(['silent', 'half'] as const)('is %s: down when its time is over, not before', async (mood) => {
    await using rig = await Rig.start()
    await rig.first()
    rig.server.mood = mood
    rig.clock.advance(1) // it is asked
    await eventually(() => rig.server.asked > 4)
    rig.clock.advance(0.5) // and over another connection
    await eventually(() => rig.server.users.length === 2)
    rig.clock.advance(0.49)
    await soon()
    expect(rig.heard).toHaveLength(1)
    expect(await rig.next(0.01)).toEqual({ state: 'down', report: undefined, error: 'no answer within 1000 ms' })
    await eventually(() => rig.server.open === 0)
    rig.server.mood = 'well'
    expect(await rig.next(0)).toMatchObject({ state: 'up' }) // the next check is due
  })

  test('is silent from the first moment on', async () => {
    await using rig = await Rig.start()
    rig.server.mood = 'silent'
    rig.probe.hurry()
    rig.clock.advance(0)
    await eventually(() => rig.server.users.length === 1)
    expect(await rig.next(1)).toMatchObject({ state: 'down', error: 'no answer within 1000 ms' })
    await eventually(() => rig.server.open === 0)
  })

  test('is silent to the probe, but not to others: it is slow, and what it said stands', async () => {
    await using rig = await Rig.start()
    const pool = {}
    rig.bytes.set(pool, 100)
    const { report } = await rig.first()
    rig.server.mood = 'silent'
    rig.clock.advance(1)
    await eventually(() => rig.server.asked > 4)
    rig.bytes.set(pool, 101)
    expect(await rig.next(1)).toEqual({ state: 'up', report, error: 'slow to answer' })
    rig.clock.advance(1) // asked again, and now nobody hears of it
    await soon()
    expect(await rig.next(1)).toMatchObject({ state: 'down' })
  })

  test('is silent on the connection that is there, but not on another: that is used from now on', async () => {
    await using rig = await Rig.start()
    await rig.first()
    rig.server.mood = 'silent'
    rig.clock.advance(1)
    await eventually(() => rig.server.asked > 4)
    rig.server.mood = 'well'
    expect(await rig.next(0.5)).toMatchObject({ state: 'up', error: '' })
    await eventually(() => rig.server.open === 1)
    expect(rig.server.users).toHaveLength(2)
    await rig.next(0.5)
    expect(rig.server.users).toHaveLength(2)
  })

  test('answers late on the connection that is there: the other one, which hangs, is given up', async () => {
    await using rig = await Rig.start()
    await rig.first()
    const [first] = rig.server.backend.connections
    const pause = first!.send.bind(first)
    const held: Buffer[] = []
    first!.send = (...bytes) => void held.push(...bytes)
    rig.clock.advance(1)
    await eventually(() => held.length === 3)
    rig.server.mood = 'silent'
    rig.clock.advance(0.5)
    await eventually(() => rig.server.users.length === 2)
    pause(...held)
    expect(await rig.next()).toMatchObject({ state: 'up', error: '' })
    await eventually(() => rig.server.open === 1)
    expect(first!.socket.destroyed).toBe(false)
  })
})

describe('a host that says no', () => {
  test.each(['57P03', '57P01', '57P02'])('%s: it serves nobody now', async (sqlstate) => {
    await using rig = await Rig.start()
    rig.server.mood = [sqlstate, 'not now']
    expect(await rig.first()).toEqual({
      state: 'starting',
      report: undefined,
      error: expect.stringContaining('not now'),
    })
    expect(rig.refusals).toBe(0)
  })

  test.each(['28P01', '28000', '3D000', '53300'])('%s: it is up, and another login is tried next', async (sqlstate) => {
    await using rig = await Rig.start()
    rig.users = ['one', 'two']
    rig.server.mood = [sqlstate, 'not you']
    expect(await rig.first()).toEqual({
      state: 'up',
      report: undefined,
      error: expect.stringMatching(/^probe refused: .*not you/),
    })
    rig.server.mood = 'well'
    expect(await rig.next(1)).toMatchObject({ state: 'up', error: '' })
    expect(rig.server.users).toEqual(['one', 'two'])
  })

  test('to the questions: it is up, and its role is not known', async () => {
    await using rig = await Rig.start()
    await rig.first()
    rig.server.mood = ['42501', 'permission denied']
    expect(await rig.next(1)).toEqual({ state: 'up', report: undefined, error: 'permission denied' })
  })
})

describe('nobody to log in as', () => {
  test('it is not known, and asked when there is somebody', async () => {
    await using rig = await Rig.start()
    rig.users = []
    expect(await rig.first()).toEqual({ state: 'unknown', report: undefined, error: '' })
    rig.users = ['first']
    rig.probe.hurry()
    expect(await rig.next(0.02)).toMatchObject({ state: 'up' })
  })
})

describe('stop', () => {
  test('between two checks: the connection ends, and no check follows', async () => {
    await using rig = await Rig.start()
    await rig.first()
    rig.probe.stop()
    await eventually(() => rig.server.open === 0)
    rig.clock.advance(10)
    rig.probe.hurry()
    rig.probe.replan()
    rig.clock.advance(10)
    await soon()
    expect([rig.heard.length, rig.server.users.length]).toEqual([1, 1])
  })

  test.each(['silent', 'well'] as const)('amid a check of a host that is %s: nothing is heard of it', async (mood) => {
    await using rig = await Rig.start()
    rig.server.mood = mood
    rig.probe.hurry()
    rig.clock.advance(0)
    if (mood === 'silent') await eventually(() => rig.server.users.length === 1)
    rig.probe.stop()
    await eventually(() => rig.server.open === 0)
    rig.clock.advance(10)
    await soon()
    expect(rig.heard).toEqual([])
  })
})
