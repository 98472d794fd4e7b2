// hot path
// The requests that a server connection has yet to answer, in order, and to whom: one entry a message that it answers.

import * as backend from '../protocol/backend.js'
import * as frontend from '../protocol/frontend.js'

// The kinds of requests. Integers, for `switch`.

/** A Query or FunctionCall. */
export const Query = 1
export const Sync = 2
/** A Query or FunctionCall behind messages that no Sync has closed: where one of those fails, it is skipped with them. */
export const QueryInBatch = 3
export const Parse = 4
export const Bind = 5
export const Describe = 6
export const Execute = 7
export const Close = 8
/** A Parse that the pooler put in front: its ParseComplete is dropped. */
export const ParseAdded = 9
/** A Describe that the pooler put in: its answer is dropped. */
export const DescribeAdded = 10
/** A Close that the pooler put in: its CloseComplete is dropped. */
export const CloseAdded = 11
/** A Bind and an Execute that the pooler put in: their answers are dropped. */
export const BindAdded = 12
export const ExecuteAdded = 13
/** A Flush that has a body: outside of a COPY, PostgreSQL answers it with an error alone. */
export const BadFlush = 14
/** A Parse that was left out, since the server has the statement: its ParseComplete is put in. */
export const ParseOmitted = 15
/** A Close that was left out: its CloseComplete is put in. */
export const CloseOmitted = 16
/** The client's CopyDone or CopyFail passed here: a COPY FROM STDIN before it reads no further. */
export const CopyEnd = 17

/** Returns whether the answer to this entry ends with ReadyForQuery. */
export function endsWithReady(kind: number): boolean {
  return kind <= QueryInBatch
}

/** Returns whether the server says nothing to it, whatever becomes of the rest. */
export function isUnanswered(kind: number): boolean {
  return kind >= ParseOmitted
}

/** By code: the kind of entry whose answer a message of the extended protocol ends; 0 where more of the answer follows. */
const ended = new Uint8Array(256)
ended[backend.ParseComplete] = Parse
ended[backend.BindComplete] = Bind
ended[backend.CloseComplete] = Close
ended[backend.RowDescription] = ended[backend.NoData] = Describe
ended[backend.CommandComplete] = ended[backend.EmptyQueryResponse] = ended[backend.PortalSuspended] = Execute

export function endedBy(code: number): number {
  return ended[code]!
}

/** The kind that is answered like one the pooler has put in; 0 for one that it has not. */
export function likenessOf(kind: number): number {
  switch (kind) {
    case ParseAdded:
      return Parse
    case DescribeAdded:
      return Describe
    case CloseAdded:
      return Close
    case BindAdded:
      return Bind
    case ExecuteAdded:
      return Execute
    default:
      return 0
  }
}

/** The entry of a Parse, Bind, Describe or Close that is passed on as it is. */
export function kindOf(code: number): number {
  switch (code) {
    case frontend.Parse:
      return Parse
    case frontend.Bind:
      return Bind
    case frontend.Describe:
      return Describe
    default:
      return Close
  }
}

/** Entries that an empty queue has room for; beyond, it lets go of what somebody has made it grow to. */
const mostKept = 4096

/** What a server owes to one owner, or has yet to answer on its account: how many entries there are, of which kinds. */
export class Dues {
  length = 0
  /** Queries, FunctionCalls and Syncs: ReadyForQuerys still owed, whatever fails. */
  readies = 0
  /** Queries and FunctionCalls in a batch, which an error before them would skip. */
  inBatch = 0
  /** Parses that were left out. */
  omitted = 0
  /** Closes of statements. */
  closes = 0
  /** Ends of a COPY. */
  copyEnds = 0

  count(kind: number, step: number): void {
    this.length += step
    if (kind <= Sync) this.readies += step
    else if (kind === QueryInBatch) this.inBatch += step
    else if (kind === ParseOmitted) this.omitted += step
    else if (kind === CloseAdded || kind === CloseOmitted) this.closes += step
    else if (kind === CopyEnd) this.copyEnds += step
  }
}

/** In places that are empty. */
const nobodys = new Dues()

/**
 * A ring of entries in the order the server will answer. `Owner`: whom the answer goes to. `Note`: what is to be known
 * when it comes. Each is counted among the dues of whoever it was sent for, whether the answer goes there or nowhere. Places
 * that are empty have the kind 0. Capacity grows by doubling, and is kept up to `mostKept`.
 */
