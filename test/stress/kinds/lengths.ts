// Messages with bodies and lengths that PostgreSQL has its own mind about.

import {
  bind,
  close,
  copyData,
  describe,
  execute,
  extended,
  message,
  parse,
  query,
  sync,
} from '../../harness/raw-client.js'
import type { Author } from '../author.js'
import type { Exchange, Kind } from '../exchange.js'

/** PostgreSQL's PQ_SMALL_MESSAGE_LIMIT. */
const smallLimit = 10_000

const body = (bytes: number): Buffer => Buffer.alloc(bytes, 'a')
/** In this place a name of so many bytes. */
const name = (bytes: number): string => 'n'.repeat(bytes)

/** A body where there is to be none, or one that is cut short, or goes on behind its end. */
const oddBodies = (author: Author): Exchange => {
  const { random } = author
  const bytes = body(random.pick([1, 2, 3, 4, 5, 100, 5000, smallLimit - 4]))
  const read = query(`select '${author.token()}' as x`)
  const batch = extended('select $1::text as x', [author.token()])
  const odd = random.pick([
    message('H', bytes),
    message('S', bytes),
    message('c', bytes),
    message('f', bytes),
    message('E', bytes),
    message('E'),
    message('E', Buffer.of(0, 0, 0)),
    message('E', Buffer.of(0, 0, 0, 0, 0, 7)),
    message('C'),
    message('C', Buffer.from('S')),
    message('C', Buffer.from('Xname\0')),
    message('C', Buffer.from('Pname\0more')),
    message('D'),
    message('D', Buffer.from('X\0')),
    message('P'),
    message('P', Buffer.from('\0')),
    message('P', Buffer.from('\0select 1\0')),
    message('P', Buffer.from('\0select 1\0\0\0more')),
    message('B'),
    message('Q'),
    message('Q', Buffer.from('select 1')),
    message('Q', Buffer.from("select 'a'\0\0")),
    message('F'),
    message('F', body(9)),
    message('d', bytes),
    message('d'),
    message('c'),
  ])
  const pieces = random.pick([
    [odd, sync],
    [odd, read],
    [read, odd, sync],
    [batch, odd, sync],
    [batch, odd, batch, sync],
    [batch, sync, odd, read, sync],
    [odd, batch, odd, sync, read],
    [query('copy closed from stdin'), odd, sync],
    [query('copy picky from stdin'), odd, copyData('x\ty\n'), sync, sync],
    [parse('copy picky from stdin'), bind(), execute(), odd, sync, copyData('x\n'), sync],
  ])
  return { name: 'odd bodies', bytes: Buffer.concat([...pieces, sync]), pieces: [...pieces, sync] }
}

/** As long as may be. */
const longNames = (author: Author): Exchange => {
  const { random } = author
  const long = name(random.pick([62, 63, 64, 65, 127, 128, 1000, 5000, smallLimit - 10]))
  const token = author.token()
  const parts = [
    parse('select $1::text as x', long),
    describe('S', long),
    bind([token], long, long),
    describe('P', long),
    execute(long),
    close('P', long),
    close('S', long),
    sync,
  ]
  return { name: 'long names', bytes: Buffer.concat(parts), pieces: parts }
}

/** Longer than PostgreSQL takes: it says so, and closes the connection. */
const tooLong = (author: Author): Exchange => {
  const { random } = author
  const bytes = body(random.pick([smallLimit - 3, smallLimit + 1, 20_000, 100_000]))
  const odd = message(random.pick(['H', 'S', 'c', 'E', 'C', 'D']), bytes)
  const read = query(`select '${author.token()}' as x`)
  const batch = extended('select $1::text as x', [author.token()])
  const pieces = random.pick([
    [odd],
    [read, odd],
    [batch, odd],
    [batch, sync, odd],
    [query('copy picky from stdin'), odd],
  ])
  return { name: 'too long', bytes: Buffer.concat(pieces), pieces }
}

export const lengths: readonly Kind[] = [
  { name: 'odd bodies', weight: 2, isAsked: true, make: oddBodies },
  { name: 'long names', weight: 0.5, isAsked: true, make: longNames },
  { name: 'too long', weight: 0.1, isAsked: true, make: tooLong },
]
