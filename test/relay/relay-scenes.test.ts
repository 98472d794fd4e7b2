import { describe, expect, test } from 'vitest'
import * as wire from '../protocol/wire.js'
import { direct, Rig } from './relay-rig.js'

const { bind, close, copyData, copyDone, execute, flush, functionCall, parse, query, sync } = wire
const describeS = (name: string) => wire.describe('S', name)
const describeP = wire.describe('P')
const closeS = (name: string) => close('S', name)

/** Scenes of one client; what it gets is what a server of its own would have said, and no server is kept. */
const scenes: Record<string, Buffer[]> = {
  'a simple query': [query('rows 3')],
  'an empty query': [query('')],
  'a query of several statements, one of which fails': [query('rows 1;fail;rows 2'), query('rows 1')],
  'a transaction': [query('begin'), query('rows 1'), query('commit')],
  'a failed transaction': [query('begin'), query('fail'), query('rows 1'), query('rollback')],
  'a function call': [functionCall('x'), functionCall('fail'), query('rows 1')],
  'an unnamed statement': [parse('', 'rows 2'), bind('', '', 'v'), describeP, execute(), sync],
  'a named statement': [parse('a', 'rows 2'), describeS('a'), bind('a'), execute(), sync, bind('a'), execute(), sync],
  'a portal in portions': [
    query('begin'),
    parse('', 'rows 5'),
    bind(''),
    execute('', 2),
    execute('', 2),
    flush,
    execute('', 2),
    sync,
    query('commit'),
  ],
  'a statement prepared twice': [parse('a', 'rows 1'), sync, parse('a', 'rows 2'), sync, bind('a'), execute(), sync],
  'a statement prepared twice in one batch': [parse('a', 'rows 1'), parse('a', 'rows 2'), bind('a'), execute(), sync],
  'a statement prepared twice, in two pipelined batches': [
    parse('', 'rows 1'),
    sync,
    parse('a', 'rows 1'),
    parse('a', 'rows 2'),
    sync,
  ],
  'one text under two names, pipelined': [
    parse('a', 'rows 1'),
    sync,
    bind('a'),
    execute(),
    parse('b', 'rows 1'),
    bind('b'),
    execute(),
    sync,
  ],
  'a statement closed while its Parse is under way': [
    parse('a', 'rows 1'),
    sync,
    bind('a'),
    execute(),
    closeS('a'),
    sync,
    bind('a'),
    sync,
  ],
  'a failed Parse is not remembered': [
    parse('a', 'syntax'),
    sync,
    bind('a'),
    execute(),
    sync,
    parse('a', 'rows 1'),
    sync,
    bind('a'),
    execute(),
    sync,
  ],
  'a statement closed and made anew in one batch, which fails': [
    parse('a', 'rows 1'),
    sync,
    closeS('a'),
    parse('a', 'syntax'),
    sync,
    parse('a', 'rows 2'),
    sync,
    bind('a'),
    execute(),
    sync,
  ],
  'a Close that was skipped': [
    parse('a', 'rows 1'),
    sync,
    parse('', 'syntax'),
    closeS('a'),
    sync,
    bind('a'),
    execute(),
    sync,
  ],
  'a Close that was skipped, and a Parse of the same name behind it': [
    parse('a', 'rows 1'),
    sync,
    parse('', 'syntax'),
    closeS('a'),
    parse('a', 'rows 2'),
    sync,
    bind('a'),
    execute(),
    sync,
  ],
  'a Close that was skipped, and the name used in the next batch': [
    parse('a', 'rows 1'),
    sync,
    parse('', 'syntax'),
    closeS('a'),
    sync,
    bind('a'),
    execute(),
    sync,
    parse('a', 'rows 2'),
    sync,
  ],
  'a batch that fails before a statement is used, and one that uses it': [
    parse('a', 'rows 1'),
    sync,
    closeS('a'),
    parse('b', 'rows 1'),
    sync,
    parse('', 'syntax'),
    bind('b'),
    execute(),
    sync,
    bind('b'),
    execute(),
    sync,
  ],
  'Close of a name that is not there': [closeS('a'), closeS(''), close('P', 'x'), sync],
  'Describe of a name that is not there': [describeS('a'), sync, query('rows 1')],
  'names like ours': [bind('PGBOUNCER_1'), sync, describeS('PGBOUNCER_1'), sync, query('rows 1')],
  'a Parse left out before a Query': [
    parse('a', 'rows 1'),
    sync,
    closeS('a'),
    parse('a', 'rows 1'),
    query('rows 2'),
    bind('a'),
    execute(),
    sync,
  ],
  'a Parse left out before rows of an older portal': [
    query('begin'),
    parse('a', 'rows 9'),
    bind('a', 'p'),
    execute('p', 2),
    sync,
    closeS('a'),
    parse('a', 'rows 9'),
    execute('p', 2),
    sync,
    query('commit'),
  ],
  'a Close left out between rows and end of a portal': [
    parse('a', 'rows 9'),
    bind('a', 'p'),
    execute('p', 2),
    closeS('a'),
    execute('p', 3),
    describeS('b'),
    sync,
    query('rows 1'),
  ],
  'a Query in the middle of a batch': [
    parse('', 'rows 1'),
    query('rows 2'),
    parse('', 'rows 3'),
    bind(''),
    execute(),
    sync,
  ],
  'a Query in the middle of a batch that failed': [
    parse('', 'syntax'),
    query('rows 2'),
    functionCall('x'),
    sync,
    query('rows 3'),
  ],
  'a batch closed by a Query': [parse('', 'rows 1'), bind(''), execute(), query('rows 2')],
  'a Flush and nothing else': [flush, query('rows 1'), flush],
  'COPY in': [query('copy in'), copyData('x'), copyData('y'), copyDone],
  'COPY in and a query behind it': [query('copy in'), copyData('x'), copyDone, query('rows 1')],
  'COPY in that the client gives up': [query('copy in'), copyData('x'), wire.copyFail('no'), query('rows 1')],
  'COPY in that fails at once': [query('copy in 1'), copyData('x'), copyData('y'), copyDone, query('rows 1')],
  'several COPY in one query': [
    query('copy in;rows 1;copy in;rows 2'),
    copyData('x'),
    copyDone,
    copyData('y'),
    copyDone,
  ],
  'COPY in as a prepared statement': [
    parse('a', 'copy in'),
    bind('a'),
    execute(),
    copyData('x'),
    copyDone,
    sync,
    query('rows 1'),
  ],
  'COPY in with a Sync before its data': [
    parse('', 'copy in'),
    bind(''),
    execute(),
    sync,
    copyData('x'),
    copyDone,
    sync,
    query('rows 1'),
  ],
  'COPY in by the extended protocol that fails': [
    parse('', 'copy in 1'),
    bind(''),
    execute(),
    copyData('x'),
    copyData('y'),
    copyDone,
    sync,
    query('rows 1'),
  ],
  'COPY out': [query('copy out'), parse('', 'copy out'), bind(''), execute(), sync],
  'COPY data that nobody asked for': [
    copyData('x'),
    copyDone,
    query('rows 1'),
    copyData('x'),
    copyDone,
    query('rows 1'),
  ],
  'DISCARD ALL': [
    parse('a', 'rows 1'),
    sync,
    query('discard all'),
    bind('a'),
    sync,
    parse('a', 'rows 2'),
    bind('a'),
    execute(),
    sync,
  ],
  'a statement made behind DISCARD ALL': [
    parse('a', 'rows 1'),
    sync,
    query('discard all'),
    parse('a', 'rows 2'),
    sync,
    bind('a'),
    execute(),
    sync,
  ],
}

