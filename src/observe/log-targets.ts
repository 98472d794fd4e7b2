// Where log lines go: standard error, the log file, syslog; one that fails is left out, and the others hear of it once.

import type { Clock } from './clock.js'
import { LogFile, StandardError } from './log-file.js'
import { fullLine, jsonLine, type LogLevel, levels, logText, prefixedLines } from './log-line.js'
import { type Facility, facilityCode, Syslog } from './syslog.js'

/** Where and how to log: named and valued as in the table of settings. */
export interface LogSettings {
  readonly log_format: 'text' | 'json'
  /** Empty: none. */
  readonly logfile: string
  readonly syslog: boolean
  readonly syslog_facility: Facility
  readonly syslog_ident: string
  readonly verbose: number
}

/** What of the process matters to its log. */
export interface Surroundings {
  readonly pid: number
  readonly clock: Clock
  /** What standard error gets, besides the files: all of it, warnings and worse, or nothing. */
  readonly stderr: 'all' | 'problems' | 'nothing'
  /** Standard error is the journal, which keeps time and process itself. */
  readonly journald: boolean
}

const thresholds = { all: 0, problems: levels.warning.value, nothing: Number.POSITIVE_INFINITY }

export class LogTargets {
  readonly #surroundings: Surroundings
  readonly #complain: (text: string) => void
  readonly #stderr = new StandardError()
  #file: LogFile | undefined
  #syslog: Syslog | undefined
  #facility = 0
  #json = false

  /** @param complain logs that a target fails; called once until it works again */
  constructor(surroundings: Surroundings, complain: (text: string) => void) {
    this.#surroundings = surroundings
    this.#complain = complain
  }

  open(settings: LogSettings): void {
    this.close()
    this.#json = settings.log_format === 'json'
    this.#facility = facilityCode(settings.syslog_facility)
    if (settings.logfile !== '') this.#file = new LogFile(settings.logfile, this.#complain)
    if (settings.syslog) this.#syslog = new Syslog(settings.syslog_ident, this.#surroundings, this.#complain)
  }

  close(): void {
    this.#file?.close()
    this.#syslog?.close()
    this.#file = undefined
    this.#syslog = undefined
  }

  /** @param fields what JSON lines have besides the text */
  write(level: LogLevel, said: string, fields?: object): void {
    const { clock, pid, journald, stderr } = this.#surroundings
    const text = logText(said)
    const line = this.#json
      ? jsonLine(clock.date(), pid, level, said, fields)
      : fullLine(clock.date(), pid, level, text)
    if (levels[level].value >= thresholds[stderr]) {
      const isJournal = journald && !this.#json
      this.#stderr.write(isJournal ? prefixedLines(level, 0, `${levels[level].word} ${text}`) : line)
    }
    this.#file?.write(line)
    this.#syslog?.write(prefixedLines(level, this.#facility, text))
  }
}
