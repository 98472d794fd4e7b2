// An exchange that is run again is the one that failed, and the client has heard nothing of it.

import { expect, test } from 'vitest'
import * as wire from '../protocol/wire.js'
import { Rig } from './relay-rig.js'

const { bind, execute, parse, query, sync } = wire

/** Statements a and b, and q of SQL, are there as the client believes; the server has lost them. */
function lost(): Rig {
  const rig = new Rig()
  rig.client.send(parse('a', 'rows 1 a'), parse('b', 'rows 1 b'), sync)
  rig.settle()
  rig.client.send(query('prepare q as rows 1 q'))
  rig.settle()
  return rig
}

function answer(rig: Rig, ...deliveries: (readonly Buffer[])[]): string[] {
  rig.client.socket.taken()
  for (const messages of deliveries) rig.client.send(...messages)
  rig.settle()
  return wire
    .linesOf(rig.client.socket.taken())
    .filter((line) => /^[DE]/.test(line))
    .map((line) => /rows? ?\d? ?\w|\|C26000\|M[^|]*|D.*/.exec(line)![0])
}

const use = (name: string): Buffer[] => [bind(name), execute(), sync]
const isGone = (name: string): string => `|C26000|Mprepared statement "${name}" does not exist`

test('one of several that are under way is not run again, and neither is it later in the place of another', () => {
  const rig = lost()
  rig.server.backend.statements.clear()
  expect(answer(rig, use('a'), use('b'))).toEqual([isGone('a'), isGone('b')])
  // Now it is known what the server lacks.
  expect(answer(rig, use('b'))).toHaveLength(1)
})

test('what has been answered is not run again in the place of what fails later', () => {
  const rig = lost()
  const first = answer(rig, [query('execute q')])
  expect(first).toHaveLength(1)
  rig.server.backend.statements.clear()
  expect(answer(rig, [parse('c', 'rows 1 c'), ...use('b')])).toEqual([isGone('b')])
})
