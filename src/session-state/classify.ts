// What a text would leave behind in its session, judged from its tokens, once per distinct text.

import { statements, stringValue, type Token, tokenize } from '../protocol/sql.js'
import {
  type Change,
  Cursors,
  type Effects,
  harmless,
  Listening,
  Locks,
  Temporary,
  Unclear,
  UnknownSettings,
  unclear,
} from './effects.js'
import { discarded, isWordAt, readReset, readSet, readSetConfig, type SettingChanges } from './set.js'

const words =
  'reset|discard|listen|unlisten|declare|prepare|execute|close|drop|do|set_config|pg_settings|temp|temporary|pg_temp\\w*|pg_(?:try_)?advisory_(?:un)?lock\\w*'

/** A text in which this is not found is harmless; most need not be read further. SET begins a statement, but for an UPDATE's. */
const telling = new RegExp(`\\b(?:${words})\\b|(?:^|[;/\\r\\n])[ \\t\\f\\v]*set\\b`, 'i')

/** The same for the body of a DO, where a statement begins anywhere. */
const tellingBlock = new RegExp(`\\b(?:${words}|set)\\b`, 'i')

const takesLock = /^pg_(?:try_)?advisory_lock(?:_shared)?$/
const givesLock = /^pg_advisory_unlock(?:_shared|_all)?$/

/** Behind these, a word TEMP makes something temporary. */
const beforeTemp = new Set(['create', 'replace', 'local', 'global', 'into'])

/** More calls of set_config in one statement, or strings of a DO that lie deeper in each other, are not read: whatever may be, is. */
const mostCalls = 32
const deepest = 4

/** As many tokens of a SET in a DO as it takes to find its name. */
const longestSet = 16

/** Judges a text of one or more statements. It errs to the side of what may be. */
export function effectsOf(text: string): Effects {
  if (!telling.test(text)) return harmless
  const tokens = tokenize(text)
  if (tokens === undefined) return unclear
  const readers = statements(tokens).map((statement) => new EffectsReader(statement, text))
  const isPlain = readers.every((reader) => !reader.controlsTransaction)
  return sum(readers, isPlain)
}

function sum(readers: readonly EffectsReader[], isPlain: boolean): Effects {
  const all = <T>(of: (reader: EffectsReader) => readonly T[]): T[] => readers.flatMap(of)
  const certain = readers.map((reader) => reader.certain)
  const effects: Effects = {
    begins: readers.reduce((bits, reader) => bits | reader.begins, 0),
    ends: readers.reduce((bits, reader) => bits | reader.ends, 0),
    names: [...new Set(all((reader) => reader.names))],
    sets: [...new Set(all((reader) => reader.sets))],
    certain: isPlain && !certain.includes(undefined) ? certain.flatMap((changes) => changes ?? []) : undefined,
    prepares: all((reader) => reader.prepares),
    executes: all((reader) => reader.executes),
  }
  const { begins, ends, names, prepares, executes } = effects
  return (begins | ends) === 0 && names.length + prepares.length + executes.length === 0 ? harmless : effects
}

/** The effects of one statement. */
class EffectsReader {
  begins = 0
  ends = 0
  readonly names: string[] = []
  readonly sets: string[] = []
  certain: Change[] | undefined = []
  readonly prepares: (readonly [string, Effects])[] = []
  readonly executes: string[] = []
  /** It may begin or end a transaction. */
  controlsTransaction = false
  private readonly tokens: readonly Token[]
  private readonly text: string
  private readonly depth: number
  // What a PREPARE prepares is not executed here.
  private end: number
  private calls = 0
  private endsWithTransaction: boolean | undefined

  constructor(tokens: readonly Token[], text: string, depth = 0) {
    this.tokens = tokens
    this.text = text
    this.depth = depth
    this.end = tokens.length
    this.readVerb()
    for (let at = 0; at < this.end; at++) this.readToken(at)
  }

  private readVerb(): void {
    const { tokens } = this
    const verb = tokens[0]!.kind === 'word' ? tokens[0]!.text : ''
    switch (verb) {
      case 'set':
        return this.addSettings(readSet(tokens, this.text.slice(tokens[0]!.start, tokens.at(-1)!.end)))
      case 'reset':
        return this.addSettings(readReset(tokens))
      case 'discard':
        if (isWordAt(tokens, 1, 'all')) {
          this.ends |= UnknownSettings | Listening | Locks | Temporary | Cursors
          this.addSettings(discarded)
        } else {
          this.ends |= Temporary
        }
        return
      case 'listen':
        this.begins |= Listening
        return
      case 'unlisten':
        this.ends |= Listening
        return
      case 'declare':
        if (tokens.some((_, at) => isWordAt(tokens, at, 'with') && isWordAt(tokens, at + 1, 'hold')))
          this.begins |= Cursors
        return
      case 'close':
        this.ends |= Cursors
        return
      case 'drop':
        this.ends |= Temporary
        return
      case 'prepare':
        return this.readPrepare()
      case 'update':
        // Its rule calls set_config with what stands in the row.
        if (tokens.some((token) => token.text === 'pg_settings')) this.addUnknownSettings()
        return
      case 'do':
        for (const token of tokens) if (token.kind === 'string') this.readBlock(token)
        return
      case 'begin':
      case 'start':
      case 'commit':
      case 'end':
      case 'rollback':
      case 'abort':
      case 'savepoint':
      case 'release':
        this.controlsTransaction = true
    }
  }

