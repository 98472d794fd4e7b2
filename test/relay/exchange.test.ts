import fc from 'fast-check'
import { expect, test } from 'vitest'
import * as exchange from '../../src/relay/exchange.js'
import { ExchangeQueue } from '../../src/relay/exchange.js'

const kinds = Array.from({ length: exchange.CopyEnd }, (_, n) => n + 1)

interface Entry {
  kind: number
  owner: string | null
  note: number | null
}

function entriesOf(queue: ExchangeQueue<string, number>): Entry[] {
  return Array.from({ length: queue.length }, (_, i) => ({
    kind: queue.kindAt(i),
    owner: queue.ownerAt(i),
    note: queue.noteAt(i),
  }))
}

function expectSame(queue: ExchangeQueue<string, number>, model: readonly Entry[]): void {
  expect(entriesOf(queue)).toEqual(model)
  expect(queue.kind).toBe(model[0]?.kind ?? 0)
  expect(queue.owner).toBe(model[0]?.owner ?? null)
  expect(queue.note).toBe(model[0]?.note ?? null)
  const sure: number[] = [exchange.Query, exchange.Sync]
  expect(queue.countReady()).toBe(model.filter(({ kind }) => sure.includes(kind)).length)
  const closing: number[] = [exchange.CloseAdded, exchange.CloseOmitted]
  expect(queue.closes).toBe(model.filter(({ kind }) => closing.includes(kind)).length)
  expect(queue.inBatch).toBe(model.filter(({ kind }) => kind === exchange.QueryInBatch).length)
  expect(queue.copyEnds).toBe(model.filter(({ kind }) => kind === exchange.CopyEnd).length)
}

test('it behaves as a list does', () => {
  const step = fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        op: fc.constant('push' as const),
        kind: fc.constantFrom(...kinds),
        owner: fc.constantFrom('a', 'b', null),
      }),
    },
    { weight: 3, arbitrary: fc.record({ op: fc.constant('shift' as const) }) },
    { weight: 1, arbitrary: fc.record({ op: fc.constant('remove' as const), count: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ op: fc.constant('forget' as const), owner: fc.constantFrom('a', 'b') }) },
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const queue = new ExchangeQueue<string, number>()
      let model: Entry[] = []
      for (const [index, all] of steps.entries()) {
        if (all.op === 'push') {
          queue.push(all.kind, all.owner, index)
          model.push({ kind: all.kind, owner: all.owner, note: index })
        } else if (all.op === 'shift' && model.length > 0) {
          queue.shift()
          model.shift()
        } else if (all.op === 'remove' && model.length > 1) {
          const count = all.count % model.length
          queue.removeBehindHead(count)
          model.splice(1, count)
        } else if (all.op === 'forget') {
          queue.forget(all.owner)
          model = model.map((entry) => (entry.owner === all.owner ? { ...entry, owner: null } : entry))
        }
      }
      expectSame(queue, model)
    }),
    { numRuns: 300 },
  )
})

test('it grows while it is wrapped around', () => {
  const queue = new ExchangeQueue<string, number>()
  for (let n = 0; n < 10; n++) queue.push(exchange.Query, 'x', n)
  for (let n = 0; n < 10; n++) queue.shift()
  for (let n = 0; n < 1000; n++) queue.push(exchange.Sync, 'a', n)
  expect(entriesOf(queue).map(({ note }) => note)).toEqual(Array.from({ length: 1000 }, (_, n) => n))
})

test('the room that a long queue took is given back when it is empty', () => {
  const queue = new ExchangeQueue<string, number>()
  const room = (): number => Math.max(...Object.values(queue).map((value) => (Array.isArray(value) ? value.length : 0)))
  for (const count of [10_000, 100]) {
    for (let n = 0; n < count; n++) queue.push(exchange.Sync, 'a', n)
    expect(entriesOf(queue).map(({ note }) => note)).toEqual(Array.from({ length: count }, (_, n) => n))
    for (let n = 0; n < count; n++) queue.shift()
    expect(room()).toBeLessThan(1000)
  }
})

test('what has left is not held', () => {
  const queue = new ExchangeQueue<object, object>()
  const owners = new Map<string, object | null>()
  queue.push(exchange.Query, {}, {})
  queue.push(exchange.Sync, {}, {})
  queue.removeBehindHead(1)
  queue.shift()
  for (const [name, value] of Object.entries(queue)) {
    if (Array.isArray(value))
      for (const item of value as unknown[]) if (typeof item === 'object') owners.set(name, item)
  }
  expect([...owners.values()].every((held) => held === null)).toBe(true)
})

test('Query, Sync and a Query in a batch end with ReadyForQuery, nothing else does', () => {
  expect(kinds.filter(exchange.endsWithReady)).toEqual([exchange.Query, exchange.Sync, exchange.QueryInBatch])
})

test('what the server says nothing to', () => {
  const silent: number[] = [exchange.ParseOmitted, exchange.CloseOmitted, exchange.CopyEnd]
  expect(kinds.filter(exchange.isUnanswered)).toEqual(silent)
})
