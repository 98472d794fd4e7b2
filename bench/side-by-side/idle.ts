// What clients cost that do nothing: memory each, and the pooler's processor time while they are there.

import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { loopback } from '../../src/demo/port.js'
import { ReadyForQuery } from '../../src/protocol/backend.js'
import { startupMessage } from '../../src/protocol/frontend.js'
import { databaseName, userName } from './database.js'
import type { Target } from './poolers.js'
import { cpuSince, cpuTime, residentMemory } from './process-cost.js'

export interface IdleCost {
  /** Processor time in all that time, milliseconds; exact to 10. */
  readonly cpu: number
  /** Bytes a client. */
  readonly memory: number
}

/** Before memory and time are looked at, what logging in has left behind may be tidied up, milliseconds. */
const rest = 1000

export async function measureIdle(target: Target, clients: number, seconds: number): Promise<IdleCost | undefined> {
  if (target.pid === undefined) return undefined
  const before = residentMemory(target.pid)
  const sockets: Socket[] = []
  try {
    for (let i = 0; i < clients; i++) sockets.push(await logIn(target.port))
    await sleep(rest)
    const memory = (residentMemory(target.pid) - before) / clients
    const start = cpuTime(target.pid)
    await sleep(seconds * 1000)
    const { user, system } = cpuSince(target.pid, start)
    return { cpu: (user + system) / 1000, memory }
  } finally {
    for (const socket of sockets) socket.destroy()
  }
}

/** A client that was welcomed, and says nothing from then on. */
function logIn(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: loopback, port })
    socket.once('error', reject)
    socket.once('close', () => reject(new Error('the pooler closed a connection during login')))
    socket.once('connect', () => socket.write(startupMessage({ user: userName, database: databaseName })))
    socket.on('data', (chunk: Buffer) => {
      // The last message of the welcome is 6 bytes long.
      if (chunk[chunk.length - 6] === ReadyForQuery) resolve(socket)
    })
  })
}
