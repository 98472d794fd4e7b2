// A pooler that is closed while it starts, listens or reloads: nothing is opened any more.

import { getActiveResourcesInfo } from 'node:process'
import { expect, test } from 'vitest'
import { createPooler } from '../../src/pooler.js'
import { FilePooler } from '../harness/file-pooler.js'
import { eventually } from '../harness/pooler.js'
import { Folder } from '../harness/tls.js'

const config = (folder: string) => ({
  pgbouncer: { listen_addr: '127.0.0.1,localhost', listen_port: 0, unix_socket_dir: folder, auth_type: 'any' as const },
  databases: { '*': { host: '127.0.0.1' } },
})

const listeners = (): number =>
  getActiveResourcesInfo().filter((name) => name === 'TCPServerWrap' || name === 'PipeServerWrap').length

test('closed while it begins to listen', async () => {
  await using folder = await Folder.open()
  const before = listeners()
  for (let turns = 0; turns < 60; turns++) {
    const pooler = createPooler({ config: config(folder.path) })
    const outcome = pooler.listen().then(
      () => 'listens',
      (error: Error) => error.message,
    )
    for (let turn = 0; turn < turns; turn++) await (turn % 4 === 3 ? new Promise(setImmediate) : Promise.resolve())
    await pooler.close()
    expect(['listens', 'the pooler has been closed']).toContain(await outcome)
    await eventually(() => listeners() === before)
  }
})

test('started twice at the same time, it is one', async () => {
  await using folder = await Folder.open()
  const pooler = createPooler({ config: config(folder.path) })
  const admins = await Promise.all(
    [pooler.start(), pooler.start(), pooler.listen()].map((started) => started.then(() => pooler.admin)),
  )
  expect(new Set(admins).size).toBe(1)
  await pooler.close()
  await expect(createPooler({ config: config(folder.path) }).start()).resolves.toBeUndefined()
})

test('closed while it reloads', async () => {
  const pooler = await FilePooler.start({ databases: { app: 'dbname=postgres min_pool_size=1 user=trust_user' } })
  await pooler.write({ databases: { app: 'dbname=postgres min_pool_size=1 user=trust_user', more: 'dbname=postgres' } })
  const reloaded = pooler.pooler.reload().then(
    () => 'reloaded',
    (error: Error) => error.message,
  )
  await pooler.pooler.close()
  expect(await reloaded).toBe('the pooler has been closed')
  await eventually(async () => (await pooler.pooler.show('servers')).length === 0)
  expect((await pooler.pooler.show('databases')).map((row) => row.name)).not.toContain('more')
  await pooler[Symbol.asyncDispose]()
})
