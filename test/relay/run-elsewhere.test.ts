// Nothing that was not carried out fails (server_lost = error): a statement that no server has seen, or that one has refused as a write.

import { describe, expect, test } from 'vitest'
import * as wire from '../protocol/wire.js'
import { Rig, type RigServer } from './relay-rig.js'

const insert = wire.query('insert')
const batch = (text: string, name = ''): Buffer[] => [
  wire.parse(name, text),
  wire.bind(name),
  wire.describe('P'),
  wire.execute(),
  wire.sync,
]
const refused = 'E SERROR|C25006|Mcannot execute INSERT in a read-only transaction|Rmain||'

/** Two servers, of which the one that is taken first takes no writes. */
function open(
  runsAgain: boolean | 'later',
  readOnly = 1,
  preparedLimit = 100,
): { rig: Rig; first: RigServer; second: RigServer } {
  const rig = new Rig({ servers: 2, database: 'lasting', preparedLimit })
  rig.runsAgain = runsAgain
  const [second, first] = rig.servers as [RigServer, RigServer]
  first.backend.isReadOnly = true
  second.backend.isReadOnly = readOnly === 2
  return { rig, first, second }
}

const told = (rig: Rig): string[] => wire.linesOf(rig.client.socket.taken())

describe('a statement that is refused as a write', () => {
  test.each([
    ['a Query', [insert], ['C INSERT 0 1|', 'Z I']],
    ['a batch', batch('insert'), ['1', '2', 'n', 'C INSERT 0 1|', 'Z I']],
  ])('%s is run on another server, once, and its client sees nothing of it', (_what, messages, answer) => {
    const bytes = Buffer.concat(messages)
    const { rig, first, second } = open(true)
    rig.client.send(bytes)
    rig.settle()
    expect(told(rig)).toEqual(answer)
    expect([first.session.state, second.backend.inserts]).toEqual(['closed', 1])
    expect([rig.client.relay.server, rig.client.relay.dues.length]).toEqual([null, 0])
  })

  test.each([
    ['nobody says that it may', false, 1],
    ['it has been run again', true, 2],
  ] as const)('is told where %s', (_what, runsAgain, readOnly) => {
    const { rig, first, second } = open(runsAgain, readOnly)
    rig.client.send(insert)
    rig.settle()
    expect(told(rig)).toEqual([refused, 'Z I'])
    if (!runsAgain) {
      rig.client.send(...batch('insert'))
      rig.settle()
      expect(told(rig)).toEqual(['1', '2', 'n', refused, 'Z I'])
    }
    expect(first.backend.inserts + second.backend.inserts).toBe(0)
    if (runsAgain) expect(second.session.state).toBe('idle')
  })

  test.each([
    ['in a block that has done something', [wire.query('begin'), wire.query('rows 1'), insert]],
    ['in a block that was begun with more', [wire.query('begin;rows 1'), insert]],
    ['among others', [wire.query('rows 1;insert')]],
    ['behind another', [wire.query('rows 1'), insert]],
    ['before another', [insert, wire.query('rows 1')]],
    ['in a batch of several', [...batch('rows 1').slice(0, 4), ...batch('insert')]],
    ['with a name that it makes', batch('insert', 'a')],
    ['longer than what is kept', [wire.query(`insert${' '.repeat(16 * 1024)}`)]],
  ])('%s, it is told', (_what, messages) => {
    const { rig, second } = open(true)
    rig.client.send(...messages)
    rig.settle()
    expect(told(rig)).toContain(refused)
    expect(second.backend.inserts).toBe(0)
  })

  test('with an answer that comes in pieces, it is told: a part has been passed on', () => {
    const { rig, first, second } = open(true)
    rig.client.send(...batch('insert'))
    first.work()
    for (let n = 0; n < 200; n++) first.answer(1)
    rig.settle()
    expect(told(rig)).toEqual(['1', '2', 'n', refused, 'Z I'])
    expect(second.backend.inserts).toBe(0)
  })

  test.each([
    ['a Query', [insert], ['C INSERT 0 1|', 'Z T']],
    ['a batch', batch('insert'), ['1', '2', 'n', 'C INSERT 0 1|', 'Z T']],
  ])('%s behind a plain BEGIN is run on another server, behind that BEGIN', (_what, messages, answer) => {
    const { rig, first, second } = open(true)
    rig.client.send(wire.query('begin'))
    rig.settle()
    expect(told(rig)).toEqual(['C BEGIN|', 'Z T'])
    rig.client.send(...messages)
    rig.settle()
    expect(told(rig)).toEqual(answer)
    expect([first.session.state, second.backend.status, second.backend.inserts]).toEqual(['closed', 'T', 1])
    rig.client.send(insert, wire.query('commit'))
    rig.settle()
    expect(told(rig)).toEqual(['C INSERT 0 1|', 'Z T', 'C COMMIT|', 'Z I'])
    expect([rig.client.relay.server, rig.client.relay.dues.length]).toEqual([null, 0])
  })

  test('the BEGIN before it is the one that this block began with, not one of a former block', () => {
    const { rig, first, second } = open(true)
    rig.client.send(wire.query('begin'))
    rig.settle()
    rig.client.send(wire.query('rollback'))
    rig.settle()
    rig.client.send(wire.query('begin isolation level serializable'))
    rig.settle()
    rig.client.send(insert)
    first.work()
    first.answer()
    expect(second.socket.taken()).toEqual(wire.query('begin isolation level serializable'))
  })

  test('behind a BEGIN, where nobody says that it may, it is told, and the block has failed', () => {
    const { rig } = open(false)
    rig.client.send(wire.query('begin'))
    rig.settle()
    rig.client.send(insert)
    rig.settle()
    expect(told(rig)).toEqual(['C BEGIN|', 'Z T', refused, 'Z E'])
    rig.client.send(wire.query('rollback'))
    rig.settle()
    expect(told(rig)).toEqual(['C ROLLBACK|', 'Z I'])
  })

  test('the server that it gets next is lost before its BEGIN is answered: the next one has both', () => {
    const { rig, first, second } = open(true)
    rig.client.send(wire.query('begin'))
    rig.settle()
    rig.client.send(insert)
    first.work()
    first.answer()
    second.relay.onGone()
    rig.settle()
    expect(told(rig)).toEqual(['C BEGIN|', 'Z T', 'C INSERT 0 1|', 'Z T'])
    expect([second.backend.inserts, rig.client.server!.backend.inserts, rig.client.server!.backend.status]).toEqual([
      0,
      1,
      'T',
    ])
  })

  test('cancelled while it waits for another server, its block has failed', () => {
    const { rig, first, second } = open(true)
    rig.client.send(wire.query('begin'))
    rig.settle()
    second.session.close('pause')
    rig.client.send(insert)
    first.work()
    first.answer()
    expect(rig.client.served.isWaiting).toBe(true)
    rig.client.served.cancelWaiting()
    rig.client.send(insert, wire.query('rollback'))
    rig.settle()
    expect(told(rig).map((line) => line.slice(0, 15))).toEqual([
      'C BEGIN|',
      'Z T',
      'E SERROR|C57014',
      'Z E',
      'E SERROR|C25P02',
      'Z E',
      'C ROLLBACK|',
      'Z I',
    ])
  })

  test.each([true, false])('what is decided later: %s', (may) => {
    const { rig, second } = open('later')
    rig.client.send(insert)
    rig.settle()
    rig.client.send(wire.query('rows 1'))
    rig.settle()
    expect(told(rig)).toEqual([])
    rig.decide(may)
    rig.settle()
    expect(told(rig).filter((line) => /^[CE]/.test(line))).toEqual([may ? 'C INSERT 0 1|' : refused, 'C SELECT 1|'])
    expect(second.backend.inserts).toBe(may ? 1 : 0)
  })

  test('the server is lost before that is decided: it is run again', () => {
    const { rig, first, second } = open('later')
    rig.client.send(insert)
    rig.settle()
    first.relay.onGone()
    rig.settle()
    rig.decide(false)
    expect(told(rig)).toEqual(['C INSERT 0 1|', 'Z I'])
    expect(second.backend.inserts).toBe(1)
  })

  test.each([true, false])('clients are not to outlive their servers any more before that is decided: %s', (may) => {
    const { rig, second } = open('later')
    rig.client.send(insert)
    rig.settle()
    rig.client.relay.outlivesServers = false
    rig.decide(may)
    rig.settle()
    expect(told(rig)).toEqual(may ? ['C INSERT 0 1|', 'Z I'] : [refused, 'Z I'])
    rig.client.send(wire.query('rows 1'))
    rig.settle()
    expect([second.backend.inserts, rig.client.relay.stake]).toEqual([may ? 1 : 0, null])
  })

  test('its client leaves before that is decided', () => {
    const { rig, second } = open('later')
    rig.client.send(insert)
    rig.settle()
    rig.client.socket.owner.onGone()
    rig.decide(true)
    rig.settle()
    expect([told(rig), second.backend.inserts, rig.client.closed]).toEqual([[], 0, 'gone'])
  })
})

