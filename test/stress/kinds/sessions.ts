// What a client may leave behind on its server, and what the next one finds there.

import { extended, query, sync } from '../../harness/raw-client.js'
import type { Author } from '../author.js'
import type { Exchange, Kind } from '../exchange.js'

const tracked = [
  'application_name',
  'client_encoding',
  'search_path',
  'app.tenant',
  'TimeZone',
  'DateStyle',
  'IntervalStyle',
]
tracked.push('standard_conforming_strings', 'default_transaction_read_only', 'scram_iterations')

const found = [
  ...tracked.map((name) => `coalesce(current_setting('${name}', true), '')`),
  `(select coalesce(string_agg(name || '=' || setting, ',' order by name), '') from pg_settings
     where source = 'session' and lower(name) not in (${tracked.map((name) => `'${name.toLowerCase()}'`).join()}))`,
  "(select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid())",
  '(select count(*) from pg_class where relnamespace = pg_my_temp_schema() and oid <> 0)',
  "(select count(*) from pg_cursors where name <> '')",
  '(select count(*) from pg_listening_channels())',
  'current_user',
  'session_user',
].map((column, at) => `${column} as f${at}`)

/** Just what it would find on a connection that was never anybody else's. */
const inspects = (author: Author): Exchange => {
  const text = `select ${found.join()}, '${author.token()}' as token`
  return { name: 'inspects', bytes: author.random.chance(0.5) ? query(text) : Buffer.concat([extended(text), sync]) }
}

/** State of a session, which is a client's own in session mode. */
const leaves = (author: Author): Exchange => {
  const { random } = author
  const text = random.pick([
    `create temporary table left_${random.below(3)} (n int)`,
    `create temporary table things as select '${author.token()}' as origin, 1 as n`,
    `select pg_advisory_lock_shared(${random.below(5)}) as x`,
    `listen channel_${random.below(3)}`,
    'unlisten *',
    `set statement_timeout = '${random.between(60, 90)}s'`,
    'set enable_seqscan = off',
    'set session characteristics as transaction isolation level repeatable read',
    `set search_path = ${random.pick(['s1, public', 's2, public', 'public, "S1"'])}`,
    `set app.tenant = '${random.pick(['acme', 'ACME'])}'`,
    `set app.other = '${author.token()}'`,
    `declare held_${random.below(3)} cursor with hold for select '${author.token()}' as x`,
    'discard temp',
  ])
  return { name: 'leaves', bytes: random.chance(0.5) ? query(text) : Buffer.concat([extended(text), sync]) }
}

export const sessions: readonly Kind[] = [
  { name: 'inspects', weight: 2, isAsked: true, make: inspects },
  { name: 'inspects first', weight: 1, isAsked: true, isFirst: true, make: inspects },
  { name: 'leaves', weight: 2, isAsked: true, modes: ['session'], make: leaves },
]
