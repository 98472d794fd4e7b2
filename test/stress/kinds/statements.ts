// Prepared statements by name: of the protocol and of SQL, their own and those of others.

import { bind, close, describe, execute, extended, parse, query, sync } from '../../harness/raw-client.js'
import type { Author } from '../author.js'
import type { Exchange, Kind } from '../exchange.js'
import { divided, fails } from './reads.js'

/** A text that many clients share, under a name that others use for other texts. */
const named = (author: Author): Exchange => {
  const token = author.token()
  const name = `n${author.random.below(5)}`
  const text = author.random.below(25)
  const parts: Buffer[] = []
  const lines: string[] = []
  const known = author.prepared.get(name)
  if (known !== undefined && known !== text && author.random.chance(0.4)) {
    parts.push(close('S', name))
    lines.push('3')
    author.prepared.delete(name)
  }
  if (!author.prepared.has(name)) {
    parts.push(parse(sharedText(text), name))
    lines.push('1')
    author.prepared.set(name, text)
  }
  if (author.random.chance(0.2)) {
    parts.push(describe('S', name))
    lines.push('t 25', 'T x')
  }
  parts.push(bind([token], name), execute(), sync)
  lines.push('2', `D ${token}:${author.prepared.get(name)}`, 'C SELECT 1', 'Z I')
  return { name: `named ${name}`, bytes: Buffer.concat(parts), lines }
}

const takenName = (author: Author): Exchange => {
  const [name] = author.prepared.keys()
  if (name === undefined) return named(author)
  const lines = [`E ERROR 42P05 prepared statement "${name}" already exists`, 'Z I']
  const parts = [parse(sharedText(author.random.below(25)), name), bind(['x'], name), execute(), sync]
  return { name: `taken ${name}`, bytes: Buffer.concat(parts), lines }
}

const unknownName = (author: Author): Exchange => {
  const name = `unknown ${author.token()}`
  const lines = [`E ERROR 26000 prepared statement "${name}" does not exist`, 'Z I']
  return { name: 'unknown', bytes: Buffer.concat([bind([], name), execute(), sync]), lines }
}

/** All in it is skipped, so that the names stay as they were. */
const skipped = (author: Author): Exchange => {
  const [name = 'n0'] = author.prepared.keys()
  const parts = [extended(fails), close('S', name), parse(sharedText(1), name), bind(['x'], name), sync]
  return { name: 'skipped', bytes: Buffer.concat(parts), lines: ['1', '2', 'T x', divided, 'Z I'] }
}

const preparedBySql = (author: Author): Exchange => {
  const token = author.token()
  const name = `q${author.random.below(3)}`
  const known = author.prepared.get(name)
  if (known === undefined) {
    const text = author.random.below(25)
    author.prepared.set(name, text)
    return { name: 'PREPARE', bytes: query(`prepare ${name} as ${sharedText(text)}`), lines: ['C PREPARE', 'Z I'] }
  }
  if (author.random.chance(0.2)) {
    author.prepared.delete(name)
    return { name: 'DEALLOCATE', bytes: query(`deallocate ${name}`), lines: ['C DEALLOCATE', 'Z I'] }
  }
  const lines = ['T x', `D ${token}:${known}`, 'C SELECT 1', 'Z I']
  return { name: 'EXECUTE', bytes: query(`execute ${name}('${token}')`), lines }
}

const forgetAll = (author: Author): Exchange => {
  if (author.random.chance(0.8)) return named(author)
  author.prepared.clear()
  return { name: 'DEALLOCATE ALL', bytes: query('deallocate all'), lines: ['C DEALLOCATE ALL', 'Z I'] }
}

const sharedText = (n: number): string => `select $1::text || ':${n}' as x`

export const statements: readonly Kind[] = [
  { name: 'named', weight: 3, make: named },
  { name: 'takenName', weight: 1, make: takenName },
  { name: 'unknownName', weight: 1, make: unknownName },
  { name: 'skipped', weight: 1, make: skipped },
  { name: 'preparedBySql', weight: 2, make: preparedBySql },
  { name: 'forgetAll', weight: 1, make: forgetAll },
]
