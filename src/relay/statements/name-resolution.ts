// hot path
// What may change the tables, functions and types that names in later texts stand for, while a transaction or batch lasts.

/** What is looked at of a text, characters. */
const reach = 1024

/** SET and RESET matter for this only. */
const path = /\b(?:search_path|schema|all)\b/i

/** set_config with that name, or with one that is not written there. */
const setsPath = /\bset_config\b[\s"]*\(\s*(?:e?'search_path'|[^'\s])/i

/** Anywhere in a text of several statements. */
const anywhere = /\b(?:create|alter|drop|do|call|discard|import|search_path|schema)\b/i

/** Returns whether this text, which stands in `chunk` from `start` to `end`, may. Judged by its first word. */
export function mayChangeNames(chunk: Buffer, start: number, end: number): boolean {
  if (!mayBegin(chunk[start]!, chunk[start + 1]!, chunk[start + 2]!) && !mayCall(chunk, start)) return false
  return changesNames(chunk.toString('latin1', start, Math.min(end, start + reach, chunk.length)))
}

/** Returns whether one of several statements may. */
export function mayAnyChangeNames(text: string): boolean {
  return anywhere.test(text)
}

/** @param text a character a byte; its beginning is enough */
export function changesNames(text: string): boolean {
  const start = firstWord(text)
  const word = text.slice(start, start + 3).toLowerCase()
  switch (word) {
    case 'set':
    case 'res': // RESET
      return path.test(text)
    case 'sel':
      return setsPath.test(text)
    case 'cre':
    case 'alt':
    case 'dro':
    case 'do':
    case 'do ':
    case 'do\n':
    case 'do\t':
    case 'do$':
    case "do'":
    case 'cal':
    case 'dis':
    case 'imp':
      return true
    default:
      return start >= text.length && text.length >= reach // what begins so late is not looked for
  }
}

function mayBegin(first: number, second: number, third: number): boolean {
  switch (first | 0x20) {
    case 0x73: // SET
      return (third | 0x20) === 0x74
    case 0x72: // RESet
      return (third | 0x20) === 0x73
    case 0x63: // CReate, CAll
      return (second | 0x20) === 0x72 || (second | 0x20) === 0x61
    case 0x61: // ALter
      return (second | 0x20) === 0x6c
    case 0x64: // DRop, DO, DIscard
      return (second | 0x20) !== 0x65
    case 0x69: // IMport
      return (second | 0x20) === 0x6d
    default:
      return first <= 0x20 || first === 0x2f || first === 0x2d // blank, / or -
  }
}

/** SELECT with a function whose name begins with `set_`, or `pg_` (pg_catalog), before anything else. */
function mayCall(chunk: Buffer, start: number): boolean {
  if ((chunk[start + 2]! | 0x20) !== 0x6c || (chunk[start]! | 0x20) !== 0x73) return false
  const first = chunk[start + 7]! | 0x20
  return (first === 0x73 && chunk[start + 10] === 0x5f) || (first === 0x70 && chunk[start + 9] === 0x5f)
}

/** Behind blanks and comments. */
function firstWord(text: string): number {
  let at = 0
  for (;;) {
    const code = text.charCodeAt(at)
    if (code <= 0x20) at++
    else if (code === 0x2d && text.charCodeAt(at + 1) === 0x2d) at = behind(text, '\n', at)
    else if (code === 0x2f && text.charCodeAt(at + 1) === 0x2a) at = behind(text, '*/', at)
    else return at
  }
}

function behind(text: string, end: string, from: number): number {
  const at = text.indexOf(end, from)
  return at < 0 ? text.length : at + end.length
}

/** Returns whether this is the CommandComplete of a command that may. From `start`: its body, `length` bytes. */
export function hasChangedNames(chunk: Buffer, start: number, length: number): boolean {
  switch (chunk[start]) {
    case 0x43: // CREATE, CALL
      return (chunk[start + 1] === 0x52 && length > 7) || (chunk[start + 1] === 0x41 && length === 5)
    case 0x44: // DO
      return length === 3
    default:
      return false
  }
}
