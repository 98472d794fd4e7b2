import { once } from 'node:events'
import { Socket as NetSocket } from 'node:net'
import { expect, test } from 'vitest'
import { InProcessClient } from '../../src/io/in-process.js'
import { eventually } from '../harness/pooler.js'

test('what is written at one end is read at the other', async () => {
  const near = new InProcessClient()
  near.write('ping')
  expect(String((await once(near.far, 'data'))[0])).toBe('ping')
  near.far.write('pong')
  expect(String((await once(near, 'data'))[0])).toBe('pong')
})

test('it says that it is connected once somebody listens', async () => {
  const near = new InProcessClient()
  const connected = once(near, 'connect')
  near.connect(5432, 'anywhere')
  await connected
})

test('an end that is not read holds the other back', async () => {
  const near = new InProcessClient()
  let free = true
  let written = 0
  while (free && written < 10_000_000) {
    free = near.write(Buffer.alloc(16_384))
    written += 16_384
  }
  expect(written, 'bytes in flight').toBeLessThan(200_000)
  const drained = once(near, 'drain')
  let read = 0
  near.far.on('data', (chunk: Buffer) => {
    read += chunk.length
  })
  await drained
  expect(read).toBeGreaterThan(0)
})

test('the last words arrive, then the end', async () => {
  const near = new InProcessClient()
  const chunks: Buffer[] = []
  near.far.on('data', (chunk: Buffer) => chunks.push(chunk))
  const ended = once(near.far, 'end')
  near.end('last words')
  await ended
  expect(Buffer.concat(chunks).toString()).toBe('last words')
})

test('an end that is destroyed ends the other', async () => {
  const near = new InProcessClient()
  near.far.resume()
  const ended = once(near.far, 'end')
  near.write('last words')
  near.destroy()
  await ended
})

test('writing to an end whose other end is gone is an error, as with a socket', async () => {
  const near = new InProcessClient()
  const failed = once(near, 'error')
  near.far.destroy()
  const written = new Promise((resolve) => near.write('x', resolve))
  expect(await written).toMatchObject({ code: 'EPIPE' })
  expect((await failed)[0]).toMatchObject({ code: 'EPIPE' })
})

test('to whoever looks it is a net.Socket, from open to closed', async () => {
  const near = new InProcessClient()
  expect(near).toBeInstanceOf(NetSocket)
  const seen = (): unknown[] => [near.readyState, near.connecting, near.pending]
  expect(seen()).toEqual(['open', false, false])
  const told: string[] = []
  for (const name of ['connect', 'ready', 'end', 'close']) near.on(name, () => told.push(name))
  const listened = new Promise<void>((resolve) => near.connect({ host: 'anywhere', port: 5432 }, () => resolve()))
  expect(seen()).toEqual(['opening', true, true])
  near.write('early')
  expect(near.bytesWritten, 'with what waits').toBe(5)
  await listened
  expect(seen()).toEqual(['open', false, false])
  expect([near.remoteAddress, near.remoteFamily, near.remotePort, near.localPort]).toEqual(Array(4).fill(undefined))
  expect(near.address()).toEqual({})
  expect([near.setNoDelay(true), near.setKeepAlive(true, 1000), near.ref(), near.unref()]).toEqual(Array(4).fill(near))
  near.far.write('four')
  expect(String((await once(near, 'data'))[0])).toBe('four')
  expect([near.bytesRead, near.bytesWritten]).toEqual([4, 5])
  const farClosed = once(near.far.resume(), 'close')
  near.far.once('end', () => near.far.end('bye'))
  near.end()
  expect(near.readyState).toBe('readOnly')
  const [hadError] = await once(near, 'close')
  expect(hadError).toBe(false)
  expect(near.readyState).toBe('closed')
  await farClosed
  expect(told).toEqual(['connect', 'ready', 'end', 'close'])
})

