// Clients that close their side at any byte, or say Terminate behind any message, whatever is under way: each comes to its end, having heard nothing that a server of
// its own would not have said, and nobody else notices.

import fc from 'fast-check'
import { expect, test, vi } from 'vitest'
import * as wire from '../protocol/wire.js'
import { programs, randomFrom, sizeFrom, turn } from './relay-programs.js'
import { direct, Rig } from './relay-rig.js'

/** How much of its program a client says. */
const cut = fc.oneof({ weight: 9, arbitrary: fc.double({ min: 0, max: 1, noNaN: true }) }, fc.constant(1))

const setup = fc.record({
  lives: fc.array(fc.record({ program: programs(5), cut, terminates: fc.boolean() }), { minLength: 1, maxLength: 3 }),
  servers: fc.integer({ min: 1, max: 2 }),
  preparedLimit: fc.constantFrom(1, 2, 100),
  room: fc.constantFrom(Number.POSITIVE_INFINITY, 100),
  seed: fc.integer({ min: 0, max: 0x7fffffff }),
})

/** From outside: a longer hunt. */
const runs = Number(process.env.FC_RUNS ?? 300)
vi.setConfig({ testTimeout: 30_000 + 60 * runs })

/** What is said of a connection that ends amid something, by PostgreSQL alone or by us alone. */
const isOfTheEnd = (line: string): boolean => /EOF|unexpected message type|canceled|terminating/.test(line)

test('every client comes to its end, and its server is given on or given up', () => {
  fc.assert(
    fc.property(setup, ({ lives, servers, preparedLimit, room, seed }) => {
      const random = randomFrom(seed)
      const rig = new Rig({ clients: lives.length, servers, preparedLimit })
      rig.onRelease = (server) => {
        server.work()
        if (!server.backend.isClean) throw new Error(`released too early: ${server.backend.state}`)
      }
      for (const { socket } of [...rig.clients, ...rig.servers]) socket.room = room
      const all = lives.map(({ program: { messages }, cut, terminates }) => {
        if (terminates) return Buffer.concat(messages.slice(0, Math.ceil(cut * messages.length)))
        const bytes = Buffer.concat(messages)
        return bytes.subarray(0, Math.ceil(cut * bytes.length))
      })
      const left = all.map((bytes, index) =>
        lives[index]!.terminates ? Buffer.concat([bytes, wire.terminate]) : bytes,
      )
      const open = new Set(rig.clients.keys())
      const step = (): void => {
        const index = random(rig.clients.length)
        const client = rig.clients[index]!
        const server = rig.servers[random(rig.servers.length)]!
        const what = random(8)
        switch (what) {
          case 0:
          case 1:
          case 2: {
            const bytes = left[index]!
            if (client.closed !== '') open.delete(index)
            if (client.socket.paused || !open.has(index)) return
            if (bytes.length === 0) {
              open.delete(index)
              return client.relay.onHalfClosed()
            }
            const size = sizeFrom(random)
            left[index] = bytes.subarray(size)
            return client.socket.deliver(bytes.subarray(0, size))
          }
          default:
            turn(rig, client, server, random, what)
        }
      }
      for (let steps = 0; open.size > 0 && steps < 50_000; steps++) step()
      rig.settle()
      expect(open.size, 'who did not get to leave').toBe(0)
      for (const server of rig.servers) expect(server.desync).toBe('')
      for (const [index, client] of rig.clients.entries()) {
        expect(client.closed, `client ${index} has come to its end`).not.toBe('')
        const own = wire.linesOf(client.socket.taken()).filter((line) => !isOfTheEnd(line))
        const expected = wire.linesOf(direct(all[index]!))
        const common = Math.min(own.length, expected.length)
        expect(own.slice(0, common)).toEqual(expected.slice(0, common))
        if (lives[index]!.cut === 1) expect(own).toEqual(expected)
      }
    }),
    {
      numRuns: runs,
      ...(process.env.FC_SEED && { seed: Number(process.env.FC_SEED) }),
      ...(process.env.FC_PATH && { path: process.env.FC_PATH, endOnFailure: true }),
    },
  )
})
