// PostgreSQL's side of the protocol without PostgreSQL: what is answered when, what is skipped after an error, what waits
// for a Flush or Sync. Its statements are words: `rows 3 x`, `begin`, `fail`, `copy in`, `syntax`, ...
// Stricter than the real one in this: in a failed transaction it refuses to describe statements that give no rows, too, since a
// pooler cannot make them there on a server that lacks them.

import { i16, i32, message, z } from '../protocol/wire.js'

interface Portal {
  readonly text: string
  readonly tag: string
  /** Rows, or runs of what has none. */
  sent: number
}

interface CopyIn {
  /** Which CopyData it fails at, counted from 1; 0: none. */
  readonly failAt: number
  readonly isSimple: boolean
  /** What remains of a simple Query behind it. */
  readonly rest: readonly string[]
  rows: number
}

class Failure extends Error {
  readonly sqlstate: string
  readonly routine: string
  constructor(sqlstate: string, text: string, routine = 'main') {
    super(text)
    this.sqlstate = sqlstate
    this.routine = routine
  }
}

export class FakeBackend {
  readonly statements = new Map<string, string>()
  status = 'I'
  /** As a standby is. */
  isReadOnly = false
  /** What it has carried out of the kind. */
  inserts = 0
  /** Answers that have left for the client. */
  sent: Buffer[] = []
  /** Statements whose plan has gone stale: Bind fails, and Describe in the middle, until they are prepared anew; where nothing heals, even then. */
  readonly stale = new Set<string>()
  heals = true
  /** Called before each message: something to say out of turn. */
  chatter: () => Buffer = () => Buffer.alloc(0)
  private portals = new Map<string, Portal>()
  private input: Buffer = Buffer.alloc(0)
  private unsent: Buffer[] = []
  private skipping = false
  private copy: CopyIn | undefined
  private isOpen = false

  /** Nothing half way: no answer withheld, no message cut, no exchange, copy or transaction open. */
  get isClean(): boolean {
    return this.status === 'I' && this.isAtRest
  }

  /** The same, but for a transaction. */
  get isAtRest(): boolean {
    return (
      this.unsent.length === 0 &&
      this.sent.length === 0 &&
      this.input.length === 0 &&
      !this.skipping &&
      this.copy === undefined &&
      !this.isOpen
    )
  }

  /** What it is in the middle of, for the message of a failing test. */
  get state(): string {
    const { status, skipping, isOpen } = this
    return JSON.stringify({
      status,
      skipping,
      isOpen,
      copy: this.copy,
      unsent: this.unsent.length,
      input: this.input.length,
    })
  }

  receive(bytes: Buffer): void {
    this.input = Buffer.concat([this.input, bytes])
  }

  /** Deals with at most `most` messages of what came in. */
  work(most = Number.POSITIVE_INFINITY): void {
    for (let done = 0; done < most && this.input.length >= 5; done++) {
      const end = 1 + this.input.readInt32BE(1)
      if (end < 5) throw new Error(`frontend message of length ${end - 1}`)
      if (this.input.length < end) return
      const code = String.fromCharCode(this.input[0]!)
      const body = this.input.subarray(5, end)
      this.input = this.input.subarray(end)
      this.handle(code, body)
    }
  }

  /** The first `most` bytes of what has been sent. */
  taken(most = Number.POSITIVE_INFINITY): Buffer {
    const all = Buffer.concat(this.sent)
    this.sent = all.length > most ? [all.subarray(most)] : []
    return all.subarray(0, most)
  }

  /** As PostgreSQL does whenever its buffer is full. */
  flush(): void {
    this.sent.push(...this.unsent)
    this.unsent = []
  }

  private say(code: string, ...parts: Buffer[]): void {
    this.unsent.push(this.chatter(), message(code, ...parts))
  }

  private handle(code: string, body: Buffer): void {
    if (this.copy !== undefined) return this.handleCopy(this.copy, code, body)
    if (this.skipping && code !== 'S') return
    switch (code) {
      case 'd':
      case 'c':
      case 'f':
        return
      case 'H':
        return this.flush()
      case 'S':
        this.skipping = false
        this.isOpen = false
        return this.ready()
      case 'Q':
        return this.runSimple(body.toString('utf8', 0, body.length - 1).split(';'))
      case 'F':
        try {
          if (body.includes('fail')) throw new Failure('22012', 'division by zero')
          this.say('V', i32(body.length), body)
        } catch (error) {
          this.fail(error)
        }
        return this.ready()
      default:
        this.isOpen = true
        try {
          this.runExtended(code, body)
        } catch (error) {
          this.fail(error)
          this.flush() // as send_message_to_frontend does
          this.skipping = true
        }
    }
  }

