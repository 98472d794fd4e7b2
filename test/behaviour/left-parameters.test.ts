// What the pooler sets on a server on behalf of a client stays with that client, whenever and however it leaves.

import { expect, test } from 'vitest'
import { Gate } from '../harness/gate.js'
import { startPooler, type TestPooler } from '../harness/pooler.js'
import { postgres } from '../harness/postgres.js'
import { cancel, extended, query, type RawClient, sync, terminate } from '../harness/raw-client.js'

const user = 'trust_user'
const settings = { default_pool_size: 1, track_extra_parameters: 'app.tenant' }
const theirs = { search_path: 'theirs', 'app.tenant': 'theirs' }

/** As PostgreSQL before 18 has it: search_path is not reported. */
const older = ['search_path']

const question =
  "select current_setting('search_path') || ' ' || coalesce(current_setting('app.tenant', true), '') as x"

async function found(client: RawClient): Promise<string> {
  return (await client.ask(query(question)))[1]!.slice(2)
}

/** Twenty clients come one after the other, and each has what is its own. */
async function nextHaveTheirOwn(pooler: TestPooler): Promise<void> {
  const wanted: string[] = []
  const had: string[] = []
  for (let n = 0; n < 20; n++) {
    const own = n % 3 === 2 ? { search_path: `s${n}`, 'app.tenant': `t${n}` } : undefined
    await using client = await pooler.raw({ user, ...(own && { parameters: own }) })
    wanted.push(own === undefined ? '"$user", public ' : `s${n} t${n}`)
    had.push(await found(client))
  }
  expect(had).toEqual(wanted)
}

/** How a client leaves what it was about to do. */
const ways: Readonly<Record<string, (client: RawClient, pooler: TestPooler) => Promise<unknown>>> = {
  'is reset': async (client) => client.vanish(),
  'has ended its side': async (client) => client.stream.end(),
  'says Terminate': async (client) => client.send(terminate),
  'cancels its query, and stays': async (client, pooler) => {
    await cancel(pooler.port, client.key)
    expect(await client.answer()).toEqual(['E ERROR 57014 canceling statement due to user request', 'Z I'])
  },
  'cancels its query, and leaves': async (client, pooler) => {
    await cancel(pooler.port, client.key)
    client.vanish()
  },
  'is killed': async (client, pooler) => {
    const ids = (await pooler.show('clients')).filter((row) => row.database === 'postgres').map((row) => Number(row.id))
    await using admin = await pooler.connect({ database: 'pgbouncer' })
    await admin.query(`KILL_CLIENT ${Math.max(...ids)}`)
    expect(await client.toTheEnd()).toEqual(['E FATAL 08P01 admin forced disconnect'])
  },
  'waits for too long': async (client) => {
    expect(await client.toTheEnd()).toEqual(['E FATAL 08P01 query_wait_timeout'])
  },
}

test.each(Object.entries(ways))('a client that %s while its parameters are being set', async (name, leave) => {
  await using gate = await Gate.start(postgres().primary, older)
  const isTimed = name === 'waits for too long'
  await using pooler = await startPooler({ ...settings, ...(isTimed && { query_wait_timeout: 1 }) }, { server: gate })
  await (await pooler.raw({ user })).ask(query('select 1'))
  for (const bytes of [query('select 1'), Buffer.concat([extended('select 1'), sync])]) {
    const client = await pooler.raw({ user, parameters: theirs })
    gate.shut()
    client.send(bytes)
    await pooler.settles(() => gate.isHolding)
    await leave(client, pooler)
    gate.open()
    if (name.endsWith('stays')) expect(await found(client)).toBe('theirs theirs')
    await nextHaveTheirOwn(pooler)
    client.stream.destroy()
    await pooler.until('SHOW POOLS', (row) => row.cl_active === 1 && row.cl_waiting === 0)
  }
  expect((await pooler.show('servers')).length).toBe(1)
})

