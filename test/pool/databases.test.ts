// The databases that clients may name, and how many clients each lets in.

import { describe, expect, test } from 'vitest'
import type { ConfigInput } from '../../src/config/input.js'
import type { Databases } from '../../src/pool/databases.js'
import { Heart } from '../harness/heart.js'

const any = { rig: 'host=127.0.0.1', '*': 'host=127.0.0.1' }

async function open(
  settings: ConfigInput['pgbouncer'] = {},
  others: Omit<ConfigInput, 'pgbouncer'> = {},
): Promise<Databases> {
  const heart = await Heart.open(settings, { databases: any, ...others })
  return heart.registry.databases
}

const names = (databases: Databases): string[] => [...databases].map(({ name }) => name)

describe('a database that * makes up', () => {
  test('is not remembered for being asked for alone', async () => {
    const databases = await open()
    const found = databases.find('made')
    expect([found?.isAuto, databases.get('made'), names(databases)]).toEqual([true, undefined, ['rig']])
  })

  test('is remembered when somebody is let in, and is the same to everyone from then on', async () => {
    const databases = await open()
    const [one, two] = [databases.find('made')!, databases.find('made')!]
    expect(databases.admit(one, 'rig').database).toBe(one)
    expect(databases.admit(two, 'rig').database).toBe(one)
    expect([one.clients, two.clients, databases.findOrMake('made') === one]).toEqual([2, 0, true])
  })

  test('is only named where it was remembered for a look-up, until somebody is let in', async () => {
    const databases = await open()
    const made = databases.registeredForLookUp(databases.find('made')!)
    expect([databases.isOnlyNamed(made), databases.get('made') === made]).toEqual([true, true])
    databases.admit(made, 'rig')
    expect(databases.isOnlyNamed(made)).toBe(false)
    databases.registeredForLookUp(made)
    expect(databases.isOnlyNamed(made)).toBe(false)
  })

  test('is forgotten, and made anew for who asks next', async () => {
    const databases = await open()
    const made = databases.registeredForLookUp(databases.find('made')!)
    databases.forget(made)
    expect([names(databases), databases.isOnlyNamed(made)]).toEqual([['rig'], false])
    expect(databases.findOrMake('made')).not.toBe(made)
  })

  test('and is only named goes when a hundred others have been named, the oldest first', async () => {
    const databases = await open()
    const name = (text: string): void => void databases.registeredForLookUp(databases.find(text)!)
    for (let number = 1; number <= 100; number++) name(`n${number}`)
    expect(databases.byName.size).toBe(101)
    name('n101')
    expect([databases.get('n1'), databases.byName.size]).toEqual([undefined, 101])
  })

  test.each(['clients', 'servers'] as const)('and has %s is not the one that goes', async (what) => {
    const databases = await open()
    for (let number = 1; number <= 100; number++) databases.registeredForLookUp(databases.find(`n${number}`)!)
    databases.get('n1')![what] = 1
    databases.registeredForLookUp(databases.find('n101')!)
    expect([databases.get('n1')?.name, databases.get('n2')]).toEqual(['n1', undefined])
  })

  test('is remembered also where all that were named before it are in use', async () => {
    const databases = await open()
    for (let number = 1; number <= 100; number++) {
      databases.registeredForLookUp(databases.find(`n${number}`)!).servers = 1
    }
    const newest = databases.registeredForLookUp(databases.find('n101')!)
    expect([databases.get('n101') === newest, databases.isOnlyNamed(newest)]).toEqual([true, true])
  })

  test('lets nobody in when * has gone from the configuration meanwhile', async () => {
    const heart = await Heart.open({}, { databases: any })
    const { databases } = heart.registry
    const made = databases.find('made')!
    heart.context.config = { ...heart.context.config, autodb: undefined }
    expect(() => databases.admit(made, 'rig')).toThrow('database removed')
    expect([databases.find('made'), databases.findOrMake('made')]).toEqual([undefined, undefined])
  })
})

test('a configured database that was removed while a client logged in lets it in no more', async () => {
  const databases = await open()
  const rig = databases.find('rig')!
  databases.forget(rig)
  expect(() => databases.admit(rig, 'rig')).toThrow('database removed')
})

test('a database that is disabled lets nobody in', async () => {
  const databases = await open()
  databases.get('rig')!.disabled = true
  expect(() => databases.admit(databases.get('rig')!, 'rig')).toThrow('database "rig" is disabled')
  expect([databases.get('rig')!.clients, databases.user('rig').clients]).toEqual([0, 0])
})

const limits: [name: string, settings: ConfigInput['pgbouncer'], others: Omit<ConfigInput, 'pgbouncer'>][] = [
  ['max_db_client_connections', { max_db_client_connections: 2 }, {}],
  ['max_db_client_connections of the database', {}, { databases: { rig: 'host=x max_db_client_connections=2' } }],
  ['max_user_client_connections', { max_user_client_connections: 2 }, {}],
  [
    'max_user_client_connections of the user',
    { max_user_client_connections: 1 },
    { users: { rig: 'max_user_client_connections=2' } },
  ],
]

describe.each(limits)('%s of two', (name, settings, others) => {
  const [refusal, elsewhere] = name.includes('_db_')
    ? ['client connections exceeded (max_db_client_connections)', ['made', 'rig']]
    : ['client connections exceeded (max_user_client_connections)', ['rig', 'other']]

  test('lets in two, and the third when one has left', async () => {
    const databases = await open(settings, { ...others, databases: { ...any, ...others.databases } })
    const rig = databases.get('rig')!
    const first = databases.admit(rig, 'rig')
    databases.admit(rig, 'rig')
    expect(() => databases.admit(rig, 'rig')).toThrow(refusal)
    databases.depart(first)
    databases.admit(rig, 'rig')
    expect([rig.clients, first.user.clients]).toEqual([2, 2])
  })

  test('counts nobody elsewhere', async () => {
    const databases = await open(settings, { ...others, databases: { ...any, ...others.databases } })
    for (let count = 0; count < 2; count++) databases.admit(databases.get('rig')!, 'rig')
    const [database, user] = elsewhere as [string, string]
    expect(databases.admit(databases.findOrMake(database)!, user).database.name).toBe(database)
  })
})

test('a database is empty since its last client or server has left', async () => {
  const heart = await Heart.open()
  const { databases } = heart.registry
  const rig = databases.get('rig')!
  const made = rig.emptySince
  const [one, two] = [databases.admit(rig, 'rig'), databases.admit(rig, 'rig')]
  heart.clock.advance(5)
  databases.depart(one)
  expect([rig.emptySince - made, rig.isUnused]).toEqual([0, false])
  databases.depart(two)
  expect([rig.emptySince - made, rig.isUnused]).toEqual([5000, true])
  heart.idle(1)
  heart.clock.advance(5)
  expect(rig.isUnused).toBe(false)
  heart.servers[0]!.session.close('server_lifetime')
  expect([rig.emptySince - made, rig.isUnused]).toEqual([10_000, true])
})
