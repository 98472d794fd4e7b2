// Reads of the same size come in the very same Buffer, with other bytes: nothing known of one is taken for known of the next.

import { expect, test } from 'vitest'
import * as wire from '../protocol/wire.js'
import { Rig } from './relay-rig.js'

const { bind, execute, parse, query, sync } = wire

/** What `io/socket.ts` does: one view for all reads of one size. */
function inOneView(rig: Rig, ...reads: Buffer[]): void {
  const size = reads[0]!.length
  const view = Buffer.alloc(size)
  for (const bytes of reads) {
    expect(bytes.length, 'reads of one size').toBe(size)
    bytes.copy(view)
    rig.client.relay.onBytes(view)
  }
}

test('a PREPARE among statements is found, whatever was read before', () => {
  const rig = new Rig()
  const text = 'rows 1;prepare a as rows 2'
  inOneView(rig, query('rows 1 x'.padEnd(text.length, 'x')), query(text))
  rig.settle()
  expect([...rig.server.backend.statements.keys()]).toEqual([expect.stringMatching(/^PGBOUNCER_/)])
})

test('an exchange that came in two reads is not run again in part', () => {
  const rig = new Rig()
  rig.client.send(parse('a', 'rows 1'), sync)
  rig.settle()
  rig.client.socket.taken()
  rig.server.backend.stale.add('PGBOUNCER_1')
  const end = Buffer.concat([execute('', 0), wire.flush, wire.flush, wire.flush, wire.flush, sync])
  const describe = wire.describe('P')
  const value = 'v'.repeat(end.length - bind('a', '', '').length - describe.length)
  inOneView(rig, Buffer.concat([bind('a', '', value), describe]), end)
  rig.settle()
  expect(wire.linesOf(rig.client.socket.taken())).toEqual([expect.stringContaining('C0A000'), 'Z I'])
})
