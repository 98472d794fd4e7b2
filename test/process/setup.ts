// A pooler of the built command, from its configuration file to those who connect to it.

import { readFileSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import pg from 'pg'
import { findFreePort } from '../../src/demo/port.js'
import { postgres } from '../harness/postgres.js'
import { asUser, makeFolder, type Running, run } from './command.js'

/** A configuration in a folder of its own, and the paths it names. */
export async function makeSetup(settings: Record<string, string | number> = {}) {
  const folder = makeFolder()
  const file = (name: string): string => join(folder.path, name)
  const port = await findFreePort()
  const { host, port: serverPort } = postgres().primary
  writeFileSync(file('userlist.txt'), '"admin" ""\n"trust_user" ""\n')
  const write = (more: Record<string, string | number> = {}): void => {
    const all: Record<string, string | number> = {
      listen_addr: '127.0.0.1',
      listen_port: port,
      unix_socket_dir: '',
      auth_type: 'trust',
      auth_file: file('userlist.txt'),
      admin_users: 'admin',
      pidfile: file('pooler.pid'),
      ...settings,
      ...more,
    }
    const lines = Object.entries(all).map(([key, value]) => `${key} = ${value}`)
    writeFileSync(
      file('pooler.ini'),
      `[databases]\npostgres = host=${host} port=${serverPort}\n[pgbouncer]\n${lines.join('\n')}\n`,
    )
  }
  write()
  const pid = (): number => Number(readFileSync(file('pooler.pid'), 'utf8'))
  return {
    port,
    folder: folder.path,
    ini: file('pooler.ini'),
    pidfile: file('pooler.pid'),
    file,
    write,
    pid,
    [Symbol.dispose]: folder[Symbol.dispose],
  }
}

export function listenOn(port: number): Promise<Server> {
  const server = createServer().listen(port, '127.0.0.1')
  return new Promise((resolve) => server.once('listening', () => resolve(server)))
}

export async function startReady(words: readonly string[]): Promise<Running> {
  const running = run([...asUser, ...words])
  await running.says('process up: ')
  return running
}

export async function connectTo(database: 'postgres' | 'pgbouncer', port: number): Promise<pg.Client> {
  const user = database === 'pgbouncer' ? 'admin' : 'trust_user'
  const client = new pg.Client({ host: '127.0.0.1', port, user, database })
  client.on('error', () => {}) // the pooler ends under some of them
  await client.connect()
  return client
}

export const accepts = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
