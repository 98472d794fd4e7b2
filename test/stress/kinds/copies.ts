// COPY FROM STDIN that fails with more behind it, in every form: whether PostgreSQL reads a Sync in copy mode hangs on where
// it stood. And statements that fail before or after they have answered, by triggers.

import type { Random } from '../../harness/random.js'
import {
  bind,
  copyData,
  copyDone,
  copyFail,
  describe,
  execute,
  flush,
  parse,
  query,
  sync,
} from '../../harness/raw-client.js'
import type { Author } from '../author.js'
import type { Exchange, Kind } from '../exchange.js'

const repeated = (bytes: Buffer, times: number): Buffer[] => Array<Buffer>(times).fill(bytes)

/** Data for a table (token, n), with a row that fails or an end that does; nothing of it is ever written. */
function failingData(author: Author): Buffer[] {
  const { random } = author
  const good = Array.from({ length: random.below(3) }, () => copyData(`${author.token()}\t3\n`))
  const bad = random.pick([
    copyData('x\ty\n'),
    copyData('x\n'),
    copyData('x\t1\tand more\n'),
    Buffer.concat([copyData('x\t'), copyData('y\n')]),
    copyFail('enough'),
    Buffer.concat([copyData('x\ty'), copyDone]),
    Buffer.concat([copyData('x\ty\nz\t'), copyData('1\n')]),
  ])
  const more = random.pick([
    [],
    [copyDone],
    [copyData('more\t1\n'), copyDone],
    [copyFail('late')],
    [copyData('more\n')],
  ])
  const between = repeated(sync, random.pick([0, 0, 1, 2]))
  return [...repeated(sync, random.pick([0, 0, 0, 1])), ...good, bad, ...between, ...more]
}

/** Into table closed a COPY fails before it reads; the others fail by their data. */
const tables = ['writes', 'picky', 'closed'] as const

/** As `copy T from stdin`, or with more in the same Query. */
function copyText(author: Author): string {
  const { random } = author
  const copy = (): string => `copy ${random.pick(tables)} from stdin`
  const read = `select '${author.token()}' as x`
  return random.pick([copy(), copy(), `${copy()}; ${copy()}`, `${read}; ${copy()}; ${read}`, `${copy()};; ${read}`])
}

const failingCopy = (author: Author): Exchange => {
  const { random } = author
  const data = failingData(author)
  const rest = random.chance(0.3) ? failingData(author) : []
  const pieces = [query(copyText(author)), ...data, ...rest, ...repeated(sync, random.pick([0, 1, 1, 2, 3]))]
  return exchange('COPY that fails', pieces)
}

const failingCopyExtended = (author: Author): Exchange => {
  const { random } = author
  const copy = `copy ${random.pick(tables)} from stdin`
  const flushed = (): Buffer[] => repeated(flush, random.pick([0, 0, 0, 1]))
  const pieces = [
    parse(copy),
    ...flushed(),
    bind(),
    ...repeated(describe('P'), random.below(2)),
    ...flushed(),
    execute(),
  ]
  pieces.push(...flushed(), ...repeated(sync, random.pick([0, 1, 1, 1, 2])))
  // What libpq sends when it is told of the failure, and what it does not.
  pieces.push(...(random.chance(0.8) ? failingData(author) : []))
  if (random.chance(0.2)) pieces.push(query(`select '${author.token()}' as x`))
  pieces.push(...repeated(sync, random.between(1, 3)))
  return exchange('COPY that fails, extended', pieces)
}

/** Another statement behind the COPY in the same batch. */
const copyInBatch = (author: Author): Exchange => {
  const { random } = author
  const read = (): Buffer[] => [parse('select $1::text as x'), bind([author.token()]), execute()]
  const pieces = random.chance(0.5) ? read() : []
  pieces.push(parse(`copy ${random.pick(tables)} from stdin`), bind(), execute())
  pieces.push(...(random.chance(0.5) ? failingData(author) : []), ...(random.chance(0.5) ? read() : []))
  pieces.push(...repeated(sync, random.between(1, 3)))
  return exchange('COPY in a batch', pieces)
}

/** Several COPYs in one Query, all of them fed. */
const severalCopies = (author: Author): Exchange => {
  const { random } = author
  const written: string[] = []
  const pieces: Buffer[] = []
  const texts: string[] = []
  for (let left = random.between(1, 3); left > 0; left--) {
    texts.push('copy writes from stdin')
    const token = author.token()
    written.push(token)
    pieces.push(copyData(`${token}\t1\n`), ...repeated(sync, random.pick([0, 0, 1])), copyDone)
    if (random.chance(0.5)) texts.push(`select '${author.token()}' as x`)
  }
  pieces.unshift(query(texts.join('; ')))
  return { ...exchange('COPYs', [...pieces, ...repeated(sync, random.below(3))]), written }
}

/** Rows that a trigger refuses: before the statement, at the row, or at the end of the transaction. */
const refusedRows = (author: Author): Exchange => {
  const { random } = author
  const insert = (): string => {
    const values = Array.from({ length: random.between(1, 3) }, () => `('${author.token()}', ${random.between(1, 4)})`)
    return `insert into ${random.pick(['closed', 'picky', 'picky'])} values ${values.join()} returning token`
  }
  if (random.chance(0.4)) return exchange('refused', [query(texts(random, insert))])
  const pieces: Buffer[] = []
  for (let left = random.between(1, 3); left > 0; left--) {
    pieces.push(parse(insert()), bind(), ...repeated(describe('P'), random.below(2)), execute())
    pieces.push(...repeated(sync, random.pick([0, 1, 1, 2])), ...repeated(flush, random.pick([0, 0, 1])))
  }
  return exchange('refused, extended', [...pieces, sync])
}

function texts(random: Random, statement: () => string): string {
  return Array.from({ length: random.between(1, 3) }, statement).join('; ')
}

function exchange(name: string, pieces: readonly Buffer[]): Exchange {
  return { name, bytes: Buffer.concat(pieces), pieces }
}

export const copies: readonly Kind[] = [
  { name: 'COPY that fails', weight: 2, isAsked: true, make: failingCopy },
  { name: 'COPY that fails, extended', weight: 2, isAsked: true, make: failingCopyExtended },
  { name: 'COPY in a batch', weight: 1, isAsked: true, make: copyInBatch },
  { name: 'COPYs', weight: 1, isAsked: true, make: severalCopies },
  { name: 'refused', weight: 2, isAsked: true, make: refusedRows },
]
