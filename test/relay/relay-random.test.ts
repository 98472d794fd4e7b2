// Clients that send whatever the protocol allows, in transaction mode over few servers, everything cut and delayed at random:
// each gets what a server of its own would have said, and a server changes hands only when it owes nothing.

import fc from 'fast-check'
import { expect, test, vi } from 'vitest'
import * as wire from '../protocol/wire.js'
import { programs, randomFrom, sizeFrom, turn, withoutAsides } from './relay-programs.js'
import { direct, Rig, type RigClient } from './relay-rig.js'

const setup = fc.record({
  programs: fc.array(programs(), { minLength: 1, maxLength: 4 }),
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
        const what = random(8)
        switch (what) {
          case 0:
          case 1:
          case 2: {
            const mine = left[index]!
            if (client.socket.paused || mine.length === 0) return
            if (wholeMessages) return client.socket.deliver(Buffer.concat(mine.splice(0, 1 + random(6))))
            const bytes = Buffer.concat(mine)
            const size = sizeFrom(random)
            left[index] = size < bytes.length ? [bytes.subarray(size)] : []
            return client.socket.deliver(bytes.subarray(0, size))
          }
          default:
            turn(rig, client, server, random, what)
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