test('text is written in the encoding that was asked for, alone and corked', async () => {
  const near = new InProcessClient()
  const chunks: Buffer[] = []
  near.far.on('data', (chunk: Buffer) => chunks.push(chunk))
  near.write('é', 'latin1')
  near.cork()
  near.write('e9', 'hex')
  near.write(Buffer.of(1))
  near.write('é')
  near.uncork()
  near.end()
  await once(near.far, 'end')
  expect(Buffer.concat(chunks)).toEqual(Buffer.of(0xe9, 0xe9, 1, 0xc3, 0xa9))
})

test('a closed one says so, and does not connect again', async () => {
  const near = new InProcessClient()
  const failed = Object.assign(new Error('mine'), { code: 'EMINE' })
  near.on('error', () => {})
  const closed = once(near, 'close', { signal: AbortSignal.timeout(5000) })
  near.destroy(failed)
  expect(near.readyState).toBe('closed')
  await expect(closed).rejects.toBe(failed) // as `once` does of any emitter
  near.connect(1, 'x')
  await expect(once(near, 'connect')).rejects.toThrow('closed')
})

test('whether there was an error is told with close', async () => {
  const near = new InProcessClient()
  const told: unknown[] = []
  near.on('error', () => told.push('error')).on('close', (hadError) => told.push(hadError))
  near.destroy(new Error('mine'))
  await eventually(() => told.length === 2)
  expect(told).toEqual(['error', true])
})

test('a reset breaks both ends off', async () => {
  const near = new InProcessClient()
  const failed = once(near.far, 'error')
  const closed = once(near, 'close')
  near.resetAndDestroy()
  expect((await failed)[0]).toMatchObject({ code: 'ECONNRESET' })
  await closed
})

test('its timeout is told after silence, once, and again only after bytes', async () => {
  const near = new InProcessClient()
  const told: number[] = []
  expect(near.setTimeout(5, () => told.push(1))).toBe(near)
  expect(near.timeout).toBe(5)
  near.on('timeout', () => told.push(2))
  await once(near, 'timeout')
  expect(told).toEqual([1, 2])
  near.far.resume()
  near.write('x')
  await once(near, 'timeout')
  expect(told).toEqual([1, 2, 2])
  near.setTimeout(0)
  expect(near.timeout).toBe(0)
  near.destroy()
})

test('who only awaits what the other end will say holds the process, unless unref was called', async () => {
  const holds = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
  const before = holds()
  const near = new InProcessClient()
  expect(holds()).toBe(before + 1)
  near.unref()
  expect(holds()).toBe(before)
  near.ref()
  expect(holds()).toBe(before + 1)
  near.far.end() // nothing more will come, whether or not it is read
  await once(near.far, 'finish')
  expect(holds()).toBe(before)
  const destroyed = new InProcessClient()
  destroyed.destroy()
  expect(holds()).toBe(before)
})

test('a driver reads on a stack of its own: who throws there throws at nobody else', async () => {
  const near = new InProcessClient()
  const said: string[] = []
  near.far.on('data', (chunk: Buffer) => {
    said.push(`far ${chunk}`)
    near.far.write('2')
    near.far.write('3')
    said.push('far done')
  })
  near.on('data', (chunk: Buffer) => {
    said.push(`near ${chunk}`)
    if (chunk.includes('2')) throw new Error('in the driver')
  })
  const thrown = new Promise((resolve) => {
    const [own] = process.listeners('uncaughtException')
    process.off('uncaughtException', own!)
    process.once('uncaughtException', (error) => {
      process.on('uncaughtException', own!)
      resolve(error.message)
    })
  })
  await new Promise((resolve) => setImmediate(resolve)) // until both are flowing
  near.write('1')
  said.push('near done')
  expect(await thrown).toBe('in the driver')
  near.far.write('4')
  await eventually(() => said.length === 5)
  expect(said).toEqual(['far 1', 'far done', 'near done', 'near 23', 'near 4'])
  near.destroy()
})
