import { expect, test } from 'vitest'
import { errorResponse } from '../../src/protocol/backend.js'
import { PgError } from '../../src/protocol/errors.js'
import { OwnQuery } from '../../src/relay/own-query.js'
import * as wire from '../protocol/wire.js'
import { FakeSocket } from './fake-socket.js'
import { direct, Rig, type RigClient } from './relay-rig.js'

const { bind, copyData, execute, parse, query, sync } = wire

const lines = (client: RigClient): string[] => wire.linesOf(client.socket.taken())
/** First letters of the answers. */
const codes = (client: RigClient): string =>
  wire
    .messagesOf(client.socket.taken())
    .map((message) => message.code)
    .join('')

test('a chunk that names nothing goes on as it came: one write', () => {
  const rig = new Rig()
  const chunk = Buffer.concat([parse('', 'rows 1'), bind(''), execute(), sync])
  rig.client.send(chunk)
  expect(rig.server.socket.writes).toEqual([chunk])
  rig.server.work()
  rig.server.answer()
  expect(rig.client.socket.writes.length).toBe(1)
})

test('a chunk that is rewritten leaves in one write, too', () => {
  const rig = new Rig()
  rig.client.send(parse('a', 'rows 1'), bind('a'), execute(), sync, bind('a'), execute(), sync)
  expect(rig.server.socket.writes.length).toBe(1)
  rig.settle()
  rig.client.socket.taken()
  rig.client.send(parse('b', 'rows 1'), bind('b'), execute(), sync)
  expect(rig.server.socket.writes.length).toBe(1)
  rig.server.work()
  rig.server.answer()
  expect(rig.client.socket.writes.length).toBe(1)
  expect(codes(rig.client)).toBe('12DCZ')
})

test('a client waits while its server does not take its bytes, and no longer', () => {
  const rig = new Rig()
  rig.server.socket.room = 1000
  rig.client.send(query('copy in'))
  rig.settle()
  rig.client.send(copyData('x'.repeat(2000)))
  expect(rig.client.socket.paused).toBe(true)
  rig.server.socket.drain()
  expect(rig.client.socket.paused).toBe(false)
})

test('the same for what is rewritten', () => {
  const rig = new Rig()
  rig.server.socket.room = 50
  rig.client.send(parse('a', `rows 1 ${'x'.repeat(100)}`), bind('a'), execute(), sync)
  expect(rig.client.socket.paused).toBe(true)
  rig.settle()
  expect(rig.client.socket.paused).toBe(false)
  expect(codes(rig.client)).toBe('12DCZ')
})

test('a server waits while its client does not read, and no longer', () => {
  const rig = new Rig()
  rig.client.socket.room = 1000
  rig.client.send(query('begin;rows 200'))
  rig.server.work()
  rig.server.answer()
  expect(rig.server.socket.paused).toBe(true)
  expect(rig.client.socket.paused, 'it may still send').toBe(false)
  rig.client.socket.drain()
  expect(rig.server.socket.paused).toBe(false)
})

test('a server whose client is slow to read the last of an answer is free for others', () => {
  const rig = new Rig({ clients: 2 })
  const [slow, other] = rig.clients as [RigClient, RigClient]
  slow.socket.room = 1000
  slow.send(query('rows 200'))
  rig.server.work()
  rig.server.answer()
  expect(slow.relay.server).toBeNull()
  expect(rig.server.socket.paused).toBe(false)
  other.send(query('rows 1'))
  rig.server.work()
  rig.server.answer()
  expect(codes(other)).toBe('TDCZ')
  // Until it has read, the slow one asks for nothing.
  slow.send(query('rows 1 more'))
  expect(rig.server.socket.taken().length).toBe(0)
  slow.socket.drain()
  expect(rig.server.socket.taken()).toEqual(query('rows 1 more'))
})

