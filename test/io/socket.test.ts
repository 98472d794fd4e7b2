import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type NetConnectOpts, type Socket as NetSocket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Duplex, duplexPair } from 'node:stream'
import { describe, expect, onTestFinished, test } from 'vitest'
import { Socket, type SocketOwner } from '../../src/io/socket.js'

/** What a connection's owner was told. */
class Owner implements SocketOwner {
  readonly chunks: Buffer[] = []
  /** The memory that each chunk was a view of. */
  readonly memory = new Set<ArrayBufferLike>()
  drains = 0
  gone = 0
  onChunk: () => void = () => {}

  onBytes(chunk: Buffer): void {
    this.chunks.push(Buffer.from(chunk))
    this.memory.add(chunk.buffer)
    this.onChunk()
  }

  onDrain(): void {
    this.drains++
  }

  onGone(): void {
    this.gone++
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks)
  }
}

interface Pair {
  /** Ours. */
  readonly socket: Socket
  readonly owner: Owner
  readonly peer: Duplex
}

/** Once `fact` holds; the event loop turns meanwhile. */
async function until(fact: () => boolean): Promise<void> {
  while (!fact()) await new Promise((resolve) => setImmediate(resolve))
}

/** An accepted connection. */
async function acceptedPair(address: { path: string } | { port: number; host: string }): Promise<Pair> {
  const server = createServer({ pauseOnConnect: true })
  server.listen(address)
  await once(server, 'listening')
  const bound = server.address()
  const target: NetConnectOpts = typeof bound === 'string' ? { path: bound } : { port: bound!.port, host: '127.0.0.1' }
  const arriving = once(server, 'connection') as Promise<[NetSocket]>
  const peer = connect(target)
  const [[arrived]] = await Promise.all([arriving, once(peer, 'connect')])
  const owner = new Owner()
  const socket = Socket.accepted(arrived, owner)
  server.close()
  return tidied({ socket, owner, peer })
}

/** A connection that we opened. */
async function openedPair(): Promise<Pair> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const arriving = once(server, 'connection') as Promise<[NetSocket]>
  const owner = new Owner()
  const { port } = server.address() as { port: number }
  const socket = Socket.plain((onread) => connect({ port, host: '127.0.0.1', onread: onread as never }), owner)
  const [[peer]] = await Promise.all([arriving, once(socket.stream, 'connect')])
  server.close()
  return tidied({ socket, owner, peer })
}

/** A pair in memory, as TLS and the library have it. */
async function memoryPair(): Promise<Pair> {
  const [mine, peer] = duplexPair()
  const owner = new Owner()
  return tidied({ socket: Socket.over(mine, owner), owner, peer })
}

function tidied(pair: Pair): Pair {
  pair.peer.on('error', () => {})
  onTestFinished(() => {
    pair.peer.destroy()
    pair.socket.stream.destroy()
  })
  return pair
}

