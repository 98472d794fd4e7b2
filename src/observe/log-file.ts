// Files and standard error as log targets: written before the call returns, and nothing that happens to them ends us.

import { closeSync, openSync, writeSync } from 'node:fs'

/** Appended to, and while it cannot be written, tried again with each line. */
export class LogFile {
  readonly #path: string
  readonly #complain: (text: string) => void
  #fd: number | undefined
  #failing = false

  /** @param complain told once when writing begins to fail */
  constructor(path: string, complain: (text: string) => void) {
    this.#path = path
    this.#complain = complain
  }

  /** Drops what cannot be written. */
  write(line: string): void {
    try {
      this.#fd ??= openSync(this.#path, 'a')
      writeAll(this.#fd, line)
      this.#failing = false
    } catch (error) {
      if (this.#failing) return
      this.#failing = true
      this.#complain(`could not write to log file: ${(error as Error).message}`)
    }
  }

  close(): void {
    if (this.#fd !== undefined) closeQuietly(this.#fd)
    this.#fd = undefined
  }
}

/** How long a terminal or pipe may take to get going again; one that does not must not hold up clients line by line. */
const patienceMs = 200

/** Whoever reads it may be slow, or gone. */
export class StandardError {
  readonly #fd: number
  #reader: 'listens' | 'stalls' | 'gone' = 'listens'

  constructor(fd = 2) {
    this.#fd = fd
  }

  /** Drops what cannot be written. */
  write(line: string): void {
    if (this.#reader === 'gone') return
    try {
      writeAll(this.#fd, line, this.#reader === 'stalls' ? 0 : patienceMs)
      this.#reader = 'listens'
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'EAGAIN') this.#reader = 'stalls'
      if (code === 'EPIPE' || code === 'EBADF') this.#reader = 'gone'
    }
  }
}

const sleeper = new Int32Array(new SharedArrayBuffer(4))
const napMs = 10

/** @param patience milliseconds to wait, in all, while the descriptor is one that does not block and takes nothing */
function writeAll(fd: number, text: string, patience = 0): void {
  const bytes = Buffer.from(text)
  let left = patience
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(fd, bytes, at)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN' || left <= 0) throw error
      Atomics.wait(sleeper, 0, 0, napMs)
      left -= napMs
    }
  }
}

/** close(2) reports what was lost of earlier writes (EIO, ENOSPC); the descriptor is closed all the same. */
function closeQuietly(fd: number): void {
  try {
    closeSync(fd)
  } catch {}
}