test('a client that waits for a server is read no further than 64 KiB', () => {
  const rig = new Rig({ clients: 2 })
  const [first, second] = rig.clients as [RigClient, RigClient]
  first.send(query('begin'))
  rig.settle()
  second.send(query('rows 1'))
  expect(second.socket.paused).toBe(false)
  for (let n = 0; n < 6; n++) second.send(query(`rows 1 ${'x'.repeat(9000)}`))
  expect(second.socket.paused).toBe(false)
  second.send(query(`rows 1 ${'x'.repeat(12_000)}`))
  expect(second.socket.paused).toBe(true)
  second.relay.resume()
  expect(second.socket.paused, 'to try again for a server changes nothing').toBe(true)
  first.send(query('commit'))
  rig.settle()
  expect(second.socket.paused).toBe(false)
  expect(codes(second)).toBe('TDCZ'.repeat(8))
})

test('clients wait in order', () => {
  const rig = new Rig({ clients: 4 })
  rig.client.send(query('begin'))
  const order: string[] = []
  for (const client of rig.clients.slice(1)) client.send(query(`rows 1 ${rig.clients.indexOf(client)}`))
  rig.client.send(query('commit'))
  rig.onRelease = () => {
    for (const client of rig.clients.slice(1)) {
      if (client.socket.writes.length > 0) order.push(lines(client)[1]!.slice(-3))
    }
  }
  rig.settle()
  expect(order).toEqual(['1 1', '2 1', '3 1'])
})

test.each([
  ['a query', [query('rows 1')]],
  ['a batch', [parse('a', 'rows 1'), bind('a'), execute(), sync]],
  ['a function call', [wire.functionCall('x')]],
  ['a batch that ends in a query', [parse('a', 'rows 1'), query('rows 1')]],
])('%s that waits can be refused: an error and ReadyForQuery in its place, and the client goes on', (_, messages) => {
  const bytes = Buffer.concat(messages)
  for (const cut of [bytes.length, 1, 7, bytes.length - 1]) {
    const rig = new Rig({ clients: 2 })
    const [busy, waiting] = rig.clients as [RigClient, RigClient]
    busy.send(query('begin'))
    rig.settle()
    waiting.send(bytes.subarray(0, cut))
    if (cut > 5) {
      rig.leaveQueue(waiting)
      waiting.relay.refuse(errorResponse(new PgError('query_canceled')))
      waiting.send(bytes.subarray(cut))
    } else {
      waiting.send(bytes.subarray(cut))
      rig.leaveQueue(waiting)
      waiting.relay.refuse(errorResponse(new PgError('query_canceled')))
    }
    expect(lines(waiting)).toEqual(['E SERROR|C57014|Mcanceling statement due to user request||', 'Z I'])
    waiting.send(query('rows 1'))
    busy.send(query('commit'))
    rig.settle()
    expect(codes(waiting)).toBe('TDCZ')
  }
})

test('what a client sent behind a refused query is carried out', () => {
  const rig = new Rig({ clients: 2 })
  const [busy, waiting] = rig.clients as [RigClient, RigClient]
  busy.send(query('begin'))
  rig.settle()
  waiting.send(query('rows 1'), query('rows 2'))
  rig.leaveQueue(waiting)
  waiting.relay.refuse(errorResponse(new PgError('query_canceled')))
  busy.send(query('commit'))
  rig.settle()
  expect(codes(waiting)).toBe('EZTDDCZ')
})

test('a COPY whose batch had to wait in its middle is still waited for', () => {
  // The second Close waits, since the first may come to nothing.
  const before = [parse('x', 'rows 2'), sync, wire.close('S', 'x'), sync]
  const batch = [parse('', 'copy in 1'), bind(''), wire.close('S', 'y'), execute(), sync]
  const said = [...before, ...batch, wire.copyData('row'), sync, query('rows 1')]
  const rig = new Rig()
  rig.client.send(...said)
  rig.settle()
  expect(rig.server.desync).toBe('')
  expect(wire.linesOf(rig.client.socket.taken())).toEqual(wire.linesOf(direct(Buffer.concat(said))))
})

