// Parameters of a client that go along with it from server to server.

import type { Random } from '../../harness/random.js'
import { query } from '../../harness/raw-client.js'
import type { Author } from '../author.js'
import type { Exchange, Kind } from '../exchange.js'

/** What a client may ask for in its startup packet. Values that differ by case are different. */
const values: Readonly<Record<string, readonly string[]>> = {
  application_name: ['one', 'ONE', 'another'],
  search_path: ['public', 's1, public', 's2,public', '"S1", public'],
  'app.tenant': ['acme', 'ACME', 'other'],
  TimeZone: ['UTC', 'Europe/Berlin', 'Asia/Tokyo'],
  DateStyle: ['ISO, MDY', 'German', 'SQL, DMY'],
  IntervalStyle: ['postgres', 'iso_8601'],
}

/** @param folds to lower case, and then values that differ by case are not among them */
export function randomParameters(random: Random, folds: boolean): Record<string, string> {
  const asked = Object.entries(values).filter(() => random.chance(0.25))
  return Object.fromEntries(
    asked.map(([name, some]) => [name, folds ? random.pick(some).toLowerCase() : random.pick(some)]),
  )
}

const setsParameter = (author: Author): Exchange => {
  const token = author.token()
  author.parameters.set('application_name', token)
  const bytes = query(`set application_name = '${token}'`)
  return { name: 'SET', bytes, lines: ['C SET', `S application_name=${token}`, 'Z I'] }
}

const readsParameter = (author: Author): Exchange => {
  const bytes = query("select current_setting('application_name') as x")
  return {
    name: 'SHOW',
    bytes,
    lines: ['T x', `D ${author.parameters.get('application_name') ?? ''}`, 'C SELECT 1', 'Z I'],
  }
}

export const parameters: readonly Kind[] = [
  { name: 'setsParameter', weight: 1, make: setsParameter },
  { name: 'readsParameter', weight: 1, make: readsParameter },
]
