// Clients that outlive their servers (server_lost = error): one ReadyForQuery for each Query and Sync, whatever goes when.

import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import * as wire from '../protocol/wire.js'
import { randomFrom, sizeFrom, turn } from './relay-programs.js'
import { Rig, type RigClient, type RigServer } from './relay-rig.js'

const fatal = wire.message(
  'E',
  wire.z('SFATAL'),
  wire.z('VFATAL'),
  wire.z('C57P01'),
  wire.z('Mterminating'),
  Buffer.alloc(1),
)

/** The server goes, with a word or without. Returns whether that left its client with half a message. */
function lose({ relay, socket, session }: RigServer, isTold: boolean): boolean {
  if (session.state === 'closed') return false
  const { client } = relay
  const isAmid = client !== null && relay.isAmid(client)
  if (isTold && relay.isBetweenMessages) socket.deliver(fatal)
  else relay.onGone()
  return isAmid
}

/** Answers by exchange: each ends with its ReadyForQuery. */
function exchangesOf(bytes: Buffer): string[][] {
  const found: string[][] = [[]]
  for (const line of wire.linesOf(bytes)) {
    found.at(-1)!.push(line)
    if (line.startsWith('Z ')) found.push([])
  }
  expect(found.pop()).toEqual([])
  return found
}

describe('cut anywhere, and lost there', () => {
  const begin = wire.query('begin')
  const batch = (text: string, name = ''): Buffer[] => [wire.parse(name, text), wire.bind(name), wire.execute()]
  const scenes: readonly (readonly [name: string, readies: number, ...messages: Buffer[]])[] = [
    ['queries', 3, wire.query('rows 1'), wire.query('rows 2'), wire.query('fail')],
    ['a block', 4, begin, wire.query('rows 1'), wire.query('rows 2 x'), wire.query('commit')],
    ['a block that fails', 4, begin, wire.query('fail'), wire.query('rows 2 x'), wire.query('rollback')],
    ['batches', 3, ...batch('rows 1'), wire.sync, ...batch('rows 2', 'a'), wire.sync, ...batch('fail', 'b'), wire.sync],
    [
      'a block of batches',
      3,
      ...batch('begin'),
      wire.sync,
      ...batch('rows 1'),
      wire.sync,
      ...batch('rollback'),
      wire.sync,
    ],
    ['a long batch', 1, ...batch('begin'), ...batch('rows 1', 'a'), wire.flush, ...batch('rows 2', 'b'), wire.sync],
    ['several in a Query', 2, wire.query('begin;rows 1'), wire.query('rollback;rows 1')],
    ['copies', 3, begin, wire.query('copy in'), wire.copyData('row\n'), wire.copyDone, wire.query('copy out')],
    ['a copy in a batch', 2, begin, ...batch('copy in'), wire.copyData('row\n'), wire.copyDone, wire.sync],
    ['function calls', 3, begin, wire.functionCall('x'), wire.functionCall('fail')],
    [
      'names',
      2,
      ...batch('rows 1', 'a'),
      wire.close('S', 'a'),
      wire.sync,
      wire.parse('a', 'rows 2'),
      wire.bind('a'),
      wire.execute(),
      wire.sync,
    ],
  ]
  const ways = [
    ['before it works', false, false],
    ['when it has answered', true, false],
    ['with a FATAL', true, true],
  ] as const

  test.each(ways)('%s', (_way, works, isTold) => {
    for (const [name, readies, ...messages] of scenes) {
      const bytes = Buffer.concat(messages)
      for (let cut = 0; cut <= bytes.length; cut++) {
        for (const preparedLimit of [0, 100]) {
          const rig = new Rig({ preparedLimit, database: 'lasting' })
          const { client, server } = rig
          client.send(bytes.subarray(0, cut))
          if (works) {
            server.work()
            server.answer()
          }
          lose(server, isTold)
          rig.replaceClosed()
          client.send(bytes.subarray(cut))
          rig.settle()
          client.send(wire.query('rollback'), wire.query('rows 1 last'))
          rig.settle()
          const told = exchangesOf(client.socket.taken())
          const where = `${name}, at ${cut}, ${preparedLimit}`
          expect([where, told.length, client.closed]).toEqual([where, readies + 2, ''])
          expect(told.at(-1)!.at(-2), where).toContain('SELECT 1')
          expect(told.at(-1)!.at(-1), where).toBe('Z I')
          expect([client.relay.server, client.relay.dues.length, client.relay.dues.readies]).toEqual([null, 0, 0])
          for (const { desync } of rig.servers) expect(desync).toBe('')
        }
      }
    }
  })

  test('a client that leaves behind it is answered first', () => {
    for (const [, readies, ...messages] of scenes.filter(([name]) => !name.includes('cop'))) {
      const rig = new Rig({ database: 'lasting' })
      const { client, server } = rig
      client.send(...messages, wire.terminate)
      lose(server, true)
      rig.settle()
      expect(exchangesOf(client.socket.taken()).length).toBe(readies)
      expect(client.closed).toBe('terminate')
    }
  })
})

