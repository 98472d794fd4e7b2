// Clients that name statements they have and statements they have not, prepare behind the pooler's back, leave at any moment, on
// few servers: whatever happens, nobody is given rows of a statement that is not its own.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import * as wire from '../protocol/wire.js'
import { Rig } from './relay-rig.js'

const name = fc.constantFrom('', 'a', 'b', 'PGBOUNCER_1', 'PGBOUNCER_2')
/** What a client executes says whose it is. */
const rows = '?'
const text = fc.constantFrom(rows, rows, rows, 'syntax', 'fail')

const extended = fc.oneof(
  { weight: 3, arbitrary: fc.tuple(name, text).map((all) => ['parse', ...all] as const) },
  { weight: 4, arbitrary: name.map((one) => ['bind', one] as const) },
  { weight: 4, arbitrary: fc.constant(['execute'] as const) },
  { weight: 2, arbitrary: name.map((one) => ['describe', one] as const) },
  { weight: 1, arbitrary: name.map((one) => ['close', one] as const) },
  { weight: 3, arbitrary: fc.constant(['sync'] as const) },
  { weight: 1, arbitrary: fc.constant(['flush'] as const) },
)
const sqlName = fc.constantFrom('a', 'b', '"PGBOUNCER_1"')
const sql = fc.oneof(
  sqlName.map((one) => `prepare ${one} as ${rows}`),
  sqlName.map((one) => `execute ${one}`),
  sqlName.map((one) => `deallocate ${one}`),
  fc.constantFrom('begin', 'commit', 'rollback', 'discard all', rows),
  fc
    .tuple(fc.constantFrom('prepare', 'deallocate'), fc.constantFrom('a', 'b'))
    .map(([verb, one]) => `do ${verb} ${one} ${rows}`),
  fc.constant('do deallocate-all'),
)
const message = fc.oneof(
  { weight: 6, arbitrary: extended },
  { weight: 2, arbitrary: sql.map((one) => ['query', one] as const) },
  {
    weight: 2,
    arbitrary: fc.array(sql, { minLength: 2, maxLength: 4 }).map((all) => ['query', all.join(';')] as const),
  },
  { weight: 2, arbitrary: fc.tuple(sql, name).map(([one, by]) => ['portal', one, by] as const) },
  { weight: 1, arbitrary: fc.tuple(name, sql).map((all) => ['parse', ...all] as const) },
)

function bytesOf(step: readonly string[], client: number): Buffer {
  const [verb, first = '', second = ''] = step.map((word) => word.replaceAll(rows, `rows 1 of-${client}`))
  switch (verb) {
    case 'parse':
      return wire.parse(first, second)
    case 'bind':
      return wire.bind(first)
    case 'execute':
      return wire.execute()
    case 'describe':
      return wire.describe('S', first)
    case 'close':
      return wire.close('S', first)
    case 'sync':
      return wire.sync
    case 'flush':
      return wire.flush
    case 'portal':
      return Buffer.concat([wire.parse(second, first), wire.bind(second, 'p'), wire.execute('p'), wire.close('P', 'p')])
    default:
      return wire.query(first)
  }
}

const scene = fc.record({
  programs: fc.array(fc.array(message, { minLength: 1, maxLength: 20 }), { minLength: 2, maxLength: 4 }),
  /** Whose turn it is, and how many bytes go. */
  turns: fc.array(fc.tuple(fc.nat(3), fc.nat(60), fc.nat(3)), { maxLength: 60 }),
  servers: fc.integer({ min: 1, max: 2 }),
  preparedLimit: fc.constantFrom(1, 2, 100),
})

/** From outside: a longer hunt. */
const runs = Number(process.env.FC_RUNS ?? 300)

test(
  'nobody is given rows, or a description, of a statement that is not its own',
  () => {
    fc.assert(
      fc.property(scene, ({ programs, turns, servers, preparedLimit }) => {
        const rig = new Rig({ clients: programs.length, servers, preparedLimit })
        const left = programs.map((steps, client) =>
          Buffer.concat([...steps.map((step) => bytesOf(step, client)), wire.sync, wire.query('rollback')]),
        )
        const heard = programs.map(() => Buffer.alloc(0))
        const send = (index: number, size: number): void => {
          const client = rig.clients[index]!
          if (client.socket.paused || client.closed !== '' || left[index]!.length === 0) return
          client.socket.deliver(left[index]!.subarray(0, size))
          left[index] = left[index]!.subarray(size)
        }
        const listen = (): void => {
          for (const [index, { socket }] of rig.clients.entries())
            heard[index] = Buffer.concat([heard[index]!, socket.taken()])
        }
        for (const [who, size, what] of turns) {
          send(who % programs.length, size + 1)
          const server = rig.servers[what % servers]!
          server.backend.receive(server.socket.taken())
          server.backend.work(what + 1)
          if (!server.socket.paused && what > 0) server.answer(1 + size)
          listen()
        }
        for (let rest = 0; rest < 100 && left.some((bytes) => bytes.length > 0); rest++) {
          for (const index of left.keys()) send(index, 1 << 20)
          rig.settle()
        }
        rig.settle()
        listen()
        for (const server of rig.servers) expect(server.desync).toBe('')
        for (const [index, bytes] of heard.entries()) {
          expect(rig.clients[index]!.closed).toBe('')
          const lines = wire.linesOf(bytes)
          for (const line of lines) {
            const owner = /of-(\d)/.exec(line)?.[1]
            if (owner !== undefined) expect(owner, line).toBe(String(index))
            if (line.includes('E ')) expect(line).not.toMatch(/PGBOUNCER_(?![12]\b)/)
          }
          expect(lines.at(-1)).toBe('Z I')
        }
      }),
      {
        numRuns: runs,
        ...(process.env.FC_SEED && { seed: Number(process.env.FC_SEED) }),
        ...(process.env.FC_PATH && { path: process.env.FC_PATH, endOnFailure: true }),
      },
    )
  },
  30_000 + 60 * runs,
)
