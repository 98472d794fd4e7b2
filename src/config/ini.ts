// The ini grammar of pgbouncer: sections, key = value, comments, %include; every item knows its file and line.

import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { getSystemErrorMap } from 'node:util'
import { isUtf8Text, textOf } from '../protocol/byte-text.js'
import { ConfigError, quoted } from './config-error.js'

interface FilePlace {
  readonly file: string
  readonly line: number
}

interface IniSection {
  readonly kind: 'section'
  readonly name: string
  readonly place: FilePlace
}

interface IniEntry {
  readonly kind: 'entry'
  readonly section: string
  readonly key: string
  readonly value: string
  readonly place: FilePlace
}

export type IniItem = IniSection | IniEntry

/** Gives the text of a file (see textOf: it need not be UTF-8), or rejects as node:fs does. */
export type ReadFile = (path: string) => Promise<string>

type Statement =
  | IniSection
  | { readonly kind: 'assignment'; readonly key: string; readonly value: string; readonly place: FilePlace }
  | { readonly kind: 'include'; readonly path: string; readonly place: FilePlace }

/** As in pgbouncer: an include within the tenth include is refused. */
const deepestInclude = 10
/** Includes can also multiply breadthwise; no real configuration comes near. */
const mostFiles = 1000

/**
 * Reads an ini file and what it includes, in order. Paths are relative to the working directory, as in pgbouncer, and a
 * section goes on into an included file and out of it again.
 * @throws ConfigError with file and line.
 */
export async function readIni(file: string, read: ReadFile = readText): Promise<IniItem[]> {
  const items: IniItem[] = []
  let section: string | undefined
  let files = 0

  async function readInto(
    path: string,
    includedAt: FilePlace | undefined,
    ancestors: readonly string[],
  ): Promise<void> {
    if (++files > mostFiles) throw new ConfigError(`more than ${mostFiles} files included`, includedAt)
    const within = [...ancestors, resolve(path)]
    for (const statement of parseIni(await load(path, includedAt, read), path)) {
      switch (statement.kind) {
        case 'section':
          section = statement.name
          items.push(statement)
          break
        case 'assignment':
          if (section === undefined) {
            throw new ConfigError(`value without section: ${quoted(statement.key)}`, statement.place)
          }
          items.push({ ...statement, kind: 'entry', section })
          break
        case 'include':
          if (within.includes(resolve(statement.path))) {
            throw new ConfigError(`file ${quoted(statement.path)} includes itself`, statement.place)
          }
          if (within.length > deepestInclude) {
            throw new ConfigError('include nesting level too deep', statement.place)
          }
          await readInto(statement.path, statement.place, within)
      }
    }
  }

  await readInto(file, undefined, [])
  return items
}

async function readText(path: string): Promise<string> {
  return textOf(await readFile(path))
}

async function load(path: string, includedAt: FilePlace | undefined, read: ReadFile): Promise<string> {
  try {
    return await read(path)
  } catch (error) {
    throw new ConfigError(`could not load file ${quoted(path)}`, includedAt, reasonOf(error))
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { errno } = error as NodeJS.ErrnoException
  return (errno !== undefined && getSystemErrorMap().get(errno)?.[1]) || error.message
}

/**
 * The statements of one file, lazily, so that the first mistake is the one reported.
 * @throws ConfigError `syntax error in configuration (FILE:LINE)`
 */
function* parseIni(text: string, file: string): Generator<Statement> {
  let at = text.startsWith('\ufeff') ? 1 : 0
  let line = 1

  while (true) {
    // Blanks and empty lines. A statement may also follow a section header on its line.
    for (; at < text.length && isSpace(text.charCodeAt(at)); at++) if (text[at] === '\n') line++
    if (at >= text.length) return
    const place = { file, line }
    const first = text[at]

    if (first === ';' || first === '#') {
      at = lineEnd(text, at)
    } else if (first === '[') {
      const end = text.indexOf(']', at)
      const name = text.slice(at + 1, end)
      if (end < 0 || name.includes('\n')) throw syntaxError(place, "']' is missing")
      yield { kind: 'section', name: sound(name, place), place }
      at = end + 1
    } else if (text.startsWith('%include', at) && isBlank(text[at + 8])) {
      const end = lineEnd(text, at)
      const path = sound(trimmed(text, at + 8, end), place)
      if (path === '') throw syntaxError(place, '%include names no file')
      if (!isUtf8Text(path)) throw syntaxError(place, 'not valid UTF-8')
      yield { kind: 'include', path, place }
      at = end
    } else {
      const key = readKey(text, at, place)
      at = skipBlanks(text, key.end)
      if (text[at] !== '=') throw syntaxError(place, "expected 'key = value'")
      const end = lineEnd(text, at)
      const value = sound(trimmed(text, at + 1, end), place)
      yield { kind: 'assignment', key: sound(key.text, place), value, place }
      at = end
    }
  }
}

const plainKey = /[A-Za-z0-9_.*-]+/y

/** A plain word, or anything in quotes; a doubled quote stands for one. pgbouncer reads single quotes, its page says double. */
function readKey(text: string, start: number, place: FilePlace): { readonly text: string; readonly end: number } {
  const quote = text[start]
  if (quote !== "'" && quote !== '"') {
    plainKey.lastIndex = start
    const word = plainKey.exec(text)?.[0]
    if (word === undefined) throw syntaxError(place, "expected '[section]' or 'key = value'")
    return { text: word, end: start + word.length }
  }
  const end = lineEnd(text, start)
  let key = ''
  let from = start + 1
  while (true) {
    const close = text.indexOf(quote, from)
    if (close < 0 || close >= end) throw syntaxError(place, 'unterminated quote')
    key += text.slice(from, close)
    if (text[close + 1] !== quote) {
      if (key === '') throw syntaxError(place, 'the key is empty')
      return { text: key, end: close + 1 }
    }
    key += quote
    from = close + 2
  }
}

/** Refuses what C strings cannot hold, rather than reading something else than what was written. */
function sound(text: string, place: FilePlace): string {
  if (text.includes('\0')) throw syntaxError(place, 'zero byte')
  return text
}

function syntaxError(place: FilePlace, reason: string): ConfigError {
  return new ConfigError('syntax error in configuration', place, reason)
}

function lineEnd(text: string, at: number): number {
  const end = text.indexOf('\n', at)
  return end < 0 ? text.length : end
}

function skipBlanks(text: string, at: number): number {
  while (isBlank(text[at])) at++
  return at
}

function trimmed(text: string, start: number, end: number): string {
  start = skipBlanks(text, start)
  while (end > start && isSpace(text.charCodeAt(end - 1))) end--
  return text.slice(start, end)
}

function isBlank(character: string | undefined): boolean {
  return character === ' ' || character === '\t'
}

/** isspace() of C: blank, \t \n \v \f \r. */
function isSpace(code: number): boolean {
  return code === 0x20 || (code >= 0x09 && code <= 0x0d)
}