test('names stand for what they stood for, where what would have changed that was lost', () => {
  const rig = new Rig({ database: 'lasting' })
  const { client } = rig
  client.send(wire.parse('a', 'rows 1 old'), wire.parse('b', 'rows 1 b'), wire.sync)
  rig.settle()
  client.send(wire.close('S', 'b'), wire.close('S', 'a'), wire.parse('a', 'rows 1 new'), wire.parse('c', 'rows 1 c'))
  lose(rig.server, false)
  client.send(wire.sync)
  rig.settle()
  client.socket.taken()
  for (const [name, answer] of [
    ['a', 'rows 1 old'],
    ['b', 'rows 1 b'],
    ['c', 'prepared statement "c" does not exist'],
  ] as const) {
    client.send(wire.bind(name), wire.execute(), wire.sync)
    rig.settle()
    expect(client.socket.taken().toString('latin1')).toContain(answer)
  }
})

test('what commits was bound to a portal before all was answered: it may be what is executed', () => {
  for (const preparedLimit of [0, 100]) {
    for (const [text, sqlstate] of [
      ['commit', '08007'],
      ['rows 1', '40001'],
    ] as const) {
      const rig = new Rig({ preparedLimit, database: 'lasting' })
      const { client } = rig
      client.send(wire.query('begin'))
      rig.settle()
      client.send(wire.parse('c', text), wire.bind('c', 'p'), wire.sync)
      rig.settle()
      client.socket.taken()
      client.send(wire.execute('p'), wire.sync)
      lose(rig.server, false)
      expect(wire.linesOf(client.socket.taken())[0]).toContain(preparedLimit === 0 ? '08007' : sqlstate)
    }
  }
})

test('with a parameter that no other server can be given, a client is closed', () => {
  const rig = new Rig({ database: 'lasting' })
  const { client } = rig
  client.send(wire.query('begin'))
  rig.settle()
  client.relay.parameters.set('application_name', 'x'.repeat(10_001))
  lose(rig.server, false)
  expect(client.socket.ended).toBe(true)
})

test('clients are not to outlive their servers any more: one in a lost transaction is played it to the end, and then does not', () => {
  for (const preparedLimit of [0, 100]) {
    const rig = new Rig({ preparedLimit, database: 'lasting' })
    const { client } = rig
    client.send(wire.query('begin'))
    rig.settle()
    lose(rig.server, false)
    client.relay.outlivesServers = false
    client.send(wire.parse('', 'rollback'), wire.bind(''), wire.execute(), wire.sync)
    rig.replaceClosed()
    expect(wire.linesOf(client.socket.taken()).at(-1)).toBe('Z I')
    client.send(wire.query('rows 1'))
    rig.settle()
    expect(wire.linesOf(client.socket.taken()).at(-1)).toBe('Z I')
    expect([client.relay.isInLostBlock, client.relay.stake, client.closed]).toEqual([false, null, ''])
    client.send(wire.query('begin'))
    rig.settle()
    lose(client.server!, false)
    expect(client.socket.ended).toBe(true)
  }
})

