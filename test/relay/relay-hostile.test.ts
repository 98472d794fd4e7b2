import { expect, test } from 'vitest'
import { type Answer, OwnQuery } from '../../src/relay/own-query.js'
import * as wire from '../protocol/wire.js'
import { direct, Rig } from './relay-rig.js'

const { bind, close, copyData, copyDone, execute, flush, parse, query, sync } = wire

/** Code and length word, without the body. */
function header(code: string, length: number): Buffer {
  const bytes = Buffer.from(`${code}....`)
  bytes.writeInt32BE(length | 0, 1)
  return bytes
}

function textsOf(rig: Rig): string[] {
  return wire.linesOf(rig.client.socket.taken())
}

test.each([0, 1, 3, -1, -2147483648])('a client message of length %s ends the client', (length) => {
  for (const code of ['Q', 'P', 'B', 'S', 'd', 'X', 'z']) {
    const rig = new Rig()
    rig.client.send(header(code, length))
    expect(rig.client.closed).toBe('bad_packet_header')
    expect(rig.server.socket.taken().length).toBe(0)
  }
})

test.each(['p', 'R', '\0', 'z'])('a client message %j ends the client', (code) => {
  const rig = new Rig()
  rig.client.send(wire.message(code, 'x'))
  expect(rig.client.closed).toBe('unknown_packet')
})

test('a server that a broken client had asked something is not quiet', () => {
  const rig = new Rig()
  rig.client.send(query('rows 1'), header('Q', 1))
  expect(rig.client.closed, 'what came before is answered first').toBe('')
  expect(rig.server.relay.isQuiet).toBe(false)
  rig.settle()
  expect(rig.client.closed).toBe('bad_packet_header')
  expect(wire.linesOf(rig.client.socket.taken())).toEqual([
    ...wire.linesOf(direct(query('rows 1'))),
    "E SFATAL|C08P01|Mbad packet header: '5100000001'||",
  ])
})

test('names in messages of impossible length are refused, not computed with', () => {
  for (const name of ['a', 'PGBOUNCER_1']) {
    const rig = new Rig()
    rig.client.send(parse('a', 'rows 1'), sync)
    rig.settle()
    rig.client.socket.taken()
    rig.client.send(Buffer.concat([header('B', 0x7fffffff), wire.z(''), wire.z(name), Buffer.alloc(2000)]))
    expect(rig.client.closed).toBe('invalid_message_length')
  }
})

test('bytes behind the name in a Close are not taken for messages by the server', () => {
  const rig = new Rig()
  rig.client.send(parse('a', 'rows 1'), sync)
  rig.settle()
  const smuggled = query('rows 1 smuggled')
  rig.client.send(header('C', 4 + 3 + smuggled.length), Buffer.from('Sa\0'))
  rig.client.send(smuggled)
  rig.client.send(sync)
  rig.settle()
  expect(rig.server.desync).toBe('')
  expect(textsOf(rig)).toEqual(['1', 'Z I', 'E SERROR|C08P01|Minvalid message format|Rmain||', 'Z I'])
  expect(rig.client.relay.server).toBeNull()
})

test('names without an end are refused by the server, in whatever chunks they come', () => {
  const endless = Buffer.alloc(2000, 'x')
  for (const message of [wire.message('B', endless), wire.message('D', 'S', endless), wire.message('P', endless)]) {
    for (const cut of [5, 6, 500, 1024, 1030, message.length - 1]) {
      const rig = new Rig()
      rig.client.send(message.subarray(0, cut))
      rig.client.send(message.subarray(cut), sync)
      rig.settle()
      expect(rig.client.socket.taken()).toEqual(direct(Buffer.concat([message, sync])))
      expect(rig.client.relay.server).toBeNull()
    }
  }
  const rig = new Rig()
  rig.client.send(header('B', 0x3ffffff0))
  for (let sent = 0; sent < 70_000; sent += 2000) rig.client.send(endless)
  expect(rig.client.closed, 'it is not waited for').toBe('broken_parse')
})

test('empty bodies of messages with names are refused by the server', () => {
  for (const code of ['P', 'B', 'D', 'C']) {
    const rig = new Rig()
    rig.client.send(wire.message(code), query('rows 1'), sync)
    rig.settle()
    expect(rig.client.socket.taken()).toEqual(direct(Buffer.concat([wire.message(code), query('rows 1'), sync])))
    expect(rig.client.relay.server).toBeNull()
  }
})

