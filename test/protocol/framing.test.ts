import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Bad, Cut, Frames, Message } from '../../src/protocol/framing.js'
import { copyDone, message, messagesOf, query, sync } from './wire.js'

interface Seen {
  readonly code: string
  readonly body: string
}

/** Reads chunks as the relays do: messages of `wholeCode` in one piece, of others only the header. */
function read(frames: Frames, chunks: readonly Buffer[], wholeCode = ''): { seen: Seen[]; passed: Buffer } {
  const seen: Seen[] = []
  const passed: Buffer[] = []
  for (const incoming of chunks) {
    const view = Buffer.from(incoming)
    const chunk = frames.join(view)
    if (chunk === null) {
      view.fill(0xee)
      continue
    }
    let at = frames.bodyLeft > 0 ? frames.skipBody(chunk) : 0
    while (at < chunk.length) {
      const found = frames.next(chunk, at)
      if (found === Bad) throw new Error('bad')
      const isWhole = found === Message && String.fromCharCode(frames.code) === wholeCode
      if (found === Cut || (isWhole && frames.end > chunk.length)) {
        frames.hold(chunk, at, found === Cut ? 5 : frames.end - at)
        passed.push(Buffer.from(chunk.subarray(0, at)))
        break
      }
      seen.push({
        code: String.fromCharCode(frames.code),
        body: isWhole ? chunk.toString('latin1', at + 5, frames.end) : `${frames.bodyLength}`,
      })
      at = frames.skip(chunk)
      if (at >= chunk.length) passed.push(Buffer.from(chunk))
    }
    if (at >= chunk.length && frames.atBoundary && passed.length === 0) passed.push(Buffer.from(chunk))
    view.fill(0xee)
  }
  return { seen, passed: Buffer.concat(passed) }
}

const stream = Buffer.concat([
  query('select 1'),
  sync,
  message('d', 'x'.repeat(300)),
  copyDone,
  message('E', 'oops'),
  sync,
])
const expected = messagesOf(stream).map(({ code, body }) => ({
  code,
  body: code === 'E' ? body.toString('latin1') : `${body.length}`,
}))

test('messages are found wherever the stream is cut', () => {
  for (let cut = 0; cut <= stream.length; cut++) {
    const frames = new Frames(0x7fffffff)
    const { seen } = read(frames, [stream.subarray(0, cut), stream.subarray(cut)], 'E')
    expect(seen, `cut at ${cut}`).toEqual(expected)
    expect(frames.atBoundary).toBe(true)
  }
})

test('a stream in single bytes is the same stream', () => {
  const frames = new Frames(0x7fffffff)
  const { seen, passed } = read(
    frames,
    [...stream].map((byte) => Buffer.of(byte)),
    'E',
  )
  expect(seen).toEqual(expected)
  expect(passed.length).toBeGreaterThan(0)
})

test('any messages in any pieces', () => {
  const messages = fc.array(fc.tuple(fc.constantFrom('Q', 'E', 'd', 'S'), fc.uint8Array({ maxLength: 40 })), {
    maxLength: 12,
  })
  fc.assert(
    fc.property(messages, fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }), (parts, sizes) => {
      const bytes = Buffer.concat(parts.map(([code, body]) => message(code, Buffer.from(body))))
      const chunks: Buffer[] = []
      for (let at = 0, n = 0; at < bytes.length; n++) {
        const size = sizes[n % sizes.length]!
        chunks.push(bytes.subarray(at, at + size))
        at += size
      }
      const { seen } = read(new Frames(0x7fffffff), chunks, 'E')
      expect(seen).toEqual(
        parts.map(([code, body]) => ({
          code,
          body: code === 'E' ? Buffer.from(body).toString('latin1') : `${body.length}`,
        })),
      )
    }),
  )
})

test.each([0, 1, 2, 3, -1, -2147483648, 101])('a length of %s is bad', (length) => {
  const bytes = message('Q', 'x')
  bytes.writeInt32BE(length, 1)
  expect(new Frames(100).next(bytes, 0)).toBe(Bad)
})

test.each([4, 5, 100])('a length of %s is good where at most 100 is allowed', (length) => {
  const bytes = message('Q', 'x')
  bytes.writeInt32BE(length, 1)
  const frames = new Frames(100)
  expect(frames.next(bytes, 0)).toBe(Message)
  expect([frames.bodyLength, frames.end]).toEqual([length - 4, length + 1])
})

test('the longest message there can be is stepped over', () => {
  const frames = new Frames(0x7fffffff)
  const head = Buffer.from([0x64, 0x7f, 0xff, 0xff, 0xff])
  expect(frames.next(head, 0)).toBe(Message)
  expect(frames.skip(head)).toBe(5)
  expect(frames.bodyLeft).toBe(0x7fffffff - 4)
  expect(frames.skipBody(Buffer.alloc(65_536))).toBe(65_536)
  expect(frames.bodyLeft).toBe(0x7fffffff - 4 - 65_536)
  expect(frames.atBoundary).toBe(false)
})

