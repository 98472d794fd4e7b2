// Two messages that say the same, byte for byte but for what tells one server's objects from another's.

import { reportFields } from '../harness/raw-client.js'

/** Of an error that the pooler makes itself, in PostgreSQL's words: whoever has no place in its source. */
const isOwn = (body: Buffer): boolean => reportFields(body).F === undefined

/** Fields of an error that are a matter of the text as it was sent: where names of statements are longer, positions are others. */
const positional = new Set(['P', 'p'])

/** @param other as the pooler told it; `code`: of both messages */
export function isAlike(code: string, one: Buffer, other: Buffer): boolean {
  if (code === 'T') return withoutTables(one).equals(withoutTables(other))
  if (code === 'E' || code === 'N') return isOwn(other) || said(one) === said(other)
  return one.equals(other)
}

/** A RowDescription without the identifiers of tables, which differ where these are temporary. */
function withoutTables(body: Buffer): Buffer {
  const copy = Buffer.from(body)
  let at = 2
  for (let left = copy.readInt16BE(0); left > 0; left--) {
    at = copy.indexOf(0, at) + 1
    copy.fill(0, at, at + 4)
    at += 18
  }
  return copy
}

function said(body: Buffer): string {
  return Object.entries(reportFields(body))
    .filter(([field]) => !positional.has(field))
    .map(([field, text]) => `${field}${text}`)
    .join('\n')
}
