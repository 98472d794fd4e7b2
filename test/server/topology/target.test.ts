import { describe, expect, test } from 'vitest'
import type { DatabaseConfig } from '../../../src/config/databases.js'
import { Target } from '../../../src/server/topology/target.js'
import { ManualClock } from '../../harness/manual-clock.js'
import { heard, report, Scene } from './hosts.js'

type Keys = Partial<Pick<DatabaseConfig, 'targetSessionAttrs' | 'loadBalanceHosts'>>

function targetOf(scene: Scene, keys: Keys, maxLag: () => number = () => 0): Target {
  const config = { targetSessionAttrs: 'prefer-standby', loadBalanceHosts: 'round-robin', ...keys } as DatabaseConfig
  return new Target(scene.group, config, scene.clock, maxLag)
}

/** `a` is the primary, `b` and `c` are standbys. */
function three(): Scene {
  const scene = new Scene(new ManualClock(), 'a', 'b', 'c')
  scene.hear('a', 'primary')
  scene.hear('b', 'standby')
  scene.hear('c', 'standby')
  return scene
}

const none = () => 0
const chosen = (target: Target, times: number, count: (name: string) => number = none) =>
  Array.from({ length: times }, () => target.choose('u', 'role', ({ name }) => count(name))?.named.name)

describe('load_balance_hosts', () => {
  test('round-robin: one after the other of those that fit', () => {
    const scene = three()
    const target = targetOf(scene, {})
    expect(chosen(target, 5)).toEqual(['b', 'c', 'b', 'c', 'b'])
    scene.hear('b', 'down')
    target.update()
    expect(chosen(target, 3)).toEqual(['c', 'c', 'c'])
  })

  test('disable: the first that fits', () => {
    const scene = three()
    const target = targetOf(scene, { loadBalanceHosts: 'disable' })
    expect(chosen(target, 3)).toEqual(['b', 'b', 'b'])
    scene.hear('b', 'down')
    target.update()
    expect(chosen(target, 2)).toEqual(['c', 'c'])
    scene.hear('b', 'standby')
    target.update()
    expect(chosen(target, 1)).toEqual(['b'])
  })

  test('random: each of those that fit, and no other', () => {
    const target = targetOf(three(), { loadBalanceHosts: 'random' })
    expect(new Set(chosen(target, 200))).toEqual(new Set(['b', 'c']))
  })

  test('least-connections: the one that has fewest', () => {
    const target = targetOf(three(), { loadBalanceHosts: 'least-connections' })
    const counts = new Map([
      ['a:5432', 0],
      ['b:5432', 2],
      ['c:5432', 0],
    ])
    const order: (string | undefined)[] = []
    for (let n = 0; n < 4; n++) {
      const [name] = chosen(target, 1, (host) => counts.get(host) ?? 0)
      counts.set(`${name}:5432`, (counts.get(`${name}:5432`) ?? 0) + 1)
      order.push(name)
    }
    expect(order).toEqual(['c', 'c', 'b', 'c'])
  })

  test.each(['round-robin', 'disable', 'random', 'least-connections'] as const)(
    '%s: where none fits, none',
    (balance) => {
      const target = targetOf(new Scene(new ManualClock(), 'a', 'b'), { loadBalanceHosts: balance })
      expect(chosen(target, 1)).toEqual([undefined])
      expect(target.hasAny('u', 'role')).toBe(false)
    },
  )
})

