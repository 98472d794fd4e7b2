// Rows that are written, or not: what was acknowledged is there, and nothing else is.

import { postgres } from '../../harness/postgres.js'
import { copyData, copyDone, copyFail, extended, query, sync } from '../../harness/raw-client.js'
import type { Author } from '../author.js'
import type { Exchange, Kind } from '../exchange.js'
import { divided, fails } from './reads.js'

const insert = (author: Author): Exchange => {
  const token = author.token()
  const bytes = query(`insert into writes values ('${token}', 1) returning token`)
  return { name: 'insert', bytes, lines: ['T token', `D ${token}`, 'C INSERT 0 1', 'Z I'], written: [token] }
}

const transaction = (author: Author): Exchange => {
  const [token, other] = [author.token(), author.token()]
  const commits = author.random.chance(0.6)
  const parts = [
    query('begin'),
    query(`insert into writes values ('${token}', 1)`),
    Buffer.concat([extended('insert into writes values ($1, 2)', [other]), sync]),
    query(`select token as x from writes where token in ('${token}', '${other}') order by n`),
    query(commits ? 'commit' : 'rollback'),
  ]
  const lines = ['C BEGIN', 'Z T', 'C INSERT 0 1', 'Z T', '1', '2', 'n', 'C INSERT 0 1', 'Z T']
  lines.push('T x', `D ${token}`, `D ${other}`, 'C SELECT 2', 'Z T', commits ? 'C COMMIT' : 'C ROLLBACK', 'Z I')
  const written = commits ? [token, other] : []
  return { name: 'transaction', bytes: Buffer.concat(parts), pieces: parts, lines, written }
}

const failedTransaction = (author: Author): Exchange => {
  const token = author.token()
  const parts = [query(`begin; insert into writes values ('${token}', 1)`), query(fails), query('select 1')]
  parts.push(query('commit'))
  const lines = ['C BEGIN', 'C INSERT 0 1', 'Z T', 'T x', divided, 'Z E', aborted, 'Z E', 'C ROLLBACK', 'Z I']
  return { name: 'failed transaction', bytes: Buffer.concat(parts), pieces: parts, lines }
}

const copyIn = (author: Author): Exchange => {
  const written = Array.from({ length: author.random.between(1, 20) }, () => author.token())
  const data = written.map((token, n) => copyData(`${token}\t${n}\n`))
  const done = `C COPY ${written.length}`
  if (author.random.chance(0.5)) {
    const bytes = Buffer.concat([query('copy writes from stdin'), ...data, copyDone])
    return { name: 'COPY IN', bytes, lines: ['G', done, 'Z I'], written }
  }
  const bytes = Buffer.concat([extended('copy writes from stdin'), sync, ...data, copyDone, sync])
  return { name: 'COPY IN, extended', bytes, lines: ['1', '2', 'n', 'G', done, 'Z I'], written }
}

const copyInFails = (author: Author): Exchange => {
  const token = author.token()
  const isOurs = author.random.chance(0.5)
  const end = isOurs
    ? [copyFail(token)]
    : [copyData(`${token}\t${token}\n`), copyData(`${token}.more\t1\n`), copyData('and more\t2\n'), copyDone]
  const error = isOurs
    ? `E ERROR 57014 COPY from stdin failed: ${token}`
    : `E ERROR 22P02 invalid input syntax for ${postgres().version < 12 ? '' : 'type '}integer: "${token}"`
  const data = [copyData(`${token}.first\t1\n`), ...end]
  if (author.random.chance(0.5)) {
    const bytes = Buffer.concat([query('copy writes from stdin'), ...data])
    return { name: 'COPY IN that fails', bytes, lines: ['G', error, 'Z I'] }
  }
  const bytes = Buffer.concat([extended('copy writes from stdin'), sync, ...data, sync])
  return { name: 'COPY IN that fails, extended', bytes, lines: ['1', '2', 'n', 'G', error, 'Z I'] }
}

const aborted = 'E ERROR 25P02 current transaction is aborted, commands ignored until end of transaction block'

export const writes: readonly Kind[] = [
  { name: 'insert', weight: 1, make: insert },
  { name: 'transaction', weight: 3, modes: ['transaction', 'session'], make: transaction },
  { name: 'failedTransaction', weight: 1, modes: ['transaction', 'session'], make: failedTransaction },
  { name: 'copyIn', weight: 1, make: copyIn },
  { name: 'copyInFails', weight: 1, make: copyInFails },
]
