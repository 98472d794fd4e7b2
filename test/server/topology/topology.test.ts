import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type Config, loadConfig } from '../../../src/config/load.js'
import { silentLog } from '../../../src/observe/log.js'
import type { Attempt } from '../../../src/server/attempt.js'
import type { Resolver } from '../../../src/server/hosts.js'
import type { HostGroup } from '../../../src/server/topology/group.js'
import type { Heard, Host } from '../../../src/server/topology/host.js'
import { type HostUsers, Topology } from '../../../src/server/topology/topology.js'
import { ManualClock } from '../../harness/manual-clock.js'
import { down, heard, report } from './hosts.js'

const rw = 'host=10.0.0.1,10.0.0.2 target_session_attrs=read-write'
const ro = 'host=10.0.0.2,10.0.0.1 target_session_attrs=prefer-standby'

/** All promises that can have been kept by now, and what follows from them. */
const settle = () => new Promise((resolve) => setImmediate(resolve))

/** A topology whose hosts say what the test says. */
class Rig implements HostUsers {
  readonly clock = new ManualClock()
  readonly lines: string[] = []
  /** Hosts that a probe wanted to be opened to, in order. */
  readonly opened: string[] = []
  reconsidered: string[] = []
  isWanted = false
  /** Look-ups so far. */
  lookedUp = 0
  readonly restarted: [string, number][] = []
  private bytes = 0
  /** What names lead to; 'hangs': a look-up that does not end. */
  readonly names = new Map<string, readonly string[] | 'hangs'>()
  readonly context: { config: Config; clock: ManualClock; log: typeof silentLog; resolver: Resolver }
  readonly topology: Topology

  private constructor(config: Config) {
    const note = (level: string) => (text: string) => void this.lines.push(`${level} ${text}`)
    const addresses = async (name: string): Promise<readonly string[]> => {
      this.lookedUp++
      const found = this.names.get(name) ?? (/^[\d.]+$/.test(name) ? [name] : [])
      return found === 'hangs' ? new Promise(() => {}) : found
    }
    this.context = {
      config,
      clock: this.clock,
      log: { ...silentLog, info: note('LOG'), warning: note('WARNING') },
      resolver: { addresses } as unknown as Resolver,
    }
    this.topology = new Topology(this.context)
  }

  static async config(databases: Record<string, string>, settings = {}): Promise<Config> {
    return loadConfig({ pgbouncer: { host_check_timeout: 0.5, ...settings }, databases })
  }

  static async start(
    databases: Record<string, string> = { rw, ro },
    settings = {},
    names: [string, readonly string[] | 'hangs'][] = [],
  ) {
    const rig = new Rig(await Rig.config(databases, settings))
    for (const [name, found] of names) rig.names.set(name, found)
    rig.topology.start(rig)
    await rig.soon()
    return rig
  }

  /** What has come is done, and those that are to be asked at once are asked. */
  async soon(): Promise<void> {
    await settle()
    this.clock.advance(0)
  }

  async reload(databases: Record<string, string>, settings = {}): Promise<void> {
    this.context.config = await Rig.config(databases, settings)
    this.topology.reconfigure()
    await settle()
  }

  host(address: string): Host {
    return this.topology.hosts.get(`${address}:5432`)!
  }

  hear(address: string, what: Heard): void {
    this.topology.onHeard(this.host(address), what)
  }

  /** 10.0.0.1 is the primary, 10.0.0.2 a standby. */
  async settled(): Promise<this> {
    this.hear('10.0.0.1', heard('up', report('primary')))
    this.hear('10.0.0.2', heard('up', report('standby')))
    this.clock.advance(0.5) // the first checks end
    await settle()
    this.lines.length = 0
    this.opened.length = 0
    this.reconsidered = []
    return this
  }

  target(name: string) {
    return this.topology.targetOf(this.context.config.databases.get(name)!)
  }

  /** No check ends by an answer; but the host is heard of all the time, so that what the test says of it stands. */
  openProbe(host: Host, _groups: unknown, attempt: Attempt): Promise<never> {
    this.opened.push(host.name)
    return attempt.wait(new Promise(() => {}))
  }
  onProbeRefused(): void {}
  onRestarted(host: Host, then: number): void {
    this.restarted.push([host.name, then])
  }
  bytesFrom(): ReadonlyMap<object, number> {
    return new Map([[this, ++this.bytes]])
  }
  onReconsidered(group: HostGroup): void {
    this.reconsidered.push(group.name)
  }
  isSearching(): boolean {
    return this.isWanted
  }
}

const names = (rig: Rig) => [...rig.topology.hosts.keys()].sort()