describe('which hosts', () => {
  test('prefer-standby: the primary as soon as there is no standby, and back', () => {
    const scene = three()
    const target = targetOf(scene, {})
    for (const name of ['b', 'c']) scene.hear(name, 'down')
    expect(target.update()).toBe(true)
    expect(chosen(target, 2)).toEqual(['a', 'a'])
    scene.hear('c', 'standby')
    expect(target.update()).toBe(true)
    expect(target.update()).toBe(false)
    expect(chosen(target, 2)).toEqual(['c', 'c'])
    expect(target.standing(scene.host('a'), 'role')).toBe('spare')
  })

  test('for look-ups of the pooler all do that are well', () => {
    const scene = three()
    const target = targetOf(scene, { targetSessionAttrs: 'primary' })
    const anywhere = () => new Set(Array.from({ length: 6 }, () => target.choose('u', 'anywhere', none)?.named.name))
    expect(anywhere()).toEqual(new Set(['a', 'b', 'c']))
    scene.hear('a', 'down')
    target.update()
    expect(anywhere()).toEqual(new Set(['b', 'c']))
    expect(target.hasAny('u', 'anywhere')).toBe(true)
    expect(target.hasAny('u', 'role')).toBe(false)
    expect(target.hasFit).toBe(false)
  })

  test('where no role can be asked for, one that is up: its login tells', () => {
    const scene = new Scene(new ManualClock(), 'a', 'b')
    const target = targetOf(scene, { targetSessionAttrs: 'primary' })
    scene.hear('a', heard('up', undefined, 'probe refused'))
    scene.hear('b', 'down')
    target.update()
    expect(chosen(target, 2)).toEqual(['a', 'a'])
    expect(target.hasAny('u', 'role')).toBe(true)
    expect(target.hasFit).toBe(false)
    scene.hear('b', 'primary')
    target.update()
    expect(chosen(target, 2)).toEqual(['b', 'b']) // where one can, that one
  })

  test('none that says it is the primary, before all have spoken', () => {
    const scene = new Scene(new ManualClock(), 'a', 'b')
    const target = targetOf(scene, { targetSessionAttrs: 'primary' })
    scene.hear('a', 'primary')
    target.update()
    expect(chosen(target, 1)).toEqual([undefined])
    scene.hear('b', 'down')
    target.update()
    expect(chosen(target, 1)).toEqual(['a'])
  })

  test('one that has gone from the group is left when it is free', () => {
    const scene = three()
    const target = targetOf(scene, { targetSessionAttrs: 'standby' })
    const host = scene.host('b')
    scene.group.resolved(scene.group.named[1]!, [])
    expect(target.update()).toBe(true)
    expect(target.standing(host, 'role')).toBe('spare')
    expect(chosen(target, 2)).toEqual(['c', 'c'])
  })

  test('one that takes the place of another is noticed', () => {
    const scene = three()
    const target = targetOf(scene, {})
    const other = new Scene(scene.clock, 'd')
    scene.group.resolved(scene.group.named[1]!, other.group.candidates)
    expect(target.update()).toBe(true)
  })
})

describe('max_replica_lag', () => {
  function lagging(maxLag: number) {
    const scene = three()
    const target = targetOf(scene, {}, () => maxLag)
    return (ms: number | undefined) => {
      scene.host('b').lag = ms
      scene.host('c').lag = 10 * maxLag + 1 // all the time
      target.update()
      return { late: target.isLate(scene.host('b')), next: chosen(target, 1)[0] }
    }
  }

  test('a standby that is further behind is not read from, until it is within half of that', () => {
    const at = lagging(1000)
    expect(at(1000)).toEqual({ late: false, next: 'b' })
    expect(at(1001)).toEqual({ late: true, next: 'a' })
    expect(at(999)).toEqual({ late: true, next: 'a' })
    expect(at(501)).toEqual({ late: true, next: 'a' })
    expect(at(500)).toEqual({ late: false, next: 'b' })
    expect(at(999)).toEqual({ late: false, next: 'b' })
  })

  test('one of which nothing is known is not late', () => {
    const at = lagging(1000)
    at(1001)
    expect(at(undefined)).toEqual({ late: false, next: 'b' })
  })

  test('0: none ever is, also where the setting is changed', () => {
    const scene = three()
    let most = 1000
    const target = targetOf(scene, {}, () => most)
    for (const name of ['b', 'c']) scene.host(name).lag = 5000
    target.update()
    expect(chosen(target, 1)).toEqual(['a'])
    most = 0
    target.update()
    expect(new Set(chosen(target, 2))).toEqual(new Set(['b', 'c']))
  })

  test('the primary is never late', () => {
    const scene = three()
    const target = targetOf(scene, { targetSessionAttrs: 'primary' }, () => 1000)
    scene.host('a').lag = 5000
    target.update()
    expect(chosen(target, 1)).toEqual(['a'])
  })
})

describe('a host that fits again', () => {
  /** `b` goes and comes back. */
  function again(keys: Keys) {
    const scene = three()
    const target = targetOf(scene, keys)
    const be = (what: 'down' | 'standby') => {
      scene.hear('b', what)
      target.update()
      return target.returned.map(({ name }) => name)
    }
    return { target, host: scene.host('b'), be }
  }

  test('has returned, until the next update; what is owed to it comes before its turn', () => {
    const { target, host, be } = again({})
    expect(target.returned).toHaveLength(2) // all are new
    expect(be('down')).toEqual([])
    expect(be('standby')).toEqual(['b:5432'])
    target.owe(host, 2)
    expect(chosen(target, 4)).toEqual(['b', 'b', 'b', 'c'])
    target.update()
    expect(target.returned).toEqual([])
  })

  test('and goes once more is owed nothing', () => {
    const { target, host, be } = again({})
    target.owe(host, 5)
    be('down')
    expect(chosen(target, 2)).toEqual(['c', 'c'])
    be('standby')
    expect(chosen(target, 4)).toEqual(['b', 'c', 'b', 'c'])
  })

  test('gets no part where servers stay with one host (disable)', () => {
    const { be } = again({ loadBalanceHosts: 'disable' })
    be('down')
    expect(be('standby')).toEqual([])
  })
})

