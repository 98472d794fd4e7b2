// Conversations that any frontend may hold with PostgreSQL: the pooler must not be seen in them.

import {
  bind,
  close,
  copyData,
  copyDone,
  copyFail,
  describe,
  execute,
  extended,
  flush,
  functionCall,
  message,
  parse,
  query,
  type RawClient,
  sync,
} from '../harness/raw-client.js'

/**
 * What is sent in one write, and up to where its answer is awaited: to the so manyth ReadyForQuery, or to a line
 * that begins so.
 */
export type Step = readonly [bytes: Buffer | readonly Buffer[], upTo: number | string]

type Conversations = Readonly<Record<string, readonly Step[]>>

/** Each begins with an empty table `t (n int primary key check (n < 100), word text)`. */
export const setUp =
  'drop table if exists t; create table t (n int primary key check (n < 100), word text); grant all on t to public'

/** Holds a conversation. Gives all that was said, as lines. */
export async function talk(client: RawClient, steps: readonly Step[]): Promise<string[]> {
  const lines: string[] = []
  for (const [bytes, upTo] of steps) {
    client.send(...(Buffer.isBuffer(bytes) ? [bytes] : bytes))
    for (let left = typeof upTo === 'number' ? upTo : 1; left > 0; ) {
      const line = await client.line()
      lines.push(line)
      if (line.startsWith(typeof upTo === 'number' ? 'Z' : upTo)) left--
    }
  }
  return lines
}

const numbers = (count: number): string => `select generate_series(1, ${count}) as n`
const fails = 'select 1 / 0'
const insert = 'insert into t values ($1::int, $2)'
const copyIn = 'copy t from stdin'
const rows = [copyData('1\tone\n'), copyData('2\ttw'), copyData('o\n')]
const wrongRow = copyData('not a number\tx\n')

/** Parse to Execute of one statement, with a Sync. */
const synced = (text: string, values?: string[]): Buffer => Buffer.concat([extended(text, values), sync])

const simple: Conversations = {
  'rows, no rows, and no answer at all': [
    [query(numbers(3)), 1],
    [query('select 1 where false'), 1],
    [query(''), 1],
    [query(' ; -- nothing'), 1],
    [query("insert into t values (1, 'one')"), 1],
  ],
  'several statements in one query': [[query(`${numbers(2)}; select 'x' as x; ; insert into t values (1)`), 1]],
  'an error half way through several statements': [
    [query(`insert into t values (1); ${fails}; insert into t values (2)`), 1],
    [query('select * from t'), 1],
  ],
  'errors of the parser and of the executor': [
    [query('selec 1'), 1],
    [query(fails), 1],
    [query('select * from nowhere'), 1],
    [query(`select 1 / (3 - n) from (${numbers(5)}) numbers`), 1],
  ],
  'a transaction': [
    [query('begin'), 1],
    [query('insert into t values (1)'), 1],
    [query('commit'), 1],
  ],
  'a transaction that fails': [
    [query('begin'), 1],
    [query(fails), 1],
    [query('select 1'), 1],
    [query('commit'), 1],
  ],
  savepoints: [
    [query('begin; savepoint a'), 1],
    [query(fails), 1],
    [query('rollback to a'), 1],
    [query('insert into t values (1); release a'), 1],
    [query('end'), 1],
  ],
  'a transaction that begins and ends within queries of several statements': [
    [query('select 1; begin; insert into t values (1)'), 1],
    [query('insert into t values (2); commit; select 2'), 1],
  ],
  'commit and chain': [
    [query('begin'), 1],
    [query('commit and chain'), 1],
    [query('rollback and chain'), 1],
    [query('commit'), 1],
  ],
  'notices and warnings': [
    [query("do $$ begin raise notice 'one'; raise warning 'two'; end $$"), 1],
    [query('commit'), 1],
  ],
  'a function call': [
    [functionCall(177, '20', '22'), 1], // int4pl
    [functionCall(154, '1', '0'), 1], // int4div
    [functionCall(177, null, '1'), 1],
    [functionCall(4294967, '1'), 1],
  ],
  'function calls in a transaction': [
    [query('begin'), 1],
    [functionCall(177, '1', '2'), 1],
    [functionCall(154, '1', '0'), 1],
    [functionCall(177, '1', '2'), 1],
    [query('rollback'), 1],
  ],
  'several queries in one write': [
    [[query("select 'a' as a"), query(fails), query(''), query("select 'b' as b; select 'c' as c"), query('begin')], 5],
    [[query("select 'd' as d"), functionCall(177, '1', '2'), query('commit'), query("select 'e' as e")], 4],
  ],
  'a query that is longer than any buffer': [[query(`select length('${'x'.repeat(300_000)}')`), 1]],
  'an answer that is longer than any buffer': [
    [query("select repeat('x', 200000) as x, n from generate_series(1, 3) n"), 1],
  ],
  'parameters that are reported, for a transaction and for longer': [
    [query("begin; set local timezone = 'Asia/Tokyo'"), 1],
    [query('show timezone'), 1],
    [query('rollback'), 1],
    [query("set application_name = 'mine'; reset application_name"), 1],
  ],
}