test('a COPY that fails amid a message of the client: what counts is asked behind the rest of it', () => {
  const row = wire.copyData('another row')
  const said = [parse('', 'copy in 1'), bind(''), execute(), sync, wire.copyData('row'), row]
  const behind = [wire.copyDone, sync, query('rows 1')]
  for (const [cut, more] of [1, 4, 5, 6, row.length - 1].flatMap((at) => [0, 1, 2, 3].map((n) => [at, n] as const))) {
    const rig = new Rig()
    const bytes = Buffer.concat(said)
    rig.client.send(bytes.subarray(0, bytes.length - row.length + cut))
    rig.settle() // the error is there
    rig.client.send(Buffer.concat([row.subarray(cut), ...behind.slice(0, more)]))
    rig.settle()
    rig.client.send(...behind.slice(more))
    rig.settle()
    expect(rig.client.socket.taken(), `cut at ${cut}`).toEqual(direct(Buffer.concat([...said, ...behind])))
    expect(rig.client.relay.server).toBeNull()
  }
})

test('a COPY that fails: what the client sends before the pooler has been answered to the end is not passed over', () => {
  const start = [parse('', 'copy in 1'), bind(''), execute(), sync, wire.copyData('row')]
  const behind = [wire.copyData('late'), sync, parse('', 'rows 1'), bind(''), execute(), sync]
  for (let size = 1; size < 60; size++) {
    const rig = new Rig()
    rig.client.send(...start)
    rig.server.work()
    rig.server.answer() // the error
    rig.server.work() // the question
    rig.server.answer(size)
    rig.client.send(...behind)
    rig.settle()
    expect(wire.linesOf(rig.client.socket.taken()), `${size} bytes of the answer`).toEqual(
      wire.linesOf(direct(Buffer.concat([...start, ...behind]))),
    )
  }
})

test('a client that says Terminate is answered what it asked before, and nothing behind it is sent', () => {
  const rig = new Rig()
  rig.client.send(query('rows 1'), wire.terminate, query('rows 2'))
  rig.client.send(query('rows 3'))
  expect(rig.client.closed).toBe('')
  rig.settle()
  expect(rig.client.closed).toBe('terminate')
  expect(rig.client.socket.taken()).toEqual(direct(query('rows 1')))
})

test.each([
  ['Terminate', wire.terminate, 'TDCZ'],
  ['a message that is too long', wire.message('E', Buffer.alloc(10_001, 'x')), 'TDCZE'],
])('%s ends what is looked at, where what stands behind it has waited for a server, too', (_what, last, heard) => {
  for (const isHalfClosed of [false, true]) {
    const rig = new Rig({ clients: 2 })
    const [busy, waiting] = rig.clients as [RigClient, RigClient]
    busy.send(query('begin'))
    rig.settle()
    waiting.send(query('rows 1'))
    for (const message of [last, query('rows 2'), sync]) waiting.send(message)
    if (isHalfClosed) waiting.relay.onHalfClosed()
    busy.send(query('commit'))
    rig.settle()
    expect(codes(waiting)).toBe(heard)
    expect(waiting.closed).not.toBe('')
    expect(rig.server.desync).toBe('')
  }
})

test.each<[string, Buffer[], boolean]>([
  ['nothing', [], true],
  ['a whole query', [query('rows 1')], true],
  ['a batch', [parse('', 'rows 1'), sync], true],
  ['a batch without its Sync', [parse('', 'rows 1')], false],
  ['half a query', [query('rows 1').subarray(0, 10)], false],
  [
    'a query of which it is not known yet whether it is a COPY, and nothing is sent',
    [query('copy in').subarray(0, 8)],
    true,
  ],
  ['a query and half a message', [query('rows 1'), wire.copyData('abc').subarray(0, 7)], false],
])('having sent %s, a client that leaves has sent its server whole messages: %#', (_, messages, expected) => {
  const rig = new Rig()
  rig.client.send(query('begin'))
  rig.settle()
  rig.client.send(...messages)
  expect(rig.client.relay.sentWhole).toBe(expected)
})