describe('a host that is not what it should be for a user', () => {
  test('is left alone for a while, for that user', () => {
    const scene = three()
    const target = targetOf(scene, {})
    const next = (user: string) => target.choose(user, 'role', none)?.named.name
    target.noteMisfit(scene.host('b'), 'u', 15_000)
    expect([next('u'), next('u'), next('u')]).toEqual(['c', 'c', 'c'])
    expect(new Set([next('v'), next('v')])).toEqual(new Set(['b', 'c']))
    target.noteMisfit(scene.host('c'), 'u', 30_000)
    expect(next('u')).toBeUndefined()
    expect(target.hasAny('u', 'role')).toBe(false)
    expect(target.hasFit).toBe(true)
    scene.clock.advance(14.9)
    expect(next('u')).toBeUndefined()
    scene.clock.advance(0.1)
    expect(next('u')).toBe('b')
  })

  test('is forgotten in time, however many users it has refused', () => {
    const scene = three()
    const target = targetOf(scene, {})
    for (let n = 0; n < 1000; n++) {
      target.noteMisfit(scene.host('b'), `u${n}`, 1000)
      scene.clock.advance(0.1)
    }
    const { size } = Reflect.get(target, 'misfits') as Map<string, number>
    expect(size).toBeLessThanOrEqual(100)
  })

  test.each([
    // in recovery, read only: any, primary, read-write, standby, read-only, prefer-standby
    [false, false, [true, true, true, false, false, true]],
    [false, true, [true, true, false, false, true, true]],
    [true, false, [true, false, false, true, true, true]],
    [true, true, [true, false, false, true, true, true]],
  ] as const)('in recovery: %s, read only: %s', (isInRecovery, isReadOnly, taken) => {
    const kinds = ['any', 'primary', 'read-write', 'standby', 'read-only', 'prefer-standby'] as const
    const scene = three()
    const accepted = kinds.map((attrs) =>
      targetOf(scene, { targetSessionAttrs: attrs }).accepts({ isInRecovery, isReadOnly }, 'role'),
    )
    expect(accepted).toEqual(taken)
    const target = targetOf(scene, { targetSessionAttrs: 'primary' })
    expect(target.accepts({ isInRecovery, isReadOnly }, 'anywhere')).toBe(true)
  })
})

test.each([
  ['primary', 'off', true],
  ['read-write', 'off', true],
  ['standby', 'on', false],
  ['read-only', 'on', false],
  ['prefer-standby', 'on', false],
] as const)('%s: clients are told in_hot_standby = %s', (attrs, value, wantsPrimary) => {
  const target = targetOf(three(), { targetSessionAttrs: attrs })
  expect(target.inHotStandby).toBe(value)
  expect(target.wantsPrimary).toBe(wantsPrimary)
})

test('every moment has its standing: each kind, each state of a host', () => {
  const words = ['unknown', 'primary', 'standby', 'down', 'starting', 'mute', 'fenced', 'foreign', 'banned'] as const
  const at = (attrs: DatabaseConfig['targetSessionAttrs']) =>
    words.map((word) => {
      const scene = new Scene(new ManualClock(), 'a', 'b')
      if (word !== 'unknown') scene.hear('a', word === 'primary' ? 'standby' : 'primary', 2)
      if (word === 'primary') scene.hear('b', 'primary', 2)
      if (word === 'standby' || word === 'banned') scene.hear('b', 'standby', 2)
      if (word === 'down') scene.hear('b', 'down')
      if (word === 'starting') scene.hear('b', heard('starting'))
      if (word === 'mute') scene.hear('b', heard('up'))
      if (word === 'fenced') scene.hear('b', 'primary', 1)
      if (word === 'foreign') scene.hear('b', heard('up', report('standby', 2, '0/1', 'X')))
      if (word === 'banned') scene.host('b').bannedUntil = Number.POSITIVE_INFINITY
      scene.group.reconsider()
      return targetOf(scene, { targetSessionAttrs: attrs }).standing(scene.host('b'), 'role')
    })
  const rest = ['wrong', 'wrong', 'spare'] as const
  // `a` is the primary: `b`, which is silent, may be what was left, so no writer stays there.
  for (const attrs of ['primary', 'read-write'] as const)
    expect(at(attrs)).toEqual(['unsure', 'fit', 'wrong', 'dead', 'wrong', 'wrong', ...rest])
  for (const attrs of ['standby', 'read-only', 'prefer-standby'] as const)
    expect(at(attrs)).toEqual(['unsure', 'spare', 'fit', 'dead', 'unsure', 'unsure', ...rest])
})
