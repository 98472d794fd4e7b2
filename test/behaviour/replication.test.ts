// Replication connections: what walsender and client say to each other, one to one, through the pooler.

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTestCluster } from '../harness/cluster.js'
import { ManualClock } from '../harness/manual-clock.js'
import { startPooler } from '../harness/pooler.js'
import { query as ask, createDatabase, endBackends, needs, postgres, type TestDatabase } from '../harness/postgres.js'
import { cancel, copyDone, extended, query, type RawClient, sync, terminate } from '../harness/raw-client.js'
import {
  changesUpTo,
  completed,
  logicalLogin,
  lsnOf,
  nextWal,
  physicalLogin,
  promote,
  standbyStatus,
  streamChanges,
  streamWal,
  textOf,
  untilWal,
  walsenders,
} from './replication.js'

let database: TestDatabase
beforeAll(async () => {
  database = await createDatabase()
  await ask('CREATE TABLE told (n int, word text)', { database: database.name })
})
afterAll(() => database.drop())

const insert = (n: number, word = 'x'): Promise<unknown> =>
  ask('INSERT INTO told VALUES ($1, $2)', { database: database.name, values: [n, word] })

const columns = (lines: readonly string[]): string[] => lines[0]?.slice(2).split('|') ?? []

describe('commands', () => {
  test('of a logical connection, SQL among them', async () => {
    await using pooler = await startPooler()
    const client = await pooler.raw(logicalLogin(database.name))
    const system = await client.ask(query('IDENTIFY_SYSTEM'))
    expect(columns(system)).toEqual(['systemid', 'timeline', 'xlogpos', 'dbname'])
    expect(system[1]).toMatch(new RegExp(`^D \\d+\\|1\\|[0-9A-F]+/[0-9A-F]+\\|${database.name}$`))
    expect(system.slice(2)).toEqual([completed('IDENTIFY_SYSTEM'), 'Z I'])
    expect(await client.ask(query('SHOW server_version_num'))).toContain(completed('SHOW'))
    expect(await client.ask(query('select current_user as x'))).toEqual(['T x', 'D replicator', 'C SELECT 1', 'Z I'])
    expect(await client.ask(query('begin; select 1/0'))).toEqual(['C BEGIN', 'E ERROR 22012 division by zero', 'Z E'])
    expect(await client.ask(query('rollback'))).toEqual(['C ROLLBACK', 'Z I'])

    const slot = `commands_${process.pid}`
    const made = await client.ask(query(`CREATE_REPLICATION_SLOT ${slot} TEMPORARY LOGICAL test_decoding`))
    expect(columns(made)).toEqual(['slot_name', 'consistent_point', 'snapshot_name', 'output_plugin'])
    const tags = new Set(['C DROP_REPLICATION_SLOT', completed('DROP_REPLICATION_SLOT')]) // before 13 it has both
    expect(await client.ask(query(`DROP_REPLICATION_SLOT ${slot}`))).toEqual([...tags, 'Z I'])
    const dropped = await client.ask(query(`DROP_REPLICATION_SLOT ${slot}`))
    expect(dropped).toEqual([`E ERROR 42704 replication slot "${slot}" does not exist`, 'Z I'])
  })

  test('of a physical connection, on which SQL is refused by the server', async () => {
    await using pooler = await startPooler({}, { databases: { '*': where({ connectQuery: 'select 1' }) } })
    const client = await pooler.raw(physicalLogin)
    expect((await client.ask(query('IDENTIFY_SYSTEM')))[1]).toMatch(/\|\(null\)$/)
    expect(await client.ask(query('SHOW wal_segment_size'))).toEqual([
      'T wal_segment_size',
      'D 16MB',
      completed('SHOW'),
      'Z I',
    ])
    expect(await client.ask(query('select 1'))).toEqual([
      'E ERROR 0A000 cannot execute SQL commands in WAL sender for physical replication',
      'Z I',
    ])
    const slot = `commands_physical_${process.pid}`
    expect(
      columns(await client.ask(query(`CREATE_REPLICATION_SLOT ${slot} TEMPORARY PHYSICAL RESERVE_WAL`))),
    ).toContain('slot_name')
    expect(await client.ask(query('IDENTIFY_SYSTEM'))).toContain(completed('IDENTIFY_SYSTEM'))
    expect(pooler.logged.filter((line) => line.includes('connect_query'))).toEqual([])
  })

  test('of a physical connection, READ_REPLICATION_SLOT', async (context) => {
    needs(15, 'READ_REPLICATION_SLOT', context)
    await using pooler = await startPooler()
    const client = await pooler.raw(physicalLogin)
    const slot = `read_physical_${process.pid}`
    await client.ask(query(`CREATE_REPLICATION_SLOT ${slot} TEMPORARY PHYSICAL RESERVE_WAL`))
    expect((await client.ask(query(`READ_REPLICATION_SLOT ${slot}`)))[1]).toMatch(/^D physical\|/)
  })

  test('of the extended protocol: the server refuses them, and goes on', async () => {
    await using pooler = await startPooler()
    const client = await pooler.raw(logicalLogin(database.name))
    expect(await client.ask(extended('select 1'), sync)).toEqual([
      'E ERROR 08P01 extended query protocol not supported in a replication connection',
      'Z I',
    ])
    expect(await client.ask(query('IDENTIFY_SYSTEM'))).toContain(completed('IDENTIFY_SYSTEM'))
  })
})

