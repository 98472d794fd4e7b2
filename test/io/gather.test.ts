import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Cutter } from '../../src/io/cutter.js'
import { Gather, gather } from '../../src/io/gather.js'
import { FakeSocket } from '../relay/fake-socket.js'

test('pieces leave in one write, a chunk by itself as it is', () => {
  const socket = new FakeSocket()
  const joined = new Gather()
  joined.add(socket.asSocket, Buffer.from('ab'))
  joined.add(socket.asSocket, Buffer.from('cd'))
  expect(socket.writes.length).toBe(0)
  expect(joined.send(socket.asSocket, Buffer.from('..ef..'), 2, 4)).toBe(true)
  expect(socket.writes.map(String)).toEqual(['abcdef'])
  joined.send(socket.asSocket, Buffer.from('gh'), 0, 2)
  joined.send(socket.asSocket, Buffer.from('gh'), 2, 2)
  expect(socket.taken().toString()).toBe('abcdefgh')
})

test('what is put aside does not change with the buffer it came in', () => {
  const socket = new FakeSocket()
  const joined = new Gather()
  const piece = Buffer.from('ab')
  joined.add(socket.asSocket, piece)
  piece.fill(0xee)
  joined.send(socket.asSocket, Buffer.alloc(0), 0, 0)
  expect(socket.taken().toString()).toBe('ab')
})

test.each([65_535, 65_536, 65_537, 200_000])('order is kept around a piece of %s bytes', (size) => {
  const socket = new FakeSocket()
  const joined = new Gather()
  const parts = [Buffer.alloc(10, 'a'), Buffer.alloc(size, 'b'), Buffer.alloc(10, 'c'), Buffer.alloc(size, 'd')]
  for (const part of parts.slice(0, 3)) joined.add(socket.asSocket, part)
  joined.send(socket.asSocket, parts[3]!, 0, size)
  expect(socket.taken().equals(Buffer.concat(parts))).toBe(true)
})

test('any pieces, in order, to whom they were meant for', () => {
  const piece = fc.record({
    to: fc.integer({ min: 0, max: 2 }),
    size: fc.oneof(fc.integer({ min: 0, max: 30 }), fc.integer({ min: 30_000, max: 80_000 })),
    isSent: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 20 }), (pieces) => {
      const sockets = [new FakeSocket(), new FakeSocket(), new FakeSocket()]
      const expected: Buffer[][] = [[], [], []]
      const joined = new Gather()
      for (const [index, { to, size, isSent }] of pieces.entries()) {
        const bytes = Buffer.alloc(size, index + 1)
        expected[to]!.push(Buffer.from(bytes))
        if (isSent) joined.send(sockets[to]!.asSocket, bytes, 0, size)
        else joined.add(sockets[to]!.asSocket, bytes)
        bytes.fill(0xee)
      }
      for (const socket of sockets) joined.send(socket.asSocket, Buffer.alloc(0), 0, 0)
      for (const [to, socket] of sockets.entries())
        expect(socket.taken().equals(Buffer.concat(expected[to]!))).toBe(true)
    }),
    { numRuns: 50 },
  )
})

test('it tells when a socket takes no more, whichever write it was', () => {
  const blocked = (): FakeSocket => Object.assign(new FakeSocket(), { room: 100 })
  const joined = new Gather()
  const big = Buffer.alloc(70_000)
  expect(joined.send(blocked().asSocket, big, 0, 200)).toBe(false)
  expect(joined.add(blocked().asSocket, big), 'too long to be put aside').toBe(false)
  const third = blocked()
  joined.add(third.asSocket, big.subarray(0, 60_000))
  expect(third.writes.length).toBe(0)
  expect(joined.add(third.asSocket, big.subarray(0, 60_000)), 'what was there had to go first').toBe(false)
  const fourth = blocked()
  joined.add(fourth.asSocket, big.subarray(0, 200))
  expect(joined.send(fourth.asSocket, big, 0, 0)).toBe(false)
})

test('bytes of a connection that was given up half way never reach another', () => {
  const [gone, next] = [new FakeSocket(), new FakeSocket()]
  const joined = new Gather()
  joined.add(gone.asSocket, Buffer.from('for the first'))
  gone.end()
  joined.send(next.asSocket, Buffer.from('for the second'), 0, 14)
  expect(next.taken().toString()).toBe('for the second')
  expect(gone.taken().length).toBe(0)
})

test('a chunk is passed on with pieces left out, put in, and dropped', () => {
  const socket = new FakeSocket()
  const cutter = new Cutter()
  cutter.begin(Buffer.from('0123456789'))
  cutter.collect(socket.asSocket, 2)
  cutter.add(socket.asSocket, Buffer.from('ab'))
  cutter.drop(socket.asSocket, 4, 6)
  cutter.collect(socket.asSocket, 5)
  cutter.send(socket.asSocket, 8)
  cutter.send(socket.asSocket, 100)
  expect(socket.writes.map(String)).toEqual(['01ab2367', '89'])
})

test('what goes to nobody is gone, and what follows is not', () => {
  const socket = new FakeSocket()
  const cutter = new Cutter()
  cutter.begin(Buffer.from('0123456789'))
  cutter.collect(null, 3)
  cutter.add(null, Buffer.from('x'))
  cutter.drop(null, 4, 5)
  cutter.send(null, 6)
  cutter.send(socket.asSocket, 10)
  expect(socket.taken().toString()).toBe('6789')
})

test('a drop that reaches beyond the chunk leaves nothing to send', () => {
  const socket = new FakeSocket()
  const cutter = new Cutter()
  cutter.begin(Buffer.from('0123456789'))
  cutter.drop(socket.asSocket, 4, 30)
  expect(cutter.send(socket.asSocket, 10)).toBe(true)
  expect(socket.taken().toString()).toBe('0123')
})

test('relays share one', () => {
  expect(gather).toBeInstanceOf(Gather)
})
