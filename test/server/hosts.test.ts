import { expect, test } from 'vitest'
import type { Clock } from '../../src/observe/clock.js'
import { LookupFailed, locate, Resolver } from '../../src/server/hosts.js'

class StillClock implements Clock {
  time = 0
  now = (): number => this.time
  date = (): Date => new Date(this.time)
  after = (): { cancel(): void } => ({ cancel() {} })
  every = (): { cancel(): void } => ({ cancel() {} })
}

test('a name is looked up once for all who ask at the same time, and remembered for dns_max_ttl', async () => {
  const clock = new StillClock()
  const names = new Resolver(clock, () => ({ maxTtl: 10, failureTtl: 10 }))
  const both = Promise.all([names.address('localhost'), names.address('localhost')])
  expect(names.pending).toBe(1)
  for (const address of await both) expect(['127.0.0.1', '::1']).toContain(address)
  expect(names.pending).toBe(0)
  expect(names.status()).toMatchObject([{ hostname: 'localhost', ttl: 10 }])
  clock.time = 9_000
  const again = names.address('localhost')
  expect(names.pending).toBe(0)
  await again
  clock.time = 10_001
  const late = names.address('localhost')
  expect(names.pending).toBe(1)
  await late
})

test('a failure is remembered, too', async () => {
  const clock = new StillClock()
  const names = new Resolver(clock, () => ({ maxTtl: 100, failureTtl: 3 }))
  await expect(names.address('no such host')).rejects.toThrow(LookupFailed)
  expect(names.status()).toEqual([{ hostname: 'no such host', ttl: 3, addresses: [] }])
  const again = names.address('no such host')
  expect(names.pending).toBe(0)
  await expect(again).rejects.toThrow('could not look up no such host')
})

test('folders and abstract names are Unix sockets', async () => {
  const names = new Resolver(new StillClock(), () => ({ maxTtl: 1, failureTtl: 1 }))
  expect(await locate('/var/run', 6000, names)).toEqual({ kind: 'unix', path: '/var/run/.s.PGSQL.6000', port: 6000 })
  expect(await locate('@pg', 6000, names)).toEqual({ kind: 'unix', path: '\0pg/.s.PGSQL.6000', port: 6000 })
})

test('several addresses are taken in turn, those that fail last', async () => {
  const three = ['10.0.0.1', '10.0.0.2', '10.0.0.3']
  const names = new Resolver(
    new StillClock(),
    () => ({ maxTtl: 1, failureTtl: 1 }),
    () => {},
    async () => three,
  )
  const isFailing = (address: string): boolean => address === '10.0.0.2'
  const taken: string[] = []
  for (let n = 0; n < 4; n++) taken.push(await names.address('db', isFailing))
  expect(taken).toEqual(['10.0.0.1', '10.0.0.3', '10.0.0.1', '10.0.0.3'])
  expect(three).toContain(await names.address('db', () => true))
  expect(names.addressesOf('db')).toEqual(three)
})

test('addresses are not looked up', async () => {
  const names = new Resolver(new StillClock(), () => ({ maxTtl: 1, failureTtl: 1 }))
  expect(await names.address('192.0.2.1')).toBe('192.0.2.1')
  expect(await names.address('2001:db8::1')).toBe('2001:db8::1')
  expect(names.status()).toEqual([])
})
