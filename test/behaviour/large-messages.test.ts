// Messages far larger than any buffer pass in pieces: what the pooler holds of them stays small, however slow the reader.

import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { startPooler, type TestPooler } from '../harness/pooler.js'
import { query as ask, createDatabase } from '../harness/postgres.js'
import { copyData, copyDone, query, type RawClient, startup } from '../harness/raw-client.js'

const megabyte = 1024 * 1024
const user = 'trust_user'

/** The most memory for bytes, and in all, that this process came to hold while `work` went on; bytes above the start. */
async function growth(work: () => Promise<void>): Promise<{ buffers: number; resident: number }> {
  const start = process.memoryUsage()
  const most = { buffers: 0, resident: 0 }
  const look = setInterval(() => {
    const { arrayBuffers, rss } = process.memoryUsage()
    most.buffers = Math.max(most.buffers, arrayBuffers - start.arrayBuffers)
    most.resident = Math.max(most.resident, rss - start.rss)
  }, 5)
  try {
    await work()
  } finally {
    clearInterval(look)
  }
  return most
}

/** A client that keeps nothing: it reads into one buffer, and shows each chunk to whoever wants to see it. */
async function openCounter(pooler: TestPooler) {
  let handle = (_chunk: Buffer): void => {}
  const socket = connect({
    host: '127.0.0.1',
    port: pooler.port,
    onread: {
      buffer: Buffer.alloc(64 * 1024),
      callback(size, buffer) {
        handle(Buffer.from(buffer.buffer, buffer.byteOffset, size))
        return true
      },
    },
  })
  /** Reads up to a ReadyForQuery at the end of a chunk. */
  const read = (each: (chunk: Buffer) => void): Promise<number> =>
    new Promise((resolve) => {
      let size = 0
      handle = (chunk) => {
        size += chunk.length
        each(chunk)
        if (chunk.length >= 6 && chunk.at(-6) === 0x5a && chunk.readInt32BE(chunk.length - 5) === 5) resolve(size)
      }
    })
  const welcome = read(() => {})
  socket.write(startup({ user, database: 'postgres' }))
  await welcome
  return { socket, read }
}

test('a row of 100 MB goes through with little memory, to a reader that takes its time', {
  timeout: 60_000,
}, async () => {
  await using pooler = await startPooler({ default_pool_size: 1 })
  const { socket, read } = await openCounter(pooler)
  const size = 100 * megabyte
  let letters = 0
  const most = await growth(async () => {
    let sinceRest = 0
    const all = read((chunk) => {
      for (let at = 0; at < chunk.length; at += 97) if (chunk[at] === 0x78) letters++ // x
      sinceRest += chunk.length
      if (sinceRest < 10 * megabyte) return
      sinceRest = 0
      socket.pause()
      setTimeout(() => socket.resume(), 20)
    })
    socket.write(query(`select repeat('x', ${size}) as x`))
    expect(await all).toBeGreaterThan(size)
  })
  expect(letters).toBeGreaterThan(size / 98)
  expect(most.buffers).toBeLessThan(8 * megabyte)
  expect(most.resident).toBeLessThan(80 * megabyte)
  socket.destroy()
  await pooler.until('SHOW POOLS', (row) => row.sv_idle === 1 && row.cl_active === 0)
})

test('a reader that does not read at all stops the server, not the pooler', async () => {
  await using pooler = await startPooler({ default_pool_size: 2 })
  const { socket } = await openCounter(pooler)
  const other = await pooler.raw({ user })
  socket.pause()
  const most = await growth(async () => {
    socket.write(query("select repeat('x', 1000000) from generate_series(1, 100)"))
    await pooler.until('SHOW POOLS', (row) => row.sv_active === 1)
    for (let round = 0; round < 50; round++) expect(await other.ask(query('select 1 as x'))).toContain('D 1')
  })
  expect(most.buffers).toBeLessThan(8 * megabyte)
  socket.resetAndDestroy()
  await pooler.until('SHOW POOLS', (row) => row.sv_active === 0 && row.cl_active === 1)
})

test('a query of 30 MB, and a COPY of 30 MB, go the other way', { timeout: 60_000 }, async () => {
  await using database = await createDatabase()
  await ask('create unlogged table t (x text); grant all on t to public', { database: database.name })
  await using pooler = await startPooler({ default_pool_size: 1 })
  const client = await pooler.raw({ user, database: database.name })
  const text = query(`select length('${'x'.repeat(30 * megabyte)}') as n`)
  const row = copyData(`${'y'.repeat(megabyte - 1)}\n`)
  const most = await growth(async () => {
    expect(await send(client, text)).toEqual(['T n', `D ${30 * megabyte}`, 'C SELECT 1', 'Z I'])
    client.send(query('copy t from stdin'))
    expect(await client.line()).toBe('G')
    for (let n = 0; n < 30; n++) await written(client, row)
    expect(await client.ask(copyDone)).toEqual(['C COPY 30', 'Z I'])
  })
  expect(most.buffers).toBeLessThan(8 * megabyte)
  expect(await client.ask(query('select sum(length(x)) as n from t'))).toContain(`D ${30 * (megabyte - 1)}`)
})

test('twenty thousand exchanges in one write are answered in their order', async () => {
  await using pooler = await startPooler({ default_pool_size: 1 })
  const client = await pooler.raw({ user })
  const count = 20_000
  const numbers = Array.from({ length: count }, (_, n) => n)
  client.send(...numbers.map((n) => query(`select ${n} as n`)))
  const rows = (await client.answer(count)).filter((line) => line.startsWith('D '))
  expect(rows).toEqual(numbers.map((n) => `D ${n}`))
})

/** In pieces, none before the one before it has been taken. */
async function send(client: RawClient, bytes: Buffer): Promise<string[]> {
  for (let at = 0; at < bytes.length; at += megabyte) await written(client, bytes.subarray(at, at + megabyte))
  return client.answer()
}

function written(client: RawClient, bytes: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    client.stream.write(bytes, (error) => (error ? reject(error) : resolve()))
  })
}