async function unixPair(): Promise<Pair> {
  const folder = mkdtempSync(join(tmpdir(), 'socket-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return acceptedPair({ path: join(folder, 's') })
}

const kinds = {
  'accepted TCP': () => acceptedPair({ port: 0, host: '127.0.0.1' }),
  'accepted Unix': unixPair,
  'opened TCP': openedPair,
  'in memory': memoryPair,
} satisfies Record<string, () => Promise<Pair>>

const isLinux = process.platform === 'linux'

/** Not equal bytes only, but without printing megabytes. */
const digest = (bytes: Buffer): string => `${bytes.length} ${createHash('sha256').update(bytes).digest('hex')}`

describe(`Node ${process.versions.node}`, () => {
  test.skipIf(!isLinux)('accepted and opened connections share a read buffer and are written to directly', async () => {
    for (const open of [kinds['accepted TCP'], kinds['accepted Unix'], kinds['opened TCP']]) {
      const { socket, owner, peer } = await open()
      expect(socket.isDirect).toBe(true)
      socket.resume()
      for (const text of ['one', 'two', 'three']) {
        const count = owner.chunks.length
        peer.write(text)
        await until(() => owner.chunks.length > count)
      }
      expect(owner.bytes.toString()).toBe('onetwothree')
      expect(owner.memory.size).toBe(1)
      expect([...owner.memory][0]!.byteLength).toBe(64 * 1024)
    }
  })

  test('streams of others are read and written as streams', async () => {
    const { socket } = await memoryPair()
    expect(socket.isDirect).toBe(false)
  })
})

test.each([
  [true, 'last words'],
  [false, ''],
])('a peer that takes nothing more is heard out (%s), or not', async (hearsOut, heard) => {
  const { socket, owner, peer } = await unixPair()
  socket.hearsOut = hearsOut
  await new Promise((resolve) => peer.write('last words', resolve))
  peer.destroy()
  await once(peer, 'close')
  for (let n = 0; n < 3; n++) socket.write(Buffer.from('to nobody'))
  socket.resume()
  await until(() => owner.gone > 0)
  expect(owner.bytes.toString()).toBe(heard)
})

describe.each(Object.entries(kinds))('%s', (_, open) => {
  test('nothing is read before resume', async () => {
    const { socket, owner, peer } = await open()
    peer.write('early')
    // A connection that is read answers several times meanwhile.
    const witness = await acceptedPair({ port: 0, host: '127.0.0.1' })
    witness.socket.resume()
    for (let n = 1; n <= 20; n++) {
      witness.peer.write('x')
      await until(() => witness.owner.bytes.length >= n)
    }
    expect(owner.chunks.length).toBe(0)
    socket.resume()
    await until(() => owner.chunks.length > 0)
    expect(owner.bytes.toString()).toBe('early')
  })

  test('a pause takes effect within the chunk, and nothing is lost by it', async () => {
    const { socket, owner, peer } = await open()
    const sent = Buffer.alloc(1_000_000)
    for (let at = 0; at < sent.length; at += 4) sent.writeUInt32BE(at, at)
    owner.onChunk = () => socket.pause()
    peer.write(sent)
    let chunks = 0
    while (owner.bytes.length < sent.length) {
      socket.resume()
      await until(() => owner.chunks.length > chunks)
      expect(owner.chunks.length, 'one chunk a turn').toBe(++chunks)
      expect(socket.paused).toBe(true)
    }
    expect(digest(owner.bytes)).toBe(digest(sent))
  })

  test('a reader that does not read: the write says so, memory is bounded, and one drain follows', async () => {
    const { socket, owner, peer } = await open()
    peer.pause()
    const piece = Buffer.alloc(50_000)
    const sent = createHash('sha256')
    let size = 0
    for (let n = 0; ; n++) {
      piece.fill(n)
      sent.update(piece)
      size += piece.length
      const isFree = socket.write(piece)
      piece.fill(0xee) // what was passed on was a view
      if (!isFree) break
      if (size > 200_000_000) throw new Error('it never says so')
    }
    expect(socket.blocked).toBe(true)
    expect(socket.stream.writableLength).toBeLessThanOrEqual(100_000)
    expect(owner.drains).toBe(0)
    const tail = Buffer.from('behind it, in order')
    sent.update(tail)
    size += tail.length
    expect(socket.write(tail)).toBe(false)
    const read = createHash('sha256')
    let got = 0
    peer.on('data', (chunk: Buffer) => {
      read.update(chunk)
      got += chunk.length
    })
    peer.resume()
    await until(() => got === size && owner.drains > 0)
    peer.removeAllListeners('data')
    expect(read.digest('hex')).toBe(sent.digest('hex'))
    expect(owner.drains).toBe(1)
    expect(socket.blocked).toBe(false)
    expect(socket.write(Buffer.from('again'))).toBe(true)
  })

  test('the last words go out before it closes, even when the peer is still sending', async () => {
    const { socket, owner, peer } = await open()
    socket.resume()
    peer.on('data', () => {})
    const words: Buffer[] = []
    peer.on('data', (chunk: Buffer) => words.push(chunk))
    const ended = once(peer, 'end')
    peer.write(Buffer.alloc(300_000, 'x'))
    await until(() => owner.chunks.length > 0)
    const last = Buffer.alloc(2_000_000, 'y')
    socket.write(last)
    socket.end()
    const seen = owner.chunks.length
    await ended
    expect(digest(Buffer.concat(words))).toBe(digest(last))
    expect(owner.chunks.length, 'what comes in after that is not told').toBe(seen)
    expect([owner.gone, owner.drains]).toEqual([0, 0])
  })

  test('a peer that closes is told once, and the rest it sent before', async () => {
    const { socket, owner, peer } = await open()
    socket.resume()
    peer.end('bye')
    await until(() => owner.gone > 0)
    expect(owner.bytes.toString()).toBe('bye')
    peer.destroy()
    if (!socket.stream.closed) await once(socket.stream, 'close')
    expect(owner.gone).toBe(1)
    expect(socket.write(Buffer.from('x')), 'harmless').toBe(true)
    socket.end()
    socket.destroy()
    expect(owner.gone).toBe(1)
  })

  test('after destroy nothing is told', async () => {
    const { socket, owner, peer } = await open()
    socket.resume()
    peer.write('x')
    socket.destroy()
    if (!socket.stream.closed) await once(socket.stream, 'close')
    expect([owner.gone, owner.drains, owner.chunks.length]).toEqual([0, 0, 0])
  })

  test('given up to somebody else, it reads and tells nothing, and can still be broken off', async () => {
    const { socket, owner, peer } = await open()
    socket.resume()
    const stream = socket.release()
    expect(stream).toBe(socket.stream)
    peer.write('for somebody else')
    peer.end()
    socket.end()
    if (!stream.closed) await once(stream, 'close')
    expect([owner.gone, owner.chunks.length]).toEqual([0, 0])
  })
})

describe.each(Object.entries(kinds).filter(([name]) => name !== 'in memory'))('%s', (_, open) => {
  test('a peer that resets while we write: told once, nothing thrown', async () => {
    const { socket, owner, peer } = await open()
    socket.resume()
    peer.pause()
    while (socket.write(Buffer.alloc(65_536)));
    if ((peer as NetSocket).remoteAddress === undefined) peer.destroy()
    else (peer as NetSocket).resetAndDestroy()
    await until(() => owner.gone > 0)
    for (let n = 0; n < 10; n++) expect(socket.write(Buffer.from('x'))).toBe(true)
    expect(owner.gone).toBe(1)
    expect(owner.drains).toBe(0)
  })

  test('a peer that has gone is noticed by a write, outside of the call, even when it is not read', async () => {
    const { socket, owner, peer } = await open()
    peer.destroy()
    if (!peer.closed) await once(peer, 'close')
    while (owner.gone === 0) {
      const before = owner.gone
      socket.write(Buffer.from('x'))
      expect(owner.gone).toBe(before)
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(owner.gone).toBe(1)
  })

  test('a peer that does not close its side does not keep ours open', async () => {
    const { socket, peer } = await open()
    ;(peer as NetSocket).allowHalfOpen = true
    peer.on('data', () => {})
    socket.end()
    await once(peer, 'end')
    if (!socket.stream.closed) await once(socket.stream, 'close')
    expect(socket.stream.destroyed).toBe(true)
  })
})

test('a connection that is refused is told as gone', async () => {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  const owner = new Owner()
  const socket = Socket.plain((onread) => connect({ port, host: '127.0.0.1', onread: onread as never }), owner)
  await until(() => owner.gone > 0)
  expect(owner.gone).toBe(1)
  expect(socket.write(Buffer.from('x'))).toBe(true)
})

test('fifty connections read through one buffer', async () => {
  const pairs = await Promise.all(Array.from({ length: 50 }, () => acceptedPair({ port: 0, host: '127.0.0.1' })))
  const memory = new Set<ArrayBufferLike>()
  for (const [index, { socket, peer }] of pairs.entries()) {
    socket.resume()
    peer.write(`hello ${index}`)
  }
  for (const [index, { owner }] of pairs.entries()) {
    await until(() => owner.chunks.length > 0)
    expect(owner.bytes.toString()).toBe(`hello ${index}`)
    for (const buffer of owner.memory) memory.add(buffer)
  }
  if (isLinux) expect(memory.size).toBe(1)
})
