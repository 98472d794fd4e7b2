// What clients have that set nothing themselves: the newest word of a server counts, as it would without a pooler.

import pg from 'pg'
import { expect, test } from 'vitest'
import { startTestCluster } from '../harness/cluster.js'
import { Gate } from '../harness/gate.js'
import { startPooler } from '../harness/pooler.js'
import { query as ask, needs, postgres } from '../harness/postgres.js'
import { query, type RawClient } from '../harness/raw-client.js'

const user = 'trust_user'

async function shown(client: RawClient, name: string): Promise<string> {
  const lines = await client.ask(query(`select current_setting('${name}') as x`))
  return lines.find((line) => line.startsWith('D '))!.slice(2)
}

test('a newer server’s word counts: after ALTER DATABASE SET, and with a new server_version', async (context) => {
  needs(14, 'it reports default_transaction_read_only', context)
  const database = 'usual_parameters'
  await ask(`drop database if exists ${database}`)
  await ask(`create database ${database}`)
  await using gate = await Gate.start(postgres().primary)
  await using pooler = await startPooler({ default_pool_size: 2 }, { server: gate })
  const [first, own] = [
    await pooler.raw({ user, database }),
    await pooler.raw({ user, database, parameters: { TimeZone: 'Europe/Paris' } }),
  ]
  expect(first.reported.get('TimeZone')).toBe('UTC')
  await ask(`alter database ${database} set timezone = 'Asia/Tokyo'`)
  await ask(`alter database ${database} set default_transaction_read_only = on`)
  gate.claims.set('server_version', '99.1')
  expect((await pooler.raw({ user, database })).reported.get('TimeZone'), 'no server knows yet').toBe('UTC')
  await first.ask(query('begin'))
  await own.ask(query('select 1')) // on a new server
  const later = await pooler.raw({ user, database })
  const names = ['TimeZone', 'default_transaction_read_only', 'server_version']
  expect(names.map((name) => later.reported.get(name))).toEqual(['Asia/Tokyo', 'on', '99.1'])
  expect([await shown(later, 'TimeZone'), await shown(own, 'TimeZone')]).toEqual(['Asia/Tokyo', 'Europe/Paris'])
  expect(await shown(first, 'TimeZone'), 'within its transaction').toBe('UTC')
  await first.ask(query('commit'))
  // Who has set nothing follows, is told so, and finds the same on both servers.
  const lines = await first.ask(query("select current_setting('TimeZone') as x"))
  expect(lines).toEqual([
    'S TimeZone=Asia/Tokyo',
    'S default_transaction_read_only=on',
    'T x',
    'D Asia/Tokyo',
    'C SELECT 1',
    'Z I',
  ])
  await later.ask(query('begin'))
  expect([await shown(first, 'TimeZone'), await shown(own, 'TimeZone')]).toEqual(['Asia/Tokyo', 'Europe/Paris'])
  expect(first.unread).toEqual([])
})

test('a server that is promoted, or reads its configuration anew, is believed', async (context) => {
  needs(14, 'it reports in_hot_standby', context)
  await using cluster = await startTestCluster()
  const { standby, roles } = cluster.facts
  await using direct = Object.assign(new pg.Client({ ...standby, ...roles.postgres, database: 'postgres' }), {
    async [Symbol.asyncDispose](this: pg.Client) {
      await this.end()
    },
  })
  await direct.connect()
  await using pooler = await startPooler({ default_pool_size: 1, server_check_delay: 0 }, { server: standby })
  const client = await pooler.raw({ user })
  expect(client.reported.get('in_hot_standby')).toBe('on')
  await direct.query('select pg_promote()')
  expect(await client.ask(query('select 1'))).toContain('S in_hot_standby=off')
  expect((await pooler.raw({ user })).reported.get('in_hot_standby')).toBe('off')
  await direct.query("alter system set timezone = 'Asia/Tokyo'")
  await direct.query('select pg_reload_conf()')
  // When one session knows, all have been told, and look at it with what they are asked next: the check.
  await pooler.settles(async () => (await direct.query('show timezone')).rows[0].TimeZone === 'Asia/Tokyo')
  await client.ask(query('select 1'))
  expect((await pooler.raw({ user })).reported.get('TimeZone')).toBe('Asia/Tokyo')
  expect(await shown(client, 'TimeZone')).toBe('Asia/Tokyo')
})

test('one that was promoted while nobody used it says so to the next login', async (context) => {
  needs(14, 'it reports in_hot_standby', context)
  await using cluster = await startTestCluster()
  const { standby, roles } = cluster.facts
  await using pooler = await startPooler({ default_pool_size: 1 }, { server: standby })
  const client = await pooler.raw({ user })
  await client.ask(query('select 1'))
  expect(client.reported.get('in_hot_standby')).toBe('on')
  const direct = new pg.Client({ ...standby, ...roles.postgres, database: 'postgres' })
  await direct.connect()
  await direct.query('select pg_promote()')
  await direct.end()
  expect((await pooler.raw({ user })).reported.get('in_hot_standby')).toBe('off')
  expect(await client.ask(query('select 1'))).toContain('S in_hot_standby=off')
})

test('a configuration read anew is believed where a client’s server reports it; what clients set is not', async () => {
  await using cluster = await startTestCluster()
  const { primary, roles } = cluster.facts
  const direct = new pg.Client({ ...primary, ...roles.postgres, database: 'postgres' })
  await direct.connect()
  await using pooler = await startPooler({ default_pool_size: 1 }, { server: primary })
  const [client, other] = [await pooler.raw({ user }), await pooler.raw({ user })]
  await client.ask(query("set timezone = 'Europe/Paris'"))
  expect((await pooler.raw({ user })).reported.get('TimeZone')).toBe('UTC')
  await direct.query("alter system set timezone = 'Asia/Tokyo'")
  await direct.query('select pg_reload_conf()')
  await pooler.settles(async () => (await direct.query('show timezone')).rows[0].TimeZone === 'Asia/Tokyo')
  await direct.end()
  await client.ask(query('reset timezone'))
  expect((await pooler.raw({ user })).reported.get('TimeZone')).toBe('Asia/Tokyo')
  expect(await shown(other, 'TimeZone')).toBe('Asia/Tokyo')
})
