// Clients that send whatever the protocol allows, in transaction mode over few servers, everything cut and delayed at random:
// each gets what a server of its own would have said, and a server changes hands only when it owes nothing.

import fc from 'fast-check'
import { expect, test, vi } from 'vitest'
import * as wire from '../protocol/wire.js'
import { direct, Rig, type RigClient } from './relay-rig.js'

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
    .tuple(failing, failing, copyData, copyData)
    .map(([one, other, data, more]) => [wire.query(`copy in ${one};rows 1;copy in ${other}`), ...data, ...more]),
  fc.tuple(failing, copyData).map(([failing, data]) => [wire.query(`copy in ${failing}`), ...data]),
  // One that fails, and that nobody ends: whatever follows comes while the server may still seem to be in it.
  fc
    .tuple(fc.constantFrom('1', '2', '0 raise'), fc.integer({ min: 0, max: 2 }), fc.boolean())
    .map(([failing, syncs, isSimple]) => {
      const text = `copy in ${failing}`
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

const exchange = fc.oneof(
  { weight: 3, arbitrary: batch },
  { weight: 2, arbitrary: simple },
  { weight: 1, arbitrary: copyIn },
)

/** Ends so that everything has been answered and no transaction is open. */
const program = fc
  .array(exchange, { minLength: 1, maxLength: 8 })
  .map((exchanges) => new Program([...exchanges.flat(), wire.sync, wire.query('rollback'), wire.query('rows 1 last')]))

const setup = fc.record({
  programs: fc.array(program, { minLength: 1, maxLength: 4 }),
  servers: fc.integer({ min: 1, max: 2 }),
  preparedLimit: fc.constantFrom(0, 1, 2, 100),
  chatters: fc.boolean(),
  room: fc.constantFrom(Number.POSITIVE_INFINITY, 20_000, 100),
  wholeMessages: fc.boolean(),
  seed: fc.integer({ min: 0, max: 0x7fffffff }),
})

const aside = Buffer.concat([
  wire.message('N', wire.z('Maside'), Buffer.alloc(1)),
  wire.message('A', wire.i32(1), wire.z('aside'), wire.z('')),
  wire.message('S', wire.z('TimeZone'), wire.z('aside')),
])

/** With names passed on as they are, only one client may use them. */
const ownNames = (preparedLimit: number, clients: number): boolean => preparedLimit > 0 || clients === 1

/** From outside: a longer hunt. */
const runs = Number(process.env.FC_RUNS ?? 300)
vi.setConfig({ testTimeout: 30_000 + 60 * runs })

test('every client gets its own answers, and a server is given on exactly when it is free', () => {
  fc.assert(
    fc.property(setup, ({ programs, servers, preparedLimit, chatters, room, wholeMessages, seed }) => {
      fc.pre(ownNames(preparedLimit, programs.length))
      const random = randomFrom(seed)
      const rig = new Rig({ clients: programs.length, servers: preparedLimit > 0 ? servers : 1, preparedLimit })
      rig.onRelease = (server) => {
        server.work()
        if (!server.backend.isClean) throw new Error(`released too early: ${server.backend.state}`)
      }
      for (const { socket } of [...rig.clients, ...rig.servers]) socket.room = room
      for (const { backend } of rig.servers) {
        backend.chatter = () => (chatters && random(10) === 0 ? aside : Buffer.alloc(0))
      }
      const left = programs.map(({ messages }) => [...messages])
      const checkQuiet = (client: RigClient): void => {
        const { server } = client
        if (server === undefined || !client.relay.sentWhole || !server.relay.isQuiet) return
        // Should the client leave now, the server would be kept.
        server.work()
        if (!server.backend.isAtRest) throw new Error(`not as quiet as it seems: ${server.backend.state}`)
      }
      const step = (): void => {
        const index = random(rig.clients.length)
        const client = rig.clients[index]!
        const server = rig.servers[random(rig.servers.length)]!
        checkQuiet(client)
        switch (random(8)) {
          case 0:
          case 1:
          case 2: {
            const mine = left[index]!
            if (client.socket.paused || mine.length === 0) return
            if (wholeMessages) return client.socket.deliver(Buffer.concat(mine.splice(0, 1 + random(6))))
            const bytes = Buffer.concat(mine)
            const size = 1 + random([12, 5000, 80_000][random(3)]!)
            left[index] = size < bytes.length ? [bytes.subarray(size)] : []
            return client.socket.deliver(bytes.subarray(0, size))
          }
          case 3:
          case 4:
            server.backend.receive(server.socket.taken())
            server.backend.work(random(4))
            if (random(4) === 0) server.backend.flush()
            return
          case 5:
          case 6:
            if (!server.socket.paused && server.backend.sent.length > 0)
              server.answer(1 + random([12, 5000, 80_000][random(3)]!))
            return
          default:
            client.socket.drain()
            server.socket.drain()
            if (random(20) === 0) rig.settle()
        }
      }
      for (let steps = 0; left.some((messages) => messages.length > 0) && steps < 50_000; steps++) step()
      rig.settle()
      expect(left.flat().length, 'bytes that were never read').toBe(0)
      for (const server of rig.servers) expect(server.desync).toBe('')
      for (const [index, client] of rig.clients.entries()) {
        expect(client.closed).toBe('')
        expect(withoutAsides(client.socket.taken())).toEqual(
          withoutAsides(direct(Buffer.concat(programs[index]!.messages))),
        )
        expect(client.relay.server, 'has been released').toBeNull()
        expect(client.socket.paused).toBe(false)
      }
      for (const server of rig.servers) expect(server.relay.owed.length).toBe(0)
    }),
    // A counterexample again.
    {
      numRuns: runs,
      ...(process.env.FC_SEED && { seed: Number(process.env.FC_SEED) }),
      ...(process.env.FC_PATH && { path: process.env.FC_PATH, endOnFailure: true }),
    },
  )
})

/** Messages as a counterexample shows them. */
class Program {
  readonly messages: readonly Buffer[]

  constructor(messages: readonly Buffer[]) {
    this.messages = messages
  }

  [fc.toStringMethod](): string {
    return `[${wire.linesOf(Buffer.concat(this.messages)).join('; ')}]`
  }
}

function withoutAsides(bytes: Buffer): string[] {
  return wire.linesOf(bytes).filter((line) => !line.includes('aside'))
}

/** Numbers from 0 to `below - 1` (mulberry32). */
function randomFrom(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}
