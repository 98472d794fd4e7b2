// How long those wait who guess passwords, and that nobody else does.

import { beforeEach, describe, expect, test } from 'vitest'
import { FailedLogins } from '../../src/client/failed-logins.js'
import { Attempt } from '../../src/server/attempt.js'
import { ManualClock } from '../harness/manual-clock.js'

let clock: ManualClock
let failures: FailedLogins
let longest: number
beforeEach(() => {
  clock = new ManualClock()
  longest = 2
  failures = new FailedLogins(clock, () => longest)
})

/** Seconds until it resolves. */
async function duration(waiting: Promise<void>): Promise<number> {
  const start = clock.now()
  let isOver = false
  void waiting.then(() => {
    isOver = true
  })
  await new Promise(setImmediate)
  while (!isOver) {
    clock.advance(0.005)
    await new Promise(setImmediate)
  }
  return Math.round(clock.now() - start) / 1000
}

async function fail(times: number, address = '10.0.0.1', user = 'anna'): Promise<number[]> {
  const waits: number[] = []
  for (let n = 0; n < times; n++) waits.push(await duration(failures.delay(address, user, new Attempt())))
  return waits
}

test('each failure is told later than the one before, up to the longest delay', async () => {
  expect(await fail(9)).toEqual([0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2, 2])
})

test('neither another user nor another address waits for it', async () => {
  await fail(8)
  expect(await fail(1, '10.0.0.2')).toEqual([0.025])
  expect(await fail(1, '10.0.0.1', 'bert')).toEqual([0.025])
})

test('an IPv6 network is one address, and an IPv4 address in IPv6 is itself', async () => {
  await fail(3, '2001:db8:1:2::1')
  expect(await fail(1, '2001:db8:1:2:ffff::9')).toEqual([0.2])
  expect(await fail(1, '2001:db8:1:3::1')).toEqual([0.025])
  await fail(1, '::ffff:10.1.1.1')
  expect(await fail(1, '10.1.1.1')).toEqual([0.05])
  expect(await fail(1, '10.1.1.2')).toEqual([0.025])
  await fail(1, 'fe80::1%eth0')
  expect(await fail(1, 'fe80::2%eth1')).toEqual([0.05])
})

test('a minute without a failure, and all is forgotten', async () => {
  await fail(5)
  clock.advance(59)
  expect(await fail(1)).toEqual([0.8])
  clock.advance(61)
  expect(await fail(1)).toEqual([0.025])
})

test('0 turns it off, at once', async () => {
  await fail(5)
  longest = 0
  expect(await fail(2)).toEqual([0, 0])
  longest = 0.01
  expect(await fail(1)).toEqual([0.01])
})

describe('a password is checked', () => {
  test('at once, however often it was wrong before', async () => {
    longest = 0.001
    await fail(99)
    longest = 2
    expect(await duration(failures.admission('10.0.0.1', 'anna', new Attempt()))).toBe(0)
  })

  test('at once, where somebody has been failing now and then for hours', async () => {
    for (let n = 0; n < 200; n++) {
      await fail(1)
      clock.advance(30)
    }
    expect(await duration(failures.admission('10.0.0.1', 'anna', new Attempt()))).toBe(0)
  })

  test('late, where nobody waited for answers', async () => {
    void Promise.all(Array.from({ length: 100 }, () => failures.delay('10.0.0.1', 'anna', new Attempt())))
    expect(await duration(failures.admission('10.0.0.1', 'anna', new Attempt()))).toBe(2)
    expect(await duration(failures.admission('10.0.0.1', 'bert', new Attempt()))).toBe(0)
    clock.advance(61)
    expect(await duration(failures.admission('10.0.0.1', 'anna', new Attempt()))).toBe(0)
  })
})

test('what is remembered is bounded', () => {
  for (let n = 0; n < 12_000; n++) void failures.delay('10.0.0.1', `user ${n}`, new Attempt())
  expect(failures.size).toBe(10_000)
})
