// Random exchanges whose every answer only the client that asks could have asked for.

import type { Random } from '../harness/random.js'
import {
  bind,
  close,
  copyData,
  copyDone,
  copyFail,
  describe,
  execute,
  extended,
  flush,
  functionCall,
  parse,
  query,
  sync,
} from '../harness/raw-client.js'

/** Table of the rows that clients write. */
export const setUp =
  'create table writes (token text primary key, n int check (n < 1000)); grant all on writes to public'

/** What is sent, what is heard, and what is written if it is all carried out. */
export interface Exchange {
  readonly name: string
  readonly bytes: Buffer
  /** The same, where it may be sent piece by piece with pauses. */
  readonly pieces?: readonly Buffer[]
  readonly lines: readonly string[]
  readonly written?: readonly string[]
}

/** One client as it knows itself. */
export class Author {
  readonly user: string
  readonly #random: Random
  readonly #id: string
  readonly #mode: string
  #next = 0
  /** Prepared statements by name: the number of the text. */
  readonly #prepared = new Map<string, number>()
  #applicationName = ''

  constructor(id: string, user: string, mode: string, random: Random) {
    this.#id = id
    this.user = user
    this.#mode = mode
    this.#random = random
  }

  /** What nobody else ever says, and this client only once. */
  token(): string {
    return `${this.#id}.${this.#next++}`
  }

  /** The next exchanges, to be sent one behind the other. */
  *exchanges(count: number): Generator<Exchange> {
    for (let left = count; left > 0; left--) yield this.#random.pick(this.#kinds)()
  }

  /** Waits on the server, to be cancelled. */
  sleep(seconds: number): Exchange {
    const token = this.token()
    const bytes = query(`select '${token}' as x from pg_sleep(${seconds})`)
    return { name: 'sleep', bytes, lines: ['T x', `D ${token}`, 'C SELECT 1', 'Z I'] }
  }