describe('streaming', () => {
  test('logical changes come, both sides keep each other alive, and the client ends it', async () => {
    await using pooler = await startPooler()
    const client = await streamChanges(pooler, database.name, `logical_${process.pid}`)
    await insert(1, 'one')
    await insert(2, 'two')
    expect(await changesUpTo(client, 'two')).toEqual(
      expect.arrayContaining([
        expect.stringContaining("n[integer]:1 word[text]:'one'"),
        expect.stringContaining("n[integer]:2 word[text]:'two'"),
      ]),
    )
    // The client asks for a sign of life, and gets it.
    client.send(standbyStatus(1n, true))
    await untilWal(client, ({ kind }) => kind === 'keepalive')
    await insert(3, 'three')
    await changesUpTo(client, 'three')

    client.send(copyDone)
    const rest = await client.answer()
    expect(rest.filter((line) => !line.startsWith('d '))).toEqual([
      'c',
      'C COPY 0',
      completed('START_REPLICATION'),
      'Z I',
    ])
    expect(await client.ask(query('select 1 as x'))).toEqual(['T x', 'D 1', 'C SELECT 1', 'Z I'])
  })

  test('the server is told how far its client is', async () => {
    await using pooler = await startPooler()
    const name = `confirms_${process.pid}`
    const client = await streamChanges(pooler, database.name, name)
    await insert(4, 'confirmed')
    const last = await untilWal(client, (found) => found.kind === 'data' && found.bytes.includes('COMMIT'))
    const position = last.kind === 'data' ? last.start : 0n
    client.send(standbyStatus(position))
    await pooler.settles(async () => {
      const [row] = await ask(
        'select confirmed_flush_lsn::text as lsn from pg_replication_slots where slot_name = $1',
        {
          values: [name],
        },
      )
      return lsnOf(String(row?.lsn)) >= position
    })
  })

  test('physical WAL comes whole, and the server keeps the connection alive', async () => {
    await using pooler = await startPooler()
    const client = await streamWal(pooler)
    const marker = `marker ${process.pid}`
    await insert(5, marker)
    // What comes is one stretch of WAL without gaps, with the row somewhere in it.
    let wal = Buffer.alloc(0)
    let next: bigint | undefined
    while (!wal.includes(marker)) {
      const found = await nextWal(client)
      if (found.kind !== 'data') continue
      if (next !== undefined) expect(found.start).toBe(next)
      next = found.start + BigInt(found.bytes.length)
      wal = Buffer.concat([wal, found.bytes])
    }
    client.send(standbyStatus(next ?? 0n, true))
    const alive = await untilWal(client, ({ kind }) => kind === 'keepalive')
    expect(alive.kind === 'keepalive' && alive.end).toBeGreaterThan(0n)
    client.send(copyDone)
    expect((await client.answer()).filter((line) => !line.startsWith('d '))).toEqual([
      'c',
      'C START_STREAMING',
      completed('START_REPLICATION'),
      'Z I',
    ])
    // And once more on the same connection, which PostgreSQL can do for physical replication only.
    client.send(query(`START_REPLICATION PHYSICAL ${textOf(next ?? 0n)}`))
    expect(await client.line()).toBe('W')
    await insert(6, `${marker} again`)
    await untilWal(client, (found) => found.kind === 'data' && found.bytes.includes(`${marker} again`))
  })

  test('a command that fails instead of streaming leaves the connection as it was', async () => {
    await using pooler = await startPooler()
    const client = await pooler.raw(logicalLogin(database.name))
    const lines = await client.ask(query('START_REPLICATION SLOT nothing LOGICAL 0/0'))
    expect(lines).toEqual(['E ERROR 42704 replication slot "nothing" does not exist', 'Z I'])
    expect(await client.ask(query('IDENTIFY_SYSTEM'))).toContain(completed('IDENTIFY_SYSTEM'))
  })

  test('a timeline ends: the server ends the stream and names the next, whose history can be had', async () => {
    await using cluster = await startTestCluster()
    const { standby } = cluster.facts
    await promote(cluster.standby)
    await using pooler = await startPooler({}, { server: standby })
    const client = await pooler.raw(physicalLogin)
    expect((await client.ask(query('IDENTIFY_SYSTEM')))[1]).toMatch(/^D \d+\|2\|/)
    const history = await client.ask(query('TIMELINE_HISTORY 2'))
    expect(history[1]).toMatch(/^D 00000002\.history\|1\t/)
    const [, switchPoint] = /\|1\t([0-9A-F/]+)/.exec(history[1]!)!
    client.send(query(`START_REPLICATION PHYSICAL ${switchPoint} TIMELINE 1`))
    let line = await client.line()
    if (line === 'W') {
      while (line !== 'c') line = await client.line()
      client.send(copyDone)
      line = await client.line()
    }
    expect([line, ...(await client.answer())]).toEqual([
      'T next_tli|next_tli_startpos',
      `D 2|${switchPoint}`,
      'C START_STREAMING',
      completed('START_REPLICATION'),
      'Z I',
    ])
    expect(await client.ask(query('IDENTIFY_SYSTEM'))).toContain(completed('IDENTIFY_SYSTEM'))
  })
})

