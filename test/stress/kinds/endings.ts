// Conversations that end behind requests not answered yet, and COPYs that are ended from outside.

import { copyData, copyFail, extended, query, sync } from '../../harness/raw-client.js'
import type { Author } from '../author.js'
import type { Exchange, Kind } from '../exchange.js'
import { isAnswered } from './reads.js'

/** All that stands before a Terminate, or the end of a half-closed connection, is carried out and answered. */
function ends(author: Author, name: string, ending: 'terminate' | 'fin'): Exchange {
  const parts: Buffer[] = []
  const lines: string[] = []
  const written: string[] = []
  for (let left = author.random.between(1, 4); left > 0; left--) {
    const token = author.token()
    const insert = `insert into writes values ('${token}', 1) returning token`
    if (author.random.chance(0.5)) {
      parts.push(query(insert))
      lines.push('T token', `D ${token}`, 'C INSERT 0 1', 'Z I')
    } else {
      parts.push(extended(insert), sync)
      lines.push('1', '2', 'T token', `D ${token}`, 'C INSERT 0 1', 'Z I')
    }
    written.push(token)
  }
  return { name, bytes: Buffer.concat(parts), lines, written, ending, isLast: true }
}

/** A time-out or a cancel takes effect when the next row comes; a Sync before it was ignored, one behind it was not. */
function interrupted(author: Author, name: string, isCancelled: boolean): Exchange {
  const { random } = author
  const [token, end] = [author.token(), author.token()]
  const syncs = (): Buffer[] => Array<Buffer>(random.below(3)).fill(sync)
  const begin = isCancelled ? [] : [query(`begin; set local statement_timeout = ${random.between(5, 20)}`)]
  const copy = random.chance(0.5)
    ? query('copy picky from stdin')
    : Buffer.concat([extended('copy picky from stdin'), sync])
  const rest = [...syncs(), copyData(`${token}\t3\n`), ...syncs(), copyData(`${token}\t3\n`), ...syncs()]
  // In case that it was not ended.
  rest.push(copyFail('late'), sync, query('rollback'), query(`select '${end}' as x`))
  const pieces = [Buffer.concat([...begin, copy]), Buffer.concat(rest)]
  const judge = (heard: readonly string[]): string | undefined => {
    const errors = heard.filter((line) => line.startsWith('E '))
    return errors.length === 1 && errors[0]!.startsWith('E ERROR 57014 ') ? undefined : 'not just one 57014'
  }
  const bytes = Buffer.concat(pieces)
  return { name, bytes, pieces, judge, until: isAnswered(end), hesitates: random.between(25, 60), isCancelled }
}

export const endings: readonly Kind[] = [
  { name: 'Terminate behind', weight: 0.1, make: (author) => ends(author, 'Terminate behind', 'terminate') },
  { name: 'half-closed', weight: 0.1, make: (author) => ends(author, 'half-closed', 'fin') },
  {
    name: 'COPY timed out',
    weight: 0.3,
    modes: ['transaction', 'session'],
    make: (author) => interrupted(author, 'COPY timed out', false),
  },
  {
    name: 'COPY cancelled',
    weight: 0.3,
    modes: ['transaction', 'session'],
    make: (author) => interrupted(author, 'COPY cancelled', true),
  },
]
