// How PostgreSQL reads each message, in each state, whatever its length: the pooler passes it on, counts on the same, and
// nobody else hears of it. docs/protocol.md has the table.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startPooler, type TestPooler } from '../harness/pooler.js'
import { query as ask, createDatabase, postgres, type TestDatabase } from '../harness/postgres.js'
import {
  bind,
  close,
  copyData,
  copyDone,
  copyFail,
  describe as describeMessage,
  execute,
  extended,
  flush,
  functionCall,
  message,
  parse,
  query,
  RawClient,
  sync,
  terminate,
} from '../harness/raw-client.js'

const user = 'trust_user'
let database: TestDatabase
let pooler: TestPooler

beforeAll(async () => {
  database = await createDatabase()
  await ask(
    `create table t (n int); create table r (n int); grant all on t, r to public;
     create function raise() returns trigger language plpgsql as $$ begin raise exception 'not today'; end $$;
     create trigger raise before insert on r for each statement execute procedure raise()`,
    { database: database.name },
  )
  pooler = await startPooler({ default_pool_size: 1 })
})
afterAll(async () => {
  await pooler[Symbol.asyncDispose]()
  await database.drop()
})

/** What came before, from a connection that has said nothing yet. */
const states: Readonly<Record<string, readonly Buffer[]>> = {
  idle: [],
  'in a transaction': [query('begin')],
  'in a failed transaction': [query('begin'), query('select 1 / 0')],
  'behind a Query': [query('select 1 as before')],
  'in a batch': [parse('select 1 as batch', 'own'), bind([], 'own')],
  'in a batch that failed': [extended('select 1 / 0')],
  'behind a Sync': [extended('select 2 as synced'), sync],
  'in a COPY': [query('copy t from stdin'), copyData('1\n')],
  'in a COPY, extended': [extended('copy t from stdin'), copyData('1\n')],
  'in a COPY, extended and synced': [extended('copy t from stdin'), sync, copyData('1\n')],
  'behind a COPY that is done': [query('copy t from stdin'), copyData('1\n'), copyDone],
  'behind a COPY that a row made fail': [query('copy t from stdin'), copyData('x\n')],
  'behind a COPY that a row made fail, extended': [extended('copy t from stdin'), copyData('x\n')],
  'behind a COPY that a row made fail, among other statements and Syncs': [
    query("select 'c' as c; copy t from stdin; select 'd' as d"),
    sync,
    copyData('1\n'),
    copyData('x\n'),
    sync,
  ],
  'behind a COPY that a trigger made fail': [query('copy r from stdin')],
  'behind a COPY that a trigger made fail, extended': [extended('copy r from stdin'), sync],
}

const filled = (code: string, length: number): Buffer => message(code, Buffer.alloc(length, 'x'), Buffer.of(0))

/** PostgreSQL takes 10,000 bytes behind the code, the length word among them; one more closes the connection. */
const long = (code: string, ...rest: Buffer[]): Buffer =>
  message(code, Buffer.alloc(10_000 - 5 - Buffer.concat(rest).length + 1, 'x'), Buffer.of(0), ...rest)
const longest = (code: string, ...rest: Buffer[]): Buffer =>
  message(code, Buffer.alloc(10_000 - 5 - Buffer.concat(rest).length, 'x'), Buffer.of(0), ...rest)

