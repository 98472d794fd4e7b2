// TCP ports of this machine: is one free, and finding one that is.

import { createServer } from 'node:net'
import { DemoError } from './demo-error.js'

/** Loopback only: the demo's passwords are known to everyone. */
export const loopback = '127.0.0.1'

// Below the range that systems take outgoing connections' ports from: a server that is started again on its port must
// not find it taken by a client's.
const lowest = 10_240
const highest = 32_767

/** Rejects with a DemoError where nothing could listen on this port. */
export async function requireFreePort(port: number): Promise<void> {
  const problem = await whyTaken(port)
  if (problem === undefined) return
  const what = problem === 'EADDRINUSE' ? 'is in use' : `cannot be listened on (${problem})`
  throw new DemoError(`port ${port} on ${loopback} ${what}: choose another with --port`)
}

/** A port that is free now, and none of `taken`. */
export async function findFreePort(...taken: readonly number[]): Promise<number> {
  for (let attempt = 0; attempt < 50; attempt++) {
    const port = lowest + Math.floor(Math.random() * (highest - lowest + 1))
    if (!taken.includes(port) && (await whyTaken(port)) === undefined) return port
  }
  throw new DemoError(`no free port between ${lowest} and ${highest}`)
}

/** The code of the error that listening gives, or undefined. */
function whyTaken(port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    server.listen({ port, host: loopback, exclusive: true }, () => server.close(() => resolve(undefined)))
  })
}