const extendedProtocol: Conversations = {
  'a statement': [[synced('select $1::text as x, $2::int as y', ['a', '7']), 1]],
  'message by message, with Flush': [
    [[parse('select $1::int as x'), flush], '1'],
    [[describe('S'), flush], 'T'],
    [[bind(['5']), flush], '2'],
    [[describe('P'), flush], 'T'],
    [[execute(), flush], 'C'],
    [[close('P'), flush], '3'],
    [sync, 1],
  ],
  'Describe of what has no rows': [
    [[parse(insert), describe('S'), bind(['1', 'a']), describe('P'), execute(), sync], 1],
  ],
  'an empty statement': [[[parse(''), describe('S'), bind(), describe('P'), execute(), sync], 1]],
  'a portal, a few rows at a time': [
    [[parse(numbers(5)), bind([], '', 'p'), describe('P', 'p'), execute('p', 2), flush], 's'],
    [[execute('p', 2), flush], 's'],
    [[execute('p', 2), flush], 'C'],
    [[execute('p', 2), sync], 1],
  ],
  'a portal that outlives its Sync in a transaction': [
    [query('begin'), 1],
    [[parse(numbers(5)), bind([], '', 'p'), execute('p', 3), sync], 1],
    [[parse('select 42'), bind(), execute(), sync], 1],
    [[execute('p', 3), close('P', 'p'), sync], 1],
    [[execute('p'), sync], 1],
    [query('rollback'), 1],
  ],
  'Close of what is not there': [[[close('P', 'nothing'), close('S', 'nothing'), sync], 1]],
  'Sync alone, and many': [
    [sync, 1],
    [[sync, sync, sync], 3],
  ],
  'Flush alone': [[[flush, flush, query('select 1')], 1]],
  'an error at Parse: the rest is skipped': [[[extended('selec'), extended('select 1'), sync], 1]],
  'an error at Bind: the rest is skipped': [
    [[parse('select $1::int'), bind(['x']), describe('P'), execute(), extended('select 1'), sync], 1],
  ],
  'an error at Execute: the rest is skipped': [[[extended(fails), extended('select 1'), sync], 1]],
  'an error after some rows': [
    [[extended(`select 1 / (3 - n) as x from (${numbers(5)}) numbers`), extended('select 1'), sync], 1],
  ],
  'an error undoes all since the last Sync': [
    [[extended(insert, ['1', 'a']), extended(insert, ['2', 'b']), sync], 1],
    [[extended(insert, ['3', 'c']), extended(fails), sync], 1],
    [query('select * from t'), 1],
  ],
  'an error at Sync itself': [
    [query('alter table t add unique (word) deferrable initially deferred'), 1],
    [[extended(insert, ['1', 'a']), extended(insert, ['2', 'a']), sync], 1],
    [[extended('select 1'), sync], 1],
  ],
  'many exchanges in one write, some of which fail': [
    [
      [
        synced('select $1::text as x', ['a']),
        synced(fails),
        synced('select $1::text as x', ['b']),
        synced('selec'),
        sync,
        query('select 3'),
        synced('select $1::int', ['x']),
        synced('select $1::text as x', ['c']),
      ],
      8,
    ],
  ],
  'a transaction in one write': [
    [[synced('begin'), synced(insert, ['1', 'a']), synced('commit'), synced('select count(*) from t')], 4],
  ],
  'a transaction that fails, in one write': [
    [[synced('begin'), synced(fails), synced(insert, ['1', 'a']), synced('commit'), synced('select * from t')], 5],
  ],
  'more after COMMIT in the same exchange': [
    [[extended('begin'), extended(insert, ['1', 'a']), extended('commit'), extended('select 1'), sync], 1],
  ],
  'unknown statements and portals': [
    [[bind([], 'unknown'), sync], 1],
    [[describe('S', 'unknown'), sync], 1],
    [[describe('P', 'unknown'), sync], 1],
    [[execute('unknown'), sync], 1],
  ],
  'a query without a Sync before it': [
    [[extended('select 1'), query('select 2')], 1],
    [sync, 1],
  ],
  'a query behind an error without a Sync, which is skipped': [
    [[extended(fails), query('select 2'), functionCall(177, '1', '2'), sync], 1],
    [query('select 3'), 1],
  ],
  'parameters longer than any buffer': [[synced('select length($1)', ['x'.repeat(200_000)]), 1]],
  'a statement longer than any buffer': [[synced(`select length('${'x'.repeat(200_000)}')`), 1]],
}

