// The texts of SCRAM messages: attributes read in order, and what is wrong with a message said in PostgreSQL's words.
// RFC 5802 section 7.

/** What went wrong, for the log and for the choice of what the peer is told. */
export type ScramFailure =
  | 'malformed' // not a SCRAM message of this step
  | 'unsupported' // mechanism, authorization identity, extension or channel binding type that isn't supported
  | 'channel_binding' // the two sides disagree about channel binding: someone may stand in between
  | 'nonce' // the nonce is not the one of this exchange
  | 'out_of_order' // a message more, or sooner, than the exchange has
  | 'too_costly' // more iterations than anyone asks for in earnest
  | 'refused' // the server says e=
  | 'signature' // the server doesn't know the secret: it is not the server it should be

/** A SCRAM exchange that can't go on. Its message has no secret, and of the peer's text only printable ASCII. */
export class ScramError extends Error {
  override readonly name = 'ScramError'
  readonly failure: ScramFailure

  constructor(failure: ScramFailure, message: string) {
    super(message)
    this.failure = failure
  }
}

export function malformed(detail: string): ScramError {
  return new ScramError('malformed', `malformed SCRAM message (${detail})`)
}

/**
 * A message as a string of one character a byte, so that signatures are over the very bytes of the peer.
 * @throws ScramError for an empty, over-long or zero-containing message
 */
export function readText(message: Buffer | string, longest: number): string {
  const bytes = typeof message === 'string' ? Buffer.from(message) : message
  if (bytes.length === 0) throw malformed('empty message')
  if (bytes.length > longest) throw malformed(`${bytes.length} bytes, at most ${longest} are accepted`)
  if (bytes.includes(0)) throw malformed('length mismatch')
  return bytes.toString('latin1')
}

/** The peer's text, fit for a log line. */
export function printable(text: string): string {
  return text.slice(0, 30).replace(/[^\x21-\x7e]/g, '?')
}

/** Reads `a=value,b=value` from a place on. */
export class Attributes {
  readonly #text: string
  #at: number

  constructor(text: string, at = 0) {
    this.#text = text
    this.#at = at
  }

  /** Where the next attribute begins. */
  get at(): number {
    return this.#at
  }

  get done(): boolean {
    return this.#at >= this.#text.length
  }

  /** The value of the next attribute, which must have this name. */
  take(name: string): string {
    if (this.#text[this.#at] !== name) {
      throw malformed(`attribute "${name}" expected, but found "${printable(this.#text[this.#at] ?? '')}"`)
    }
    return this.any().value
  }

  any(): { readonly name: string; readonly value: string } {
    const name = this.#text[this.#at] ?? ''
    if (!/^[A-Za-z]$/.test(name)) throw malformed(`attribute expected, but found "${printable(name)}"`)
    if (this.#text[this.#at + 1] !== '=') throw malformed(`"=" expected after attribute "${name}"`)
    const comma = this.#text.indexOf(',', this.#at)
    const end = comma < 0 ? this.#text.length : comma
    const value = this.#text.slice(this.#at + 2, end)
    this.#at = end + 1
    return { name, value }
  }
}

/** RFC 5802: printable = %x21-2B / %x2D-7E. */
export function checkNonce(nonce: string): void {
  if (!/^[\x21-\x2b\x2d-\x7e]*$/.test(nonce)) throw malformed('non-printable characters in SCRAM nonce')
}
