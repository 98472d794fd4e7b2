import { expect, test } from 'vitest'
import type { DatabaseConfig } from '../../src/config/databases.js'
import type { Clock } from '../../src/observe/clock.js'
import { HostList, LookupFailed, Resolver } from '../../src/pool/hosts.js'

class StillClock implements Clock {
  time = 0
  now = (): number => this.time
  date = (): Date => new Date(this.time)
  after = (): { cancel(): void } => ({ cancel() {} })
  every = (): { cancel(): void } => ({ cancel() {} })
}

const database = (hosts: string[], ports: number[] = [], loadBalanceHosts = 'round-robin'): DatabaseConfig =>
  ({ hosts, ports, loadBalanceHosts }) as unknown as DatabaseConfig

const resolver = new Resolver(new StillClock(), () => ({ maxTtl: 15, failureTtl: 15 }))

async function picks(list: HostList, config: DatabaseConfig, count: number): Promise<string[]> {
  const picked: string[] = []
  for (let n = 0; n < count; n++) {
    const target = await list.pick(config, '/run/pg', resolver)
    picked.push(target.kind === 'unix' ? target.path : `${target.address}:${target.port}`)
  }
  return picked
}

test('hosts are taken in turn, each with its port', async () => {
  const config = database(['10.0.0.1', '10.0.0.2', '::1'], [1, 2, 3])
  expect(await picks(new HostList(), config, 4)).toEqual(['10.0.0.1:1', '10.0.0.2:2', '::1:3', '10.0.0.1:1'])
})

test('one port is for all hosts, and 5432 where there is none', async () => {
  expect(await picks(new HostList(), database(['10.0.0.1', '10.0.0.2'], [7]), 2)).toEqual(['10.0.0.1:7', '10.0.0.2:7'])
  expect(await picks(new HostList(), database(['10.0.0.1']), 1)).toEqual(['10.0.0.1:5432'])
})

test('with load_balance_hosts=disable the first is taken until it fails', async () => {
  const config = database(['10.0.0.1', '10.0.0.2'], [], 'disable')
  const list = new HostList()
  expect(await picks(list, config, 2)).toEqual(['10.0.0.1:5432', '10.0.0.1:5432'])
  list.failed(config)
  expect(await picks(list, config, 2)).toEqual(['10.0.0.2:5432', '10.0.0.2:5432'])
  list.failed(config)
  expect(await picks(list, config, 1)).toEqual(['10.0.0.1:5432'])
})

test('folders and abstract names are Unix sockets, and no host is the folder of our own', async () => {
  expect(await picks(new HostList(), database(['/var/run', '@pg'], [6000]), 2)).toEqual([
    '/var/run/.s.PGSQL.6000',
    '\0pg/.s.PGSQL.6000',
  ])
  expect(await picks(new HostList(), database([]), 1)).toEqual(['/run/pg/.s.PGSQL.5432'])
})

test('a list that has become shorter does not matter', async () => {
  const list = new HostList()
  await picks(list, database(['10.0.0.1', '10.0.0.2', '10.0.0.3']), 2)
  expect(await picks(list, database(['10.0.0.9']), 2)).toEqual(['10.0.0.9:5432', '10.0.0.9:5432'])
})

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

test('addresses are not looked up', async () => {
  const names = new Resolver(new StillClock(), () => ({ maxTtl: 1, failureTtl: 1 }))
  expect(await names.address('192.0.2.1')).toBe('192.0.2.1')
  expect(await names.address('2001:db8::1')).toBe('2001:db8::1')
  expect(names.status()).toEqual([])
})
