// A text that must never be printed: a password, a stored secret, a key.

import { inspect } from 'node:util'

const hidden = '[hidden]'

/** Prints as `[hidden]` wherever it is turned into text by accident; `reveal()` is the one way in. */
export class Secret {
  readonly #text: string

  constructor(text: string) {
    this.#text = text
  }

  reveal(): string {
    return this.#text
  }

  /** Same text? For noticing a changed setting, not for checking a password. */
  equals(other: Secret | undefined): boolean {
    return other !== undefined && other.#text === this.#text
  }

  toString(): string {
    return hidden
  }

  toJSON(): string {
    return hidden
  }

  [inspect.custom](): string {
    return hidden
  }
}
