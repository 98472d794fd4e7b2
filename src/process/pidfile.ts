// The pid file (setting `pidfile`): says that a pooler runs here, and keeps a second one from starting.

import { readFileSync, unlinkSync, writeFileSync } from 'node:fs'
import { systemReason } from '../config/config-error.js'
import type { Log } from '../observe/log.js'
import { StartFailure } from './start-failure.js'

export class Pidfile {
  readonly #path: string
  readonly #pid: number
  #written = false

  /** @param path empty: there is none, and nothing is done */
  constructor(path: string, pid: number = process.pid) {
    this.#path = path
    this.#pid = pid
  }

  /**
   * Removes the file of a process that is no more.
   * @throws StartFailure if there is one that lives
   */
  check(log: Log): void {
    const text = this.#path === '' ? undefined : this.#read()
    if (text === undefined) return
    const [, digits] = /^\s*(\d+)\s*$/.exec(text) ?? []
    if (digits === undefined || this.#isAnother(Number(digits))) {
      throw new StartFailure(`pidfile '${this.#path}' exists, another instance running?`)
    }
    log.info('stale pidfile, removing')
    this.#try('remove stale', () => unlinkSync(this.#path))
  }

  /** @throws StartFailure, also if the file has come into being since `check` */
  write(): void {
    if (this.#path === '') return
    this.#try('write', () => writeFileSync(this.#path, `${this.#pid}\n`, { flag: 'wx', mode: 0o644 }))
    this.#written = true
  }

  /** Does nothing if it was not written, or is no longer ours. */
  remove(): void {
    if (!this.#written) return
    this.#written = false
    try {
      if (readFileSync(this.#path, 'utf8').trim() === String(this.#pid)) unlinkSync(this.#path)
    } catch {} // gone already, or in a folder that is no longer ours to change: the next start finds it stale
  }

  #read(): string | undefined {
    try {
      return readFileSync(this.#path, 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw new StartFailure(`could not read pidfile '${this.#path}': ${systemReason(error)}`)
    }
  }

  /** In a container a restarted process often has the number of its predecessor: that file is stale. */
  #isAnother(pid: number): boolean {
    if (pid === this.#pid) return false
    if (pid === 0) return true
    try {
      process.kill(pid, 0)
      return true
    } catch (error) {
      return (error as NodeJS.ErrnoException).code !== 'ESRCH'
    }
  }

  #try(what: string, run: () => void): void {
    try {
      run()
    } catch (error) {
      throw new StartFailure(`could not ${what} pidfile '${this.#path}': ${systemReason(error)}`)
    }
  }
}