describe('one to one', () => {
  test('a client has its server from its login on, and nobody else ever gets it', async () => {
    await using pooler = await startPooler({ pool_mode: 'transaction', default_pool_size: 5 })
    const login = { ...logicalLogin(database.name) }
    const [one, two] = [await pooler.raw(login), await pooler.raw(login)]
    const ordinary = await pooler.raw({ user: 'replicator', database: database.name })
    const pidOf = async (client: RawClient): Promise<string | undefined> =>
      (await client.ask(query('select pg_backend_pid() as pid')))[1]
    const pids = new Set<string | undefined>()
    for (const client of [one, two, ordinary, one, two, ordinary]) pids.add(await pidOf(client))
    expect(pids.size).toBe(3)

    const servers = await pooler.show('servers')
    const clients = await pooler.show('clients')
    const linked = clients.filter((row) => row.replication === 'logical')
    expect(linked.length).toBe(2)
    for (const client of linked) {
      expect(client.state).toBe('active')
      expect(servers.find((row) => row.ptr === client.link)).toMatchObject({
        replication: 'logical',
        state: 'active',
        link: client.ptr,
        database: database.name,
        user: 'replicator',
      })
    }
    expect(servers.filter((row) => row.replication === 'none').length).toBe(1)

    one.send(terminate)
    await one.ended
    await pooler.until('SHOW SERVERS', () => true)
    await pooler.settles(async () => (await pooler.show('servers')).length === 2)
    const again = await pooler.raw(login)
    expect(pids).not.toContain(await pidOf(again))
    expect(pooler.logged.filter((line) => line.includes('closing because: replication client was closed')).length).toBe(
      1,
    )
  })

  test('before it has said anything it is linked, and told when the server goes', async () => {
    await using pooler = await startPooler()
    const name = `quiet_${process.pid}`
    const client = await pooler.raw({
      ...physicalLogin,
      parameters: { replication: 'true', application_name: name },
    })
    expect((await pooler.show('servers'))[0]).toMatchObject({ state: 'active', replication: 'physical' })
    const [pid] = await walsenders(name)
    await endBackends(`pid = ${pid}`)
    expect((await client.toTheEnd()).at(-1)).toMatch(/^E FATAL /)
  })

  test('startup parameters reach the server as they are', async () => {
    await using pooler = await startPooler({ ignore_startup_parameters: 'unheard_of' })
    const parameters = {
      replication: 'database',
      application_name: 'walreceiver 7',
      options: '-c datestyle=German -c extra_float_digits=0',
      timezone: 'Asia/Tokyo',
      unheard_of: 'dropped',
    }
    const client = await pooler.raw({ ...logicalLogin(database.name), parameters })
    expect(client.reported.get('application_name')).toBe('walreceiver 7')
    expect(client.reported.get('DateStyle')).toBe('German, DMY')
    const shown = async (setting: string): Promise<string | undefined> =>
      (await client.ask(query(`SHOW ${setting}`)))[1]
    expect(await shown('application_name')).toBe('D walreceiver 7')
    expect(await shown('extra_float_digits')).toBe('D 0')
    expect(await shown('timezone')).toBe('D Asia/Tokyo')
    expect((await pooler.show('servers'))[0]?.application_name).toBe('walreceiver 7')
  })

  test('application_name_add_host is part of what the server is told at the start', async () => {
    await using pooler = await startPooler({ application_name_add_host: true })
    for (const application_name of ['walreceiver', '']) {
      await using client = await pooler.raw({ ...physicalLogin, parameters: { replication: 'true', application_name } })
      const [, row] = await client.ask(query('SHOW application_name'))
      expect(row).toMatch(application_name === '' ? /^D app - 127/ : /^D walreceiver - 127\.0\.0\.1:\d+$/)
      expect(client.reported.get('application_name')).toBe(row!.slice(2))
    }
  })

  test('a stream is cancelled as a query is, and the connection stays', async () => {
    await using pooler = await startPooler()
    const client = await streamChanges(pooler, database.name, `canceled_${process.pid}`)
    await cancel(pooler.port, client.key)
    const lines = (await client.answer()).filter((line) => !line.startsWith('d '))
    expect(lines).toEqual(['E ERROR 57014 canceling statement due to user request', 'Z I'])
    client.send(standbyStatus(1n), copyDone) // late, and of no effect
    expect(await client.ask(query('select 1 as x'))).toEqual(['T x', 'D 1', 'C SELECT 1', 'Z I'])
  })

  test('what clients of pools have to put up with does not concern it', async () => {
    await using pooler = await startPooler({
      pool_mode: 'statement',
      session_state: 'track',
      server_reset_query_always: true,
      server_lifetime: 0,
      max_prepared_statements: 10,
    })
    const client = await pooler.raw(logicalLogin(database.name))
    expect(await client.ask(query('begin'))).toEqual(['C BEGIN', 'Z T'])
    expect(await client.ask(query("set local work_mem = '1MB'; create temporary table t (n int)"))).toContain('Z T')
    expect(await client.ask(query('commit; listen x; select pg_advisory_lock(1)'))).toContain('Z I')
    expect(await client.ask(query('select count(*) as x from t'))).toContain('D 0')
    expect(await client.ask(query('prepare p as select 1 as x'))).toContain('C PREPARE')
    expect(await client.ask(query('execute p'))).toEqual(['T x', 'D 1', 'C SELECT 1', 'Z I'])
    expect((await pooler.show('pools')).find((row) => row.database === database.name)?.pool_mode).toBe('statement')
  })

  test('a forced user is whom its server is logged in to as', async () => {
    const { host, port } = postgres().primary
    await using pooler = await startPooler(
      {},
      { databases: { forced: { host, port, dbname: database.name, user: 'replicator' } } },
    )
    const login = { user: 'trust_user', database: 'forced', parameters: { replication: 'database' } }
    const client = await pooler.raw(login)
    expect(await client.ask(query('select current_user as x'))).toContain('D replicator')
  })

  test('the HBA file speaks of physical replication as a database of its own', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tsbouncer-replication-'))
    try {
      const file = join(folder, 'hba.conf')
      await writeFile(file, `host replication replicator 127.0.0.1/32 trust\nhost ${database.name} all all reject\n`)
      await using pooler = await startPooler({ auth_type: 'hba', auth_hba_file: file })
      expect(await (await pooler.raw(physicalLogin)).ask(query('IDENTIFY_SYSTEM'))).toContain(
        completed('IDENTIFY_SYSTEM'),
      )
      expect(await pooler.refusal(logicalLogin(database.name))).toContain('login rejected')
      expect(await pooler.refusal({ user: 'replicator', database: 'replication' })).toContain(
        'no authentication method is found',
      )
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })

  test('a server that refuses replication says so itself', async () => {
    await using pooler = await startPooler()
    expect(
      await pooler.refusal({ user: 'scram_user', database: 'postgres', parameters: { replication: 'database' } }),
    ).toMatch(/^E FATAL 42501 /)
    expect(await pooler.refusal({ ...physicalLogin, parameters: { replication: 'maybe' } })).toBe(
      'E FATAL 08P01 invalid value for startup parameter: replication',
    )
    await pooler.untilEmpty()
    expect(await pooler.show('servers')).toEqual([])
  })
})