test('a named Parse that is too long is refused by its header; an unnamed one streams through', () => {
  const rig = new Rig()
  rig.client.send(header('P', 17 * 1024 * 1024), Buffer.from('a\0select'))
  expect(rig.client.closed).toBe('out_of_memory')

  const other = new Rig()
  const text = Buffer.alloc(17 * 1024 * 1024, 'x')
  // As much of the text comes with the header as it takes to see that it is no PREPARE.
  other.client.send(header('P', 4 + 1 + text.length + 3 + 3), Buffer.from('\0xxx'))
  let passed = other.server.socket.taken().length
  for (let at = 0; at < text.length; at += 65_536) {
    other.client.send(text.subarray(at, at + 65_536))
    const now = other.server.socket.taken().length
    expect(now, 'nothing is held back').toBe(Math.min(65_536, text.length - at))
    passed += now
  }
  expect(passed).toBe(9 + text.length)
})

test('a client that is owed more than anyone can use is ended', () => {
  const rig = new Rig()
  rig.client.send(parse('a', 'rows 1'), sync)
  rig.settle()
  // Closes of unknown names are answered by the pooler: nothing but a limit holds them up.
  const closes = Buffer.concat(new Array(4096).fill(close('S', 'nobody')))
  for (let n = 0; n < 300 && rig.client.closed === ''; n++) rig.client.send(closes)
  expect(rig.client.closed).toBe('out_of_memory')
  expect(rig.server.relay.owed.length).toBeLessThan(2 ** 21)
})

test.each<[string, Buffer]>([
  ['ReadyForQuery that nobody is owed', wire.message('Z', 'I')],
  ['ReadyForQuery without a status', wire.message('Z')],
  ['ReadyForQuery with much behind it', Buffer.concat([header('Z', 0x7fffffff), Buffer.alloc(100)])],
  ['a length of 3', header('D', 3)],
  ['a negative length', header('T', -1)],
  ['ParseComplete that nobody is owed', wire.message('1')],
  ['BindComplete that nobody is owed', wire.message('2')],
  ['CloseComplete that nobody is owed', wire.message('3')],
  ['CommandComplete that nobody is owed', wire.message('C', wire.z('SELECT 1'))],
  ['RowDescription that nobody is owed', wire.message('T', wire.i16(0))],
])('a server that sends %s is not used any more', (_, bytes) => {
  for (const cut of [bytes.length, 5, 1]) {
    const rig = new Rig()
    rig.client.send(query('begin'))
    rig.settle()
    rig.client.socket.taken()
    rig.server.socket.deliver(bytes.subarray(0, cut))
    if (cut < bytes.length) rig.server.socket.deliver(bytes.subarray(cut))
    expect(rig.server.desync).not.toBe('')
    expect(wire.linesOf(rig.client.socket.taken())).toEqual([lost])
  }
})

test('answers in the wrong order are not taken for others', () => {
  for (const answer of ['2', '3', 'n', 'T', 'C', 'I', 's', 'Z']) {
    const rig = new Rig()
    rig.client.send(parse('', 'rows 1'), bind(''), sync)
    rig.server.socket.deliver(wire.message(answer, answer === 'Z' ? 'I' : ''))
    expect(rig.server.desync).toMatch(/^unexpected/)
  }
})

test('an error with nothing in it, or with no end, is passed on and its exchange ends', () => {
  for (const body of ['', '\0', 'S', 'SERROR', 'SERROR\0', 'M\0C\0']) {
    const rig = new Rig()
    rig.client.send(parse('', 'rows 1'), bind(''), execute(), sync)
    const error = wire.message('E', body)
    rig.server.socket.deliver(Buffer.concat([error, wire.message('Z', 'I')]))
    expect(rig.client.socket.taken()).toEqual(Buffer.concat([error, wire.message('Z', 'I')]))
    expect(rig.client.relay.server).toBeNull()
  }
})

/** What a client is told whose server is given up. */
const lost = 'E SFATAL|C08P01|Mserver conn crashed?||'

const report = (severity: string): Buffer =>
  wire.message(
    'E',
    wire.z(`S${severity}`),
    wire.z(`V${severity}`),
    wire.z('C57P01'),
    wire.z('Mno more'),
    Buffer.alloc(1),
  )

