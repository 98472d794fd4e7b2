import { describe, expect, test } from 'vitest'
import { groupName, HostGroup } from '../../../src/server/topology/group.js'
import { ManualClock } from '../../harness/manual-clock.js'
import { candidate, heard, named, report, Scene } from './hosts.js'

const scene = (...names: string[]) => new Scene(new ManualClock(), ...names)

describe('what is told, once', () => {
  test('who is the primary, when all have spoken', () => {
    const two = scene('a', 'b')
    expect(two.hear('b', 'standby')).toEqual([])
    expect(two.hear('a', 'primary')).toEqual(['a:5432 is the primary, timeline 1'])
    expect(two.hear('a', 'primary')).toEqual([])
    expect(two.group.primary).toBe(two.host('a'))
  })

  test('a crash and a promotion, and the old one that comes back', () => {
    const two = scene('a', 'b')
    two.hear('a', 'primary')
    two.hear('b', 'standby')
    expect(two.hear('a', 'down')).toEqual(['no primary, the last was a:5432: writes wait'])
    expect(two.hear('a', 'down')).toEqual([])
    expect(two.group.primary).toBeUndefined()
    expect(two.hear('b', 'primary', 2)).toEqual(['b:5432 is the primary in place of a:5432, timeline 2'])
    expect(two.hear('a', 'primary', 1)).toEqual([
      'a:5432 is fenced: it says that it is a primary, but b:5432 is the primary',
    ])
    expect(two.group.isFenced(two.host('a'))).toBe(true)
    expect(two.hear('a', 'down')).toEqual([])
    expect(two.hear('a', 'standby', 2)).toEqual(['a:5432 is no longer fenced'])
  })

  test('that none is a primary, once all have spoken', () => {
    const two = scene('a', 'b')
    expect(two.hear('a', 'standby')).toEqual([])
    expect(two.hear('b', 'down')).toEqual(['none of them is a primary'])
    expect(two.hear('b', 'standby')).toEqual([])
    expect(two.hear('b', 'primary')).toEqual(['b:5432 is the primary, timeline 1'])
  })

  test('the same host is the primary again: no failover', () => {
    const two = scene('a', 'b')
    two.hear('b', 'standby')
    two.host('a').hear(heard('up', report('primary')), 0)
    expect(two.group.reconsider().map(({ failover }) => failover)).toEqual([undefined])
    two.hear('a', 'down')
    two.host('a').hear(heard('up', report('primary')), 0)
    expect(two.group.reconsider().map(({ failover, isLoud }) => [failover, isLoud])).toEqual([[undefined, false]])
    two.hear('a', 'down')
    two.host('b').hear(heard('up', report('primary', 2)), 0)
    expect(two.group.reconsider().map(({ failover, isLoud }) => [failover, isLoud])).toEqual([
      [{ from: 'a:5432', to: 'b:5432' }, true],
    ])
  })

  test('a dispute, and its end by a ban', () => {
    const two = scene('a', 'b')
    two.hear('a', 'primary')
    expect(two.hear('b', 'primary')).toEqual([
      'a:5432 and b:5432 are primaries of one timeline: none is used, BAN HOST decides',
    ])
    expect(two.hear('b', 'primary')).toEqual([])
    two.host('a').bannedUntil = two.clock.now() + 1
    expect(two.group.reconsider().map(({ text }) => text)).toEqual([
      'hosts a:5432,b:5432: b:5432 is the primary, timeline 1',
      'hosts a:5432,b:5432: a:5432 is fenced: it says that it is a primary, but b:5432 is the primary',
    ])
  })

  test('a host of another cluster', () => {
    const two = scene('a', 'b')
    two.hear('a', 'primary')
    const foreign = heard('up', report('standby', 1, '0/1', 'X'))
    expect(two.hear('b', foreign)).toEqual([
      'a:5432 is the primary, timeline 1',
      'b:5432 has another system identifier than S: it is not used',
    ])
    expect(two.hear('b', foreign)).toEqual([])
    expect(two.group.isForeign(two.host('b'))).toBe(true)
  })

  test('an old primary that is alone', () => {
    const two = scene('a', 'b')
    two.hear('a', 'down')
    two.hear('b', 'primary', 2)
    two.hear('b', 'down')
    expect(two.hear('a', 'primary', 1)).toEqual([
      'a:5432 is fenced: it says that it is a primary, but timeline 2 is known',
    ])
  })
})

