// What clients may say, at random: whatever the protocol allows, as messages of programs that end with everything answered.

import fc from 'fast-check'
import * as wire from '../protocol/wire.js'
import type { Rig, RigClient, RigServer } from './relay-rig.js'

const name = fc.constantFrom('', 'a', 'b', 'c')
const text = fc.constantFrom('rows 1', 'rows 3', 'rows 2 x', 'notice', 'fail', 'syntax', 'nobind', 'set x', 'do')
const transaction = fc.constantFrom('begin', 'commit', 'rollback')
const portal = fc.constantFrom('', '', 'p')
const value = fc.oneof(
  { weight: 9, arbitrary: fc.string({ maxLength: 9 }) },
  { weight: 1, arbitrary: fc.constantFrom('v'.repeat(9000), 'w'.repeat(70_000)) },
)

const extended = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(name, text).map((all) => wire.parse(...all)) },
  { weight: 4, arbitrary: fc.tuple(name, portal, value).map((all) => wire.bind(...all)) },
  { weight: 4, arbitrary: fc.tuple(portal, fc.constantFrom(0, 0, 2)).map((all) => wire.execute(...all)) },
  { weight: 2, arbitrary: fc.tuple(fc.constant('S' as const), name).map((all) => wire.describe(...all)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('P' as const), portal).map((all) => wire.describe(...all)) },
  { weight: 2, arbitrary: fc.tuple(fc.constant('S' as const), name).map((all) => wire.close(...all)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('P' as const), portal).map((all) => wire.close(...all)) },
  { weight: 1, arbitrary: fc.constant(wire.flush) },
)

const sqlName = fc.constantFrom('a', 'b', 'c')
const sqlCommand = fc.oneof(
  fc.tuple(sqlName, text).map(([name, text]) => `prepare ${name} as ${text}`),
  sqlName.map((name) => `execute ${name}`),
  sqlName.map((name) => `deallocate ${name}`),
)
// Within a batch that no Sync has closed, what such a Query leaves behind is not certain before its answer: nobody sends that.
const sql = fc.oneof(
  sqlCommand.map((text) => [wire.sync, wire.query(text)]),
  fc
    .array(fc.oneof(sqlCommand, text), { minLength: 2, maxLength: 4 })
    .map((all) => [wire.sync, wire.query(all.join(';'))]),
  fc
    .tuple(fc.array(fc.tuple(sqlCommand, fc.constantFrom('', '', 'q')), { minLength: 1, maxLength: 3 }), portal)
    .map(([all, portal]) => [
      ...all.flatMap(([text, name]) => [
        ...(name === '' ? [] : [wire.close('S', name)]),
        ...[wire.parse(name, text), wire.bind(name, portal), wire.execute(portal), wire.close('P', portal)],
      ]),
      wire.sync,
    ]),
)

const simple = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.array(text, { minLength: 1, maxLength: 3 }).map((texts) => [wire.query(texts.join(';'))]),
  },
  { weight: 2, arbitrary: transaction.map((word) => [wire.query(word)]) },
  { weight: 1, arbitrary: fc.constant([wire.query('copy out')]) },
  { weight: 4, arbitrary: sql },
  { weight: 1, arbitrary: text.map((word) => [wire.functionCall(word)]) },
)

/** Rows, with Syncs and Flushes among them wherever a client may put them; some fail, at a row or before the first. */
const copyData = fc
  .record({
    rows: fc.array(fc.constantFrom('row', 'row', 'row', 'sync', 'flush'), { maxLength: 5 }),
    end: fc.constantFrom(wire.copyDone, wire.copyFail('enough')),
    behind: fc.array(fc.constantFrom(wire.sync, wire.copyDone, wire.copyData('late\n')), { maxLength: 2 }),
  })
  .map(({ rows, end, behind }) => {
    const messages = { row: wire.copyData('row\n'), sync: wire.sync, flush: wire.flush }
    return [...rows.map((word) => messages[word as 'row']), end, ...behind]
  })
const failing = fc.constantFrom('0', '0', '1', '2', '0 raise')

