// Replication connections that end, or are ended: by their client, by the server, by an administrator; and slow readers.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { errorResponse, FakeBackend } from '../harness/fake-backend.js'
import { FilePooler } from '../harness/file-pooler.js'
import { ManualClock } from '../harness/manual-clock.js'
import { startPooler } from '../harness/pooler.js'
import { query as ask, createDatabase, endBackends, postgres, type TestDatabase } from '../harness/postgres.js'
import { copyData, copyDone, message, query, RawClient, startup, terminate } from '../harness/raw-client.js'
import { clientTlsFiles, Folder, openTls } from '../harness/tls.js'
import {
  changesUpTo,
  completed,
  logicalLogin,
  physicalLogin,
  standbyStatus,
  streamChanges,
  streamWal,
  walsenders,
} from './replication.js'

let database: TestDatabase
beforeAll(async () => {
  database = await createDatabase()
  await ask('CREATE TABLE told (word text)', { database: database.name })
})
afterAll(() => database.drop())

const insert = (word: string): Promise<unknown> =>
  ask('INSERT INTO told VALUES ($1)', { database: database.name, values: [word] })

/** Nobody gives up waiting. */
const forever = new AbortController().signal

/** As a walsender is known to others. */
const named = (name: string) => ({ ...physicalLogin, parameters: { replication: 'true', application_name: name } })

describe('the client leaves', () => {
  test.each([
    ['with Terminate', (client: { send(bytes: Buffer): unknown }) => client.send(terminate)],
    ['without a word', (client: { vanish(): void }) => client.vanish()],
  ] as const)('%s, in the middle of a stream: the server connection ends with it', async (_how, leave) => {
    await using pooler = await startPooler()
    const name = `leaves_${process.pid}`
    const client = await streamWal(pooler, named(name))
    expect((await walsenders(name)).length).toBe(1)
    ;(leave as (client: unknown) => void)(client)
    await client.ended
    await pooler.settles(async () => (await walsenders(name)).length === 0)
    expect(await pooler.show('servers')).toEqual([])
    await pooler.untilEmpty()
  })

  test('with a message half sent', async () => {
    await using pooler = await startPooler()
    const name = `half_${process.pid}`
    const client = await streamWal(pooler, named(name))
    client.send(standbyStatus(1n).subarray(0, 20))
    await insert('something for the server to send meanwhile')
    client.vanish()
    await pooler.settles(async () => (await walsenders(name)).length === 0)
    expect(await pooler.show('servers')).toEqual([])
  })

  test('while its server connection is still being made', async () => {
    await using server = await FakeBackend.start(async (connection) => {
      await connection.packet()
    })
    await using pooler = await startPooler({}, { server })
    const client = await RawClient.open(pooler.port)
    client.send(startup({ user: 'replicator', database: 'replication', replication: 'true' }))
    await pooler.settles(() => server.connections.length === 1)
    expect(await pooler.show('servers')).toMatchObject([{ state: 'new', replication: 'physical' }])
    client.vanish()
    await server.connections[0]!.ended
    expect(await pooler.show('servers')).toEqual([])
  })
})

describe('the server goes', () => {
  test('in the middle of a stream: its client is told, and has no other server in its place', async () => {
    await using pooler = await startPooler()
    const client = await streamChanges(pooler, database.name, `goes_${process.pid}`)
    const [server] = await pooler.show('servers')
    await endBackends(`pid = ${server?.remote_pid}`)
    const rest = (await client.toTheEnd()).filter((line) => !line.startsWith('d '))
    expect(rest).toEqual(['E FATAL 57P01 terminating connection due to administrator command'])
    expect(await pooler.show('servers')).toEqual([])
    await pooler.untilEmpty()
  })

  test.each([
    [
      'with CopyDone and the end of the command',
      [message('c'), message('C', Buffer.from('COPY 0\0')), message('Z', Buffer.from('I'))],
    ],
    [
      'with an error',
      [errorResponse('58P01', 'requested WAL segment has already been removed'), message('Z', Buffer.from('I'))],
    ],
  ])('it ends the stream %s: what the client still says in it is ignored', async (_how, ending) => {
    await using server = await FakeBackend.start(async (connection) => {
      await connection.welcome()
      for (;;) {
        const { code, body } = await connection.message()
        if (code === 'd' || code === 'c') continue // late, and ignored as PostgreSQL does
        const text = body.toString('utf8', 0, body.length - 1)
        if (text === 'start') connection.send(message('W', Buffer.alloc(3)), copyData('w1'), ...ending)
        else connection.send(message('C', Buffer.from(`${text}\0`)), message('Z', Buffer.from('I')))
      }
    })
    await using pooler = await startPooler({}, { server })
    const client = await pooler.raw(physicalLogin)
    client.send(query('start'))
    expect((await client.answer()).slice(0, 2)).toEqual(['W', 'd w1'])
    client.send(standbyStatus(1n), copyDone)
    expect(await client.ask(query('next'))).toEqual(['C next', 'Z I'])
    expect(server.connections.length).toBe(1)
  })
})

