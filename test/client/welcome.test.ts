import { expect, test } from 'vitest'
import type { ClientStartup } from '../../src/client/startup-parameters.js'
import { setParameters, welcomeMessages } from '../../src/client/welcome.js'
import type { Pool } from '../../src/pool/pool.js'
import { UsualParameters } from '../../src/pool/usual-parameters.js'
import { ParameterSet, trackedNames } from '../../src/relay/parameters.js'
import { linesOf } from '../protocol/wire.js'

const tracked = trackedNames([])

const address = '10.0.0.1:77'

const asking = (...parameters: [string, string][]): ClientStartup => ({ parameters }) as unknown as ClientStartup

test('a client is told what the server reported, but for what it asked for itself', () => {
  const own = new ParameterSet(tracked)
  own.set('TimeZone', 'Asia/Tokyo')
  const reported = new Map([
    ['server_version', '18.0'],
    ['TimeZone', 'UTC'],
  ])
  expect(linesOf(welcomeMessages(reported, own, Buffer.from('pid_key_'), ''))).toEqual([
    'R ||||',
    'S server_version|18.0|',
    'S TimeZone|Asia/Tokyo|',
    'K pid_key_',
    'Z I',
  ])
})

test('login_notify_message is a NOTICE in front of ReadyForQuery', () => {
  const lines = linesOf(welcomeMessages(new Map(), new ParameterSet(tracked), Buffer.alloc(8), 'maintenance at noon'))
  expect(lines.at(-2)).toBe('N SNOTICE|C00000|Mmaintenance at noon||')
})

const fine = (refusal: unknown): void => expect(refusal).toBeUndefined()

/** A pool whose servers have these, and none of them is free. */
function busyPool(defaults: Record<string, string>, application_name_add_host = false): Pool {
  const usual = new UsualParameters(tracked)
  usual.isKnown = true
  for (const [name, value] of Object.entries(defaults)) usual.learn(null as never, name, value, true)
  const context = { config: { settings: { application_name_add_host } } }
  return { usual, context, isReplication: false, lend: () => null } as unknown as Pool
}

test('a client has what it asked for, and the defaults for the rest', () => {
  const one = new ParameterSet(tracked)
  setParameters(
    one,
    asking(['timezone', 'asia/tokyo']),
    busyPool({ TimeZone: 'UTC', DateStyle: 'ISO, MDY' }),
    address,
    fine,
  )
  expect(['TimeZone', 'DateStyle', 'IntervalStyle'].map((name) => one.get(name))).toEqual([
    'asia/tokyo',
    'ISO, MDY',
    undefined,
  ])
})

test.each([
  ['psql', 'psql - 10.0.0.1:77'],
  ['', 'app - 10.0.0.1:77'],
])('application_name_add_host makes %j %j', (name, expected) => {
  const one = new ParameterSet(tracked)
  setParameters(one, asking(['application_name', name]), busyPool({}, true), address, fine)
  expect(one.get('application_name')).toBe(expected)
})