describe('limits', () => {
  test('its server counts to pool_size, and an idle one makes room for it', async () => {
    await using pooler = await startPooler({ default_pool_size: 1 })
    const ordinary = await pooler.raw({ user: 'replicator', database: database.name })
    await ordinary.ask(query('select 1'))
    const client = await pooler.raw(logicalLogin(database.name))
    expect(await pooler.show('servers')).toMatchObject([{ replication: 'logical', state: 'active' }])

    // The one place is taken: an ordinary query waits for it, as does another replication login.
    const answer = ordinary.ask(query('select 2 as x'))
    await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 1)
    const login = pooler.raw(logicalLogin(database.name))
    await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 2)
    expect((await pooler.show('servers')).length).toBe(1)
    await client.end()
    expect(await answer).toEqual(['T x', 'D 2', 'C SELECT 1', 'Z I'])
    await (await login).end()
    expect(await ordinary.ask(query('select 3 as x'))).toContain('D 3')
  })

  test.each(['max_db_connections', 'max_user_connections'] as const)('its server counts to %s', async (limit) => {
    await using pooler = await startPooler({ [limit]: 1 })
    const client = await pooler.raw(logicalLogin(database.name))
    const login = pooler.raw({ user: 'replicator', database: database.name })
    await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 1)
    await client.end()
    expect(await (await login).ask(query('select 1 as x'))).toContain('D 1')
  })

  test('those who wait for room do not get at a server that has just been made for it', async () => {
    await using pooler = await startPooler({ max_db_connections: 1 })
    const first = await pooler.raw(logicalLogin(database.name))
    const second = pooler.raw(logicalLogin(database.name))
    await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 1)
    const ordinary = pooler.raw({ user: 'replicator', database: database.name })
    await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 2)
    await first.end()
    expect(await (await second).ask(query('IDENTIFY_SYSTEM'))).toContain(completed('IDENTIFY_SYSTEM'))
    expect(pooler.logged.filter((line) => line.includes('evicted'))).toEqual([])
    await (await second).end()
    expect(await (await ordinary).ask(query('select 1 as x'))).toContain('D 1')
  })

  test('it is one of the clients of max_client_conn, and of its database and user', async () => {
    for (const limit of ['max_client_conn', 'max_db_client_connections', 'max_user_client_connections'] as const) {
      await using pooler = await startPooler({ [limit]: 1 })
      await pooler.raw(logicalLogin(database.name))
      expect(await pooler.refusal(logicalLogin(database.name))).toContain(limit)
    }
  })

  test('what it did stays in the totals of its database', async () => {
    const clock = new ManualClock()
    await using pooler = await startPooler({ pool_idle_timeout: 5 }, { clock })
    const totals = async () => (await pooler.show('stats')).find((row) => row.database === database.name)
    const client = await pooler.raw(logicalLogin(database.name))
    await client.ask(query('IDENTIFY_SYSTEM'))
    clock.advance(60) // nobody but it keeps the pool from being forgotten
    expect(await totals()).toMatchObject({ total_query_count: 1, total_client_login_count: 1 })
    await client.end()
    await pooler.untilEmpty()
    expect(await totals()).toMatchObject({ total_query_count: 1, total_client_login_count: 1 })
  })
})

function where(more: { readonly connectQuery: string }): { host: string; port: number; connect_query: string } {
  const { host, port } = postgres().primary
  return { host, port, connect_query: more.connectQuery }
}
