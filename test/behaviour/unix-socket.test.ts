// Clients and servers on Unix sockets, and the user pgbouncer, who needs no password where only our own user can come.

import { chmod, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ConfigInput } from '../../src/config/input.js'
import { findFreePort } from '../../src/demo/port.js'
import { createPooler, type Pooler } from '../../src/pooler.js'
import { type AnyConfig, type Settings, startPooler } from '../harness/pooler.js'
import { postgres } from '../harness/postgres.js'
import { cancel, Ended, query, RawClient } from '../harness/raw-client.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tsbouncer-unix-'))
})
afterAll(() => rm(folder, { recursive: true }))

interface Listening extends AsyncDisposable {
  readonly pooler: Pooler
  readonly path: string
  raw(parameters: Record<string, string>): Promise<RawClient>
}

async function listen(settings: Settings, mode = 0o700): Promise<Listening> {
  await chmod(folder, mode)
  const listen_port = await findFreePort()
  const config: AnyConfig = {
    pgbouncer: { listen_port, unix_socket_dir: folder, auth_type: 'md5', pool_mode: 'transaction', ...settings },
    databases: { '*': { host: postgres().socketDir, port: postgres().primary.port } },
  }
  const pooler = createPooler({ config: config as ConfigInput })
  await pooler.listen()
  const path = join(folder, `.s.PGSQL.${listen_port}`)
  return {
    pooler,
    path,
    async raw(parameters) {
      const client = new RawClient(connect(path))
      await client.logIn({ parameters })
      return client
    },
    [Symbol.asyncDispose]: () => pooler.close(),
  }
}

const asPgbouncer = { user: 'pgbouncer', database: 'pgbouncer' }

describe('the user pgbouncer on the console', () => {
  test.each([
    ['the folder is closed to others', 0o700, 0o777],
    ['the socket is closed to others', 0o755, 0o700],
  ])('is let in without a password where %s', async (_what, folderMode, unix_socket_mode) => {
    await using listening = await listen({ unix_socket_mode }, folderMode)
    expect((await stat(listening.path)).mode & 0o777).toBe(unix_socket_mode)
    const client = await listening.raw(asPgbouncer)
    expect((await client.ask(query('SHOW VERSION'))).at(1)).toMatch(/^D PgBouncer /)
    expect(await client.ask(query('PAUSE'))).toEqual(['C PAUSE', 'Z I']) // an administrator
    expect(await client.ask(query('RESUME'))).toEqual(['C RESUME', 'Z I'])
    await client.end()
  })

  test('is not, where others can come too', async () => {
    await using listening = await listen({}, 0o755)
    await expect(listening.raw(asPgbouncer)).rejects.toThrow('E FATAL 08P01 not allowed')
  })

  test('is not, over TCP', async () => {
    await using pooler = await startPooler({ auth_type: 'md5', admin_users: '' })
    expect(await pooler.refusal(asPgbouncer)).toBe('E FATAL 08P01 not allowed')
  })

  test('is, where a folder further up is closed to others', async () => {
    const inner = join(folder, 'run')
    await mkdir(inner, { mode: 0o755 })
    await using listening = await listen({ unix_socket_dir: inner }, 0o700)
    const client = new RawClient(connect(listening.path.replace(folder, inner)))
    await client.logIn({ parameters: asPgbouncer })
    expect((await client.ask(query('SHOW VERSION'))).at(1)).toMatch(/^D PgBouncer /)
    await client.end()
  })

  test('is nobody special in another database', async () => {
    await using listening = await listen({ auth_type: 'trust' })
    await expect(listening.raw({ user: 'pgbouncer', database: 'postgres' })).rejects.toThrow(Ended)
  })
})

describe('HBA method peer', () => {
  /** With HBA rules, and an ident map by which our own user may be trust_user. */
  async function listenByHba(rules: string, mode: number): Promise<Listening> {
    const [auth_hba_file, auth_ident_file, auth_file] = ['hba', 'ident', 'users'].map((name) => join(folder, name))
    await writeFile(auth_hba_file!, rules)
    await writeFile(auth_ident_file!, `own "${userInfo().username}" trust_user\n`)
    await writeFile(auth_file!, '"trust_user" ""\n"scram_user" ""\n"pgbouncer" ""\n')
    const files = { auth_hba_file: auth_hba_file!, auth_ident_file: auth_ident_file!, auth_file: auth_file! }
    return listen({ auth_type: 'hba', admin_users: 'pgbouncer', ...files }, mode)
  }

  const rejected = 'E FATAL 08P01 unix socket login rejected'

  test('as CloudNativePG has it: the console for pgbouncer, where nobody else can come', async () => {
    await using closed = await listenByHba('local pgbouncer pgbouncer peer\n', 0o700)
    const client = await closed.raw(asPgbouncer)
    expect(await client.ask(query('PAUSE'))).toEqual(['C PAUSE', 'Z I'])
    await client.end()
    await closed.pooler.close()
    await using open = await listenByHba('local pgbouncer pgbouncer peer\n', 0o755)
    await expect(open.raw(asPgbouncer)).rejects.toThrow(rejected)
  })

  test('our own user is who its name says, or a map; nobody else is', async () => {
    await using closed = await listenByHba('local all all peer map=own\n', 0o700)
    const client = await closed.raw({ user: 'trust_user', database: 'postgres' })
    expect(await client.ask(query('select current_user'))).toContain('D trust_user')
    await client.end()
    await expect(closed.raw({ user: 'scram_user', database: 'postgres' })).rejects.toThrow(rejected)
    await closed.pooler.close()
    await using open = await listenByHba('local all all peer map=own\n', 0o755)
    await expect(open.raw({ user: 'trust_user', database: 'postgres' })).rejects.toThrow(rejected)
  })
})

test('clients and servers speak over Unix sockets; cancels find their way', async () => {
  const { primary, socketDir } = postgres()
  const listen_port = await findFreePort()
  await chmod(folder, 0o700)
  await using pooler = await startPooler(
    { unix_socket_dir: folder, listen_port, default_pool_size: 1 },
    { databases: { '*': { host: socketDir, port: primary.port } } },
  )
  const client = new RawClient(connect(join(folder, `.s.PGSQL.${listen_port}`)))
  await client.logIn({ parameters: { user: 'trust_user', database: 'postgres' } })
  expect(await client.ask(query('select inet_server_addr() as x'))).toContain('D (null)')
  expect((await pooler.show('clients'))[0]).toMatchObject({ addr: 'unix' })
  expect((await pooler.show('servers'))[0]).toMatchObject({ addr: 'unix' })
  client.send(query('select pg_sleep(60)'))
  await pooler.until('SHOW POOLS', (row) => row.sv_active === 1)
  await pooler.settles(async () => {
    await cancel(pooler.port, client.key)
    return client.unread.some((line) => line.startsWith('E ERROR 57014'))
  })
  client.stream.destroy()
})

test('a socket in use is not taken from its owner, and ours goes when we go', async () => {
  const first = await listen({})
  const { listen_port } = first.pooler.admin.config().settings
  const second = createPooler({
    config: { pgbouncer: { listen_port, unix_socket_dir: folder, auth_type: 'trust' }, databases: {} },
  })
  await expect(second.listen()).rejects.toThrow('unix socket is in use, cannot continue')
  await second.close()
  expect((await stat(first.path)).isSocket()).toBe(true)
  await first.pooler.close()
  await expect(stat(first.path)).rejects.toThrow('ENOENT')
})