  /** What counts wherever in a statement it stands. */
  private readToken(at: number): void {
    const { tokens } = this
    const { kind, text } = tokens[at]!
    if (kind !== 'word' && kind !== 'quoted') return
    if (text.startsWith('pg_')) {
      if (text.startsWith('pg_temp')) this.begins |= Temporary
      else if (takesLock.test(text)) this.begins |= Locks
      else if (givesLock.test(text)) this.ends |= Locks
    } else if (text === 'set_config') {
      if (tokens[at + 1]?.text !== '(') return
      const changes = ++this.calls > mostCalls ? undefined : readSetConfig(tokens, at + 1)
      if (changes === undefined) this.addUnknownSettings()
      else this.addSettings(changes)
    } else if (kind === 'word' && (text === 'temp' || text === 'temporary')) {
      if (this.makesTemporary(at)) this.begins |= Temporary
    } else if (kind === 'word' && text === 'execute') {
      const name = tokens[at + 1]
      if (name?.kind === 'word' || name?.kind === 'quoted') this.executes.push(name.text)
    }
  }

  private makesTemporary(at: number): boolean {
    const { tokens } = this
    const before = tokens[at - 1]
    if (before?.kind !== 'word' || !beforeTemp.has(before.text)) return false
    if (before.text === 'into' && (isWordAt(tokens, at - 2, 'insert') || isWordAt(tokens, at - 2, 'merge')))
      return false
    this.endsWithTransaction ??= tokens.some(
      (_, i) => isWordAt(tokens, i, 'on') && isWordAt(tokens, i + 1, 'commit') && isWordAt(tokens, i + 2, 'drop'),
    )
    return !this.endsWithTransaction
  }

  /** `PREPARE name [(types)] AS statement`. */
  private readPrepare(): void {
    const { tokens } = this
    const name = tokens[1]
    if (name === undefined || (name.kind !== 'word' && name.kind !== 'quoted')) return
    if (isWordAt(tokens, 1, 'transaction') && tokens[2]?.kind === 'string') {
      this.controlsTransaction = true
      return
    }
    const as = tokens.findIndex((_, at) => at > 1 && isWordAt(tokens, at, 'as'))
    if (as < 0 || as === tokens.length - 1) return
    this.end = as
    if (isWordAt(tokens, as + 1, 'prepare')) return // refused by PostgreSQL
    const inner = sum([new EffectsReader(tokens.slice(as + 1), this.text)], true)
    if (inner !== harmless) this.prepares.push([name.text, inner])
  }

  /** The body of a DO: any SET in it counts, and what stands in its strings may be executed. */
  private readBlock(body: Token): void {
    const text = stringValue(body) ?? body.text.replace(/^[^']*'/, '').slice(0, -1)
    if (!tellingBlock.test(text)) return
    const tokens = this.depth < deepest ? tokenize(text) : undefined
    if (tokens === undefined) this.begins |= Unclear
    else for (const statement of statements(tokens)) this.readBlockStatement(statement, text)
    this.certain = undefined
  }

  /** It begins anywhere: behind BEGIN, THEN, LOOP and others. */
  private readBlockStatement(tokens: readonly Token[], text: string): void {
    const reader = new EffectsReader(tokens, text, this.depth + 1)
    for (const [at, token] of tokens.entries()) {
      if (token.kind === 'string') reader.readBlock(token)
      if (at === 0 || token.kind !== 'word') continue
      if (token.text === 'set') reader.addSettings(readSet(tokens.slice(at, at + longestSet), '?'))
      else if (token.text === 'reset') reader.addSettings(readReset(tokens.slice(at, at + longestSet)))
      else if (token.text === 'drop') reader.ends |= Temporary
      else if (token.text === 'listen') reader.begins |= Listening
      else if (token.text === 'unlisten') reader.ends |= Listening
    }
    this.begins |= reader.begins
    this.ends |= reader.ends
    for (const name of reader.names) this.names.push(name)
    for (const name of reader.sets) this.sets.push(name)
  }

  private addSettings({ names, certain, sets }: SettingChanges): void {
    this.names.push(...names)
    if (sets) this.sets.push(...names)
    // One and the same statement: which of several calls comes last is not for us to say.
    const isFirst = this.certain !== undefined && this.certain.length === 0
    this.certain = names.length === 0 ? this.certain : isFirst && certain !== undefined ? [...certain] : undefined
  }

  private addUnknownSettings(): void {
    this.begins |= UnknownSettings
    this.certain = undefined
  }
}

/** Longest text that is remembered, and how much of them in all, characters. */
const longestRemembered = 16 * 1024
const mostRemembered = 512 * 1024

/** Classifier by text. What was not asked for lately is forgotten: half of all at a time, so that a hit costs one look-up. */
export class Classifier {
  private recent = new Map<string, Effects>()
  private older = new Map<string, Effects>()
  private size = 0

  of(text: string): Effects {
    if (!telling.test(text)) return harmless
    const known = this.recent.get(text)
    if (known !== undefined) return known
    const effects = this.older.get(text) ?? effectsOf(text)
    this.remember(text, effects)
    return effects
  }

  get count(): number {
    return this.recent.size + this.older.size
  }

  private remember(text: string, effects: Effects): void {
    if (text.length > longestRemembered) return
    if (this.size > mostRemembered) {
      this.older = this.recent
      this.recent = new Map()
      this.size = 0
    }
    this.recent.set(text, effects)
    this.size += text.length + 64
  }
}
