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