describe('a slow reader', () => {
  test('stops the server, and what waits for it in the pooler stays small', async () => {
    const total = 192 * 1024 * 1024
    const chunk = copyData(Buffer.alloc(32 * 1024, 'w'))
    let sent = 0
    await using server = await FakeBackend.start(async (connection) => {
      await connection.welcome()
      await connection.message()
      connection.send(message('W', Buffer.alloc(3)))
      const { socket } = connection
      while (sent < total) {
        sent += chunk.length
        if (!socket.write(chunk)) await new Promise((resolve) => socket.once('drain', resolve))
      }
      connection.send(message('c'), message('C', Buffer.from('COPY 0\0')), message('Z', Buffer.from('I')))
    })
    await using pooler = await startPooler({}, { server })
    const client = await pooler.raw(physicalLogin)
    let received = 0
    let most = 0
    client.stream.removeAllListeners('data')
    client.stream.pause()
    client.send(query('start'))
    const waiting = async (): Promise<number> => {
      const rows = await pooler.show('sockets')
      const bytes = Math.max(0, ...rows.map((row) => Number(row.send_avail)))
      most = Math.max(most, bytes)
      return bytes
    }
    await pooler.settles(async () => (await waiting()) > 0)
    // Read in gulps, with a pause after each until the pooler is stuck again.
    const ended = new Promise<void>((resolve) => {
      client.stream.on('data', (bytes: Buffer) => {
        const before = received
        received += bytes.length
        if (received >= sent && sent >= total) resolve()
        if (Math.floor(before / (32 << 20)) === Math.floor(received / (32 << 20)) || sent >= total) return
        client.stream.pause()
        void pooler.settles(async () => (await waiting()) > 0 || sent >= total).then(() => client.stream.resume())
      })
    })
    client.stream.resume()
    await ended
    await waiting()
    expect(received).toBeGreaterThanOrEqual(total)
    expect(most).toBeGreaterThan(0)
    expect(most).toBeLessThan(256 * 1024)
  })

  test.each(['in the clear', 'with TLS'])('of a base backup gets all of it, %s', async (how) => {
    await using folder = await Folder.open(clientTlsFiles)
    await using pooler = await startPooler({ client_tls_sslmode: 'allow', ...folder.clientTls })
    await using client = how === 'with TLS' ? await openTls(pooler.port) : await RawClient.open(pooler.port)
    await client.logIn(pooler.login(physicalLogin))
    const command =
      postgres().version < 15
        ? "BASE_BACKUP LABEL 'slow' FAST NOWAIT"
        : "BASE_BACKUP (LABEL 'slow', CHECKPOINT 'fast', WAL false, WAIT false)"
    client.send(query(command))
    await client.line()
    client.stream.pause()
    await pooler.until('SHOW SOCKETS', (row) => row.type === 'C' && Number(row.send_avail) > 0)
    client.stream.resume()
    let size = 0
    let line = ''
    do {
      line = await client.line()
      if (line.startsWith('d ')) size += client.latestBody.length
      if (line.startsWith('E ')) throw new Error(line)
    } while (!line.startsWith('Z '))
    expect(size).toBeGreaterThan(10_000_000)
    expect(await client.ask(query('IDENTIFY_SYSTEM'))).toContain(completed('IDENTIFY_SYSTEM'))
  })
})