test('a client that leaves while the parameters of the one before are being undone', async () => {
  await using gate = await Gate.start(postgres().primary, older)
  await using pooler = await startPooler(settings, { server: gate })
  const owner = await pooler.raw({ user, parameters: theirs })
  expect(await found(owner)).toBe('theirs theirs')
  const client = await pooler.raw({ user })
  gate.shut()
  client.send(query('select 1'))
  await pooler.settles(() => gate.isHolding)
  client.vanish()
  gate.open()
  await nextHaveTheirOwn(pooler)
  expect(await found(owner)).toBe('theirs theirs')
})

test('parameters of which one is refused leave none behind', async () => {
  await using gate = await Gate.start(postgres().primary, older)
  await using pooler = await startPooler(
    { ...settings, track_extra_parameters: 'app.tenant, work_mem' },
    { server: gate },
  )
  const first = await pooler.raw({ user })
  for (const stays of [true, false]) {
    await first.ask(query('begin')) // so that no server can be asked at login
    const client = await pooler.raw({ user, parameters: { ...theirs, work_mem: 'nonsense' } })
    await first.ask(query('commit'))
    gate.shut()
    client.send(query('select 1'))
    await pooler.settles(() => gate.isHolding)
    if (!stays) client.vanish()
    gate.open()
    if (stays) expect(await client.toTheEnd()).toEqual(['E FATAL 08P01 invalid server parameter'])
    await nextHaveTheirOwn(pooler)
  }
})

test('what a client itself sets for its session, others do not take for their own', async () => {
  await using gate = await Gate.start(postgres().primary, older)
  await using pooler = await startPooler(settings, { server: gate })
  const parameters = { search_path: 'same', 'app.tenant': 'same' }
  const [one, other] = [await pooler.raw({ user, parameters }), await pooler.raw({ user, parameters })]
  for (const text of [
    "set app.tenant = 'else'",
    'set search_path = elsewhere',
    "begin; set local app.tenant = 'x'; rollback",
  ]) {
    for (const bytes of [query(text), text.includes(';') ? query(text) : Buffer.concat([extended(text), sync])]) {
      await one.ask(bytes)
      expect(await found(other)).toBe('same same')
      expect(await found(one)).toBe('same same')
    }
  }
})

test('what connect_query has set, and servers do not report, stands again for who asks for nothing', async () => {
  await using gate = await Gate.start(postgres().primary, older)
  const connect = "connect_query='set search_path = app; set app.tenant = usual'"
  const databases = { app: `host=${gate.host} port=${gate.port} dbname=postgres ${connect}` }
  await using pooler = await startPooler({ ...settings, server_reset_query_always: true }, { databases })
  const [own, other] = [
    await pooler.raw({ user, database: 'app', parameters: theirs }),
    await pooler.raw({ user, database: 'app' }),
  ]
  for (let round = 0; round < 3; round++) {
    expect(await found(own)).toBe('theirs theirs')
    expect(await found(other)).toBe('app usual')
  }
})

test('settings that go along with a client that leaves while they are being given to a server', async () => {
  await using gate = await Gate.start(postgres().primary, older)
  await using pooler = await startPooler({ ...settings, session_state: 'track' }, { server: gate })
  const next = await pooler.raw({ user })
  for (const leave of ['reset', 'cancel', 'end']) {
    const client = await pooler.raw({ user, parameters: theirs })
    await client.ask(query("set work_mem = '7MB'"))
    expect(await found(next)).toBe('"$user", public ')
    gate.shut()
    client.send(query('select 1'))
    await pooler.settles(() => gate.isHolding)
    if (leave === 'cancel') await cancel(pooler.port, client.key)
    else if (leave === 'end') client.stream.end()
    client.vanish()
    gate.open()
    await nextHaveTheirOwn(pooler)
    expect(await next.ask(query("select current_setting('work_mem') as x"))).toContain('D 4MB')
  }
})
