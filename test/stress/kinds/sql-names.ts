// PREPARE, EXECUTE and DEALLOCATE in every form and by every protocol: whatever comes of it, it is never another client's
// statement that runs.

import { bind, close, describe, execute, extended, query, sync } from '../../harness/raw-client.js'
import type { Author } from '../author.js'
import type { Exchange, Kind } from '../exchange.js'
import { isAnswered } from './reads.js'

/** A statement of SQL as it may be sent. */
function forms(author: Author, text: string): Buffer[] {
  const read = `select '${author.token()}' as x`
  const dollars = `do $do$ begin execute $sql$${text}$sql$; end $do$`
  return author.random.pick([
    [query(text)],
    [query(text)],
    [query(`${read}; ${text}`)],
    [query(`${text}; ${read}`)],
    [query(`/* ${author.token()} */ ${text} ;`)],
    [extended(text), sync],
    [extended(text), sync],
    [extended(text), extended(read), sync],
    [query(dollars)],
    [extended(dollars), sync],
  ])
}

const sqlNames = (author: Author): Exchange => {
  const { random } = author
  const name = `r${random.below(3)}`
  const pieces: Buffer[] = []
  for (let left = random.between(1, 3); left > 0; left--) {
    const token = author.token()
    switch (random.below(6)) {
      case 0:
      case 1:
        pieces.push(...forms(author, `prepare ${name} as select '${token}' || $1::text as x`))
        break
      case 2:
        pieces.push(...forms(author, `execute ${name}('${token}')`))
        break
      case 3:
        pieces.push(bind([token], name), describe('P'), execute(), sync)
        break
      case 4:
        pieces.push(
          ...random.pick([
            [describe('S', name), sync],
            [close('S', name), sync],
          ]),
        )
        break
      case 5:
        pieces.push(...forms(author, `deallocate ${random.pick(['', 'prepare '])}${name}`))
    }
  }
  const end = author.token()
  pieces.push(query(`select '${end}' as x`))
  const judge = (heard: readonly string[]): string | undefined => {
    const strange = heard.find((line) => {
      if (line.startsWith('D ')) return !line.startsWith(`D ${author.id}.`)
      if (line.startsWith('t ')) return line !== 't 25'
      return line.startsWith('E ') && !errors.test(line)
    })
    return strange === undefined ? undefined : `not of this client: ${strange}`
  }
  return { name: 'SQL names', bytes: Buffer.concat(pieces), pieces, judge, until: isAnswered(end) }
}

const errors =
  /^E ERROR (?:26000 prepared statement "r\d" does not exist|42P05 prepared statement "r\d" already exists)$/

/** Takes all statements from the server, unseen by whoever only looks at messages; and leaves. */
const forgetsUnseen = (author: Author): Exchange => {
  const pieces = author.random.pick([
    [query("do $$ begin execute 'deallocate all'; end $$")],
    [extended("do $$ begin execute 'deallocate all'; end $$"), sync],
    [query(`select '${author.token()}' as x; deallocate all`)],
    [extended('deallocate all'), sync],
    [extended('discard all'), sync],
  ])
  const end = author.token()
  pieces.push(query(`select '${end}' as x`))
  author.prepared.clear()
  const judge = (heard: readonly string[]): string | undefined => heard.find((line) => line.startsWith('E '))
  const bytes = Buffer.concat(pieces)
  return { name: 'forgets unseen', bytes, pieces, judge, until: isAnswered(end), leaves: true }
}

/** The unnamed statement of somebody else is nobody's. */
const neverParsed = (author: Author): Exchange => {
  const bytes = author.random.pick([
    Buffer.concat([bind(), execute(), sync]),
    Buffer.concat([bind(['x']), execute(), sync]),
    Buffer.concat([describe('S'), sync]),
  ])
  const lines = ['E ERROR 26000 unnamed prepared statement does not exist', 'Z I']
  return { name: 'never parsed', bytes, lines }
}

/** No portal is left of whoever had the server before. */
const neverBound = (author: Author): Exchange => {
  const portal = author.random.pick(['', 'p1'])
  const bytes = Buffer.concat([author.random.pick([execute(portal), describe('P', portal)]), sync])
  return { name: 'never bound', bytes, lines: [`E ERROR 34000 portal "${portal}" does not exist`, 'Z I'] }
}

export const namesOfSql: readonly Kind[] = [
  { name: 'SQL names', weight: 2, make: sqlNames },
  { name: 'forgets unseen', weight: 0.05, make: forgetsUnseen },
  { name: 'never parsed', weight: 1, isFirst: true, make: neverParsed },
  { name: 'never bound', weight: 1, isFirst: true, make: neverBound },
]
