// Parameters of a client that go along with it from server to server.

import { postgres } from '../../harness/postgres.js'
import type { Random } from '../../harness/random.js'
import { extended, query, sync } from '../../harness/raw-client.js'
import type { Author } from '../author.js'
import type { Exchange, Kind } from '../exchange.js'
import { fails } from './reads.js'

/** What a client may ask for in its startup packet. Values that differ by case are different. */
const values: Readonly<Record<string, readonly string[]>> = {
  application_name: ['one', 'ONE', 'another'],
  search_path: ['public', 's1, public', 's2,public', '"S1", public'],
  'app.tenant': ['acme', 'ACME', 'other'],
  TimeZone: ['UTC', 'Europe/Berlin', 'Asia/Tokyo'],
  DateStyle: ['ISO, MDY', 'German', 'SQL, DMY'],
  IntervalStyle: ['postgres', 'iso_8601'],
}

export function randomParameters(random: Random): Record<string, string> {
  const asked = Object.entries(values).filter(() => random.chance(0.25))
  return Object.fromEntries(asked.map(([name, some]) => [name, random.pick(some)]))
}

const setsParameter = (author: Author): Exchange => {
  const token = author.token()
  author.parameters.set('application_name', token)
  const bytes = query(`set application_name = '${token}'`)
  const told = ['C SET', `S application_name=${token}`]
  if (postgres().version < 14) told.reverse()
  return { name: 'SET', bytes, lines: [...told, 'Z I'] }
}

const readsParameter = (author: Author): Exchange => {
  const bytes = query("select current_setting('application_name') as x")
  return {
    name: 'SHOW',
    bytes,
    lines: ['T x', `D ${author.parameters.get('application_name') ?? ''}`, 'C SELECT 1', 'Z I'],
  }
}

/** What the server reports goes along; what is taken back, or meant for a transaction only, does not. */
const sets = (author: Author): Exchange => {
  const { random } = author
  const isReported = (name: string): boolean =>
    name !== 'app.tenant' && name !== 'application_name' && (name !== 'search_path' || postgres().version >= 18)
  const reported = Object.keys(values).filter(isReported)
  const set = (): string => {
    const name = random.pick(reported)
    const value = `'${random.pick(values[name]!)}'`
    const config = `select set_config('${name}', ${value}, false) as x`
    if (name === 'search_path') return random.pick([`set search_path = ${value.slice(1, -1)}`, config])
    return random.pick([`set ${name} = ${value}`, `set session ${name} to ${value}`, config])
  }
  const read = `select ${reported.map((name, at) => `current_setting('${name}') as x${at}`).join()}`
  const [one, other] = [set(), set()]
  const pieces = random.pick([
    [query(one)],
    [query(`${one}; ${other}; ${read}`)],
    [extended(one), extended(other), sync],
    [query(`begin; ${one}; commit`)],
    [query(`begin; ${one}; rollback`)],
    [query(`${one}; ${fails}`)],
    [query(`begin; savepoint a; ${one}; rollback to a; ${other}; commit`)],
    [query(`begin; ${one.replace('false', 'true').replace(/^set (?:session )?/, 'set local ')}; ${read}; commit`)],
    [query(`do $do$ begin execute $$${one}$$; end $do$`)],
  ])
  if (random.chance(0.5)) pieces.push(query(read))
  return { name: 'sets', bytes: Buffer.concat(pieces), pieces }
}

export const parameters: readonly Kind[] = [
  { name: 'setsParameter', weight: 1, make: setsParameter },
  { name: 'sets', weight: 2, isAsked: true, modes: ['transaction', 'session'], make: sets },
  { name: 'readsParameter', weight: 1, make: readsParameter },
]
