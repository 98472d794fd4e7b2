import { expect, test } from 'vitest'
import { ClientStatements } from '../../src/relay/statements/client-statements.js'
import { noteOf } from '../../src/relay/statements/prepared-notes.js'
import { ServerStatements } from '../../src/relay/statements/server-statements.js'
import { StatementTable } from '../../src/relay/statements/statement-table.js'
import { i16, messagesOf, z } from '../protocol/wire.js'

/** Parameters under which texts are read. */
const utf8 = { reading: '' }

const body = (text: string): Buffer => Buffer.concat([z(text), i16(0)])

function fixture() {
  const table = new StatementTable()
  return {
    table,
    client: new ClientStatements(table, utf8),
    other: new ClientStatements(table, utf8),
    server: new ServerStatements(table),
  }
}

test('the same text and types are one statement, for whoever prepares it', () => {
  const { table, client, other } = fixture()
  const one = client.add('a', body('select 1'))!
  expect(other.add('b', body('select 1'))).toBe(one)
  expect(client.add('c', body('select 2'))).not.toBe(one)
  expect(other.add('d', Buffer.concat([z('select 1'), i16(1), Buffer.alloc(4)]))).not.toBe(one)
  expect(table.count).toBe(3)
})

test('a statement carries the Parse that makes it', () => {
  const { client } = fixture()
  const statement = client.add('a', body('select 1'))!
  expect(messagesOf(statement.create)).toEqual([
    { code: 'P', body: Buffer.concat([z('PGBOUNCER_1'), body('select 1')]) },
  ])
  expect(statement.nameBytes).toEqual(z('PGBOUNCER_1'))
})

test('a statement does not change with the chunk it was found in', () => {
  const { client } = fixture()
  const chunk = body('select 1')
  const statement = client.add('a', chunk)!
  chunk.fill(0xee)
  expect(statement.create.includes('select 1')).toBe(true)
})

test('a statement is forgotten with its last user, and its name is not used again', () => {
  const { table, client, other, server } = fixture()
  const statement = client.add('a', body('select 1'))!
  other.add('b', body('select 1'))
  server.add(statement)
  client.remove('a')
  other.remove('b')
  expect(table.count).toBe(1)
  server.remove(statement)
  expect([table.count, table.bytes]).toEqual([0, 0])
  expect(client.add('a', body('select 1'))!.name).toBe('PGBOUNCER_2')
})

test('a client may hold 16 MiB of statements, under as many names as it likes', () => {
  const { table, client, other } = fixture()
  const megabyte = body('x'.repeat(1024 * 1024 - 3))
  for (let n = 0; n < 16; n++) expect(client.add(`a${n}`, megabyte)).not.toBeNull()
  expect(client.add('more', megabyte), 'the same text counts for each name').toBeNull()
  expect(client.add('more', body(''))).toBeNull()
  expect(table.bytes, 'but is kept once').toBe(1024 * 1024)
  expect(other.add('a', megabyte)).not.toBeNull()
  client.remove('a0')
  expect(client.add('more', megabyte)).not.toBeNull()
})

test('names count as well: 16 MiB of them for a client, and each more than its letters', () => {
  const { table, client, other } = fixture()
  const megabytes = 'n'.repeat(5 * 1024 * 1024)
  for (const letter of ['a', 'b', 'c']) expect(client.add(megabytes + letter, body('select 1'))).not.toBeNull()
  expect(client.add(`${megabytes}d`, body('select 1'))).toBeNull()
  const note = client.detach(`${megabytes}a`)!
  expect(client.add(`${megabytes}d`, body('select 1'))).not.toBeNull()
  note.undo(new ServerStatements(table))
  expect(client.get(`${megabytes}a`), 'has no room any more').toBeUndefined()
  let short = 0
  while (short < 1_000_000 && other.add(`n${short}`, body('')) !== null) short++
  expect(short).toBeGreaterThan(100_000)
  expect(short).toBeLessThan(130_000)
  client.close()
  other.close()
  expect([table.count, table.bytes]).toEqual([0, 0])
  expect(table.holdName(512 * 1024 * 1024), 'nothing is held for names').toBe(true)
})

test('all clients together have a limit, too', () => {
  const table = new StatementTable(100)
  const forty = (name: string): Buffer => body(name.padEnd(37))
  expect(new ClientStatements(table, utf8).add('a', forty('1'))).not.toBeNull()
  expect(new ClientStatements(table, utf8).add('a', forty('2'))).not.toBeNull()
  expect(new ClientStatements(table, utf8).add('a', forty('3'))).toBeNull()
  expect(new ClientStatements(table, utf8).add('a', forty('2')), 'what is there already costs nothing').not.toBeNull()
})

test('a name stands or falls with the Parse that gave it', () => {
  const { client, server } = fixture()
  const good = noteOf.prepare(client.add('a', body('1'))!, 'a', client)
  expect(client.isPending('a')).toBe(true)
  good.confirm(server)
  expect(client.isPending('a')).toBe(false)
  good.undo(server)
  expect(client.get('a'), 'too late').toBeDefined()
  const bad = noteOf.prepare(client.add('b', body('2'))!, 'b', client)
  bad.undo(server)
  expect(client.get('b')).toBeUndefined()
})

