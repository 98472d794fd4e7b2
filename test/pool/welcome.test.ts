import { expect, test } from 'vitest'
import { ParameterSet, trackedNames } from '../../src/pool/parameters.js'
import type { ClientStartup } from '../../src/pool/startup-parameters.js'
import { setParameters, welcomeMessages } from '../../src/pool/welcome.js'
import { linesOf } from '../protocol/wire.js'

const tracked = trackedNames([])

function client(): { parameters: ParameterSet; address: string } {
  return { parameters: new ParameterSet(tracked), address: '10.0.0.1:77' }
}

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

test.each([
  ['ISO', 'ISO, DMY'],
  [' sql ', 'sql, DMY'],
  ['German', 'German'], // means DMY
  ['YMD', 'YMD'],
  ['ISO, YMD', 'ISO, YMD'],
])('DateStyle %s is %s where the order of days and months is DMY', (asked, expected) => {
  const one = client()
  const defaults = new ParameterSet(tracked)
  defaults.set('DateStyle', 'SQL, DMY')
  setParameters(one, { ...asking(['datestyle', asked]), replication: 'none' }, defaults, false)
  expect(one.parameters.get('DateStyle')).toBe(expected)
})

test('a client has what it asked for, and the defaults for the rest', () => {
  const one = client()
  const defaults = new ParameterSet(tracked)
  defaults.set('TimeZone', 'UTC')
  defaults.set('DateStyle', 'ISO')
  setParameters(one, asking(['timezone', 'Asia/Tokyo']), defaults, false)
  expect([...one.parameters.entries()]).toEqual([
    ['timezone', 'Asia/Tokyo'],
    ['datestyle', 'ISO'],
  ])
})

test.each([
  ['psql', 'psql - 10.0.0.1:77'],
  ['', 'app - 10.0.0.1:77'],
])('application_name_add_host makes %j %j', (name, expected) => {
  const one = client()
  setParameters(one, asking(['application_name', name]), new ParameterSet(tracked), true)
  expect(one.parameters.get('application_name')).toBe(expected)
})
