// Prepared statements as the relays see them: shared, evicted, refused, and run again where a plan has gone stale.

import { expect, test } from 'vitest'
import * as wire from '../protocol/wire.js'
import { direct, Rig, type RigClient } from './relay-rig.js'

const { bind, execute, parse, query, sync } = wire

/** First letters of the answers. */
const codes = (client: RigClient): string =>
  wire
    .messagesOf(client.socket.taken())
    .map((message) => message.code)
    .join('')

test('a refused duplicate leaves nothing on the server that a client could name', () => {
  const rig = new Rig()
  rig.client.send(parse('a', 'rows 1'), sync)
  rig.settle()
  rig.client.send(parse('a', 'rows 2'), sync)
  rig.settle()
  const [one, other, ...more] = rig.server.backend.statements
  expect([one, more]).toEqual([['PGBOUNCER_1', 'rows 1'], []])
  expect(other).toEqual([expect.stringMatching(/^PGBOUNCER_taken_[0-9a-f]{24}$/), ''])
  expect(rig.client.relay.server).toBeNull()
})

test('one statement serves all clients, and no more than max_prepared_statements are kept', () => {
  const rig = new Rig({ clients: 3, preparedLimit: 2 })
  for (const client of rig.clients) {
    client.send(parse('same', 'rows 1'), bind('same'), execute(), sync)
    rig.settle()
  }
  expect([...rig.server.backend.statements]).toEqual([['PGBOUNCER_1', 'rows 1']])
  for (const text of ['rows 2', 'rows 3', 'rows 4']) {
    rig.client.send(parse(text, text), bind(text), execute(), sync)
    rig.settle()
  }
  expect([...rig.server.backend.statements.values()]).toEqual(['rows 3', 'rows 4'])
  expect(rig.server.relay.statements.count).toBe(2)
  rig.clients[1]!.socket.taken()
  rig.clients[1]!.send(bind('same'), execute(), sync)
  rig.settle()
  expect(codes(rig.clients[1]!)).toBe('2DCZ')
})

test('a statement that nobody uses any more is forgotten', () => {
  const rig = new Rig({ preparedLimit: 1 })
  for (let n = 0; n < 5; n++) {
    rig.client.send(parse('a', `rows ${n}`), sync, wire.close('S', 'a'), sync)
    rig.settle()
  }
  expect(rig.table.count, 'the one that the server keeps').toBe(1)
  rig.client.relay.close()
  expect(rig.table.count).toBe(1)
})

const batch = [bind('a'), wire.describe('P'), execute(), sync]

function withStalePlan(): Rig {
  const rig = new Rig()
  rig.client.send(parse('a', 'rows 1'), sync)
  rig.settle()
  rig.client.socket.taken()
  rig.server.backend.stale.add('PGBOUNCER_1')
  return rig
}

test('a plan gone stale is made anew, unseen by the client', () => {
  for (const size of [undefined, 1]) {
    const rig = withStalePlan()
    rig.client.send(...batch)
    for (let n = 0; n < 500; n++) {
      rig.server.work()
      rig.server.answer(size)
    }
    expect(codes(rig.client)).toBe('2TDCZ')
    expect(rig.client.relay.server).toBeNull()
  }
})

test.each([
  ['Describe alone', [wire.describe('S', 'a'), sync], 'tTZ'],
  ['Describe and use', [wire.describe('S', 'a'), bind('a'), execute(), sync], 'tT2DCZ'],
  ['use, described twice', [bind('a'), wire.describe('S', 'a'), wire.describe('P'), execute(), sync], '2tTTDCZ'],
  ['a Parse that is left out', [parse('b', 'rows 1'), wire.describe('S', 'b'), sync], '1tTZ'],
  ['such a Parse, and use', [parse('b', 'rows 1'), bind('b'), wire.describe('P'), execute(), sync], '12TDCZ'],
])('a plan gone stale, %s: is made anew however the answer is cut', (_what, messages, expected) => {
  for (const size of [undefined, 1, 2, 7, 20]) {
    const rig = withStalePlan()
    for (let round = 0; round < 2; round++) {
      rig.client.send(...messages)
      for (let n = 0; n < 500; n++) {
        rig.server.work()
        rig.server.answer(size)
      }
      const more = round === 1 && expected.startsWith('1') ? 'EZ' : expected // by now the name is taken
      expect(codes(rig.client)).toBe(more)
      expect(rig.client.relay.server).toBeNull()
      rig.client.socket.taken()
    }
  }
})

