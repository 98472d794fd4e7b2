import { expect, test } from 'vitest'
import { Attempt } from '../../src/server/attempt.js'
import { ManualClock } from '../harness/manual-clock.js'

const never = new Promise<never>(() => {})

test('what is waited for ends with the attempt, also what is waited for afterwards', async () => {
  const attempt = new Attempt()
  const waiting = attempt.wait(never)
  attempt.giveUp(new Error('left'))
  await expect(waiting).rejects.toThrow('left')
  await expect(attempt.wait(Promise.resolve('late'))).rejects.toThrow('left')
  expect(() => attempt.check()).toThrow('left')
  expect(() => attempt.succeed()).toThrow('left')
})

test('what it has opened is closed, at once where it is opened too late; what was taken back is not', () => {
  const attempt = new Attempt()
  const closed: string[] = []
  attempt.onGivenUp(({ message }) => closed.push(`first: ${message}`))
  attempt.onGivenUp(() => closed.push('taken back'))()
  attempt.giveUp(new Error('left'))
  attempt.giveUp(new Error('again'))
  attempt.onGivenUp(({ message }) => closed.push(`second: ${message}`))
  expect(closed).toEqual(['first: left', 'second: left'])
})

test('once it has succeeded, nothing of it is closed', async () => {
  const attempt = new Attempt()
  const closed: string[] = []
  attempt.onGivenUp(() => closed.push('before'))
  expect(await attempt.wait(Promise.resolve(1))).toBe(1)
  attempt.succeed()
  attempt.onGivenUp(() => closed.push('after'))
  attempt.giveUp(new Error('left'))
  attempt.check()
  expect([closed, attempt.isOver]).toEqual([[], true])
})

test('what is waited for may fail, before or after', async () => {
  const attempt = new Attempt()
  await expect(attempt.wait(Promise.reject(new Error('failed')))).rejects.toThrow('failed')
  let fail: (error: Error) => void = () => {}
  const waiting = attempt.wait(
    new Promise((_, reject) => {
      fail = reject
    }),
  )
  attempt.giveUp(new Error('left'))
  fail(new Error('nobody hears of it'))
  await expect(waiting).rejects.toThrow('left')
})

test('its limit gives it up, and ends with it', () => {
  const clock = new ManualClock()
  const [late, quick, endless] = [new Attempt(), new Attempt(), new Attempt()]
  for (const attempt of [late, quick]) attempt.limit(clock, 1000, () => new Error('too late'))
  endless.limit(clock, 0, () => new Error('too late'))
  quick.succeed()
  clock.advance(2)
  expect(() => late.check()).toThrow('too late')
  quick.check()
  endless.check()
})
