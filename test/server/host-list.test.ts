import { describe, expect, test } from 'vitest'
import type { DatabaseConfig } from '../../src/config/databases.js'
import { type HostContext, HostList } from '../../src/server/host-list.js'
import type { NamedHost, ServerAddress } from '../../src/server/hosts.js'
import { ManualClock } from '../harness/manual-clock.js'

const database = (hosts: string[], ports: number[] = [], loadBalanceHosts = 'round-robin'): DatabaseConfig =>
  ({ hosts, ports, loadBalanceHosts }) as unknown as DatabaseConfig

/** @param addresses known, by name */
function contextOf(addresses: Record<string, string[]> = {}): HostContext & { clock: ManualClock } {
  return {
    clock: new ManualClock(),
    config: { settings: { server_login_retry: 15, unix_socket_dir: '/run/pg' } },
    resolver: { addressesOf: (name: string) => addresses[name] ?? (/^[\d.]+$/.test(name) ? [name] : []) },
  } as unknown as HostContext & { clock: ManualClock }
}

const text = ({ name, port }: NamedHost): string => `${name}:${port}`
const at = (address: string, port = 5432): ServerAddress => ({ kind: 'tcp', name: address, address, port })

const none = () => 0

function picks(list: HostList, config: DatabaseConfig, count: number, context = contextOf(), user = 'u'): string[] {
  return Array.from({ length: count }, () => text(list.next(config, user, context, none)))
}

test('hosts are taken in turn, each with its port', () => {
  const config = database(['10.0.0.1', '10.0.0.2', '::1'], [1, 2, 3])
  expect(picks(new HostList(), config, 4)).toEqual(['10.0.0.1:1', '10.0.0.2:2', '::1:3', '10.0.0.1:1'])
})

test('one port is for all hosts, 5432 where there is none, and no host is the folder of our own socket', () => {
  expect(picks(new HostList(), database(['10.0.0.1', '10.0.0.2'], [7]), 2)).toEqual(['10.0.0.1:7', '10.0.0.2:7'])
  expect(picks(new HostList(), database(['10.0.0.1']), 1)).toEqual(['10.0.0.1:5432'])
  expect(picks(new HostList(), database([]), 1)).toEqual(['/run/pg:5432'])
})

test('a list that has become shorter does not matter', () => {
  const list = new HostList()
  picks(list, database(['10.0.0.1', '10.0.0.2', '10.0.0.3']), 2)
  expect(picks(list, database(['10.0.0.9']), 2)).toEqual(['10.0.0.9:5432', '10.0.0.9:5432'])
})

test('a host that has failed is passed over for server_login_retry, and taken again when it is connected to', () => {
  const context = contextOf()
  const list = new HostList()
  const config = database(['10.0.0.1', '10.0.0.2', '10.0.0.3'])
  const [first] = [list.next(config, 'u', context, none)]
  list.failed(config, first!, at('10.0.0.1'), undefined, context)
  expect(picks(list, config, 3, context)).toEqual(['10.0.0.2:5432', '10.0.0.3:5432', '10.0.0.2:5432'])
  expect(list.hasOther(config, 'u', context)).toBe(true)
  context.clock.advance(15.1)
  expect(picks(list, config, 3, context)).toContain('10.0.0.1:5432')
  list.failed(config, first!, at('10.0.0.1'), undefined, context)
  list.connected(first!, at('10.0.0.1'), 'u')
  expect(picks(list, config, 3, context)).toContain('10.0.0.1:5432')
})

test('where all have failed there is no other, and the one of longest ago comes first', () => {
  const context = contextOf()
  const list = new HostList()
  const config = database(['10.0.0.1', '10.0.0.2'])
  for (const name of ['10.0.0.2', '10.0.0.1']) {
    list.failed(config, { name, port: 5432 }, at(name), undefined, context)
    context.clock.advance(1)
  }
  expect(list.hasOther(config, 'u', context)).toBe(false)
  expect(picks(list, config, 1, context)).toEqual(['10.0.0.2:5432'])
})

test('a host that says no to one user is there for the others', () => {
  const context = contextOf()
  const list = new HostList()
  const config = database(['10.0.0.1', '10.0.0.2'])
  list.failed(config, { name: '10.0.0.1', port: 5432 }, at('10.0.0.1'), 'unloved', context)
  expect(picks(list, config, 2, context, 'unloved')).toEqual(['10.0.0.2:5432', '10.0.0.2:5432'])
  expect(picks(list, config, 2, context, 'loved')).toEqual(['10.0.0.1:5432', '10.0.0.2:5432'])
})

test('a name fails with the last of its addresses, or with its look-up', () => {
  const context = contextOf({ db: ['10.0.0.1', '10.0.0.2'] })
  const list = new HostList()
  const config = database(['db'])
  const host = { name: 'db', port: 5432 }
  list.failed(config, host, at('10.0.0.1'), undefined, context)
  expect(list.hasOther(config, 'u', context)).toBe(true)
  list.failed(config, host, at('10.0.0.2'), undefined, context)
  expect(list.hasOther(config, 'u', context)).toBe(false)
  const unknown = { name: 'elsewhere', port: 5432 }
  expect(list.hasOther(database(['elsewhere']), 'u', context)).toBe(true)
  list.failed(database(['elsewhere']), unknown, undefined, undefined, context)
  expect(list.hasOther(database(['elsewhere']), 'u', context)).toBe(false)
})

test('with load_balance_hosts=disable the first is taken until it fails, however many attempts fail on it', () => {
  const context = contextOf()
  const config = database(['10.0.0.1', '10.0.0.2', '10.0.0.3'], [], 'disable')
  const list = new HostList()
  expect(picks(list, config, 2, context)).toEqual(['10.0.0.1:5432', '10.0.0.1:5432'])
  const first = { name: '10.0.0.1', port: 5432 }
  list.failed(config, first, at('10.0.0.1'), undefined, context)
  list.failed(config, first, at('10.0.0.1'), undefined, context)
  expect(picks(list, config, 2, context)).toEqual(['10.0.0.2:5432', '10.0.0.2:5432'])
  context.clock.advance(20)
  expect(picks(list, config, 1, context), 'it stays where it is').toEqual(['10.0.0.2:5432'])
})

describe('load_balance_hosts', () => {
  const three = ['10.0.0.1', '10.0.0.2', '10.0.0.3']

  test('random: each of those that have not failed, and no other', () => {
    const [context, list, config] = [contextOf(), new HostList(), database(three, [], 'random')]
    expect(new Set(picks(list, config, 100, context)).size).toBe(3)
    list.failed(config, { name: '10.0.0.1', port: 5432 }, at('10.0.0.1'), undefined, context)
    expect(new Set(picks(list, config, 100, context))).toEqual(new Set(['10.0.0.2:5432', '10.0.0.3:5432']))
  })

  test('least-connections: the one with the fewest servers, of those that have not failed', () => {
    const [context, list, config] = [contextOf(), new HostList(), database(three, [], 'least-connections')]
    const servers = new Map([
      ['10.0.0.1', 2],
      ['10.0.0.2', 0],
      ['10.0.0.3', 1],
    ])
    const next = () => list.next(config, 'u', context, ({ name }) => servers.get(name) ?? 0).name
    expect(next()).toBe('10.0.0.2')
    list.failed(config, { name: '10.0.0.2', port: 5432 }, at('10.0.0.2'), undefined, context)
    expect(next()).toBe('10.0.0.3')
  })
})
