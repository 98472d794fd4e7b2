// What the text of a statement means where it is parsed: schemas, temporary tables, settings of a transaction.

import { bind, describe, execute, parse, query, sync } from '../../harness/raw-client.js'
import type { Author } from '../author.js'
import type { Exchange, Kind } from '../exchange.js'

/** Texts that mean other tables, and give other rows, by where they are parsed. */
const texts = [
  'select * from things',
  'select origin as x from things where n is not null',
  'select n as x from things',
  'select $1::text as x, (select origin from things) as y',
] as const

function uses(author: Author): Buffer[] {
  const { random } = author
  const text = random.pick(texts)
  const values = text.includes('$1') ? [author.token()] : []
  const statement = random.pick(['', '', `things ${author.token()}`])
  const parts = [parse(text, statement)]
  if (random.chance(0.3)) parts.push(describe('S', statement))
  parts.push(bind(values, statement), describe('P'), execute())
  return parts
}

/** Another search_path, a temporary table, other columns: all within a transaction, that is taken back or leaves nothing. */
const context = (author: Author): Exchange => {
  const { random } = author
  const changes = [
    query(`set local search_path = ${random.pick(['s1', 's2', '"S1"', 's2, public'])}`),
    query(`select set_config('search_path', '${random.pick(['s1', 's2'])}', true) as x`),
    query("create temporary table things on commit drop as select 'temporary' as origin, now() - now() as n"),
    query('set local search_path = s1; alter table s1.things rename column n to m'),
    query('set local search_path = s2; create view pg_temp.things as select 1 as n, 2 as origin'),
    query('set local search_path = s1; savepoint a; set local search_path = s2; rollback to a'),
    query("set local DateStyle = 'German'; set local TimeZone = 'Asia/Tokyo'"),
  ]
  const pieces = [query('begin')]
  if (random.chance(0.3)) pieces.push(query("set local lock_timeout = '10s'"))
  for (let left = random.between(1, 3); left > 0; left--) {
    if (random.chance(0.7)) pieces.push(random.pick(changes))
    pieces.push(...uses(author), ...(random.chance(0.2) ? uses(author) : []), sync)
  }
  pieces.push(query('rollback'))
  if (random.chance(0.5)) pieces.push(...uses(author), sync)
  return { name: 'context', bytes: Buffer.concat(pieces), pieces }
}

/** What its search_path means, by one text that all share. */
const resolved = (author: Author): Exchange => {
  const pieces = [...uses(author), sync]
  return { name: 'resolved', bytes: Buffer.concat(pieces), pieces }
}

export const contexts: readonly Kind[] = [
  { name: 'context', weight: 1.5, isAsked: true, modes: ['transaction', 'session'], make: context },
  { name: 'resolved', weight: 2, isAsked: true, make: resolved },
]