describe('hosts', () => {
  test('are those of entries with target_session_attrs, each once', async () => {
    const rig = await Rig.start({
      rw,
      ro,
      other: 'host=10.0.0.2,10.0.0.3 target_session_attrs=standby',
      plain: 'host=10.0.0.9',
    })
    expect(names(rig)).toEqual(['10.0.0.1:5432', '10.0.0.2:5432', '10.0.0.3:5432'])
    expect(rig.opened.sort()).toEqual(names(rig)) // two databases on one host: one question
    expect(rig.topology.groups.size).toBe(2)
    expect(rig.target('rw')?.group).toBe(rig.target('ro')?.group)
    expect(rig.target('plain')).toBeUndefined()
  })

  test('of the entry for all other names, too', async () => {
    const rig = await Rig.start({ '*': rw })
    expect(names(rig)).toEqual(['10.0.0.1:5432', '10.0.0.2:5432'])
  })

  test('none, where no entry has roles: nothing is looked up, nobody is asked', async () => {
    const rig = await Rig.start({ plain: 'host=10.0.0.1,10.0.0.2' })
    rig.clock.advance(10)
    expect([names(rig), rig.opened]).toEqual([[], []])
  })

  test('are asked once a period, more often while somebody looks for one', async () => {
    const rig = await (await Rig.start({ rw }, { host_check_period: 2, host_check_timeout: 0.04 })).settled()
    const asked = async (seconds: number): Promise<number> => {
      rig.opened.length = 0
      for (let tick = 0; tick < seconds * 20; tick++) {
        rig.clock.advance(0.05)
        await settle()
      }
      return rig.opened.length / 2
    }
    expect(await asked(10)).toBe(5)
    rig.isWanted = true
    for (const address of ['10.0.0.1', '10.0.0.2']) rig.hear(address, down)
    expect(await asked(2)).toBeGreaterThan(15)
    for (const address of ['10.0.0.1', '10.0.0.2']) rig.hear(address, heard('up', undefined, 'probe refused'))
    expect(await asked(10)).toBeLessThanOrEqual(5) // whoever refuses us does so once a period
  })

  test('all that may take its place are asked at once when one is suspicious', async () => {
    const rig = await (await Rig.start({ rw, other: 'host=10.0.0.3 target_session_attrs=primary' })).settled()
    rig.topology.suspect(rig.host('10.0.0.1'))
    await rig.soon()
    expect(rig.opened).toEqual(['10.0.0.1:5432', '10.0.0.2:5432'])
  })
})

describe('what is told', () => {
  test('each change once, in the log and on the channels', async () => {
    const rig = await Rig.start()
    const told: unknown[] = []
    const hear = (message: unknown) => void told.push(message)
    for (const name of ['tsbouncer:host', 'tsbouncer:failover']) {
      subscribe(name, hear)
      onTestFinished(() => void unsubscribe(name, hear))
    }
    await rig.settled()
    rig.hear('10.0.0.1', down)
    rig.hear('10.0.0.1', down)
    rig.hear('10.0.0.2', heard('up', report('primary', 2)))
    expect(rig.lines).toEqual([
      'WARNING host 10.0.0.1:5432: primary -> down (connect failed: ECONNREFUSED)',
      'WARNING hosts 10.0.0.1:5432,10.0.0.2:5432: no primary, the last was 10.0.0.1:5432: writes wait',
      'LOG host 10.0.0.2:5432: standby -> primary',
      'WARNING hosts 10.0.0.1:5432,10.0.0.2:5432: 10.0.0.2:5432 is the primary in place of 10.0.0.1:5432, timeline 2',
    ])
    await settle()
    expect(told).toEqual([
      { host: '10.0.0.1:5432', state: 'up', role: 'primary', before: { state: 'unknown', role: 'unknown' } },
      { host: '10.0.0.2:5432', state: 'up', role: 'standby', before: { state: 'unknown', role: 'unknown' } },
      { host: '10.0.0.1:5432', state: 'down', role: 'unknown', before: { state: 'up', role: 'primary' } },
      { host: '10.0.0.2:5432', state: 'up', role: 'primary', before: { state: 'up', role: 'standby' } },
      { hosts: '10.0.0.1:5432,10.0.0.2:5432', from: '10.0.0.1:5432', to: '10.0.0.2:5432' },
    ])
    expect([rig.host('10.0.0.1').failovers, rig.host('10.0.0.2').failovers]).toEqual([0, 1])
  })

  test('to each group of a host', async () => {
    const rig = await Rig.start({ rw, one: 'host=10.0.0.1 target_session_attrs=primary' })
    rig.reconsidered = []
    rig.hear('10.0.0.1', heard('up', report('primary')))
    expect(rig.reconsidered).toEqual(['10.0.0.1:5432,10.0.0.2:5432', '10.0.0.1:5432'])
  })

  test('nothing, once it has stopped', async () => {
    const rig = await (await Rig.start()).settled()
    rig.topology.stop()
    rig.clock.advance(60)
    await settle()
    expect([rig.opened, rig.reconsidered, rig.lines]).toEqual([[], [], []])
  })
})