/** Exchanges of one ReadyForQuery each, whose rows have a token of their own. */
const text = fc.constantFrom(
  ...['begin', 'begin', 'rows 1 @', 'rows 2 @', 'rows 1 @', 'fail', 'commit', 'commit', 'rollback', 'do', 'notice @'],
)
const words = fc.oneof(
  { weight: 3, arbitrary: text },
  { weight: 1, arbitrary: fc.array(text, { minLength: 2, maxLength: 3 }).map((all) => all.join(';')) },
)
const name = fc.constantFrom('', '', 'a', 'b')
const exchange = fc.oneof(
  words.map((text) => ({ texts: [text], names: [] as string[] })),
  fc
    .array(fc.tuple(text, name), { minLength: 1, maxLength: 3 })
    .map((all) => ({ texts: all.map(([text]) => text), names: all.map(([, name]) => name) })),
)

const setup = fc.record({
  programs: fc.array(fc.array(exchange, { minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 4 }),
  servers: fc.integer({ min: 1, max: 2 }),
  preparedLimit: fc.constantFrom(1, 2, 100),
  room: fc.constantFrom(Number.POSITIVE_INFINITY, 300),
  seed: fc.integer({ min: 0, max: 0x7fffffff }),
})

const runs = Number(process.env.FC_RUNS ?? 300)
vi.setConfig({ testTimeout: 30_000 + 60 * runs })

test('at random: every client stays, and gets as many answers as it asked for, with no rows but its own', () => {
  fc.assert(
    fc.property(setup, ({ programs, servers, preparedLimit, room, seed }) => {
      const random = randomFrom(seed)
      const rig = new Rig({ clients: programs.length, servers, preparedLimit, database: 'lasting' })
      rig.onRelease = (server) => {
        server.work()
        if (!server.backend.isClean) throw new Error(`released too early: ${server.backend.state}`)
      }
      for (const { socket } of [...rig.clients, ...rig.servers]) socket.room = room
      const left = programs.map((program, client) =>
        [...program, { texts: ['rollback'], names: [] }, { texts: ['rows 1 @'], names: [] }].flatMap(
          ({ texts, names }, at) => {
            const mine = texts.map((text) => text.replaceAll('@', `<${client}.${at}>`))
            if (names.length === 0) return [wire.query(mine[0]!)]
            const batch = mine.flatMap((text, n) => [
              wire.close('S', names[n]!),
              wire.parse(names[n]!, text),
              wire.bind(names[n]!),
              wire.execute(),
            ])
            return [...batch, wire.sync]
          },
        ),
      )
      const gone = new Set<RigClient>()
      const kill = (server: RigServer): void => {
        const owner = rig.clients.find((client) => client.relay.server === server.relay)
        if (lose(server, random(2) === 0) && owner !== undefined) gone.add(owner)
      }
      const step = (): void => {
        const index = random(rig.clients.length)
        const client = rig.clients[index]!
        const server = rig.servers[random(rig.servers.length)]!
        const what = random(8)
        if (random(12) === 0) return kill(server)
        if (what > 2) return turn(rig, client, server, random, what)
        const mine = left[index]!
        if (client.socket.ended) left[index] = []
        if (client.socket.paused || client.socket.ended || mine.length === 0) return
        const bytes = Buffer.concat(mine)
        const size = sizeFrom(random)
        left[index] = size < bytes.length ? [bytes.subarray(size)] : []
        client.socket.deliver(bytes.subarray(0, size))
      }
      for (let steps = 0; left.some((messages) => messages.length > 0) && steps < 50_000; steps++) step()
      rig.settle()
      for (const [index, client] of rig.clients.entries()) {
        if (gone.has(client)) continue
        expect(client.socket.ended, 'is there').toBe(false)
        const told = exchangesOf(client.socket.taken())
        expect(told.length).toBe(programs[index]!.length + 2)
        for (const [at, lines] of told.entries()) {
          for (const line of lines) if (/^[DN] /.test(line)) expect(line).toContain(`<${index}.${at}>`)
        }
        expect(told.at(-1)!.at(-1)).toBe('Z I')
        expect(client.relay.server, 'has been released').toBeNull()
        expect([client.relay.dues.length, client.relay.isInLostBlock]).toEqual([0, false])
      }
      for (const server of rig.servers) expect([server.relay.owed.length, server.desync]).toEqual([0, ''])
    }),
    {
      numRuns: runs,
      ...(process.env.FC_SEED && { seed: Number(process.env.FC_SEED) }),
      ...(process.env.FC_PATH && { path: process.env.FC_PATH, endOnFailure: true }),
    },
  )
})
