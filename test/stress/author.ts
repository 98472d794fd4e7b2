// What one random client says next: kinds of exchanges, and what the client knows of itself.

import type { Random } from '../harness/random.js'
import type { Exchange, Kind } from './exchange.js'

/** One client as it knows itself. */
export class Author {
  readonly id: string
  readonly user: string
  readonly mode: string
  readonly random: Random
  /** Prepared statements by name: the number of the text. */
  readonly prepared = new Map<string, number>()
  /** What it was let in with, and has set since. */
  readonly parameters: Map<string, string>
  readonly #kinds: readonly Kind[]
  readonly #weight: number
  readonly #first: readonly Kind[]
  #next = 0

  /** @param kinds of which each exchange is one */
  constructor(
    id: string,
    user: string,
    mode: string,
    random: Random,
    kinds: readonly Kind[],
    parameters: Readonly<Record<string, string>>,
  ) {
    this.id = id
    this.user = user
    this.mode = mode
    this.random = random
    this.parameters = new Map(Object.entries(parameters))
    this.#first = kinds.filter((kind) => kind.isFirst)
    this.#kinds = kinds.filter((kind) => !kind.isFirst)
    this.#weight = this.#kinds.reduce((sum, { weight }) => sum + weight, 0)
  }

  /** What nobody else ever says, and this client only once. */
  token(): string {
    return `${this.id}.${this.#next++}`
  }

  /** The next exchanges, to be sent one behind the other. */
  *exchanges(count: number): Generator<Exchange> {
    for (let left = count; left > 0; left--) yield this.#pick().make(this)
  }

  /** What may only be said before anything else, if anything. */
  first(): Exchange | undefined {
    return this.#first.length === 0 ? undefined : this.random.pick(this.#first).make(this)
  }

  #pick(): Kind {
    let at = this.random.next() * this.#weight
    for (const kind of this.#kinds) {
      at -= kind.weight
      if (at < 0) return kind
    }
    return this.#kinds[0]!
  }
}