const copy: Conversations = {
  'out of the server': [
    [query(`copy (${numbers(3)}) to stdout`), 1],
    [synced(`copy (${numbers(3)}) to stdout`), 1],
    [query(`copy (select 1 / (3 - n) from (${numbers(5)}) numbers) to stdout`), 1],
    [[extended(`copy (select 1 / (3 - n) from (${numbers(5)}) numbers) to stdout`), extended('select 1'), sync], 1],
  ],
  'into the server': [
    [query(copyIn), 'G'],
    [[...rows, copyDone], 1],
    [query('select * from t'), 1],
  ],
  'into the server, in one write': [[[query(copyIn), ...rows, copyDone, query('select * from t')], 2]],
  'into the server twice in one query': [
    [query(`${copyIn}; select 'between'; ${copyIn}`), 'G'],
    [[copyData('1\ta\n'), copyDone], 'G'],
    [[copyData('2\tb\n'), copyDone], 1],
    [query('select * from t'), 1],
  ],
  'into the server twice in one write': [
    [[query(`${copyIn}; ${copyIn}`), copyData('1\ta\n'), copyDone, copyData('2\tb\n'), copyDone, query('select 1')], 2],
  ],
  'given up by the client': [
    [query(copyIn), 'G'],
    [[...rows, copyFail('changed my mind')], 1],
    [query('select * from t'), 1],
  ],
  'refused by the server while the client goes on': [
    [query(copyIn), 'G'],
    [[...rows, wrongRow, ...rows], 1],
    [[...rows, copyDone, query('select * from t')], 1],
  ],
  'refused at the end': [
    [[query(copyIn), ...rows, copyData('1\tagain\n'), copyDone], 1],
    [query('select * from t'), 1],
  ],
  'in a transaction that fails': [
    [query('begin'), 1],
    [query(copyIn), 'G'],
    [wrongRow, 1],
    [[copyDone, query('select 1'), query('rollback')], 2],
  ],
  'another query in the middle of it': [
    [query(copyIn), 'G'],
    [[...rows, query('select 1')], 'E FATAL'],
  ],
  'its messages where there is no COPY': [
    [[copyData('x'), copyDone, copyFail('x'), query('select 1')], 1],
    [query('begin'), 1],
    [[copyData('x'), copyDone, copyFail('x'), query('rollback')], 1],
  ],
  'with the Sync sent along, as libpq does': [
    [[extended(copyIn), sync], 'G'],
    [[...rows, copyDone, sync], 1],
    [query('select * from t'), 1],
  ],
  'extended, in one write': [[[extended(copyIn), sync, ...rows, copyDone, sync, synced('select * from t')], 2]],
  'with the Sync behind': [
    [[extended(copyIn), flush], 'G'],
    [[...rows, copyDone, extended('select 1'), sync], 1],
  ],
  'Syncs in the middle of the data, which do not count': [
    [[extended(copyIn), sync, sync], 'G'],
    [[copyData('1\tone\n'), sync, flush, copyData('2\ttwo\n'), sync, copyDone, sync], 1],
    [query('select * from t'), 1],
  ],
  'with the Sync sent along, given up by the client': [
    [[extended(copyIn), sync], 'G'],
    [[...rows, copyFail('changed my mind'), extended('select 1'), sync], 1],
    [query('select * from t'), 1],
  ],
  'with the Sync sent along, refused by the server while the client goes on': [
    [[extended(copyIn), sync], 'G'],
    [[...rows, wrongRow], 'E'],
    [[...rows, copyDone, sync], 1],
    [query('select * from t'), 1],
  ],
  'refused in one write': [
    [[extended(copyIn), sync, ...rows, wrongRow, ...rows, copyDone, sync, synced('select * from t')], 2],
  ],
  'of a table that is not there, in one write': [
    [[extended('copy nowhere from stdin'), sync, ...rows, copyDone, sync, query('select 1')], 3],
    [[query('copy nowhere from stdin'), ...rows, copyDone, query('select 1')], 2],
  ],
  'another statement in the middle of it': [
    [[extended(copyIn), sync], 'G'],
    [[...rows, extended('select 1'), sync], 'E FATAL'],
  ],
  'extended, in a transaction, twice': [
    [[synced('begin'), extended(copyIn), sync], 'G'],
    [[copyData('1\ta\n'), copyDone, sync], 1],
    [[extended(copyIn), sync], 'G'],
    [[copyData('2\tb\n'), copyDone, sync, synced('commit')], 2],
    [query('select * from t'), 1],
  ],
}

