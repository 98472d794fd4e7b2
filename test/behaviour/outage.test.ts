// A database server that goes away and comes back, through a relay of bytes that can be cut.

import { connect, createServer, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { startPooler } from '../harness/pooler.js'
import { postgres } from '../harness/postgres.js'

/** In front of the primary: `down` closes what is open and the port; `up` opens the same port again. */
async function startLine() {
  const { primary } = postgres()
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const onward = connect(primary.port, primary.host)
    for (const socket of [client, onward]) {
      sockets.add(socket)
      socket.on('error', () => {})
    }
    client.pipe(onward).on('close', () => client.destroy())
    onward.pipe(client).on('close', () => onward.destroy())
  })
  const up = (port: number) => new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  await up(0)
  const { port } = server.address() as { port: number }
  const down = async () => {
    const closed = new Promise((resolve) => server.close(resolve))
    for (const socket of sockets) socket.destroy()
    sockets.clear()
    await closed
  }
  return {
    port,
    down,
    up: () => up(port),
    [Symbol.asyncDispose]: async () => {
      if (server.listening) await down()
    },
  }
}

test('a server that is back is found, although nobody is left who waited for it', async () => {
  await using line = await startLine()
  await using pooler = await startPooler(
    { server_login_retry: 0.1 },
    { server: { host: '127.0.0.1', port: line.port } },
  )
  const [hasty, patient] = [await pooler.connect(), await pooler.connect()]
  await patient.query('select 1')
  await line.down()

  const query = hasty.query('select 1').catch((error: Error) => error)
  await pooler.settles(() => pooler.logged.some((text) => text.includes('closing because: connect failed')))
  await hasty.end()
  await query
  await line.up()

  await pooler.settles(async () => {
    await using late = await pooler.connect()
    return await late.query('select 1').then(
      () => true,
      () => false,
    )
  })
  expect((await patient.query('select 2 as two')).rows).toEqual([{ two: 2 }])
})