test('a batch that a Query closes is closed; it is not when the batch has failed', () => {
  const rig = new Rig()
  rig.client.send(parse('', 'rows 1'), query('rows 1'))
  rig.settle()
  expect(rig.client.relay.server).toBeNull()
  rig.client.send(parse('', 'syntax'), query('rows 1'))
  rig.settle()
  expect(rig.client.relay.server).not.toBeNull()
  rig.client.send(sync)
  rig.settle()
  expect(rig.client.relay.server).toBeNull()
})

test('with disable_pqexec a Query ends the client, and nothing is sent', () => {
  const rig = new Rig()
  rig.client.relay.refuseQuery = true
  rig.client.send(query('rows 1'))
  expect(rig.client.closed).toBe('pqexec_disallowed')
  expect(rig.server.socket.taken().length).toBe(0)
})

test('a batch that no Sync has closed keeps its server, whatever else comes', () => {
  for (const more of [wire.message('H'), wire.message('d', Buffer.from('late')), wire.message('c')]) {
    const rig = new Rig({ clients: 2 })
    rig.client.send(parse('', 'rows 3'), wire.message('H'))
    rig.settle()
    expect(codes(rig.client)).toBe('1')
    rig.client.socket.taken()
    rig.client.send(more)
    rig.settle()
    expect(rig.client.relay.server, more.toString('latin1', 0, 1)).not.toBeNull()
    rig.clients[1]!.send(query('rows 1'))
    rig.settle()
    expect(codes(rig.clients[1]!)).toBe('')
    rig.client.send(bind(''), execute(), sync)
    rig.settle()
    expect(codes(rig.client)).toBe('2DDDCZ')
    expect(codes(rig.clients[1]!)).toBe('TDCZ')
  }
})

test('what a client is owed, and behind it the pooler itself, may come in one chunk', () => {
  const rig = new Rig()
  rig.client.send(query('rows 2'))
  let told: unknown
  rig.server.relay.ask(query('rows 1'), new OwnQuery((answer) => (told = answer)))
  rig.settle()
  expect(codes(rig.client)).toBe('TDDCZ')
  expect(told).toMatchObject({ columns: 1, error: undefined })
})

test('a fake socket spoils what it delivered', () => {
  const socket = new FakeSocket()
  let kept: Buffer = Buffer.alloc(0)
  socket.owner = { onBytes: (chunk) => (kept = chunk), onDrain() {}, onGone() {} }
  socket.deliver(Buffer.from('abc'))
  expect(kept).toEqual(Buffer.from([0xee, 0xee, 0xee]))
})

test.each(['its side closed', 'Terminate'])('%s: a client that reads slowly has all before it is closed', (how) => {
  const rig = new Rig()
  rig.client.socket.room = 100
  rig.client.send(query('rows 10'))
  if (how === 'Terminate') rig.client.send(wire.terminate)
  else rig.client.relay.onHalfClosed()
  while (rig.server.socket.writes.length > 0 || rig.server.backend.sent.length > 0) {
    rig.server.work()
    rig.server.answer()
  }
  expect(rig.client.socket.blocked).toBe(true)
  expect(rig.client.closed).toBe('')
  rig.client.socket.drain()
  expect(rig.client.closed).not.toBe('')
  expect(rig.client.socket.taken()).toEqual(direct(query('rows 10')))
})

test('statement mode: a pipelined transaction block ends its client at once, who hears what was answered before', () => {
  const rig = new Rig()
  rig.client.relay.refusesBlocks = true
  rig.client.send(query('rows 1'), query('begin'), query('rows 2'), query('commit'), query('rows 3'))
  rig.settle()
  expect(rig.client.closed).toBe('transaction_blocks')
  expect(lines(rig.client)).toEqual([
    ...wire.linesOf(direct(query('rows 1'))),
    'C BEGIN|',
    'E SFATAL|C08P01|Mtransaction blocks not allowed in statement pooling mode||',
  ])
})
