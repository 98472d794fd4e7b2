// PostgreSQL as the pooler's client: a standby whose primary_conninfo names the pooler, and a subscription.

import { expect, test } from 'vitest'
import { EmbeddedPostgres } from '../../src/demo/embedded.js'
import { findFreePort } from '../../src/demo/port.js'
import { startTestCluster } from '../harness/cluster.js'
import { eventually, startPooler } from '../harness/pooler.js'
import { query as ask, createDatabase, postgres } from '../harness/postgres.js'

test('a standby behind the pooler streams, confirms commits, and outlives a restart of the pooler', async () => {
  await using cluster = await startTestCluster()
  const { primary, standby, roles } = cluster.facts
  const { user, password, secret } = roles.replicator
  const port = await findFreePort()
  // As an administrator would: the standby proves itself to the pooler, which logs in to the primary in its name.
  const start = () =>
    startPooler(
      { listen_port: port, auth_type: 'scram-sha-256', pool_mode: 'transaction' },
      { server: primary, secrets: { [user]: secret }, databases: { replication: primary } },
    )
  await cluster.standby.stop('fast')
  const { plan } = cluster.standby
  const primary_conninfo = `host=127.0.0.1 port=${port} user=${user} password=${password} application_name=behind`
  const behind = new EmbeddedPostgres({ ...plan, settings: { ...plan.settings, primary_conninfo } })
  await using _stopped = { [Symbol.asyncDispose]: () => behind.stop('immediate') }

  const caughtUp = (text: string) =>
    eventually(async () => {
      const rows = await ask('select word from told', { on: standby }).catch(() => [])
      return rows.at(-1)?.word === text
    })
  const write = (word: string) => ask('insert into told values ($1)', { on: primary, values: [word] })

  {
    await using pooler = await start()
    await behind.start()
    await behind.untilStreaming()
    await ask('create table told (word text)', { on: primary })
    await write('one')
    await caughtUp('one')
    const [row] = await ask("select state, sync_state from pg_stat_replication where application_name = 'behind'", {
      on: primary,
    })
    expect(row).toEqual({ state: 'streaming', sync_state: 'async' })
    expect(await pooler.show('servers')).toMatchObject([
      { database: 'replication', replication: 'physical', state: 'active', application_name: 'behind' },
    ])

    // What the standby confirms goes the other way: commits that wait for it come to an end.
    await ask("alter system set synchronous_standby_names = 'behind'", { on: primary })
    await ask('select pg_reload_conf()', { on: primary })
    await eventually(async () => {
      const rows = await ask("select 1 from pg_stat_replication where sync_state = 'sync'", { on: primary })
      return rows.length === 1
    })
    await ask('set synchronous_commit = remote_apply; insert into told select generate_series(1, 20000)::text', {
      on: primary,
    })
    expect(await ask('select count(*)::int as n from told', { on: standby })).toEqual([{ n: 20001 }])
  }

  // The pooler is gone: nobody confirms, the commit waits. Then it is back, and so is the standby.
  const waiting = write('two')
  await eventually(async () => {
    const rows = await ask("select 1 from pg_stat_activity where wait_event = 'SyncRep'", { on: primary })
    return rows.length === 1
  })
  await using pooler = await start()
  await waiting
  await caughtUp('two')
  expect((await pooler.show('clients')).map((row) => row.replication)).toEqual(['physical'])
  await behind.stop('fast')
  await pooler.untilEmpty()
  expect(await pooler.show('servers')).toEqual([])
})

test('a subscription behind the pooler copies what is there, and follows', async () => {
  await using publisher = await createDatabase()
  await using subscriber = await createDatabase()
  const from = { database: publisher.name }
  const to = { database: subscriber.name }
  const { user, password } = postgres().roles.replicator
  await using pooler = await startPooler({ auth_type: 'scram-sha-256', pool_mode: 'transaction' })
  const slot = `subscribed_${process.pid}`
  await ask('create table told (n int primary key)', from)
  await ask('insert into told select generate_series(1, 5000)', from)
  await ask('grant select on told to public', from)
  await ask('create publication everything for all tables', from)
  await ask('create table told (n int primary key)', to)
  // Within one server the slot can't be made by CREATE SUBSCRIPTION, which would wait for itself.
  await ask('select pg_create_logical_replication_slot($1, $2)', { ...from, values: [slot, 'pgoutput'] })
  const conninfo = `host=127.0.0.1 port=${pooler.port} user=${user} password=${password} dbname=${publisher.name}`
  const options = `create_slot = false, slot_name = '${slot}'`
  await ask(`create subscription ${slot} connection '${conninfo}' publication everything with (${options})`, to)

  const count = async (): Promise<unknown> => (await ask('select count(*)::int as n from told', to))[0]?.n
  await eventually(async () => (await count()) === 5000)
  await ask('insert into told select generate_series(5001, 6000)', from)
  await eventually(async () => (await count()) === 6000)
  // The copy had connections of its own; the one that follows stays.
  await pooler.settles(async () => (await pooler.show('servers')).length === 1)
  expect(await pooler.show('servers')).toMatchObject([
    { replication: 'logical', application_name: slot, state: 'active' },
  ])
  await ask(`drop subscription ${slot}`, to)
  await pooler.untilEmpty()
  expect(await ask('select 1 from pg_replication_slots where slot_name = $1', { values: [slot] })).toEqual([])
})
