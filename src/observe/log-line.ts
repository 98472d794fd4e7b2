// One line of pgbouncer's log: `YYYY-MM-DD HH:MM:SS.mmm TZ [PID] LEVEL TEXT`; pgbadger and others parse it.

import { execFileSync } from 'node:child_process'

/** By severity: the number that pino has for it, pgbouncer's word, syslog's severity (RFC 5424, section 6.2.1). */
export const levels = {
  fatal: { value: 60, word: 'FATAL', severity: 2 },
  error: { value: 50, word: 'ERROR', severity: 3 },
  warning: { value: 40, word: 'WARNING', severity: 4 },
  info: { value: 30, word: 'LOG', severity: 6 },
  debug: { value: 20, word: 'DEBUG', severity: 7 },
  noise: { value: 10, word: 'NOISE', severity: 7 },
} as const

export type LogLevel = keyof typeof levels

/** What of a text is written at most; pgbouncer cuts at 2048 bytes. Stacks and lists of problems fit. */
const longest = 8192

export function clipped(text: string): string {
  return text.length > longest ? `${text.slice(0, longest)}…` : text
}

/**
 * A text for a log that is read by lines: those after the first are indented by a tab, so that no user name can pass for
 * a line of its own, and control characters, which a terminal would obey, are written as `\x1B`.
 */
export function logText(text: string): string {
  return legible(text)
    .replace(/[^\P{Cc}\t\n]/gu, escapeCharacter)
    .replaceAll('\n', '\n\t')
}

/** Bytes of names that are not UTF-8 come as lone surrogates, which most readers of JSON do not take: written as `\xE9`. */
export function legible(text: string): string {
  return text.replace(/\p{Cs}/gu, escapeCharacter)
}

function escapeCharacter(character: string): string {
  return `\\x${(character.charCodeAt(0) & 0xff).toString(16).toUpperCase().padStart(2, '0')}`
}

export function fullLine(date: Date, pid: number, level: LogLevel, text: string): string {
  return `${timestamp(date)} [${pid}] ${levels[level].word} ${text}\n`
}

/** A line as pino's: level and time first, then the process, whom it is about, and the text. */
export function jsonLine(date: Date, pid: number, level: LogLevel, text: string, fields: object = {}): string {
  return `${JSON.stringify({ level, time: date.toISOString(), pid, ...fields, msg: text })}\n`
}

/** Lines for those who keep time and process themselves; the prefix is that of sd-daemon(3) and of logger(1). */
export function prefixedLines(level: LogLevel, facility: number, text: string): string {
  const prefix = `<${facility * 8 + levels[level].severity}>`
  return `${prefix}${text.replaceAll('\n', `\n${prefix}`)}\n`
}

function timestamp(date: Date): string {
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
  return `${day} ${time}.${String(date.getMilliseconds()).padStart(3, '0')} ${zoneName(date)}`
}

function two(number: number): string {
  return number < 10 ? `0${number}` : String(number)
}

let zone = { offset: Number.NaN, name: '' }

/**
 * The abbreviation of the local time zone, asked for again when the clocks change. Intl knows most zones only as GMT+1,
 * and logs are compared with those of programs that ask the C library: date(1) does.
 */
function zoneName(date: Date): string {
  const offset = date.getTimezoneOffset()
  if (offset !== zone.offset) zone = { offset, name: askZoneName(date) }
  return zone.name
}

function askZoneName(date: Date): string {
  const { timeZone } = new Intl.DateTimeFormat().resolvedOptions()
  if (timeZone === 'UTC') return timeZone
  try {
    return execFileSync('date', ['+%Z'], {
      encoding: 'utf8',
      timeout: 1000,
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim()
  } catch {
    const parts = new Intl.DateTimeFormat('en-US', { timeZoneName: 'short' }).formatToParts(date)
    return parts.find(({ type }) => type === 'timeZoneName')?.value ?? 'UTC'
  }
}