export class Outstanding<Owner, Note> {
  private kinds: number[] = new Array(16).fill(0)
  private owners: (Owner | null)[] = new Array(16).fill(null)
  private notes: (Note | null)[] = new Array(16).fill(null)
  private accounts: Dues[] = new Array(16).fill(nobodys)
  private first = 0
  private mask = 15
  length = 0
  /** Of the pooler's own requests, for nobody in particular. */
  readonly own = new Dues()

  /** @param dues on whose account it is */
  push(kind: number, owner: Owner | null, note: Note | null, dues: Dues): void {
    if (this.length > this.mask) this.grow()
    const at = (this.first + this.length) & this.mask
    this.kinds[at] = kind
    this.owners[at] = owner
    this.notes[at] = note
    this.accounts[at] = dues
    this.length++
    dues.count(kind, 1)
  }

  /** Kind of the head, 0 where nothing is owed. */
  get kind(): number {
    return this.kinds[this.first]!
  }

  /** Whom the head's answer goes to; null: nobody, it is dropped. */
  get owner(): Owner | null {
    return this.owners[this.first]!
  }

  get note(): Note | null {
    return this.notes[this.first]!
  }

  /** Of whom the head was sent for. */
  get dues(): Dues {
    return this.length === 0 ? this.own : this.accounts[this.first]!
  }

  shift(): void {
    const at = this.first
    this.accounts[at]!.count(this.kinds[at]!, -1)
    this.kinds[at] = 0
    this.owners[at] = null
    this.notes[at] = null
    this.accounts[at] = nobodys
    this.first = (this.first + 1) & this.mask
    if (--this.length === 0 && this.mask > mostKept) this.shrink()
  }

  kindAt(index: number): number {
    return this.kinds[(this.first + index) & this.mask]!
  }

  ownerAt(index: number): Owner | null {
    return this.owners[(this.first + index) & this.mask]!
  }

  /** Returns whether it was sent for whoever has these dues. */
  isOf(index: number, dues: Dues): boolean {
    return this.accounts[(this.first + index) & this.mask] === dues
  }

  noteAt(index: number): Note | null {
    return this.notes[(this.first + index) & this.mask]!
  }

  /** Returns whether the answer behind the head's goes to somebody else. The end of a COPY is not answered. */
  isOthersNext(): boolean {
    let next = 1
    while (next < this.length && this.kindAt(next) === CopyEnd) next++
    return next < this.length && this.ownerAt(next) !== this.owner
  }

  /** Takes out as many entries right behind the head. */
  removeBehindHead(count: number): void {
    if (count === 0) return
    const kind = this.kinds[this.first]!
    const owner = this.owners[this.first]!
    const note = this.notes[this.first]!
    const dues = this.accounts[this.first]!
    for (let i = 1; i <= count; i++) this.accounts[(this.first + i) & this.mask]!.count(this.kindAt(i), -1)
    for (let i = 0; i < count; i++) {
      const at = (this.first + i) & this.mask
      this.kinds[at] = 0
      this.owners[at] = null
      this.notes[at] = null
      this.accounts[at] = nobodys
    }
    this.first = (this.first + count) & this.mask
    this.length -= count
    this.kinds[this.first] = kind
    this.owners[this.first] = owner
    this.notes[this.first] = note
    this.accounts[this.first] = dues
  }

  /** Nothing of it will be answered any more. */
  clear(): void {
    while (this.length > 0) this.shift()
  }

  /** From now on nobody gets the answers that `owner` was owed. */
  forget(owner: Owner): void {
    for (let i = 0; i < this.length; i++) {
      const at = (this.first + i) & this.mask
      if (this.owners[at] === owner) this.owners[at] = null
    }
  }

  private shrink(): void {
    this.kinds = new Array(16).fill(0)
    this.owners = new Array(16).fill(null)
    this.notes = new Array(16).fill(null)
    this.accounts = new Array(16).fill(nobodys)
    this.first = 0
    this.mask = 15
  }

  private grow(): void {
    const size = (this.mask + 1) * 2
    const kinds: number[] = new Array(size).fill(0)
    const owners: (Owner | null)[] = new Array(size).fill(null)
    const notes: (Note | null)[] = new Array(size).fill(null)
    const accounts: Dues[] = new Array(size).fill(nobodys)
    for (let i = 0; i < this.length; i++) {
      kinds[i] = this.kindAt(i)
      owners[i] = this.ownerAt(i)
      notes[i] = this.noteAt(i)
      accounts[i] = this.accounts[(this.first + i) & this.mask]!
    }
    this.kinds = kinds
    this.owners = owners
    this.notes = notes
    this.accounts = accounts
    this.first = 0
    this.mask = size - 1
  }
}
