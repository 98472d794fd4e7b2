import fc from 'fast-check'
import { expect, test } from 'vitest'
import * as request from '../../src/relay/outstanding.js'
import { Outstanding } from '../../src/relay/outstanding.js'

const kinds = Array.from({ length: request.CopyEnd }, (_, n) => n + 1)

interface Entry {
  kind: number
  owner: string | null
  note: number | null
  account: string
}

type Accounts = Readonly<Record<string, request.Dues>>

function entriesOf(queue: Outstanding<string, number>): Omit<Entry, 'account'>[] {
  return Array.from({ length: queue.length }, (_, i) => ({
    kind: queue.kindAt(i),
    owner: queue.ownerAt(i),
    note: queue.noteAt(i),
  }))
}

function expectSame(queue: Outstanding<string, number>, model: readonly Entry[], accounts: Accounts): void {
  expect(entriesOf(queue)).toEqual(model.map(({ kind, owner, note }) => ({ kind, owner, note })))
  expect(queue.kind).toBe(model[0]?.kind ?? 0)
  expect(queue.owner).toBe(model[0]?.owner ?? null)
  expect(queue.note).toBe(model[0]?.note ?? null)
  for (const [account, dues] of Object.entries(accounts)) {
    const ofKind = (...kinds: number[]): number =>
      model.filter((entry) => entry.account === account && kinds.includes(entry.kind)).length
    expect(dues).toEqual({
      length: ofKind(...kinds),
      readies: ofKind(request.Query, request.Sync),
      inBatch: ofKind(request.QueryInBatch),
      omitted: ofKind(request.ParseOmitted),
      closes: ofKind(request.CloseAdded, request.CloseOmitted),
      copyEnds: ofKind(request.CopyEnd),
    })
  }
  expect(queue.dues).toBe(model.length === 0 ? queue.own : accounts[model[0]!.account])
}

test('it behaves as a list does', () => {
  const step = fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        op: fc.constant('push' as const),
        kind: fc.constantFrom(...kinds),
        owner: fc.constantFrom('a', 'b', null),
        account: fc.constantFrom('a', 'b', 'own'),
      }),
    },
    { weight: 3, arbitrary: fc.record({ op: fc.constant('shift' as const) }) },
    { weight: 1, arbitrary: fc.record({ op: fc.constant('remove' as const), count: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ op: fc.constant('forget' as const), owner: fc.constantFrom('a', 'b') }) },
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const queue = new Outstanding<string, number>()
      const accounts: Accounts = { a: new request.Dues(), b: new request.Dues(), own: queue.own }
      let model: Entry[] = []
      for (const [index, all] of steps.entries()) {
        if (all.op === 'push') {
          queue.push(all.kind, all.owner, index, accounts[all.account]!)
          model.push({ kind: all.kind, owner: all.owner, note: index, account: all.account })
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
      expectSame(queue, model, accounts)
    }),
    { numRuns: 300 },
  )
})

test('it grows while it is wrapped around', () => {
  const queue = new Outstanding<string, number>()
  for (let n = 0; n < 10; n++) queue.push(request.Query, 'x', n, queue.own)
  for (let n = 0; n < 10; n++) queue.shift()
  for (let n = 0; n < 1000; n++) queue.push(request.Sync, 'a', n, queue.own)
  expect(entriesOf(queue).map(({ note }) => note)).toEqual(Array.from({ length: 1000 }, (_, n) => n))
})

test('the room that a long queue took is given back when it is empty', () => {
  const queue = new Outstanding<string, number>()
  const room = (): number => Math.max(...Object.values(queue).map((value) => (Array.isArray(value) ? value.length : 0)))
  for (const count of [10_000, 100]) {
    for (let n = 0; n < count; n++) queue.push(request.Sync, 'a', n, queue.own)
    expect(entriesOf(queue).map(({ note }) => note)).toEqual(Array.from({ length: count }, (_, n) => n))
    for (let n = 0; n < count; n++) queue.shift()
    expect(room()).toBeLessThan(1000)
  }
})

test('what has left is not held', () => {
  const queue = new Outstanding<object, object>()
  const owners = new Map<string, object | null>()
  queue.push(request.Query, {}, {}, queue.own)
  queue.push(request.Sync, {}, {}, queue.own)
  queue.removeBehindHead(1)
  queue.shift()
  for (const [name, value] of Object.entries(queue)) {
    if (Array.isArray(value))
      for (const item of value as unknown[])
        if (!(item instanceof request.Dues) && typeof item === 'object') owners.set(name, item)
  }
  expect([...owners.values()].every((held) => held === null)).toBe(true)
})

test('Query, Sync and a Query in a batch end with ReadyForQuery, nothing else does', () => {
  expect(kinds.filter(request.endsWithReady)).toEqual([request.Query, request.Sync, request.QueryInBatch])
})

test('what the server says nothing to', () => {
  const silent: number[] = [request.ParseOmitted, request.CloseOmitted, request.CopyEnd]
  expect(kinds.filter(request.isUnanswered)).toEqual(silent)
})
