// What a client's bytes cost is in proportion to them: eight times as many take about eight times as long, whatever they are.

import { expect, test } from 'vitest'
import { readCommands } from '../../src/relay/statements/sql-command.js'
import { growth, steepest } from '../harness/growth.js'
import * as wire from '../protocol/wire.js'
import { Rig } from './relay-rig.js'

const { bind, close, describe, execute, parse, query, sync } = wire

const times = (count: number, of: (n: number) => Buffer): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, n) => of(n)))

/** A client that has prepared `rows 1` as `a`, and sends this in the chunks that a socket gives. */
function send(bytes: Buffer): void {
  const rig = new Rig()
  rig.client.send(parse('a', 'rows 1'), sync)
  rig.settle()
  for (let at = 0; at < bytes.length; at += 65_536) {
    rig.client.socket.deliver(bytes.subarray(at, at + 65_536))
    rig.server.socket.taken()
  }
}

test.each<[string, number, (count: number) => Buffer]>([
  ['Parses that are left out', 10_000, (count) => times(count, (n) => parse(`n${n}`, 'rows 1'))],
  [
    'Describes behind Parses that are left out',
    5000,
    (count) =>
      Buffer.concat([times(count, (n) => parse(`n${n}`, 'rows 1')), times(count, (n) => describe('S', `n${n}`))]),
  ],
  ['Binds in one batch', 10_000, (count) => times(count, () => Buffer.concat([bind('a'), execute()]))],
  ['exchanges', 10_000, (count) => times(count, () => Buffer.concat([bind('a'), execute(), sync]))],
  ['names that are unknown', 10_000, (count) => times(count, (n) => bind(`x${n}`))],
  [
    'names closed',
    10_000,
    (count) => times(count, (n) => Buffer.concat([parse(`n${n}`, 'rows 1'), close('S', `n${n}`)])),
  ],
  [
    'unnamed statements',
    10_000,
    (count) => times(count, () => Buffer.concat([parse('', 'rows 1'), bind(''), execute()])),
  ],
  ['Queries', 10_000, (count) => times(count, () => query('rows 1'))],
  ['Queries of several statements', 10_000, (count) => times(count, () => query('rows 1;rows 2'))],
  ['a Query of many statements', 20_000, (count) => query('rows 1;'.repeat(count))],
  ['a PREPARE with blanks', 50_000, (count) => query(`prepare b as select 1${' '.repeat(count)}x${' '.repeat(count)}`)],
  ['a PREPARE with semicolons', 50_000, (count) => query(`prepare b as select 1${' ;'.repeat(count)}`)],
  ['a PREPARE by Parse, with blanks', 50_000, (count) => parse('', `prepare b as select 1${' '.repeat(count)}x`)],
  ['comments before a command', 50_000, (count) => query(`${'/**/'.repeat(count)}execute a`)],
])('%s', (_what, count, bytes) => {
  expect(growth((size) => send(bytes(size)), count)).toBeLessThan(steepest)
})

test.each<[string, (count: number) => string]>([
  ['a long DELETE', (count) => ` delete from t where id in (${'1, '.repeat(count)}1)`],
  ['words that are none of them', (count) => 'executed prepared '.repeat(count)],
  ['commands', (count) => 'execute a;'.repeat(count)],
  ['EXPLAIN with options', (count) => `explain (${'a, '.repeat(count)}) execute a`],
  ['AS without EXECUTE', (count) => `create table t as ${'as '.repeat(count)}; execute a`],
  ['quotes', (count) => `prepare a as select ${"''".repeat(count)}`],
])('reading %s', (_what, text) => {
  expect(growth((size) => readCommands(text(size), false), 20_000)).toBeLessThan(steepest)
})