test('an earlier Parse of a name does not confirm or undo a later one', () => {
  const { client, server } = fixture()
  const first = noteOf.prepare(client.add('a', body('1'))!, 'a', client)
  client.detach('a')
  const second = noteOf.prepare(client.add('a', body('1'))!, 'a', client)
  first.confirm(server)
  expect(client.isPending('a')).toBe(true)
  first.undo(server)
  expect(client.get('a')).toBeDefined()
  second.undo(server)
  expect(client.get('a')).toBeUndefined()
})

test('a Close that was skipped gives the name back, with the Parse that was under way', () => {
  const { client, server } = fixture()
  const made = noteOf.prepare(client.add('a', body('1'))!, 'a', client)
  const closed = client.detach('a')!
  expect(client.get('a')).toBeUndefined()
  closed.undo(server)
  expect(client.isPending('a')).toBe(true)
  made.undo(server)
  expect(client.get('a')).toBeUndefined()
})

test('a Close that was skipped of a statement that has been answered', () => {
  const { client, server } = fixture()
  const made = noteOf.prepare(client.add('a', body('1'))!, 'a', client)
  const closed = client.detach('a')!
  made.confirm(server)
  closed.undo(server)
  expect([client.get('a') !== undefined, client.isPending('a')]).toEqual([true, false])
})

test('what a Close holds is let go of, whether it was carried out, skipped or its client left', () => {
  for (const end of ['confirm', 'undo'] as const) {
    const { table, client, server } = fixture()
    noteOf.prepare(client.add('a', body('1'))!, 'a', client).confirm(server)
    const closed = client.detach('a')!
    expect(table.count).toBe(1)
    client.close()
    closed[end](server)
    expect(table.count).toBe(0)
  }
})

test('Close of an unknown name is nothing', () => {
  expect(fixture().client.detach('a')).toBeNull()
})

test('the least recently used statement makes room, and comes back where that was skipped', () => {
  const { table, client, server } = fixture()
  const [one, two, three] = ['1', '2', '3'].map((text) => client.add(text, body(text))!) as [never, never, never]
  for (const statement of [one, two, three]) {
    server.add(statement)
    server.confirm(statement)
  }
  server.touch(one)
  expect(server.evict(3)).toBeNull()
  expect(server.evict(2)).toBe(two)
  expect(server.has(two)).toBe(false)
  const note = noteOf.evict(two, client)
  note.undo(server)
  expect([server.has(two), server.isAnswered(two)]).toEqual([true, true])
  expect(server.evict(2)).toBe(three)
  noteOf.evict(three, client).confirm(server)
  client.close()
  server.clear()
  expect(table.count).toBe(0)
})

test('a statement made to give way and put back in the same batch, all of it skipped, is held once', () => {
  const { table, client, server } = fixture()
  const statement = client.add('a', body('1'))!
  server.add(statement)
  server.confirm(statement)
  const evicted = noteOf.evict(server.evict(0)!, client)
  server.add(statement)
  const again = noteOf.prepare(statement, '', client)
  again.undo(server)
  evicted.undo(server)
  expect(server.isAnswered(statement)).toBe(true)
  server.evict(0)
  server.add(statement)
  noteOf.evict(statement, client).undo(server)
  expect(server.count).toBe(1)
  client.close()
  server.clear()
  expect(table.count).toBe(0)
})

test('a statement that is still to be answered does not make room', () => {
  const { client, server } = fixture()
  server.add(client.add('a', body('1'))!)
  expect(server.evict(0)).toBeNull()
})

test('DISCARD ALL takes what has been answered', () => {
  const { table, client, server } = fixture()
  const old = client.add('old', body('1'))!
  const young = client.add('young', body('2'))!
  server.add(old)
  noteOf.prepare(old, 'old', client).confirm(server)
  server.add(young)
  noteOf.prepare(young, 'young', client)
  client.forgetAnswered()
  server.forgetAnswered()
  expect([client.get('old'), client.get('young')]).toEqual([undefined, young])
  expect([server.has(old), server.has(young)]).toEqual([false, true])
  expect(table.count).toBe(1)
})

test('a text that is read under other parameters is another statement', () => {
  const table = new StatementTable()
  const parameters = { reading: 'UTF8' }
  const client = new ClientStatements(table, parameters)
  const server = new ServerStatements(table)
  const one = client.add('a', body('select 1'))!
  noteOf.prepare(one, 'a', client).confirm(server)
  expect(client.reread(client.find('a')!, false)).toBe(one)
  parameters.reading = 'LATIN1'
  const other = client.reread(client.find('a')!, false)
  expect(other.name).not.toBe(one.name)
  expect(client.get('a')).toBe(other)
  expect(other.create.subarray(16)).toEqual(one.create.subarray(16))
  expect(table.count, 'the first has no user any more').toBe(1)
  expect(client.reread(client.find('a')!, true)).toBe(other)
  client.close()
  expect([table.count, table.bytes]).toEqual([0, 0])
})
