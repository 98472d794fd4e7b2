// What goes to the client of a console: collected, sent in few pieces, and no faster than the client takes it.

/** Collected up to here, the bytes go out without waiting for the end of an answer. */
const enough = 64 * 1024

export class Output {
  readonly #write: (bytes: Buffer) => boolean
  #parts: Buffer[] = []
  #size = 0
  #goOn: (() => void) | undefined

  /** @param write sends; false: no more, please, until `drained` is called */
  constructor(write: (bytes: Buffer) => boolean) {
    this.#write = write
  }

  add(bytes: Buffer): void {
    this.#parts.push(bytes)
    this.#size += bytes.length
  }

  get isLarge(): boolean {
    return this.#size > enough
  }

  /** Sends what was added. False: the client takes no more for now. */
  send(): boolean {
    if (this.#size === 0) return true
    const bytes = Buffer.concat(this.#parts, this.#size)
    this.#parts = []
    this.#size = 0
    return this.#write(bytes)
  }

  /** Sends what was added; resolves when the client is ready for more. */
  async flush(): Promise<void> {
    const ready = new Promise<void>((resolve) => {
      this.#goOn = resolve
    })
    if (!this.send()) await ready
  }

  drained(): void {
    this.#goOn?.()
  }
}