test('another statement in the same exchange keeps a plan gone stale from being made anew', () => {
  const rig = withStalePlan()
  rig.client.send(parse('other', 'rows 2'), sync)
  rig.settle()
  rig.client.socket.taken()
  rig.client.send(wire.describe('S', 'a'), bind('other'), execute(), sync)
  rig.settle()
  expect(codes(rig.client)).toBe('EZ')
})

test('a name that is taken is refused in the same words in a transaction, by SQL and with a Parse of it just refused', () => {
  const rig = new Rig()
  const taken = [parse('a', 'rows 1'), parse('a', 'rows 1'), sync, query('begin'), query('prepare a as rows 1')]
  rig.client.send(...taken, query('rollback'), query('prepare a as rows 1'))
  rig.settle()
  const errors = wire.messagesOf(rig.client.socket.taken()).filter(({ code }) => code === 'E')
  expect(errors.map(({ body }) => /C(\w{5})/.exec(body.toString('latin1'))![1])).toEqual(['42P05', '42P05', '42P05'])
})

test.each([
  ['at once', batch, '2TDCZ'],
  ['in steps', [wire.describe('S', 'a'), bind('a'), execute(), sync], 'tT2DCZ'],
])('what was sent while an exchange is run again %s is answered behind it, in order', (_how, exchange, expected) => {
  const rig = withStalePlan()
  rig.client.send(...exchange)
  rig.server.work()
  const failure = rig.server.backend.taken()
  const ready = failure.length - 6
  rig.server.socket.deliver(failure.subarray(0, ready))
  const next = query('rows 2')
  rig.client.send(next.subarray(0, 7))
  rig.server.socket.deliver(failure.subarray(ready))
  rig.client.send(next.subarray(7), query('rows 1'))
  rig.settle()
  expect(codes(rig.client)).toBe(`${expected}TDDCZTDCZ`)
})

test('a stale plan is the client’s own affair where it has sent more, or is in a transaction', () => {
  for (const more of [[query('rows 1')], [sync], [query('rows 1').subarray(0, 7)]]) {
    const rig = withStalePlan()
    rig.client.send(...batch)
    rig.client.send(...more)
    rig.settle()
    expect(codes(rig.client).startsWith('EZ')).toBe(true)
  }
  const rig = withStalePlan()
  rig.client.send(query('begin'))
  rig.settle()
  rig.client.socket.taken()
  rig.client.send(...batch)
  rig.settle()
  expect(codes(rig.client)).toBe('EZ')
})

test('without a Describe, or a second time, a stale plan is an error', () => {
  const rig = withStalePlan()
  rig.client.send(bind('a'), execute(), sync)
  rig.settle()
  expect(codes(rig.client)).toBe('EZ')

  const again = withStalePlan()
  again.server.backend.heals = false
  again.client.send(...batch)
  again.settle()
  expect(codes(again.client)).toBe('EZ')
})

