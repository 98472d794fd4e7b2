// The files of the example with HAProxy: what they say, and, where HAProxy is installed, that it works.

import { execFile, spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { loadConfig } from '../../src/config/load.js'
import { findFreePort } from '../../src/demo/port.js'
import { createPooler, type Pooler } from '../../src/pooler.js'
import { canceled, sleep } from '../behaviour/peers.js'
import { eventually } from '../harness/pooler.js'
import { postgres } from '../harness/postgres.js'
import { cancel, query, RawClient } from '../harness/raw-client.js'

const example = new URL('../../examples/haproxy/', import.meta.url).pathname
const names = ['pooler1.ini', 'pooler2.ini'] as const
const read = (name: string): Promise<string> => readFile(join(example, name), 'utf8')

const isInstalled = await new Promise<boolean>((resolve) => {
  execFile('haproxy', ['-v'], (error) => resolve(error === null))
})

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tsbouncer-haproxy-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

test('the poolers know each other, and HAProxy knows both', async () => {
  const balancer = await read('haproxy.cfg')
  for (const [index, name] of names.entries()) {
    const config = await loadConfig(name, { readFile: () => read(name) })
    expect(config.warnings).toEqual([])
    const { listen_port, peer_id } = config.settings
    expect(peer_id).toBe(index + 1)
    expect([...config.peers.values()].map(({ port }) => port)).toEqual([6433, 6434])
    expect(balancer).toContain(`server pooler${peer_id} 127.0.0.1:${listen_port}\n`)
  }
})

test('clients come to both, and a cancel request finds the one that it is for', async ({ skip }) => {
  if (!isInstalled) skip('haproxy is not installed')
  const ports = new Map<string, number>()
  for (const port of ['6432', '6433', '6434']) ports.set(port, await findFreePort(...ports.values()))
  const moved = (text: string): string =>
    [...ports].reduce((so, [from, to]) => so.replaceAll(new RegExp(`\\b${from}\\b`, 'g'), `${to}`), text)
  const poolers: Pooler[] = []
  const { primary, roles } = postgres()
  const cfg = join(folder, 'haproxy.cfg')
  await writeFile(cfg, moved(await read('haproxy.cfg')))
  await writeFile(join(folder, 'userlist.txt'), `"trust_user" "${roles.trust_user.password}"\n`)
  const balancer = spawn('haproxy', ['-db', '-f', cfg], { stdio: 'ignore' })
  try {
    for (const name of names) {
      const ini = moved(await read(name))
        .replace('host=127.0.0.1 port=5432', `host=${primary.host} port=${primary.port} dbname=postgres`)
        .replace(/^unix_socket_dir = .*/m, 'unix_socket_dir =')
        .replace('auth_type = scram-sha-256', 'auth_type = trust')
        .replace('/etc/pgbouncer', folder)
      await writeFile(join(folder, name), ini)
      const pooler = createPooler({ config: join(folder, name) })
      poolers.push(pooler)
      await pooler.listen()
    }
    const port = ports.get('6432')!
    const login = { port, parameters: { user: 'trust_user', database: 'app' } }
    const isUp = (): Promise<boolean> =>
      RawClient.connect(login).then(
        (client) => client.end().then(() => true),
        () => false,
      )
    await eventually(isUp)
    const clients = await Promise.all(Array.from({ length: 6 }, () => RawClient.connect(login)))
    for (const pooler of poolers) expect((await pooler.show('clients')).length).toBeGreaterThan(0)
    for (const client of clients) {
      await sleep(client)
      await cancel(port, client.key)
      expect((await client.answer()).slice(-2)).toEqual(canceled)
      expect(await client.ask(query('select 1 as x'))).toContain('D 1')
    }
    for (const client of clients) client.vanish()
  } finally {
    balancer.kill()
    for (const pooler of poolers) await pooler.close()
  }
})
