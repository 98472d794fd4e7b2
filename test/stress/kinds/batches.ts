// Any messages in any order, as PostgreSQL answers them: what nobody has thought of.

import {
  bind,
  close,
  copyData,
  copyDone,
  copyFail,
  describe,
  execute,
  flush,
  functionCall,
  parse,
  query,
  sync,
} from '../../harness/raw-client.js'
import type { Author } from '../author.js'
import type { Exchange, Kind } from '../exchange.js'
import { fails } from './reads.js'

function statement(author: Author): string {
  const token = author.token()
  return author.random.pick([
    `select '${token}' as x`,
    `select '${token}' as x from generate_series(1, 3)`,
    fails,
    '',
    `insert into picky values ('${token}', ${author.random.between(1, 4)})`,
    `insert into closed values ('${token}', 1)`,
    'copy picky from stdin',
    `copy (select '${token}') to stdout`,
    `do $$ begin raise notice '${token}'; end $$`,
    `do $$ begin raise exception '${token}'; end $$`,
    `selec '${token}'`,
  ])
}

const blocks = ['begin', 'commit', 'rollback', 'savepoint a', 'rollback to a', 'release a']

/** One random message. A portal or the unnamed statement is used only where this batch may have made it. */
function piece(author: Author, hasUnnamed: boolean, mayBegin: boolean): Buffer {
  const { random } = author
  const portal = random.pick(['', '', 'p1', 'p2'])
  const text = (): string => (mayBegin && random.chance(0.2) ? random.pick(blocks) : statement(author))
  switch (random.below(16)) {
    case 0:
      return query(text())
    case 1:
      return query(`${statement(author)}; ${statement(author)}`)
    case 2:
    case 3:
      return Buffer.concat([parse(text()), bind([], '', portal), execute(portal)])
    case 4:
      return parse(text())
    case 5:
      return hasUnnamed ? bind([], '', portal) : parse(text())
    case 6:
      return hasUnnamed ? describe('S') : flush
    case 7:
      return describe('P', portal)
    case 8:
      return execute(portal, random.pick([0, 0, 1, 2]))
    case 9:
      return close('P', portal)
    case 10:
      return flush
    case 11:
      return random.chance(0.5) ? functionCall(177, '1', '2') : functionCall(177, '1', 'x')
    case 12:
      return copyData(random.pick(['a\t3\n', 'a\tb\n', 'a\t', '\\.\n', '']))
    case 13:
      return random.pick([copyDone, copyFail('no')])
    default:
      return sync
  }
}

const anything = (author: Author): Exchange => {
  const { random } = author
  const mayBegin = author.mode !== 'statement'
  const pieces: Buffer[] = []
  let hasUnnamed = false
  let isOpen = false
  for (let left = random.between(2, 12); left > 0; left--) {
    const next = piece(author, hasUnnamed, mayBegin)
    const code = String.fromCharCode(next[0]!)
    // PostgreSQL 18 is left within a transaction, unknown to itself, by a Query in the midst of a batch.
    if (isOpen && (code === 'Q' || code === 'F')) pieces.push(sync)
    pieces.push(next)
    isOpen = 'PBDEC'.includes(code) || (isOpen && code !== 'S' && code !== 'Q' && code !== 'F')
    // A Query does away with the unnamed statement, and behind a ReadyForQuery another server may come.
    if (code === 'P') hasUnnamed = true
    else if (code === 'Q' || code === 'S' || code === 'F') hasUnnamed = false
  }
  pieces.push(copyFail('the end'), sync)
  if (mayBegin) pieces.push(query('rollback'))
  return { name: 'anything', bytes: Buffer.concat(pieces), pieces }
}

export const batches: readonly Kind[] = [{ name: 'anything', weight: 3, isAsked: true, make: anything }]