const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1')

const prepared: Conversations = {
  'a statement that is used again and again': [
    [[parse('select $1::int as x', 's'), describe('S', 's'), sync], 1],
    [[bind(['1'], 's'), execute(), sync], 1],
    [[bind(['2'], 's'), describe('P'), execute(), bind(['3'], 's'), execute(), sync], 1],
    [[close('S', 's'), sync], 1],
    [[bind(['4'], 's'), sync], 1],
  ],
  'several statements, with the same text and with others': [
    [[parse("select 'a'", 'a'), parse("select 'b'", 'b'), parse("select 'a'", 'c'), parse("select 'd'", 'd'), sync], 1],
    [[bind([], 'c'), execute(), bind([], 'a'), execute(), bind([], 'd'), execute(), bind([], 'b'), execute(), sync], 1],
    [[close('S', 'a'), bind([], 'c'), execute(), sync], 1],
    [[bind([], 'a'), execute(), sync], 1],
  ],
  'parameter types given, which make another statement of the same text': [
    [[parse('select $1 as x', 'text', [25]), parse('select $1 as x', 'number', [23]), sync], 1],
    [[describe('S', 'text'), describe('S', 'number'), bind(['x'], 'text'), execute(), bind(['x'], 'number'), sync], 1],
  ],
  'a name that is taken': [
    [[parse("select 'old'", 's'), sync], 1],
    [[parse("select 'old'", 's'), sync], 1],
    [[parse("select 'new'", 's'), bind([], 's'), execute(), sync], 1],
    [[bind([], 's'), execute(), sync], 1],
  ],
  'a name that is taken, in one write': [
    [
      [
        parse("select 'old'", 's'),
        parse("select 'new'", 's'),
        sync,
        bind([], 's'),
        execute(),
        sync,
        parse("select 'x'", 's'),
        sync,
        bind([], 's'),
        execute(),
        sync,
      ],
      4,
    ],
  ],
  'a name that is taken, in a transaction': [
    [query('begin'), 1],
    [[parse("select 'old'", 's'), sync], 1],
    [[parse("select 'new'", 's'), sync], 1],
    [[bind([], 's'), execute(), sync], 1],
    [query('rollback'), 1],
    [[bind([], 's'), execute(), sync], 1],
  ],
  'names that are unknown': [
    [[bind([], 's'), execute(), sync], 1],
    [[describe('S', 's'), sync], 1],
    [[close('S', 's'), sync], 1],
    [query('begin'), 1],
    [[bind([], 's'), sync], 1],
    [query('rollback'), 1],
  ],
  'a Parse that fails leaves no name behind': [
    [[parse('selec', 's'), sync], 1],
    [[bind([], 's'), execute(), sync], 1],
    [[parse("select 'right'", 's'), bind([], 's'), execute(), sync], 1],
  ],
  'a Parse that is skipped leaves no name behind': [
    [[extended(fails), parse("select 's'", 's'), sync], 1],
    [[bind([], 's'), sync], 1],
    [[parse("select 's'", 's'), bind([], 's'), execute(), sync], 1],
  ],
  'a Close that is skipped leaves the name': [
    [[parse("select 'old'", 's'), sync], 1],
    [[extended(fails), close('S', 's'), sync], 1],
    [[bind([], 's'), execute(), sync], 1],
  ],
  'a Close and a new Parse that are skipped leave the old statement': [
    [[parse("select 'old'", 's'), sync], 1],
    [[extended(fails), close('S', 's'), parse("select 'new'", 's'), bind([], 's'), execute(), sync], 1],
    [[bind([], 's'), execute(), sync], 1],
    [[close('S', 's'), parse("select 'new'", 's'), bind([], 's'), execute(), sync], 1],
    [[bind([], 's'), execute(), sync], 1],
  ],
  'statements outlive the transaction that made them': [
    [query('begin'), 1],
    [[parse("select 's'", 's'), sync], 1],
    [query(fails), 1],
    [query('rollback'), 1],
    [[bind([], 's'), execute(), sync], 1],
  ],
  'many statements, more than are kept, with errors between': [
    [[...['a', 'b', 'c', 'd'].map((name) => parse(`select '${name}'`, name)), sync], 1],
    [[bind([], 'a'), execute(), bind([], 'b'), execute(), sync], 1],
    [[extended(fails), bind([], 'c'), execute(), bind([], 'd'), execute(), sync], 1],
    [[bind([], 'a'), execute(), bind([], 'b'), execute(), bind([], 'c'), execute(), sync], 1],
    [[bind([], 'd'), extended(fails), bind([], 'a'), execute(), sync, bind([], 'a'), execute(), sync], 2],
    [[bind([], 'b'), execute(), bind([], 'c'), execute(), bind([], 'd'), execute(), bind([], 'a'), execute(), sync], 1],
  ],
  'Flush where nothing has been sent on yet': [
    [[parse("select 's'", 's'), sync], 1],
    [[parse("select 's'", 'again'), flush], '1'],
    [[close('S', 'again'), flush], '3'],
    [[bind([], 's'), flush], '2'],
    [[parse("select 's'", 'third'), close('S', 'third'), flush], '3'],
    [[execute(), sync], 1],
  ],
  'by SQL, mixed with those of the protocol': [
    [query("prepare a as select 'a' as x; "), 1],
    [[parse("select 'b' as x", 'b'), sync, query('execute b'), bind([], 'a'), execute(), sync], 3],
    [query("prepare a as select 'other'"), 1],
    [query('deallocate prepare a; '), 1],
    [[bind([], 'a'), execute(), sync, query('execute a'), query('deallocate a'), query('execute b')], 4],
    [query('deallocate all'), 1],
    [query('execute b'), 1],
  ],
  'by SQL, behind other answers in one write': [
    [[query("select 'first'"), query('prepare p as select 1'), query('prepare p as select 2'), query('execute p')], 4],
    [[query(copyIn), ...rows, copyDone, query('prepare p as select 3'), query('execute p'), query('select 4')], 4],
    [[extended(copyIn), sync, copyData('3\t\n'), copyDone, sync, query('execute p'), query('deallocate p')], 3],
  ],
  'all of them forgotten, in the middle of a write': [
    [[parse("select 'a'", 'a'), parse("select 'b'", 'b'), sync, query('prepare c as select 3')], 2],
    [[query('deallocate all'), extended(fails), close('S', 'a'), parse("select 'x'", 'a'), sync], 2],
    [[bind([], 'a'), sync, query('execute c'), parse("select 'new'", 'a'), bind([], 'a'), execute(), sync], 3],
    [[query('discard all'), parse("select 'a'", 'a'), bind([], 'a'), execute(), sync, query('deallocate a')], 3],
    [[parse("select 'b'", 'b'), sync, query('DEALLOCATE PREPARE ALL'), bind([], 'b'), sync], 3],
    [[parse("select 'b'", 'b'), sync, extended('deallocate all'), sync], 2],
    [[bind([], 'b'), sync], 1],
    [[query('select 1; deallocate all'), query('discard all')], 2],
  ],
  'all in one write, again and again': [
    [
      Array.from({ length: 20 }, (_, n) => [
        parse(`select $1::int + ${n % 4}`, `s${n % 7}`),
        bind([String(n)], `s${n % 7}`),
        describe('P'),
        execute(),
        close('S', `s${n % 7}`),
        sync,
      ]).flat(),
      20,
    ],
  ],
  'names of any kind': [
    [[parse("select 'a'", 'Ünïcode "quoted" \'name\''), bind([], 'Ünïcode "quoted" \'name\''), execute(), sync], 1],
    [[parse("select 'b'", 'PGBOUNCER_1'), bind([], 'PGBOUNCER_1'), execute(), sync], 1],
    [[parse("select 'c'", 'PGBOUNCER_2'), sync, bind([], 'PGBOUNCER_1'), execute(), sync], 2],
    [[bind([], 'PGBOUNCER_2'), execute(), close('S', 'PGBOUNCER_1'), sync], 1],
    [[bind([], 'PGBOUNCER_2'), execute(), sync], 1],
    [query('prepare "PGBOUNCER_3" as select 3'), 1],
    [query('prepare "PGBOUNCER_4" as select 4'), 1],
    [query('execute "PGBOUNCER_3"'), 1],
    [query("prepare Ünïcode as select 'à' as à; "), 1],
    [query('execute ünïcode'), 1],
    [query('execute Ünïcode'), 1],
  ],
  'names that are not UTF-8': [
    [query("set client_encoding = 'LATIN1'"), 1],
    [[parse("select 'e acute'", latin1('é')), parse("select 'e grave'", latin1('è')), sync], 1],
    [[bind([], latin1('é')), execute(), bind([], latin1('è')), execute(), sync], 1],
    [[close('S', latin1('é')), bind([], latin1('è')), execute(), sync], 1],
    [message('Q', latin1("prepare é as select 'à' as x\0")), 1],
    [message('Q', latin1('prepare "é" as select \'taken\'\0')), 1],
    [message('Q', latin1('execute é\0')), 1],
    [[bind([], latin1('é')), execute(), sync], 1],
    [query("set client_encoding = 'UTF8'"), 1],
  ],
}

export const conversations: Readonly<Record<string, Conversations>> = {
  simple,
  extended: extendedProtocol,
  COPY: copy,
  prepared,
}
