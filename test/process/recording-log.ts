// A log that remembers: `LEVEL TEXT` for each line.

import type { Log } from '../../src/observe/log.js'

export class RecordingLog implements Log {
  readonly lines: string[] = []
  verbose = 0
  reopened = 0

  fatal(text: string): void {
    this.lines.push(`fatal ${text}`)
  }

  error(text: string): void {
    this.lines.push(`error ${text}`)
  }

  warning(text: string): void {
    this.lines.push(`warning ${text}`)
  }

  info(text: string): void {
    this.lines.push(`info ${text}`)
  }

  debug(text: string): void {
    this.lines.push(`debug ${text}`)
  }

  noise(text: string): void {
    this.lines.push(`noise ${text}`)
  }

  reopen(): void {
    this.reopened++
  }

  close(): void {}
}