test('a PREPARE by the extended protocol makes its name once, whatever its portal is asked to do again', () => {
  const prepare = [parse('', 'prepare a as rows 1'), bind(''), execute(), wire.close('P'), sync]
  const forget = [wire.close('S', 'a'), sync]
  const said = [...prepare, ...forget, execute(), sync, wire.describe('S', 'a'), sync]
  for (let cut = 1; cut <= said.length; cut++) {
    const rig = new Rig()
    rig.client.send(...said.slice(0, cut))
    if (cut < said.length) rig.settle()
    rig.client.send(...said.slice(cut))
    rig.settle()
    expect(wire.linesOf(rig.client.socket.taken()), `cut behind ${cut}`).toEqual(
      wire.linesOf(direct(Buffer.concat(said))),
    )
  }
})

test('a DEALLOCATE amid a batch that fails is skipped with it: the name stays', () => {
  const rig = new Rig()
  const said = [
    ...[parse('a', 'rows 1'), sync],
    ...[parse('', 'syntax'), query('deallocate a'), sync, bind('a'), execute(), sync],
  ]
  rig.client.send(...said)
  rig.settle()
  expect(wire.linesOf(rig.client.socket.taken())).toEqual(wire.linesOf(direct(Buffer.concat(said))))
})

test('an unnamed statement that cannot be made again is no other client’s, and leaves that one its own', () => {
  const rig = new Rig({ clients: 2 })
  const [one, other] = rig.clients as [RigClient, RigClient]
  other.send(parse('', 'rows 1 other'), bind(''), execute(), sync) // bound at once, it is not kept
  rig.settle()
  one.send(parse('', 'rows 1 one'), sync)
  rig.settle()
  for (const client of rig.clients) client.socket.taken()
  other.send(bind(''), execute(), sync)
  rig.settle()
  expect(codes(other)).toBe('EZ')
  one.send(bind(''), execute(), sync)
  rig.settle()
  expect(codes(one)).toBe('2DCZ')
})

test('a statement of many bytes makes its client wait for a server that reads slowly', () => {
  const rig = new Rig()
  rig.server.socket.room = 100
  rig.client.send(parse('a', `rows 1 ${'x'.repeat(80_000)}`))
  expect(rig.client.socket.paused).toBe(true)
  rig.settle()
  expect(rig.client.socket.paused).toBe(false)
})

test('a DEALLOCATE takes one of two names of a text, amid the batch that has made both', () => {
  const rig = new Rig()
  const both = [parse('a', 'rows 1'), parse('b', 'rows 1')]
  const said = [...both, query('deallocate a;execute b;deallocate b'), sync, bind('b'), sync, ...both, sync]
  rig.client.send(...said)
  rig.settle()
  expect(wire.linesOf(rig.client.socket.taken())).toEqual(wire.linesOf(direct(Buffer.concat(said))))
})

test('an error about a statement is told by the name that it was sent for, whatever the name stands for by then', () => {
  const rig = new Rig({ preparedLimit: 1 })
  rig.client.send(query('prepare a as rows 1;prepare b as rows 2'))
  rig.settle()
  rig.client.send(query('begin'))
  rig.settle()
  rig.server.backend.statements.clear()
  rig.client.socket.taken()
  // The Parse makes its room, so that the DEALLOCATE has b made anew.
  rig.client.send(bind('b'), parse('c', 'rows 3'), query('deallocate b'), sync, query('rollback'))
  rig.settle()
  expect(wire.linesOf(rig.client.socket.taken())[0]).toContain('prepared statement "b" does not exist')
  rig.client.send(bind('b'), execute(), sync)
  rig.settle()
  expect(codes(rig.client)).toBe('2DDCZ')
})

test('of two PREPAREs of one name, both bound before either is executed, the first stands', () => {
  const rig = new Rig()
  rig.client.send(
    ...[parse('x', 'prepare a as rows 1'), bind('x', 'first'), parse('y', 'prepare a as rows 2'), bind('y', 'second')],
    ...[execute('first'), execute('second'), sync],
  )
  rig.settle()
  rig.client.socket.taken()
  rig.client.send(bind('a'), execute(), sync)
  rig.settle()
  expect(codes(rig.client)).toBe('2DCZ')
})
