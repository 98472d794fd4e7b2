// Clients that come one after another, each for one query, as long as they are wanted.

import { connect } from 'node:net'
import { query, startup } from '../harness/raw-client.js'

const readyForQuery = Buffer.from('Z\0\0\0\x05I', 'latin1')

/**
 * One connection from beginning to end.
 * @returns `served`, or what went wrong and when: `login: ECONNRESET`
 */
function visit(port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    let stage = 'connect'
    let answer = Buffer.alloc(0)
    const next = (name: string, request: Buffer): void => {
      stage = name
      answer = Buffer.alloc(0)
      socket.write(request)
    }
    socket.on('connect', () => next('login', startup({ user: 'trust_user', database: 'postgres' })))
    socket.on('data', (chunk) => {
      answer = Buffer.concat([answer, chunk])
      if (!answer.subarray(-6).equals(readyForQuery)) return
      if (stage === 'login') return next('query', query('select 1'))
      resolve('served')
      socket.end(Buffer.from('X\0\0\0\x04', 'latin1'))
    })
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(`${stage}: ${error.code}`))
    socket.on('close', () => resolve(`${stage}: closed after ${JSON.stringify(answer.toString('latin1'))}`))
  })
}

/** Four at a time, while `during` runs. @returns how many visits ended how */
export async function visitDuring(port: number, during: () => Promise<void>): Promise<Record<string, number>> {
  const outcomes: Record<string, number> = {}
  let goOn = true
  const visitors = Array.from({ length: 4 }, async () => {
    while (goOn) {
      const outcome = await visit(port)
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
    }
  })
  try {
    await during()
  } finally {
    goOn = false
    await Promise.all(visitors)
  }
  return outcomes
}
