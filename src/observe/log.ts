// The log: pgbouncer's lines, or JSON; written synchronously, so that what a client has seen is in the file.

import { systemClock } from './clock.js'
import { clipped, type LogLevel, legible, levels } from './log-line.js'
import { type LogSettings, LogTargets, type Surroundings } from './log-targets.js'

/** Whom a line is about: a client or a server. */
export interface LogPeer {
  /** How its lines begin: `C-0x56481df9ba80: db/user@host:port`. */
  readonly logPrefix: string
  readonly id: number
  readonly database: string
  readonly user: string
  readonly address: string
}

/** `info` is what pgbouncer calls LOG. Nothing here throws, whatever becomes of disk and terminal. */
export interface Log {
  fatal(text: string, who?: LogPeer): void
  error(text: string, who?: LogPeer): void
  warning(text: string, who?: LogPeer): void
  info(text: string, who?: LogPeer): void
  debug(text: string, who?: LogPeer): void
  noise(text: string, who?: LogPeer): void
  /** 1: debug lines are written, 2 and more: noise too. To be asked before a costly text is made. */
  verbose: number
  /** Opens files anew, as after a rotation; with settings, as these say from now on. */
  reopen(settings?: LogSettings): void
  close(): void
}

const defaults: LogSettings = Object.freeze({
  log_format: 'text',
  logfile: '',
  syslog: false,
  syslog_facility: 'daemon',
  syslog_ident: 'pgbouncer',
  verbose: 0,
})

export interface LogOptions extends Partial<LogSettings>, Partial<Surroundings> {}

export function createLog(options: LogOptions = {}): Log {
  return new OwnLog(options)
}

class OwnLog implements Log {
  readonly #targets: LogTargets
  #settings: LogSettings
  #verbose: number

  constructor(options: LogOptions) {
    const { pid = process.pid, clock = systemClock, stderr = 'all', journald = false } = options
    this.#settings = { ...defaults, ...options }
    this.#verbose = this.#settings.verbose
    this.#targets = new LogTargets({ pid, clock, stderr, journald }, (text) => this.warning(text))
    this.#targets.open(this.#settings)
  }

  fatal(text: string, who?: LogPeer): void {
    this.#write('fatal', text, who)
  }

  error(text: string, who?: LogPeer): void {
    this.#write('error', text, who)
  }

  warning(text: string, who?: LogPeer): void {
    this.#write('warning', text, who)
  }

  info(text: string, who?: LogPeer): void {
    this.#write('info', text, who)
  }

  debug(text: string, who?: LogPeer): void {
    this.#write('debug', text, who)
  }

  noise(text: string, who?: LogPeer): void {
    this.#write('noise', text, who)
  }

  get verbose(): number {
    return this.#verbose
  }

  set verbose(verbose: number) {
    this.#verbose = verbose
  }

  reopen(settings?: LogSettings): void {
    if (settings !== undefined) {
      this.#settings = settings
      this.verbose = settings.verbose
    }
    this.#targets.open(this.#settings)
  }

  close(): void {
    this.#targets.close()
  }

  #write(level: LogLevel, text: string, who: LogPeer | undefined): void {
    if (levels[level].value < leastValue(this.#verbose)) return
    const shown = legible(clipped(text))
    if (who === undefined) this.#targets.write(level, shown)
    else if (this.#settings.log_format === 'json') this.#targets.write(level, shown, fieldsOf(who))
    else this.#targets.write(level, `${who.logPrefix} ${shown}`)
  }
}

function leastValue(verbose: number): number {
  if (verbose >= 2) return levels.noise.value
  return verbose === 1 ? levels.debug.value : levels.info.value
}

/** `socket` is what text lines call it: the letter, and SHOW's `ptr`. */
function fieldsOf({ logPrefix, id, database, user, address }: LogPeer): object {
  const socket = logPrefix.slice(0, logPrefix.indexOf(':'))
  return { socket, id, database: legible(database), user: legible(user), address }
}

/** Says nothing; what a library logs to unless told otherwise. */
export const silentLog: Log = Object.freeze({
  fatal() {},
  error() {},
  warning() {},
  info() {},
  debug() {},
  noise() {},
  get verbose() {
    return 0
  },
  set verbose(_verbose: number) {},
  reopen() {},
  close() {},
})

/** A pino logger of the service around us: level, format and files are its own affair. */
export type PinoLogger = Readonly<
  Record<'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace', (fields: object, text: string) => void>
> & {
  isLevelEnabled(level: string): boolean
}

/** Logs to a service's own pino logger; noise becomes trace, and peers become fields. */
export function logTo(logger: PinoLogger): Log {
  const to = (level: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace') => (text: string, who?: LogPeer) =>
    logger[level](who === undefined ? {} : fieldsOf(who), legible(text))
  return {
    fatal: to('fatal'),
    error: to('error'),
    warning: to('warn'),
    info: to('info'),
    debug: to('debug'),
    noise: to('trace'),
    get verbose() {
      if (logger.isLevelEnabled('trace')) return 2
      return logger.isLevelEnabled('debug') ? 1 : 0
    },
    set verbose(_verbose) {},
    reopen() {},
    close() {},
  }
}