  readonly #simple = (): Exchange => {
    const token = this.token()
    const rows = this.#random.below(4)
    const bytes = query(`select '${token}' as x, current_user as y from generate_series(1, ${rows})`)
    const row = `D ${token}|${this.user}`
    return { name: 'simple', bytes, lines: ['T x|y', ...Array(rows).fill(row), `C SELECT ${rows}`, 'Z I'] }
  }

  readonly #severalStatements = (): Exchange => {
    const token = this.token()
    const bytes = query(`select '${token}.1' as x; ${fails}; select '${token}.2' as x`)
    return { name: 'several', bytes, lines: ['T x', `D ${token}.1`, 'C SELECT 1', 'T x', divided, 'Z I'] }
  }

  readonly #unnamed = (): Exchange => {
    const token = this.token()
    const bytes = Buffer.concat([extended('select $1::text as x', [token]), sync])
    return { name: 'unnamed', bytes, lines: ['1', '2', 'T x', `D ${token}`, 'C SELECT 1', 'Z I'] }
  }

  readonly #withFlush = (): Exchange => {
    const token = this.token()
    const parts = [parse('select $1::text as x'), flush, bind([token]), flush, describe('P'), execute(), flush, sync]
    const bytes = Buffer.concat(parts)
    return { name: 'flush', bytes, pieces: parts, lines: ['1', '2', 'T x', `D ${token}`, 'C SELECT 1', 'Z I'] }
  }

  /** A text that many clients share, under a name that others use for other texts. */
  readonly #named = (): Exchange => {
    const token = this.token()
    const name = `n${this.#random.below(5)}`
    const text = this.#random.below(25)
    const parts: Buffer[] = []
    const lines: string[] = []
    const known = this.#prepared.get(name)
    if (known !== undefined && known !== text && this.#random.chance(0.4)) {
      parts.push(close('S', name))
      lines.push('3')
      this.#prepared.delete(name)
    }
    if (!this.#prepared.has(name)) {
      parts.push(parse(sharedText(text), name))
      lines.push('1')
      this.#prepared.set(name, text)
    }
    if (this.#random.chance(0.2)) {
      parts.push(describe('S', name))
      lines.push('t 25', 'T x')
    }
    parts.push(bind([token], name), execute(), sync)
    lines.push('2', `D ${token}:${this.#prepared.get(name)}`, 'C SELECT 1', 'Z I')
    return { name: `named ${name}`, bytes: Buffer.concat(parts), lines }
  }

  readonly #takenName = (): Exchange => {
    const [name] = this.#prepared.keys()
    if (name === undefined) return this.#named()
    const lines = [`E ERROR 42P05 prepared statement "${name}" already exists`, 'Z I']
    const parts = [parse(sharedText(this.#random.below(25)), name), bind(['x'], name), execute(), sync]
    return { name: `taken ${name}`, bytes: Buffer.concat(parts), lines }
  }

  readonly #unknownName = (): Exchange => {
    const name = `unknown ${this.token()}`
    const lines = [`E ERROR 26000 prepared statement "${name}" does not exist`, 'Z I']
    return { name: 'unknown', bytes: Buffer.concat([bind([], name), execute(), sync]), lines }
  }

  /** All in it is skipped, so that the names stay as they were. */
  readonly #skipped = (): Exchange => {
    const [name = 'n0'] = this.#prepared.keys()
    const parts = [extended(fails), close('S', name), parse(sharedText(1), name), bind(['x'], name), sync]
    return { name: 'skipped', bytes: Buffer.concat(parts), lines: ['1', '2', 'T x', divided, 'Z I'] }
  }

  readonly #preparedBySql = (): Exchange => {
    const token = this.token()
    const name = `q${this.#random.below(3)}`
    const known = this.#prepared.get(name)
    if (known === undefined) {
      const text = this.#random.below(25)
      this.#prepared.set(name, text)
      return { name: 'PREPARE', bytes: query(`prepare ${name} as ${sharedText(text)}`), lines: ['C PREPARE', 'Z I'] }
    }
    if (this.#random.chance(0.2)) {
      this.#prepared.delete(name)
      return { name: 'DEALLOCATE', bytes: query(`deallocate ${name}`), lines: ['C DEALLOCATE', 'Z I'] }
    }
    const lines = ['T x', `D ${token}:${known}`, 'C SELECT 1', 'Z I']
    return { name: 'EXECUTE', bytes: query(`execute ${name}('${token}')`), lines }
  }

  readonly #forgetAll = (): Exchange => {
    if (this.#random.chance(0.8)) return this.#named()
    this.#prepared.clear()
    return { name: 'DEALLOCATE ALL', bytes: query('deallocate all'), lines: ['C DEALLOCATE ALL', 'Z I'] }
  }

  readonly #error = (): Exchange => {
    const token = this.token()
    const text = `do $$ begin raise exception '${token}' using errcode = 'P0042'; end $$`
    if (this.#random.chance(0.5)) return { name: 'error', bytes: query(text), lines: [`E ERROR P0042 ${token}`, 'Z I'] }
    const bytes = Buffer.concat([extended(text), extended('select 1'), sync])
    return { name: 'error, extended', bytes, lines: ['1', '2', 'n', `E ERROR P0042 ${token}`, 'Z I'] }
  }

  readonly #notice = (): Exchange => {
    const token = this.token()
    const bytes = query(`do $$ begin raise notice '${token}'; end $$`)
    return { name: 'notice', bytes, lines: [`N NOTICE 00000 ${token}`, 'C DO', 'Z I'] }
  }

  readonly #functionCall = (): Exchange => {
    const [one, other] = [this.#random.below(1_000_000), this.#random.below(1_000_000)]
    return {
      name: 'function',
      bytes: functionCall(177, String(one), String(other)), // int4pl
      lines: [`V ${one + other}`, 'Z I'],
    }
  }

  readonly #rowLimits = (): Exchange => {
    const token = this.token()
    const rows = [1, 2, 3, 4, 5].map((n) => `D ${token}.${n}`)
    const parts = [parse("select $1 || '.' || n as x from generate_series(1, 5) n"), bind([token])]
    parts.push(execute('', 2), execute('', 2), execute('', 2), sync)
    const lines = ['1', '2', ...rows.slice(0, 2), 's', ...rows.slice(2, 4), 's', ...rows.slice(4), 'C SELECT 1', 'Z I']
    return { name: 'row limits', bytes: Buffer.concat(parts), lines }
  }

  readonly #large = (): Exchange => {
    const token = this.token()
    const times = this.#random.between(1000, 20_000)
    const bytes = query(`select repeat('${token} ', ${times}) as x`)
    return { name: 'large', bytes, lines: ['T x', `D ${`${token} `.repeat(times)}`, 'C SELECT 1', 'Z I'] }
  }

  readonly #copyOut = (): Exchange => {
    const token = this.token()
    const rows = this.#random.below(30)
    const bytes = query(`copy (select '${token}', n from generate_series(1, ${rows}) n) to stdout`)
    const data = Array.from({ length: rows }, (_, n) => `d ${token}\t${n + 1}\n`)
    return { name: 'COPY OUT', bytes, lines: ['H', ...data, 'c', `C COPY ${rows}`, 'Z I'] }
  }

  readonly #copyIn = (): Exchange => {
    const written = Array.from({ length: this.#random.between(1, 20) }, () => this.token())
    const data = written.map((token, n) => copyData(`${token}\t${n}\n`))
    const done = `C COPY ${written.length}`
    if (this.#random.chance(0.5)) {
      const bytes = Buffer.concat([query('copy writes from stdin'), ...data, copyDone])
      return { name: 'COPY IN', bytes, lines: ['G', done, 'Z I'], written }
    }
    const bytes = Buffer.concat([extended('copy writes from stdin'), sync, ...data, copyDone, sync])
    return { name: 'COPY IN, extended', bytes, lines: ['1', '2', 'n', 'G', done, 'Z I'], written }
  }

  readonly #copyInFails = (): Exchange => {
    const token = this.token()
    const isOurs = this.#random.chance(0.5)
    const end = isOurs
      ? [copyFail(token)]
      : [copyData(`${token}\t${token}\n`), copyData(`${token}.more\t1\n`), copyData('and more\t2\n'), copyDone]
    const error = isOurs
      ? `E ERROR 57014 COPY from stdin failed: ${token}`
      : `E ERROR 22P02 invalid input syntax for type integer: "${token}"`
    const data = [copyData(`${token}.first\t1\n`), ...end]
    if (this.#random.chance(0.5)) {
      const bytes = Buffer.concat([query('copy writes from stdin'), ...data])
      return { name: 'COPY IN that fails', bytes, lines: ['G', error, 'Z I'] }
    }
    const bytes = Buffer.concat([extended('copy writes from stdin'), sync, ...data, sync])
    return { name: 'COPY IN that fails, extended', bytes, lines: ['1', '2', 'n', 'G', error, 'Z I'] }
  }

  readonly #setsParameter = (): Exchange => {
    const token = this.token()
    this.#applicationName = token
    const bytes = query(`set application_name = '${token}'`)
    return { name: 'SET', bytes, lines: ['C SET', `S application_name=${token}`, 'Z I'] }
  }

  readonly #readsParameter = (): Exchange => {
    const bytes = query("select current_setting('application_name') as x")
    return { name: 'SHOW', bytes, lines: ['T x', `D ${this.#applicationName}`, 'C SELECT 1', 'Z I'] }
  }

  readonly #insert = (): Exchange => {
    const token = this.token()
    const bytes = query(`insert into writes values ('${token}', 1) returning token`)
    return { name: 'insert', bytes, lines: ['T token', `D ${token}`, 'C INSERT 0 1', 'Z I'], written: [token] }
  }

  readonly #transaction = (): Exchange => {
    const [token, other] = [this.token(), this.token()]
    const commits = this.#random.chance(0.6)
    const parts = [
      query('begin'),
      query(`insert into writes values ('${token}', 1)`),
      Buffer.concat([extended('insert into writes values ($1, 2)', [other]), sync]),
      query(`select token as x from writes where token in ('${token}', '${other}') order by n`),
      query(commits ? 'commit' : 'rollback'),
    ]
    const lines = ['C BEGIN', 'Z T', 'C INSERT 0 1', 'Z T', '1', '2', 'n', 'C INSERT 0 1', 'Z T']
    lines.push('T x', `D ${token}`, `D ${other}`, 'C SELECT 2', 'Z T', commits ? 'C COMMIT' : 'C ROLLBACK', 'Z I')
    const written = commits ? [token, other] : []
    return { name: 'transaction', bytes: Buffer.concat(parts), pieces: parts, lines, written }
  }

  readonly #failedTransaction = (): Exchange => {
    const token = this.token()
    const parts = [query(`begin; insert into writes values ('${token}', 1)`), query(fails), query('select 1')]
    parts.push(query('commit'))
    const lines = ['C BEGIN', 'C INSERT 0 1', 'Z T', 'T x', divided, 'Z E', aborted, 'Z E', 'C ROLLBACK', 'Z I']
    return { name: 'failed transaction', bytes: Buffer.concat(parts), pieces: parts, lines }
  }

  readonly #empty = (): Exchange => {
    if (this.#random.chance(0.5)) return { name: 'empty', bytes: query(''), lines: ['I', 'Z I'] }
    return { name: 'Syncs', bytes: Buffer.concat([sync, sync]), lines: ['Z I', 'Z I'] }
  }

  get #kinds(): readonly (() => Exchange)[] {
    const reads = [this.#simple, this.#severalStatements, this.#unnamed, this.#withFlush, this.#functionCall]
    const prepared = [this.#named, this.#named, this.#named, this.#takenName, this.#unknownName, this.#skipped]
    const bySql = [this.#preparedBySql, this.#preparedBySql, this.#forgetAll]
    const others = [this.#error, this.#notice, this.#rowLimits, this.#large, this.#empty]
    const copies = [this.#copyOut, this.#copyIn, this.#copyInFails]
    const parameters = [this.#setsParameter, this.#readsParameter]
    const writes = [this.#transaction, this.#transaction, this.#transaction, this.#failedTransaction]
    const kinds = [...reads, ...prepared, ...bySql, ...others, ...copies, ...parameters, this.#insert]
    return this.#mode === 'statement' ? kinds : [...kinds, ...writes]
  }
}

/** After it has begun to answer: constants would be divided before. */
const fails = 'select 1 / n as x from generate_series(0, 0) n'
const divided = 'E ERROR 22012 division by zero'
const aborted = 'E ERROR 25P02 current transaction is aborted, commands ignored until end of transaction block'

const sharedText = (n: number): string => `select $1::text || ':${n}' as x`
