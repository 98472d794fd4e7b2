// One exchange of a random client: what is sent, and what must be heard.

import type { Author } from './author.js'

/** What is sent, what is heard, and what is written if it is all carried out. */
export interface Exchange {
  readonly name: string
  readonly bytes: Buffer
  /** The same, where it may be sent piece by piece with pauses. */
  readonly pieces?: readonly Buffer[]
  /** What is heard; left out: what PostgreSQL itself answers to the very same bytes. */
  readonly lines?: readonly string[]
  /** Of the same messages, where they are known. */
  readonly bodies?: readonly Buffer[]
  /** In place of `lines`, where more than one answer is right: what is wrong with this one, or undefined. */
  readonly judge?: (heard: readonly string[]) => string | undefined
  /** Where `judge` is to judge: is this all? */
  readonly until?: (heard: readonly string[]) => boolean
  /** Tokens of rows in table writes. */
  readonly written?: readonly string[]
  /** Ms before the last of the pieces; nothing is sent behind it before its answer. */
  readonly hesitates?: number
  /** Meanwhile the client asks for a cancel. */
  readonly isCancelled?: boolean
  /** Sent right behind it: Terminate, or the end of what this side has to say. */
  readonly ending?: 'terminate' | 'fin'
  /** PostgreSQL has closed the connection in the course of it. */
  readonly isOver?: boolean
  /** The other side closes the connection behind it. */
  readonly isLast?: boolean
  /** The client leaves behind it. */
  readonly leaves?: boolean
}

export interface Kind {
  readonly name: string
  /** How often it is played, beside the others. */
  readonly weight: number
  /** Pool modes; default: all. */
  readonly modes?: readonly string[]
  /** Has no `lines`: is played by clients with a twin only. */
  readonly isAsked?: boolean
  /** Only as the first exchange of a client. */
  readonly isFirst?: boolean
  make(author: Author): Exchange
}