test('a FATAL that nobody is owed goes to the client that has the server, and to the log', () => {
  const rig = new Rig()
  rig.client.send(query('begin'))
  rig.settle()
  rig.client.socket.taken()
  rig.server.socket.deliver(report('FATAL'))
  expect(rig.server.strayErrors).toBe(1)
  expect(rig.client.socket.taken()).toEqual(report('FATAL'))
  expect(rig.server.desync).toBe('')

  const idle = new Rig()
  idle.server.socket.deliver(report('FATAL'))
  expect(idle.server.strayErrors).toBe(1)
})

test('an ERROR that nobody is owed goes to the log alone, and its server to nobody', () => {
  for (const cut of [report('ERROR').length, 5, 1]) {
    const rig = new Rig({ clients: 2 })
    rig.client.send(query('begin'))
    rig.settle()
    rig.client.socket.taken()
    rig.server.socket.deliver(report('ERROR').subarray(0, cut))
    rig.server.socket.deliver(report('ERROR').subarray(cut))
    expect(rig.server.strayErrors).toBe(1)
    expect(rig.server.desync).toBe('unexpected error')
    expect(wire.linesOf(rig.client.socket.taken())).toEqual([lost])
  }
})

test.each([
  ['ReadyForQuery', wire.message('Z', 'I')],
  ['an error', report('ERROR')],
  ['a row', wire.message('D', wire.i16(0))],
  ['an answer', wire.message('C', wire.z('SELECT 1'))],
])('%s behind the last ReadyForQuery that was owed: the server goes to nobody', (_, stray) => {
  const answer = Buffer.concat([wire.message('C', wire.z('SELECT 0')), wire.message('Z', 'I')])
  const both = Buffer.concat([answer, stray])
  // A server may go on only when nothing is left of what was read; where it is cut, the header alone tells that more comes.
  for (let cut = answer.length + 1; cut <= both.length; cut++) {
    const rig = new Rig({ clients: 2 })
    rig.clients[0]!.send(query('rows 0'))
    rig.clients[1]!.send(query('rows 0'))
    rig.server.socket.deliver(both.subarray(0, cut))
    rig.server.socket.deliver(both.subarray(cut))
    expect(rig.server.desync).toMatch(/^unexpected/)
    expect(wire.linesOf(rig.clients[0]!.socket.taken())).toEqual(['C SELECT 0|', 'Z I', lost])
    expect(rig.clients[1]!.socket.taken().length).toBe(0)
    expect(rig.clients[1]!.relay.server).toBeNull()
  }
})

test('what a server that is given up has said before is passed on', () => {
  const rig = new Rig()
  rig.client.send(query('rows 1'))
  const row = wire.message('T', wire.i16(0))
  rig.server.socket.deliver(Buffer.concat([row, wire.message('1')]))
  rig.server.socket.deliver(Buffer.concat([row, wire.message('Z', 'II')]))
  expect(rig.server.desync).not.toBe('')
  expect(wire.linesOf(rig.client.socket.taken()).slice(0, 1)).toEqual(wire.linesOf(row))
})

test('a notice behind the last ReadyForQuery is for the client that had the server, whole, before anyone else has it', () => {
  const notice = wire.message('N', wire.z('Mlast words'), Buffer.alloc(1))
  const both = Buffer.concat([wire.message('C', wire.z('SELECT 0')), wire.message('Z', 'I'), notice])
  for (let cut = both.length - notice.length + 1; cut <= both.length; cut++) {
    const rig = new Rig({ clients: 2 })
    rig.clients[0]!.send(query('rows 0'))
    rig.clients[1]!.send(query('rows 0'))
    rig.server.socket.deliver(both.subarray(0, cut))
    if (cut < both.length) expect(rig.releases).toBe(0)
    rig.server.socket.deliver(both.subarray(cut))
    expect(rig.releases).toBe(1)
    expect(rig.clients[0]!.socket.taken()).toEqual(both)
    expect(rig.clients[1]!.relay.server).toBe(rig.server.relay)
  }
})