const copyIn = fc.oneof(
  fc.record({ failing, data: copyData, early: fc.integer({ min: 0, max: 3 }) }).map(({ failing, data, early }) => {
    const start = [wire.parse('', `copy in ${failing}`), wire.bind(''), wire.execute()]
    return [...start, ...Array<Buffer>(early).fill(wire.sync), ...data, wire.sync]
  }),
  fc
    .tuple(fc.constantFrom('', '', 'rows 1;'), failing, failing, copyData, copyData)
    .map(([first, one, other, data, more]) => {
      return [wire.query(`${first}copy in ${one};rows 1;copy in ${other}`), ...data, ...more]
    }),
  fc.tuple(failing, copyData).map(([failing, data]) => [wire.query(`copy in ${failing}`), ...data]),
  // One that fails, and that nobody ends: whatever follows comes while the server may still seem to be in it.
  fc
    .tuple(fc.constantFrom('1', '2', '0 raise'), fc.integer({ min: 0, max: 2 }), fc.boolean())
    .map(([failing, syncs, isSimple]) => {
      const text = `${isSimple && syncs === 2 ? 'rows 1;' : ''}copy in ${failing}`
      const start = isSimple ? [wire.query(text)] : [wire.parse('', text), wire.bind(''), wire.execute()]
      const row = wire.copyData('row\n')
      return [...start, ...Array<Buffer>(syncs).fill(wire.sync), row, row, ...(isSimple ? [] : [wire.sync])]
    }),
)

/** An unnamed statement outlives its batch only on a connection of one's own: here, it is made where it is used. */
const batch = fc
  .tuple(
    fc.array(extended, { minLength: 1, maxLength: 8 }),
    fc.constantFrom(wire.sync, wire.sync, wire.sync, wire.query('rows 1')),
  )
  .map(([messages, end]) => {
    let isMade = false
    const usable = messages.filter((message) => {
      const code = String.fromCharCode(message[0]!)
      if (code === 'P' && message[5] === 0) isMade = true
      const isUnnamedBind = code === 'B' && message.indexOf(0, 5) + 1 === message.indexOf(0, message.indexOf(0, 5) + 1)
      const isUnnamedDescribe = code === 'D' && message.toString('latin1', 5) === 'S\0'
      return isMade || !(isUnnamedBind || isUnnamedDescribe)
    })
    return [...usable, end]
  })

/**
 * They end so that everything has been answered and no transaction is open.
 * @param copies how often one of the exchanges is a COPY; batches are 3
 */
export function programs(copies = 1): fc.Arbitrary<Program> {
  const exchange = fc.oneof(
    { weight: 3, arbitrary: batch },
    { weight: 2, arbitrary: simple },
    { weight: copies, arbitrary: copyIn },
  )
  return fc
    .array(exchange, { minLength: 1, maxLength: 8 })
    .map((all) => new Program([...all.flat(), wire.sync, wire.query('rollback'), wire.query('rows 1 last')]))
}

/** Messages as a counterexample shows them. */
export class Program {
  readonly messages: readonly Buffer[]

  constructor(messages: readonly Buffer[]) {
    this.messages = messages
  }

  [fc.toStringMethod](): string {
    return `[${wire.linesOf(Buffer.concat(this.messages)).join('; ')}]`
  }
}

export function withoutAsides(bytes: Buffer): string[] {
  return wire.linesOf(bytes).filter((line) => !line.includes('aside'))
}

/** Numbers from 0 to `below - 1` (mulberry32). */
export function randomFrom(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}

/** How many bytes go at a time: a few, a message's, a chunk's. */
export function sizeFrom(random: (below: number) => number): number {
  return 1 + random([12, 5000, 80_000][random(3)]!)
}

/** What may happen beside clients that send: a server works, or is heard, or all drains. `what`: from 3 to 7. */
export function turn(
  rig: Rig,
  client: RigClient,
  server: RigServer,
  random: (below: number) => number,
  what: number,
): void {
  rig.replaceClosed()
  switch (what) {
    case 3:
    case 4:
      server.backend.receive(server.socket.taken())
      server.backend.work(random(4))
      if (random(4) === 0) server.backend.flush()
      return
    case 5:
    case 6:
      if (!server.socket.paused && server.backend.sent.length > 0) server.answer(sizeFrom(random))
      return
    default:
      client.socket.drain()
      server.socket.drain()
      if (random(20) === 0) rig.settle()
  }
}