describe('what a login tells', () => {
  test('counts where the probe is told nothing, until the host is down', async () => {
    const rig = await Rig.start({ rw: 'host=10.0.0.1 target_session_attrs=read-write' })
    const mute = heard('up', undefined, 'probe refused')
    rig.hear('10.0.0.1', mute)
    rig.topology.hearLogin(rig.host('10.0.0.1'), false)
    expect(rig.target('rw')?.group.primary).toBe(rig.host('10.0.0.1'))
    rig.hear('10.0.0.1', mute)
    expect(rig.host('10.0.0.1').role).toBe('primary')
    rig.hear('10.0.0.1', down)
    rig.hear('10.0.0.1', mute)
    expect(rig.host('10.0.0.1').role).toBe('unknown')
    expect(rig.target('rw')?.group.primary).toBeUndefined()
  })

  test('does not count against what the host was asked, nor of a host that is not up', async () => {
    const rig = await (await Rig.start()).settled()
    rig.topology.hearLogin(rig.host('10.0.0.2'), false)
    expect(rig.host('10.0.0.2').role).toBe('standby')
    rig.hear('10.0.0.2', down)
    rig.topology.hearLogin(rig.host('10.0.0.2'), false)
    expect(rig.host('10.0.0.2').role).toBe('unknown')
  })

  test('what was asked is forgotten when the questions are refused', async () => {
    const rig = await (await Rig.start()).settled()
    rig.hear('10.0.0.1', heard('up', { ...report('primary'), lsn: 5n }))
    rig.hear('10.0.0.1', heard('up', undefined, 'probe refused'))
    expect(rig.host('10.0.0.1').role).toBe('unknown')
  })
})

describe('BAN HOST', () => {
  test('for as long as it says', async () => {
    const rig = await (await Rig.start()).settled()
    const host = rig.host('10.0.0.1')
    rig.topology.ban(host, 5000)
    expect(rig.target('rw')?.group.primary).toBeUndefined()
    rig.clock.advance(4.999)
    expect(host.isBanned(rig.clock.now())).toBe(true)
    rig.reconsidered = []
    rig.clock.advance(0.001)
    expect(rig.reconsidered).toHaveLength(1)
    expect(rig.target('rw')?.group.primary).toBe(host)
  })

  test('a longer one counts in place of a shorter', async () => {
    const rig = await (await Rig.start()).settled()
    rig.topology.ban(rig.host('10.0.0.1'), 1000)
    rig.topology.ban(rig.host('10.0.0.1'), 0)
    rig.clock.advance(100_000)
    expect(rig.target('rw')?.group.primary).toBeUndefined()
    rig.topology.unban(rig.host('10.0.0.1'))
    expect(rig.target('rw')?.group.primary).toBe(rig.host('10.0.0.1'))
  })
})

test('UNBAN HOST brings back an old primary where the new one is gone', async () => {
  const rig = await (await Rig.start()).settled()
  rig.hear('10.0.0.2', heard('up', report('primary', 2)))
  rig.hear('10.0.0.2', down)
  expect(rig.target('rw')?.group.primary).toBeUndefined()
  rig.topology.unban(rig.host('10.0.0.1'))
  expect(rig.target('rw')?.group.primary).toBe(rig.host('10.0.0.1'))
})

test('a server that was started anew is told of, with the time before which it was another', async () => {
  const rig = await (await Rig.start()).settled()
  const since = (startedAt: string) => heard('up', { ...report('primary'), startedAt })
  const host = rig.host('10.0.0.1')
  rig.topology.onHeard(host, since('1.5'), 100)
  rig.topology.onHeard(host, since('1.5'), 200)
  expect(rig.restarted).toEqual([])
  rig.topology.onHeard(host, since('9.5'), 300)
  expect(rig.restarted).toEqual([['10.0.0.1:5432', 200]])
})