test('an answer to the pooler itself is bounded, and one that is too long is an error', () => {
  const rig = new Rig()
  let answer: Answer | Error | undefined
  const ask = new OwnQuery((result) => {
    answer = result
  })
  rig.server.relay.ask(query('rows 1'), ask)
  const big = Buffer.alloc(65_536)
  rig.server.socket.deliver(header('D', 1_100_000))
  for (let sent = 0; sent < 1_100_000 - 4; sent += big.length) {
    rig.server.socket.deliver(big.subarray(0, Math.min(big.length, 1_100_000 - 4 - sent)))
  }
  rig.server.socket.deliver(Buffer.concat([wire.message('C', wire.z('SELECT 1')), wire.message('Z', 'I')]))
  expect(answer).toMatchObject({ error: { condition: 'out_of_memory' }, rows: [] })
})

test('late COPY data goes nowhere once the server has been given back, and the next query runs', () => {
  const rig = new Rig()
  rig.client.send(query('copy in 1'))
  rig.settle()
  rig.client.send(copyData('bad'))
  rig.settle()
  expect(rig.client.relay.server, 'the COPY has failed').toBeNull()
  const late = Buffer.concat([copyData('x'.repeat(5000)), copyData('y'), copyDone, query('rows 1')])
  for (let at = 0; at < late.length; at += 777) rig.client.send(late.subarray(at, at + 777))
  const sent = rig.server.socket.taken()
  expect(sent).toEqual(query('rows 1'))
  rig.server.backend.receive(sent)
  rig.settle()
  // The rest of one, and the next query right behind it.
  const rest = copyData('x'.repeat(100))
  rig.client.send(rest.subarray(0, 50))
  rig.client.send(rest.subarray(50), query('rows 1'))
  expect(rig.server.socket.taken()).toEqual(query('rows 1'))
})

test('a server is not given on while the client is in the middle of late COPY data', () => {
  const rig = new Rig({ clients: 2 })
  rig.client.send(query('copy in 1'))
  rig.settle()
  const late = copyData('x'.repeat(100))
  rig.client.send(copyData('bad'), late.subarray(0, 50))
  rig.clients[1]!.send(query('rows 1 other'))
  rig.settle()
  expect(rig.client.relay.server).not.toBeNull()
  rig.client.send(late.subarray(50))
  rig.settle()
  expect(rig.client.relay.server).toBeNull()
  expect(rig.clients[1]!.socket.taken().toString()).toContain('rows 1 other 1')
})

test('a client whose late COPY data filled up a server is read on when the next client fills it up too', () => {
  const rig = new Rig({ clients: 2 })
  const [first, second] = rig.clients as [typeof rig.client, typeof rig.client]
  rig.server.socket.room = 1000
  first.send(query('copy in 1'), copyData('bad'), copyData('x'.repeat(2000)))
  expect(first.socket.paused).toBe(true)
  rig.server.work()
  rig.server.answer()
  expect(first.relay.server, 'given back while still full').toBeNull()
  second.send(query(`rows 1 ${'y'.repeat(2000)}`))
  expect(second.socket.paused).toBe(true)
  rig.settle()
  expect([first.socket.paused, second.socket.paused]).toEqual([false, false])
})

test('an early Sync that COPY swallows leaves the exchange open: a Flush does not give the server away', () => {
  const rig = new Rig({ clients: 2 })
  rig.onRelease = (server) => {
    server.work()
    expect(server.backend.isClean).toBe(true)
  }
  rig.client.send(parse('', 'copy in'), bind(''), execute(), sync)
  rig.settle()
  rig.client.send(copyDone)
  rig.settle()
  rig.client.send(flush)
  rig.settle()
  expect(rig.client.relay.server).not.toBeNull()
  rig.client.send(sync)
  rig.settle()
  expect(rig.client.relay.server).toBeNull()
})

test('what is put in between messages never lands inside one', () => {
  const rig = new Rig()
  rig.client.send(parse('a', 'rows 1'), sync)
  rig.settle()
  rig.client.socket.taken()
  // A Parse that is left out (its ParseComplete is ours) behind a Describe whose answer comes in two pieces.
  rig.client.send(parse('', 'rows 1'), wire.describe('S'), close('S', 'a'), parse('a', 'rows 1'), flush)
  rig.server.work()
  const answer = rig.server.backend.taken()
  const cut = answer.length - 3
  rig.server.socket.deliver(answer.subarray(0, cut))
  rig.client.send(flush)
  rig.server.socket.deliver(answer.subarray(cut))
  expect(textsOf(rig).map((line) => line[0])).toEqual(['1', 't', 'T', '3', '1'])
})