test('what is held is a copy, and is given back with what follows once there is enough', () => {
  const frames = new Frames(0x7fffffff)
  const chunk = Buffer.from('..abc')
  frames.hold(chunk, 2, 6)
  chunk.fill(0)
  expect(frames.atBoundary).toBe(false)
  expect(frames.join(Buffer.from('de'))).toBeNull()
  expect(frames.join(Buffer.from('fgh'))?.toString()).toBe('abcdefgh')
  expect(frames.atBoundary).toBe(true)
  const next = Buffer.from('x')
  expect(frames.join(next), 'with nothing held, the chunk itself').toBe(next)
})

/** Bytes in use, after what is not used any more has been let go. */
function memoryInUse(): number {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

test('what is held costs memory by its length, not by the number of its pieces', () => {
  const frames = new Frames(0x7fffffff)
  const length = 1 << 18
  const piece = Buffer.alloc(1)
  const before = memoryInUse()
  frames.hold(piece, 0, length)
  for (let n = 2; n < length; n++) frames.join(piece)
  expect(memoryInUse() - before).toBeLessThan(8 * length)
  expect(frames.join(piece)).toHaveLength(length)
})

test('a length that is announced costs nothing', () => {
  const frames = new Frames(0x7fffffff)
  const before = process.memoryUsage().arrayBuffers
  frames.hold(Buffer.from('12345'), 0, 1 << 30)
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1 << 20)
})

test('messages of the same kind are stepped over as long as they lie whole in the chunk', () => {
  const rows = Buffer.concat([message('D', 'a'), message('D', ''), message('D', 'bcd')])
  const rest = Buffer.concat([message('C', 'x'), message('D', 'y')])
  const chunk = Buffer.concat([message('D', '0'), rows, rest])
  for (let length = 0; length <= chunk.length; length++) {
    const frames = new Frames(100)
    const piece = chunk.subarray(0, length)
    if (frames.next(piece, 0) !== Message || frames.end > length) continue
    const at = frames.skipLike(piece, frames.end)
    const whole = [6, 12, 17, 25].findLast((end) => end <= length)
    // The very last one of a chunk may be left to `next`.
    expect([whole, [6, 12, 17, 25].findLast((end) => end < length)], `of ${length} bytes`).toContain(at)
    expect(frames.bodyLeft).toBe(0)
  }
})

test('a bad length is left to `next` to find', () => {
  const bad = message('D', 'abc')
  bad.writeInt32BE(3, 1)
  const chunk = Buffer.concat([message('D', '0'), message('D', '1'), bad, message('D', '2')])
  const frames = new Frames(100)
  expect(frames.next(chunk, 0)).toBe(Message)
  expect(frames.skipLike(chunk, frames.end)).toBe(12)
  expect(frames.next(chunk, 12)).toBe(Bad)
})

test('a long message is held in as much memory as has come of it, and what is given up is free at once', () => {
  const megabyte = 1024 * 1024
  const rss = (): number => process.memoryUsage().rss / megabyte
  const part = Buffer.alloc(megabyte / 16, 'x')
  const before = rss()
  const holding = Array.from({ length: 20 }, () => {
    const frames = new Frames(0x7fffffff)
    const head = Buffer.from('P\0\0\0\0')
    head.writeInt32BE(15 * megabyte, 1)
    frames.hold(head, 0, 15 * megabyte + 1)
    for (let n = 0; n < 128; n++) expect(frames.join(part)).toBeNull()
    return frames
  })
  const held = rss()
  expect(held - before).toBeGreaterThan(120)
  expect(held - before, '160 MB have come').toBeLessThan(200)
  for (const frames of holding) frames.forget()
  expect(held - rss()).toBeGreaterThan(120)
  for (const frames of holding) expect(frames.atBoundary).toBe(true)
})

test('a long message is whole, whatever comes behind it in the last chunk', () => {
  for (const extra of [0, 1, 5, 70_000, 3_000_000]) {
    for (const size of [1000, 65_536, 200_000, 3_000_000]) {
      const body = Buffer.alloc(1_000_000, 'abcdefghij')
      const bytes = Buffer.concat([message('P', body), Buffer.alloc(extra, 7)])
      const frames = new Frames(0x7fffffff)
      let joined: Buffer | null = null
      for (let at = 0; joined === null && at < bytes.length; at += size) {
        const piece = Buffer.from(bytes.subarray(at, at + size))
        const chunk = frames.join(piece)
        if (chunk === null) continue
        if (at === 0 && frames.next(chunk, 0) === Message && frames.end > chunk.length)
          frames.hold(chunk, 0, frames.end)
        else joined = chunk
        if (joined === null) piece.fill(0)
      }
      expect(joined!.length).toBeGreaterThanOrEqual(1_000_005)
      expect(joined!.equals(bytes.subarray(0, joined!.length))).toBe(true)
    }
  }
})