  private runExtended(code: string, body: Buffer): void {
    const [first, second] = body.toString('latin1').split('\0') as [string, string]
    if (!body.includes(0)) throw new Failure('08P01', 'invalid string in message')
    switch (code) {
      case 'P':
        this.prepare(first, second)
        return this.say('1')
      case 'B': {
        const text = this.statement(second)
        if (this.status === 'E' && !/^rollback/i.test(text)) throw aborted
        if (text.startsWith('nobind')) throw new Failure('08P01', 'bind message supplies no parameters')
        this.refuseStale(second)
        if (first !== '' && this.portals.has(first)) throw new Failure('42P03', `cursor "${first}" already exists`)
        this.portals.set(first, { text, tag: body.toString('latin1', first.length + second.length + 2), sent: 0 })
        return this.say('2')
      }
      case 'D': {
        const name = first.slice(1)
        const isStatement = first.startsWith('S')
        const text = isStatement ? this.statement(name) : this.portal(name).text
        if (this.status === 'E' && (isStatement || text.startsWith('rows'))) throw aborted
        if (isStatement) this.say('t', i16(1), i32(25))
        if (isStatement) this.refuseStale(name)
        return text.startsWith('rows') ? this.say('T', i16(1), z(text), Buffer.alloc(18)) : this.say('n')
      }
      case 'E':
        return this.execute(this.portal(first), body.readInt32BE(body.length - 4))
      case 'C':
        if (body.length !== first.length + 1) throw new Failure('08P01', 'invalid message format')
        if (first.startsWith('S')) this.statements.delete(first.slice(1))
        else this.portals.delete(first.slice(1))
        return this.say('3')
      default:
        throw new Error(`frontend sent ${code}`)
    }
  }

  private prepare(name: string, given: string): void {
    const text = given.trim()
    if (name === '') this.statements.delete('')
    refuseSyntax(text)
    if (this.status === 'E' && text !== '' && !/^rollback/i.test(text)) throw aborted
    if (name !== '' && this.statements.has(name)) {
      throw new Failure('42P05', `prepared statement "${name}" already exists`)
    }
    this.statements.set(name, text)
    if (this.heals) this.stale.delete(name)
    else this.stale.add(name)
  }

  private refuseStale(name: string): void {
    if (!this.stale.has(name)) return
    throw new Failure('0A000', 'cached plan must not change result type', 'RevalidateCachedQuery')
  }

  private statement(name: string): string {
    const text = this.statements.get(name)
    if (text !== undefined) return text
    throw new Failure(
      '26000',
      name === '' ? 'unnamed prepared statement does not exist' : `prepared statement "${name}" does not exist`,
    )
  }

  private portal(name: string): Portal {
    const portal = this.portals.get(name)
    if (portal === undefined) throw new Failure('34000', `portal "${name}" does not exist`)
    return portal
  }

  private execute(portal: Portal, most: number): void {
    if (this.status === 'E' && portal.text !== '' && !/^rollback/i.test(portal.text)) throw aborted
    const name = /^execute (.*)$/.exec(portal.text)?.[1]
    const text = name === undefined ? portal.text : this.statement(nameIn(name))
    const count = /^rows (\d+)/.exec(text)?.[1]
    if (count === undefined) {
      if (portal.sent++ > 0) throw new Failure('55000', 'portal cannot be run')
      return this.run(text, false, [])
    }
    if (this.status === 'E') throw aborted
    for (let n = 0; portal.sent < Number(count); n++) {
      if (most > 0 && n === most) return this.say('s')
      this.row(`${text} ${portal.tag} ${++portal.sent}`)
    }
    this.say('C', z(`SELECT ${count}`))
  }

  private runSimple(texts: readonly string[]): void {
    this.statements.delete('')
    try {
      for (const text of texts) refuseSyntax(text.trim())
      for (const [index, text] of texts.entries()) {
        this.run(text.trim(), true, texts.slice(index + 1))
        if (this.copy !== undefined) return
      }
    } catch (error) {
      this.fail(error)
    }
    this.isOpen = false
    this.ready()
  }

