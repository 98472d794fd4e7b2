import { once } from 'node:events'
import { expect, test } from 'vitest'
import { InProcessClient } from '../../src/pool/in-process.js'

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
  const closed = once(near.far, 'close')
  near.destroy()
  await closed
})

test('writing to an end whose other end is gone does no harm', async () => {
  const near = new InProcessClient()
  near.on('error', () => {})
  near.far.destroy()
  await new Promise<void>((resolve) => near.write('x', () => resolve()))
})
