import { expect, test } from 'vitest'
import { ConnectionLost } from '../../src/protocol/conversation.js'
import { PgError } from '../../src/protocol/errors.js'
import { MessageReader } from '../../src/relay/message-reader.js'
import { i32, message, query, sync } from '../protocol/wire.js'
import { FakeSocket } from './fake-socket.js'

function fixture(): { socket: FakeSocket; reader: MessageReader } {
  const socket = new FakeSocket()
  return { socket, reader: new MessageReader(socket.asSocket) }
}

/** Delivers each piece when the socket is read again. */
async function feed(socket: FakeSocket, pieces: readonly Buffer[]): Promise<void> {
  for (const piece of pieces) {
    while (socket.paused) await Promise.resolve()
    socket.deliver(piece)
  }
}

test('nothing is read before somebody waits for it', () => {
  const { socket, reader } = fixture()
  expect(socket.paused).toBe(true)
  void reader.read()
  expect(socket.paused).toBe(false)
})

test('messages come whole, however they are cut', async () => {
  const bytes = Buffer.concat([query('select 1'), sync, message('p', 'x'.repeat(60))])
  const expected = [
    { code: 0x51, body: Buffer.from('select 1\0') },
    { code: 0x53, body: Buffer.alloc(0) },
    { code: 0x70, body: Buffer.from('x'.repeat(60)) },
  ]
  for (let cut = 0; cut <= bytes.length; cut++) {
    const { socket, reader } = fixture()
    const pieces = cut === 0 ? [...bytes].map((byte) => Buffer.of(byte)) : [bytes.subarray(0, cut), bytes.subarray(cut)]
    const fed = feed(
      socket,
      pieces.filter((piece) => piece.length > 0),
    )
    for (const wanted of expected) expect(await reader.read()).toEqual(wanted)
    await fed
    expect(reader.rest.length).toBe(0)
  }
})

test('what came and was not read is left for the next owner', async () => {
  const { socket, reader } = fixture()
  const first = reader.read()
  socket.deliver(Buffer.concat([query('one'), query('two').subarray(0, 7)]))
  await first
  expect(reader.rest).toEqual(query('two').subarray(0, 7))
})

test('a startup packet comes without its length', async () => {
  const { socket, reader } = fixture()
  const read = reader.readStartup(100)
  socket.deliver(Buffer.concat([i32(12), i32(3 << 16), Buffer.from('\0\0\0\0')]))
  expect(await read).toEqual(Buffer.concat([i32(3 << 16), Buffer.from('\0\0\0\0')]))
})

// pgcat allocated what an unauthenticated length said
test.each([0, 4, 7, 101, 0x7fffffff, -1, -2147483648, 0x16030102])(
  'a startup packet of length %s is refused by its length',
  async (length) => {
    const { socket, reader } = fixture()
    const read = reader.readStartup(100)
    socket.deliver(i32(length))
    await expect(read).rejects.toThrow(/^bad packet header/)
    await expect(read).rejects.toMatchObject({ condition: 'bad_packet_header' })
  },
)

// CVE-2026-6664: a length taken at its word
test.each([0, 3, -1, 65_536, 0x7fffffff])(
  'a message of length %s during login is refused by its header',
  async (length) => {
    const { socket, reader } = fixture()
    const read = reader.read()
    socket.deliver(Buffer.concat([Buffer.from('p'), i32(length)]))
    await expect(read).rejects.toBeInstanceOf(PgError)
  },
)

test('the longest message during login has 65535 bytes', async () => {
  const { socket, reader } = fixture()
  const read = reader.read()
  socket.deliver(Buffer.concat([Buffer.from('p'), i32(65_535), Buffer.alloc(65_531, 'x')]))
  expect((await read).body.length).toBe(65_531)
})

test('a peer that leaves is a ConnectionLost, then and from then on', async () => {
  const { reader } = fixture()
  const read = reader.read()
  reader.onGone()
  await expect(read).rejects.toBeInstanceOf(ConnectionLost)
  await expect(reader.read()).rejects.toBeInstanceOf(ConnectionLost)
})

test('what came before the peer left is still read', async () => {
  const { socket, reader } = fixture()
  const first = reader.read()
  socket.deliver(Buffer.concat([query('one'), query('two')]))
  reader.onGone()
  expect((await first).body.toString()).toBe('one\0')
  expect((await reader.read()).body.toString()).toBe('two\0')
  await expect(reader.read()).rejects.toBeInstanceOf(ConnectionLost)
})

test('a reason from outside is told at once, even where there is more to read', async () => {
  const { socket, reader } = fixture()
  const first = reader.read()
  socket.deliver(Buffer.concat([query('one'), query('two')]))
  await first
  reader.fail(new PgError('client_login_timeout'))
  await expect(reader.read()).rejects.toMatchObject({ condition: 'client_login_timeout' })
})

test('the first reason stands', async () => {
  const { reader } = fixture()
  reader.fail(new PgError('client_login_timeout'))
  reader.onGone()
  await expect(reader.read()).rejects.toMatchObject({ condition: 'client_login_timeout' })
})

test('a byte can be looked at and stays', async () => {
  const { socket, reader } = fixture()
  const looked = reader.peek()
  socket.deliver(query('one'))
  expect(await looked).toBe(0x51)
  expect((await reader.read()).code).toBe(0x51)
})

test('that the peer leaves is told, whether anything is waited for or not', async () => {
  const { reader } = fixture()
  let left = 0
  reader.onLost = () => left++
  const read = reader.read()
  reader.onGone()
  expect(left).toBe(1)
  await expect(read).rejects.toThrow('connection lost')
})

test('what nobody waits for is read ahead, up to the length of the longest message', async () => {
  const { socket, reader } = fixture()
  const looked = reader.peek()
  socket.deliver(query('one'))
  await looked
  expect(socket.paused).toBe(false)
  for (let sent = 0; !socket.paused; sent += 1000) {
    expect(sent).toBeLessThan(70_000)
    socket.deliver(Buffer.alloc(1000))
  }
})