describe('a reload', () => {
  test('without the entries: nobody is asked any more', async () => {
    const rig = await (await Rig.start()).settled()
    await rig.reload({ rw: 'host=10.0.0.1,10.0.0.2' })
    expect([names(rig), rig.topology.groups.size]).toEqual([[], 0])
    rig.clock.advance(10)
    expect(rig.opened).toEqual([])
  })

  test('with the same hosts: all that is known stays', async () => {
    const rig = await (await Rig.start()).settled()
    const group = rig.target('rw')?.group
    await rig.reload({ rw: `${rw} pool_size=3`, ro }, { host_check_period: 0.1 })
    expect(rig.target('rw')?.group).toBe(group)
    expect(group?.primary).toBe(rig.host('10.0.0.1'))
    rig.clock.advance(0.1)
    expect(rig.opened.length).toBeGreaterThan(0) // the new period holds at once
  })

  test('with another list: hosts, bans and fences stay, and the primary is known at once', async () => {
    const rig = await (await Rig.start()).settled()
    rig.hear('10.0.0.2', heard('up', report('primary', 2)))
    const [old, now] = [rig.host('10.0.0.1'), rig.host('10.0.0.2')]
    rig.topology.ban(old, 0)
    rig.lines.length = 0
    const more = 'host=10.0.0.1,10.0.0.2,10.0.0.3'
    await rig.reload({ rw: `${more} target_session_attrs=read-write`, ro: `${more} target_session_attrs=standby` })
    expect(names(rig)).toEqual(['10.0.0.1:5432', '10.0.0.2:5432', '10.0.0.3:5432'])
    expect([rig.host('10.0.0.1'), rig.host('10.0.0.2')]).toEqual([old, now])
    const group = rig.target('rw')!.group
    expect([group.primary, group.isFenced(old), old.isBanned(rig.clock.now())]).toEqual([now, true, true])
    expect(rig.lines.filter((line) => line.startsWith('WARNING'))).toEqual([])
  })

  test('with other hosts altogether: nothing is known of them', async () => {
    const rig = await (await Rig.start()).settled()
    await rig.reload({ rw: 'host=10.0.1.1 target_session_attrs=read-write' })
    expect(names(rig)).toEqual(['10.0.1.1:5432'])
    expect(rig.target('rw')?.group.primary).toBeUndefined()
  })
})

describe('names', () => {
  const entry = (host: string) => ({ rw: `host=${host} target_session_attrs=read-write` })
  const text = (rig: Rig) => rig.target('rw')!.group.candidates.map(({ host }) => host.name)

  test('each address of a name is a host', async () => {
    const rig = await Rig.start(entry('db.test'), {}, [['db.test', ['10.0.0.1', '10.0.0.2']]])
    expect(text(rig)).toEqual(['10.0.0.1:5432', '10.0.0.2:5432'])
    expect(rig.opened).toEqual(text(rig))
  })

  test('they are looked up again and again: what is new is asked, what has gone is forgotten', async () => {
    const rig = await Rig.start(entry('db.test'), {}, [['db.test', ['10.0.0.1', '10.0.0.2']]])
    rig.names.set('db.test', ['10.0.0.2', '10.0.0.3'])
    rig.opened.length = 0
    rig.clock.advance(1)
    await rig.soon()
    expect([text(rig), names(rig)]).toEqual([
      ['10.0.0.2:5432', '10.0.0.3:5432'],
      ['10.0.0.2:5432', '10.0.0.3:5432'],
    ])
    expect(rig.opened).toContain('10.0.0.3:5432')
  })

  test('a look-up that fails says nothing of what is known', async () => {
    const rig = await Rig.start(entry('db.test'), {}, [['db.test', ['10.0.0.1']]])
    rig.hear('10.0.0.1', heard('up', report('primary')))
    rig.names.set('db.test', [])
    rig.clock.advance(1)
    await settle()
    expect(rig.target('rw')?.group.primary).toBe(rig.host('10.0.0.1'))
  })

  test.each([[[]], ['hangs']] as const)(
    'one that leads nowhere keeps nobody from being elected for long: %j',
    async (found) => {
      const rig = await Rig.start(entry('10.0.0.1,db.test'), { host_check_timeout: 3 }, [['db.test', found]])
      rig.hear('10.0.0.1', heard('up', report('primary')))
      if (found === 'hangs') {
        rig.clock.advance(2.99)
        await settle()
        expect(rig.target('rw')?.group.primary).toBeUndefined()
        rig.clock.advance(0.01)
      }
      expect(rig.target('rw')?.group.primary).toBe(rig.host('10.0.0.1'))
      rig.clock.advance(5) // it is looked up again
      await settle()
      const told = rig.lines.filter((line) => line.includes('host db.test'))
      expect(told).toEqual(['WARNING host db.test: its name cannot be looked up'])
    },
  )

  test('a look-up that hangs is not begun again', async () => {
    const rig = await Rig.start(entry('db.test'), {}, [['db.test', 'hangs']])
    rig.lookedUp = 0
    rig.clock.advance(60)
    await settle()
    expect(rig.lookedUp).toBe(0)
  })

  test('what is looked up after a reload has taken it away does nothing', async () => {
    const rig = await Rig.start({ rw }, {}, [['db.test', ['10.0.0.7']]])
    rig.context.config = await Rig.config(entry('db.test'))
    rig.topology.reconfigure()
    rig.context.config = await Rig.config({ rw })
    rig.topology.reconfigure()
    await settle()
    expect(names(rig)).toEqual(['10.0.0.1:5432', '10.0.0.2:5432'])
  })
})