describe('by word of an administrator', () => {
  test('a fence is lifted, and set again where another is the primary', () => {
    const two = scene('a', 'b')
    two.hear('a', 'down')
    two.hear('b', 'primary', 2)
    two.hear('a', 'primary', 1)
    two.group.pardon(two.host('a'))
    expect(two.group.isFenced(two.host('a'))).toBe(false)
    two.group.reconsider()
    expect(two.group.isFenced(two.host('a'))).toBe(true)
    expect(two.group.primary).toBe(two.host('b'))
  })

  test('the old primary is it again, where the new one is gone', () => {
    const two = scene('a', 'b')
    two.hear('a', 'down')
    two.hear('b', 'primary', 2)
    two.hear('b', 'down')
    two.hear('a', 'primary', 1)
    expect(two.group.primary).toBeUndefined()
    two.group.pardon(two.host('a'))
    two.group.reconsider()
    expect(two.group.primary).toBe(two.host('a'))
    expect(two.hear('b', 'standby', 2)).toEqual([])
  })

  test('a pardon of a standby changes nothing of what is known', () => {
    const two = scene('a', 'b')
    two.hear('a', 'primary', 2)
    two.hear('b', 'standby', 1)
    two.hear('a', 'down')
    two.group.pardon(two.host('b'))
    expect(two.hear('b', 'primary', 1)).toEqual([
      'b:5432 is fenced: it says that it is a primary, but timeline 2 is known',
    ])
  })

  test('another cluster is accepted, with its timeline: after pg_upgrade, or a restore', () => {
    const two = scene('a', 'b')
    two.hear('b', 'down')
    two.hear('a', 'primary', 7)
    const upgraded = heard('up', report('primary', 1, '0/1', 'X'))
    expect(two.hear('a', upgraded)).toEqual([
      'no primary, the last was a:5432: writes wait',
      'a:5432 has another system identifier than S: it is not used',
    ])
    two.group.pardon(two.host('a'))
    expect(two.hear('a', upgraded)).toEqual(['a:5432 is the primary, timeline 1'])
    expect(two.hear('b', 'standby', 7)).toEqual(['b:5432 has another system identifier than X: it is not used'])
  })
})

describe('names and their addresses', () => {
  const clock = new ManualClock()
  const [one, other] = [named('one.test'), named('other.test')]
  const text = (group: HostGroup) => group.candidates.map(({ host }) => host.name)

  test('each address of a name is a host, in the order of the entry', () => {
    const group = new HostGroup([one, other], clock)
    expect(group.isLookedUp).toBe(false)
    const [a, b, c] = ['10.0.0.1', '10.0.0.2', '10.0.0.3'].map((at) =>
      candidate(at === '10.0.0.3' ? other : one, at, clock),
    )
    expect(group.resolved(other, [c!])).toBe(true)
    expect(group.isLookedUp).toBe(false)
    expect(group.resolved(one, [a!, b!])).toBe(true)
    expect(group.isLookedUp).toBe(true)
    expect(text(group)).toEqual(['10.0.0.1:5432', '10.0.0.2:5432', '10.0.0.3:5432'])
    expect(group.resolved(one, [a!, b!])).toBe(false)
    expect(group.resolved(one, [b!, a!])).toBe(true)
    expect(text(group)).toEqual(['10.0.0.2:5432', '10.0.0.1:5432', '10.0.0.3:5432'])
  })

  test('one that leads nowhere is looked up as well', () => {
    const group = new HostGroup([one, other], clock)
    expect(group.resolved(one, [])).toBe(false)
    group.resolved(other, [candidate(other, '10.0.0.1', clock)])
    expect(group.isLookedUp).toBe(true)
  })

  test('the same name with two ports is two', () => {
    const [low, high] = [named('one.test', 1), named('one.test', 2)]
    const group = new HostGroup([low, high], clock)
    group.resolved(low, [candidate(low, '10.0.0.1', clock)])
    expect(group.isLookedUp).toBe(false)
    group.resolved(high, [candidate(high, '10.0.0.1', clock)])
    expect(group.isLookedUp).toBe(true)
    expect(text(group)).toEqual(['10.0.0.1:1', '10.0.0.1:2'])
  })

  test('two names for one host: the first counts', () => {
    const group = new HostGroup([one, other], clock)
    const found = candidate(one, '10.0.0.1', clock)
    group.resolved(one, [found])
    expect(group.resolved(other, [{ ...found, named: other }])).toBe(false)
    expect(text(group)).toEqual(['10.0.0.1:5432'])
  })

  test('a name that moves takes the role with it when its new address says so', () => {
    const group = new HostGroup([one], clock)
    const [before, after] = [candidate(one, '10.0.0.1', clock), candidate(one, '10.0.0.2', clock)]
    group.resolved(one, [before])
    before.host.hear(heard('up', report('primary', 1)), clock.now())
    group.reconsider()
    expect(group.primary).toBe(before.host)
    group.resolved(one, [after])
    group.reconsider()
    expect(group.primary).toBeUndefined()
    after.host.hear(heard('up', report('primary', 2)), clock.now())
    const [change] = group.reconsider()
    expect(change?.failover).toEqual({ from: '10.0.0.1:5432', to: '10.0.0.2:5432' })
    expect(group.primary).toBe(after.host)
  })

  test('nobody is elected before all names were looked up', () => {
    const group = new HostGroup([one, other], clock)
    const found = candidate(one, '10.0.0.1', clock)
    group.resolved(one, [found])
    found.host.hear(heard('up', report('primary', 1)), clock.now())
    expect(group.reconsider()).toEqual([])
    group.resolved(other, [])
    expect(group.reconsider()).toHaveLength(1)
  })

  test('entries with the same hosts are one group, in whatever order', () => {
    expect(groupName([one, other])).toBe(groupName([other, one]))
    expect(groupName([one])).not.toBe(groupName([named('one.test', 5433)]))
  })

  test('a group in the place of another knows what that knew', () => {
    const two = scene('a', 'b')
    two.hear('a', 'primary', 1)
    two.hear('b', 'primary', 2)
    const list = [named('a'), named('b'), named('c')]
    const group = new HostGroup(list, two.clock, two.group)
    for (const [n, name] of ['a', 'b'].entries())
      group.resolved(list[n]!, [{ ...candidate(list[n]!, name, two.clock), host: two.host(name) }])
    expect(group.reconsider()).toEqual([])
    expect(group.primary).toBeUndefined()
    group.resolved(list[2]!, [candidate(list[2]!, 'c', two.clock)]) // it has not been asked yet
    expect(group.reconsider().map(({ text: line }) => line)).toEqual([
      'hosts a:5432,b:5432,c:5432: b:5432 is the primary, timeline 2',
    ])
    expect(group.isFenced(two.host('a'))).toBe(true)
  })
})