const messages: Readonly<Record<string, Buffer>> = {
  Query: query('select 3 as x'),
  'Query without a text': message('Q'),
  'Query without a terminator': message('Q', Buffer.from('select 1')),
  'Query with more behind its text': message('Q', Buffer.from('select 1\0x')),
  'Query of SQL names with more behind its text': message('Q', Buffer.from('deallocate own\0x')),
  'an empty Query': query(''),
  FunctionCall: functionCall(177, '1', '2'),
  'FunctionCall without a body': message('F'),
  'FunctionCall cut short': message('F', Buffer.from([0, 0, 0, 177, 0])),
  Parse: parse('select 4 as x', 'other'),
  'Parse without a body': message('P'),
  'Parse without types': message('P', Buffer.from('p\0select 1\0')),
  'Parse with more behind it': message('P', Buffer.from('p\0select 1\0\0\0x')),
  'Parse without a name, cut short': message('P', Buffer.from('\0select 1')),
  Bind: bind(),
  'Bind without a body': message('B'),
  'Bind cut short': message('B', Buffer.from('\0\0\0')),
  'Bind of a name that is not there': bind([], 'nothing'),
  'Describe of a statement that is not there': describeMessage('S', 'nothing'),
  'Describe of a portal': describeMessage('P'),
  'Describe of neither': message('D', Buffer.from('Xname\0')),
  'Describe with more behind it': message('D', Buffer.from('Sown\0x')),
  'Describe without a body': message('D'),
  'Describe as long as may be': longest('D', Buffer.alloc(0)),
  'Describe that is longer': long('D'),
  Execute: execute(),
  'Execute without a body': message('E'),
  'Execute cut short': message('E', Buffer.from('\0\0')),
  'Execute with more behind it': message('E', Buffer.from('\0\0\0\0\0x')),
  'Execute as long as may be': longest('E', Buffer.alloc(4)),
  'Execute that is longer': long('E', Buffer.alloc(4)),
  'Close of a statement': close('S', 'own'),
  'Close of a portal': close('P'),
  'Close of neither': message('C', Buffer.from('Xname\0')),
  'Close with more behind it': message('C', Buffer.from('Sown\0x')),
  'Close without a body': message('C'),
  'Close as long as may be': message('C', Buffer.from('S'), Buffer.alloc(10_000 - 6, 'x'), Buffer.of(0)),
  'Close that is longer': message('C', Buffer.from('S'), Buffer.alloc(10_000 - 5, 'x'), Buffer.of(0)),
  Flush: flush,
  'Flush with a body': filled('H', 10),
  'Flush with a body of one byte': message('H', Buffer.of(0)),
  'Flush as long as may be': longest('H'),
  'Flush that is longer': long('H'),
  Sync: sync,
  'Sync with a body': filled('S', 10),
  'Sync as long as may be': longest('S'),
  'Sync that is longer': long('S'),
  CopyData: copyData('2\n'),
  'CopyData that is no row': copyData('x\n'),
  'CopyData without a body': message('d'),
  CopyDone: copyDone,
  'CopyDone with a body': filled('c', 10),
  'CopyDone as long as may be': longest('c'),
  'CopyDone that is longer': long('c'),
  CopyFail: copyFail('no more'),
  'CopyFail without a body': message('f'),
  'CopyFail without a terminator': message('f', Buffer.from('no more')),
  'CopyFail as long as may be': longest('f'),
  'CopyFail that is longer': long('f'),
  Terminate: terminate,
  'Terminate with a body': filled('X', 10),
  'Terminate that is longer': long('X'),
  'a length of 3': Buffer.from([0x51, 0, 0, 0, 3]),
  'a negative length': Buffer.from([0x51, 0xff, 0xff, 0xff, 0xff]),
  'a code that is none': message('y'),
}

/** Behind it: whatever it has left open comes to an end, and the end is seen. */
const behind = [copyData('3\n'), sync, query('select 5 as after'), query('rollback'), sync, query("select 'end' as x")]

/** Up to the last answer, or to the end of the connection; why PostgreSQL closes without a word, the pooler says. */
async function answers(client: RawClient, bytes: readonly Buffer[]): Promise<string[]> {
  client.send(...bytes)
  const lines: string[] = []
  try {
    while (lines.at(-2) !== 'C SELECT 1' || lines.at(-3) !== 'D end') lines.push(await client.line())
  } catch {
    lines.push('ended')
  }
  return lines
}

/** Where the connection ends, up to the last ReadyForQuery: in what words it ends is each one's own. */
function told(lines: readonly string[]): readonly string[] {
  if (lines.at(-1) !== 'ended') return lines
  return [...lines.slice(0, lines.findLastIndex((line) => line.startsWith('Z ')) + 1), 'ended']
}

/**
 * Whether PostgreSQL read it within the COPY, and passed over it, can't be found out without reading on: the connection ends.
 * No client sends such a Flush.
 */
const isGivenUp = (state: string, what: string): boolean =>
  /COPY that a \w+ made fail/.test(state) && /^Flush (?:with a body|as long as may be)/.test(what)

/**
 * PostgreSQL before 14 takes messages of any length, and answers what is no part of a COPY with an error, and goes
 * on. Here they end the connection, as newer servers end it; all that was answered before is the same.
 */
const isEndedHere = (state: string, what: string): boolean =>
  postgres().version < 14 && (what.endsWith('that is longer') || state.startsWith('in a COPY'))

describe.each(Object.entries(states))('%s', (state, before) => {
  test('every message', { timeout: 60_000 }, async () => {
    const parameters = { user, database: database.name }
    const bystander = await pooler.raw(parameters)
    for (const [what, one] of Object.entries(messages)) {
      const bytes = [...before, one, ...behind]
      const itself = await RawClient.connect({ ...postgres().primary, parameters })
      const client = await pooler.raw(parameters)
      const [expected, heard, others] = await Promise.all([
        answers(itself, bytes),
        answers(client, bytes),
        bystander.ask(query(`select '${what}' as x`)),
      ])
      if (isGivenUp(state, what) && heard.at(-1) === 'ended') expect.soft(heard.at(-2), what).toMatch(/^E FATAL/)
      else if (isEndedHere(state, what) && heard.at(-1) === 'ended') {
        const before = told(heard).slice(0, -1)
        expect.soft(before, what).toEqual(expected.slice(0, before.length))
      } else expect.soft(told(heard), what).toEqual(told(expected))
      expect
        .soft(
          others.filter((line) => !line.startsWith('N')),
          what,
        )
        .toEqual(['T x', `D ${what}`, 'C SELECT 1', 'Z I'])
      expect.soft([...client.unread, ...bystander.unread], what).toEqual([])
      itself.vanish()
      client.vanish()
    }
    await bystander.end()
    await pooler.untilEmpty()
  })
})