  private run(text: string, isSimple: boolean, rest: readonly string[]): void {
    const [first, argument] = text.split(' ') as [string, string]
    const verb = first.toLowerCase()
    if (this.status === 'E' && verb !== 'rollback' && verb !== '') throw aborted
    switch (verb) {
      case '':
        return this.say('I')
      case 'rows':
        this.say('T', i16(1), z(text), Buffer.alloc(18))
        for (let n = 1; n <= Number(argument); n++) this.row(`${text} ${n}`)
        return this.say('C', z(`SELECT ${argument}`))
      case 'begin':
        this.status = 'T'
        return this.say('C', z('BEGIN'))
      case 'commit':
      case 'rollback':
        this.status = 'I'
        return this.say('C', z(verb.toUpperCase()))
      case 'prepare': {
        const [, name, prepared] = /^prepare (".*?"|\w+) as (.*)$/i.exec(text) as unknown as [string, string, string]
        this.prepare(nameIn(name), prepared)
        return this.say('C', z('PREPARE'))
      }
      case 'execute':
        return this.run(this.statement(nameIn(text.slice('execute '.length))), isSimple, rest)
      case 'deallocate': {
        const name = nameIn(text.slice('deallocate '.length))
        if (name === 'all') {
          for (const one of this.statements.keys()) if (one !== '') this.statements.delete(one)
          return this.say('C', z('DEALLOCATE ALL'))
        }
        this.statement(name)
        this.statements.delete(name)
        return this.say('C', z('DEALLOCATE'))
      }
      case 'do': {
        // What it does with statements, nobody is told.
        const [, action, name, ...words] = text.split(' ')
        if (action === 'prepare') this.statements.set(name!, words.join(' '))
        else if (action === 'deallocate') this.statements.delete(name!)
        else if (action === 'deallocate-all')
          for (const one of this.statements.keys()) if (one !== '') this.statements.delete(one)
        return this.say('C', z('DO'))
      }
      case 'fail':
        throw new Failure('22012', 'division by zero')
      case 'insert':
        if (this.isReadOnly) throw new Failure('25006', 'cannot execute INSERT in a read-only transaction')
        this.inserts++
        return this.say('C', z('INSERT 0 1'))
      case 'notice':
        this.say('N', z(`Mnotice ${argument}`), Buffer.alloc(1))
        return this.say('C', z('DO'))
      case 'set':
        // As clients say it, and as the pooler does.
        this.say('S', z('application_name'), z(argument?.replace(/^application_name='(.*)'$/, '$1') ?? ''))
        return this.say('C', z('SET'))
      case 'discard':
        this.statements.clear()
        return this.say('C', z('DISCARD ALL'))
      case 'copy':
        if (argument === 'out') {
          this.say('H', Buffer.alloc(1), i16(0))
          this.say('d', Buffer.from(text))
          this.say('c')
          return this.say('C', z('COPY 1'))
        }
        this.copy = { failAt: Number(text.split(' ')[2] ?? 0), isSimple, rest, rows: 0 }
        this.say('G', Buffer.alloc(1), i16(0))
        this.flush()
        // As a trigger does, before the first row is read.
        if (text.endsWith('raise')) {
          this.copy = undefined
          throw new Failure('P0001', 'not today')
        }
        return
      default:
        return this.say('C', z(verb.toUpperCase()))
    }
  }

  private handleCopy(copy: CopyIn, code: string, body: Buffer): void {
    if (code === 'H' || code === 'S') return
    try {
      if (code === 'd' && ++copy.rows !== copy.failAt) return
      if (code === 'd') throw new Failure('22P04', 'bad copy data')
      if (code === 'f') throw new Failure('57014', `COPY from stdin failed: ${body.toString()}`)
      if (code !== 'c') throw new Error(`frontend sent ${code} during COPY`)
      this.copy = undefined
      this.say('C', z(`COPY ${copy.rows}`))
      if (copy.isSimple) this.runSimple(copy.rest)
    } catch (error) {
      this.copy = undefined
      this.fail(error)
      if (copy.isSimple) return this.ready()
      this.skipping = true
      this.flush() // as send_message_to_frontend does
    }
  }

  private row(text: string): void {
    this.say('D', i16(1), i32(text.length), Buffer.from(text, 'latin1'))
  }

  private fail(error: unknown): void {
    if (!(error instanceof Failure)) throw error
    if (this.status === 'T') this.status = 'E'
    this.say('E', z('SERROR'), z(`C${error.sqlstate}`), z(`M${error.message}`), z(`R${error.routine}`), Buffer.alloc(1))
  }

  private ready(): void {
    if (this.status === 'I') this.portals.clear()
    this.say('Z', Buffer.from(this.status))
    this.flush()
  }
}

/** PostgreSQL reads a text whole before it looks at what it would do. */
function refuseSyntax(text: string): void {
  if (/^(?:prepare \S+ as )?syntax/.test(text)) throw new Failure('42601', 'syntax error at or near "syntax"')
}

/** As SQL folds it. */
function nameIn(text: string): string {
  return text.startsWith('"') ? text.slice(1, -1) : text.toLowerCase()
}

const aborted = new Failure('25P02', 'current transaction is aborted, commands ignored until end of transaction block')