describe('an administrator', () => {
  test('PAUSE waits for it to leave, and its stream goes on meanwhile', async () => {
    await using pooler = await startPooler()
    const client = await streamChanges(pooler, database.name, `paused_${process.pid}`)
    const paused = pooler.pooler.admin.pause(undefined, forever)
    let isPaused = false
    void paused.then(() => {
      isPaused = true
    })
    await insert('while pausing')
    await changesUpTo(client, 'while pausing')
    expect(isPaused).toBe(false)
    await client.end()
    await paused
    // Another one waits at its login.
    const login = pooler.raw(logicalLogin(database.name))
    await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 1)
    pooler.pooler.admin.resume(undefined)
    expect(await (await login).ask(query('IDENTIFY_SYSTEM'))).toContain(completed('IDENTIFY_SYSTEM'))
  })

  test('RECONNECT ends it, since it would not end by itself', async () => {
    await using pooler = await startPooler()
    const client = await streamChanges(pooler, database.name, `reconnect_${process.pid}`)
    pooler.pooler.admin.reconnect(undefined)
    expect((await client.toTheEnd()).filter((line) => !line.startsWith('d '))).toEqual([
      'E FATAL 08P01 database configuration changed',
    ])
    await pooler.until('SHOW LISTS', (row) => row.list === 'used_servers' && row.items === 0)
  })

  test.each([
    ['KILL_CLIENT', 'admin forced disconnect'],
    ['KILL', 'database removed'],
  ])('%s ends it', async (verb, text) => {
    await using pooler = await startPooler()
    const client = await pooler.raw(logicalLogin(database.name))
    const [row] = await pooler.show('clients')
    if (verb === 'KILL') pooler.pooler.admin.kill(database.name)
    else pooler.pooler.admin.killClient(Number(row?.id))
    expect(await client.toTheEnd()).toEqual([`E FATAL 08P01 ${text}`])
    expect(await pooler.show('servers')).toEqual([])
  })

  test('SHUTDOWN WAIT_FOR_CLIENTS and WAIT_FOR_SERVERS wait for it', async () => {
    for (const mode of ['wait_for_clients', 'wait_for_servers'] as const) {
      await using pooler = await startPooler()
      const client = await streamChanges(pooler, database.name, `${mode}_${process.pid}`)
      const done = pooler.pooler.shutdown(mode)
      await insert(mode)
      await changesUpTo(client, mode)
      expect((await pooler.show('servers')).length).toBe(1)
      await client.end()
      await done
    }
  })

  test('SHUTDOWN ends it at once', async () => {
    await using pooler = await startPooler()
    const client = await streamWal(pooler)
    await pooler.pooler.shutdown('now')
    expect((await client.toTheEnd()).filter((line) => !line.startsWith('d '))).toEqual([
      'E FATAL 08P01 server shutting down',
    ])
  })

  test.each([
    [
      'changes what servers are made of',
      { app: `dbname=postgres connect_query='select 1'` },
      'database configuration changed',
    ],
    ['removes its database', { other: 'dbname=postgres' }, 'database removed'],
  ])('a reload that %s ends it', async (_what, databases, text) => {
    await using pooler = await FilePooler.start({
      databases: { app: 'dbname=postgres' },
      secrets: { replicator: 'replicator', postgres: 'postgres' },
      pgbouncer: { auth_type: 'trust' },
    })
    const login = { user: 'replicator', database: 'app', replication: 'database' }
    await using client = await RawClient.connect({ port: pooler.port, parameters: login })
    await pooler.change({ pgbouncer: { auth_type: 'trust', default_pool_size: 3 } })
    expect(await client.ask(query('IDENTIFY_SYSTEM'))).toContain(completed('IDENTIFY_SYSTEM'))
    await pooler.change({ databases })
    expect(await client.toTheEnd()).toEqual([`E FATAL 08P01 ${text}`])
    expect(await pooler.pooler.show('servers')).toEqual([])
  })

  test('a reload that changes TLS with servers ends it', async () => {
    await using pooler = await FilePooler.start({
      databases: { app: 'dbname=postgres' },
      secrets: { replicator: 'replicator', postgres: 'postgres' },
      pgbouncer: { auth_type: 'trust' },
    })
    const login = { user: 'replicator', database: 'app', replication: 'database' }
    await using client = await RawClient.connect({ port: pooler.port, parameters: login })
    await pooler.change({ pgbouncer: { auth_type: 'trust', server_tls_sslmode: 'allow' } })
    expect(await client.toTheEnd()).toEqual(['E FATAL 08P01 database configuration changed'])
  })

  test('SUSPEND and RESUME: nothing is lost', async () => {
    await using pooler = await startPooler({ suspend_timeout: 0.2 })
    const client = await pooler.raw(logicalLogin(database.name))
    const answer = client.ask(query('IDENTIFY_SYSTEM'))
    expect(await answer).toContain(completed('IDENTIFY_SYSTEM'))
    await pooler.pooler.admin.suspend(forever)
    const later = client.ask(query('SHOW wal_level'))
    pooler.pooler.admin.resume(undefined)
    expect(await later).toContain(completed('SHOW'))
  })
})

test('no timeout ends a stream, nor the lifetime of servers', async () => {
  const clock = new ManualClock()
  await using pooler = await startPooler(
    {
      query_timeout: 1,
      idle_transaction_timeout: 1,
      transaction_timeout: 1,
      client_idle_timeout: 1,
      server_lifetime: 1,
      server_idle_timeout: 1,
      query_wait_timeout: 1,
    },
    { clock },
  )
  const quiet = await pooler.raw(physicalLogin)
  const client = await streamChanges(pooler, database.name, `patient_${process.pid}`)
  clock.advance(100)
  await insert('after a while')
  await changesUpTo(client, 'after a while')
  expect(await quiet.ask(query('IDENTIFY_SYSTEM'))).toContain(completed('IDENTIFY_SYSTEM'))
})