for (const preparedLimit of [0, 1, 100]) {
  describe(`max_prepared_statements ${preparedLimit}`, () => {
    test.each(Object.entries(scenes))('%s', (_, messages) => {
      const bytes = Buffer.concat(messages)
      const expected = wire.linesOf(direct(bytes))
      if (!(preparedLimit === 0 && expected.length === 0)) expect(expected.length).toBeGreaterThan(0)

      // All at once, one message at a time, one byte at a time; answers likewise.
      for (const pieces of [[bytes], messages, [...bytes].map((byte) => Buffer.of(byte))]) {
        for (const size of [undefined, 1, 7]) {
          for (const isPatient of [false, true]) {
            const rig = new Rig({ preparedLimit })
            rig.onRelease = (server) => {
              server.work()
              if (!server.backend.isClean) throw new Error(`released too early: ${server.backend.state}`)
            }
            for (const piece of pieces) {
              rig.client.send(piece)
              if (isPatient) run(rig, size)
            }
            run(rig, size)
            expect(rig.server.desync).toBe('')
            expect(rig.client.closed).toBe('')
            expect(wire.linesOf(rig.client.socket.taken())).toEqual(expected)
            expect(rig.client.relay.server, 'has been released').toBeNull()
          }
        }
      }
    })
  })
}

/** Until nothing moves, the server's answers `size` bytes at a time. */
function run(rig: Rig, size: number | undefined): void {
  const { server } = rig
  for (;;) {
    server.work()
    if (server.backend.sent.length === 0 && server.socket.writes.length === 0) return
    while (server.backend.sent.length > 0) server.answer(size)
  }
}