describe('how far standbys are behind', () => {
  const at = (role: 'primary' | 'standby', lsn: string, replayDelay?: number) =>
    heard('up', { ...report(role, 1, lsn), replayDelay })

  test('the primary is not, standbys are by where it was when', () => {
    const two = scene('a', 'b')
    two.hear('a', at('primary', '0/1000'))
    two.hear('b', at('standby', '0/1000'))
    expect([two.host('a').lag, two.host('b').lag]).toEqual([undefined, 0])
    two.clock.advance(1)
    two.hear('a', at('primary', '0/2000'))
    two.clock.advance(2)
    two.hear('b', at('standby', '0/1800'))
    expect(two.host('b').lag).toBe(2000)
    two.hear('b', at('standby', '0/2000'))
    expect(two.host('b').lag).toBe(0)
  })

  test('without a primary, as it says itself, and no more', () => {
    const two = scene('a', 'b')
    two.hear('a', 'down')
    two.hear('b', at('standby', '0/1000', 700))
    expect(two.host('b').lag).toBe(700)
    two.clock.advance(10)
    two.hear('b', at('standby', '0/1000', 10_700))
    expect(two.host('b').lag).toBe(700)
  })

  test('one that becomes the primary is not behind any more', () => {
    const two = scene('a', 'b')
    two.hear('a', 'down')
    two.hear('b', at('standby', '0/1000', 700))
    two.hear('b', at('primary', '0/1000'))
    expect(two.host('b').lag).toBeUndefined()
  })

  test('positions that cannot be asked for: as it says itself, or unknown', () => {
    const two = scene('a', 'b')
    two.hear('a', 'primary')
    two.hear('b', { ...at('standby', ''), report: { ...report('standby'), replayDelay: 5 } })
    expect(two.host('b').lag).toBe(5)
    two.hear('a', at('primary', '0/1000'))
    two.hear('b', heard('up', report('standby')))
    expect(two.host('b').lag).toBeUndefined()
    two.hear('b', heard('up', { ...report('standby'), replayDelay: 7 }))
    expect(two.host('b').lag).toBe(7)
  })
})

test('a host keeps when it changed and what went wrong', () => {
  const two = scene('a', 'b')
  const host = two.host('a')
  const since = two.clock.now()
  two.clock.advance(1)
  expect(host.hear(heard('up', report('primary')), two.clock.now())).toBe(true)
  expect(host.since).toBe(since + 1000)
  two.clock.advance(1)
  expect(host.hear(heard('up', report('primary', 2)), two.clock.now())).toBe(false)
  expect(host.since).toBe(since + 1000)
  expect(host.hear(heard('down', undefined, 'connect failed'), two.clock.now())).toBe(true)
  expect(host.hear(heard('up', report('primary')), two.clock.now())).toBe(true)
  expect([host.lastError, host.role, host.since]).toEqual(['connect failed', 'primary', since + 2000])
})
