// Answers that only the client that asks could have asked for: nothing is written, and nothing stays.

import { bind, describe, execute, extended, flush, functionCall, parse, query, sync } from '../../harness/raw-client.js'
import type { Author } from '../author.js'
import type { Exchange, Kind } from '../exchange.js'

/** After it has begun to answer: constants would be divided before. */
export const fails = 'select 1 / n as x from generate_series(0, 0) n'
export const divided = 'E ERROR 22012 division by zero'

const simple = (author: Author): Exchange => {
  const token = author.token()
  const rows = author.random.below(4)
  const bytes = query(`select '${token}' as x, current_user as y from generate_series(1, ${rows})`)
  const row = `D ${token}|${author.user}`
  return { name: 'simple', bytes, lines: ['T x|y', ...Array(rows).fill(row), `C SELECT ${rows}`, 'Z I'] }
}

const severalStatements = (author: Author): Exchange => {
  const token = author.token()
  const bytes = query(`select '${token}.1' as x; ${fails}; select '${token}.2' as x`)
  return { name: 'several', bytes, lines: ['T x', `D ${token}.1`, 'C SELECT 1', 'T x', divided, 'Z I'] }
}

const unnamed = (author: Author): Exchange => {
  const token = author.token()
  const bytes = Buffer.concat([extended('select $1::text as x', [token]), sync])
  return { name: 'unnamed', bytes, lines: ['1', '2', 'T x', `D ${token}`, 'C SELECT 1', 'Z I'] }
}

const withFlush = (author: Author): Exchange => {
  const token = author.token()
  const parts = [parse('select $1::text as x'), flush, bind([token]), flush, describe('P'), execute(), flush, sync]
  const bytes = Buffer.concat(parts)
  return { name: 'flush', bytes, pieces: parts, lines: ['1', '2', 'T x', `D ${token}`, 'C SELECT 1', 'Z I'] }
}

const callsFunction = (author: Author): Exchange => {
  const [one, other] = [author.random.below(1_000_000), author.random.below(1_000_000)]
  return {
    name: 'function',
    bytes: functionCall(177, String(one), String(other)), // int4pl
    lines: [`V ${one + other}`, 'Z I'],
  }
}

const rowLimits = (author: Author): Exchange => {
  const token = author.token()
  const rows = [1, 2, 3, 4, 5].map((n) => `D ${token}.${n}`)
  const parts = [parse("select $1 || '.' || n as x from generate_series(1, 5) n"), bind([token])]
  parts.push(execute('', 2), execute('', 2), execute('', 2), sync)
  const lines = ['1', '2', ...rows.slice(0, 2), 's', ...rows.slice(2, 4), 's', ...rows.slice(4), 'C SELECT 1', 'Z I']
  return { name: 'row limits', bytes: Buffer.concat(parts), lines }
}

const large = (author: Author): Exchange => {
  const token = author.token()
  const times = author.random.between(1000, 20_000)
  const bytes = query(`select repeat('${token} ', ${times}) as x`)
  return { name: 'large', bytes, lines: ['T x', `D ${`${token} `.repeat(times)}`, 'C SELECT 1', 'Z I'] }
}

const copyOut = (author: Author): Exchange => {
  const token = author.token()
  const rows = author.random.below(30)
  const bytes = query(`copy (select '${token}', n from generate_series(1, ${rows}) n) to stdout`)
  const data = Array.from({ length: rows }, (_, n) => `d ${token}\t${n + 1}\n`)
  return { name: 'COPY OUT', bytes, lines: ['H', ...data, 'c', `C COPY ${rows}`, 'Z I'] }
}

const error = (author: Author): Exchange => {
  const token = author.token()
  const text = `do $$ begin raise exception '${token}' using errcode = 'P0042'; end $$`
  if (author.random.chance(0.5)) return { name: 'error', bytes: query(text), lines: [`E ERROR P0042 ${token}`, 'Z I'] }
  const bytes = Buffer.concat([extended(text), extended('select 1'), sync])
  return { name: 'error, extended', bytes, lines: ['1', '2', 'n', `E ERROR P0042 ${token}`, 'Z I'] }
}

const notice = (author: Author): Exchange => {
  const token = author.token()
  const bytes = query(`do $$ begin raise notice '${token}'; end $$`)
  return { name: 'notice', bytes, lines: [`N NOTICE 00000 ${token}`, 'C DO', 'Z I'] }
}

const empty = (author: Author): Exchange => {
  if (author.random.chance(0.5)) return { name: 'empty', bytes: query(''), lines: ['I', 'Z I'] }
  return { name: 'Syncs', bytes: Buffer.concat([sync, sync]), lines: ['Z I', 'Z I'] }
}

/** Has the answer to a simple Query come whose only row is this token? */
export const isAnswered =
  (token: string) =>
  (heard: readonly string[]): boolean =>
    heard.at(-1)!.startsWith('Z ') && heard.at(-3) === `D ${token}`

/** Waits on the server, to be cancelled. */
export function sleeping(author: Author, seconds: number): Exchange {
  const token = author.token()
  const bytes = query(`select '${token}' as x from pg_sleep(${seconds})`)
  return { name: 'sleep', bytes, lines: ['T x', `D ${token}`, 'C SELECT 1', 'Z I'] }
}

export const reads: readonly Kind[] = [
  { name: 'simple', weight: 1, make: simple },
  { name: 'severalStatements', weight: 1, make: severalStatements },
  { name: 'unnamed', weight: 1, make: unnamed },
  { name: 'withFlush', weight: 1, make: withFlush },
  { name: 'functionCall', weight: 1, make: callsFunction },
  { name: 'rowLimits', weight: 1, make: rowLimits },
  { name: 'large', weight: 1, make: large },
  { name: 'copyOut', weight: 1, make: copyOut },
  { name: 'error', weight: 1, make: error },
  { name: 'notice', weight: 1, make: notice },
  { name: 'empty', weight: 1, make: empty },
]