describe('a server that was gone before the first byte of a statement', () => {
  test.each([
    ['a Query', [insert], ['C INSERT 0 1|', 'Z I']],
    ['a batch', batch('insert'), ['1', '2', 'n', 'C INSERT 0 1|', 'Z I']],
  ])('%s goes to another', (_what, messages, answer) => {
    for (const preparedLimit of [0, 100]) {
      const { rig, first, second } = open(false, 1, preparedLimit)
      first.socket.isDeaf = true
      rig.client.send(...messages)
      first.relay.onGone()
      rig.settle()
      expect(told(rig)).toEqual(answer)
      expect(second.backend.inserts).toBe(1)
    }
  })

  test('what had gone out in part is not sent again', () => {
    const { rig, first, second } = open(false)
    rig.client.send(insert)
    first.socket.isDeaf = true
    rig.client.send(wire.query('rows 1'))
    first.relay.onGone()
    rig.settle()
    expect(
      told(rig)
        .filter((line) => line.startsWith('E'))
        .map((line) => line.slice(9, 15)),
    ).toEqual(['C08007', 'C08007'])
    expect(second.backend.inserts).toBe(0)
  })
})

describe('a plain BEGIN that its server was lost with', () => {
  test.each(['begin', 'BEGIN ISOLATION LEVEL SERIALIZABLE'])('%s goes to another', (text) => {
    const { rig, first, second } = open(false)
    rig.client.send(wire.query(text))
    first.work()
    first.relay.onGone()
    rig.settle()
    expect(told(rig).at(-1)).toBe('Z T')
    rig.client.send(insert, wire.query('commit'))
    rig.settle()
    expect(told(rig)).toEqual(['C INSERT 0 1|', 'Z T', 'C COMMIT|', 'Z I'])
    expect(second.backend.inserts).toBe(1)
  })

  test('and what stands behind it comes behind it', () => {
    const { rig, first, second } = open(false)
    rig.client.send(wire.query('begin'))
    first.work()
    rig.client.socket.taken()
    first.relay.onGone()
    rig.client.send(insert)
    rig.settle()
    expect([told(rig).slice(-2), second.backend.status]).toEqual([['C INSERT 0 1|', 'Z T'], 'T'])
  })

  test.each([
    ['with a statement behind it', [wire.query('begin'), wire.query('rows 1')]],
    ['with a statement in its text', [wire.query('begin;rows 1')]],
  ])('%s is not sent again', (_what, messages) => {
    const { rig, first, second } = open(false)
    rig.client.send(...messages)
    first.work()
    first.relay.onGone()
    rig.settle()
    expect(told(rig)[0]).toContain('C08007')
    expect(second.backend.status).toBe('I')
  })

  test('of whose answer a part was passed on, is not sent again', () => {
    const { rig, first, second } = open(false)
    rig.client.send(wire.query('begin'))
    first.work()
    first.answer(12) // its CommandComplete, and no more
    expect(told(rig)).toEqual(['C BEGIN|'])
    first.relay.onGone()
    rig.settle()
    expect(told(rig)[0]).toContain('C08007')
    expect(second.backend.status).toBe('I')
  })

  test('whose second server is lost as well, is told', () => {
    const { rig, first, second } = open(false)
    rig.client.send(wire.query('begin'))
    first.work()
    first.relay.onGone()
    second.work()
    second.relay.onGone()
    rig.settle()
    expect(told(rig)[0]).toContain('C08007')
  })
})
