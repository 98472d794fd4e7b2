// Single changes to a source file: conditions turned round, statements left out, numbers off by one.

export interface Mutant {
  /** Relative to the root of the repository. */
  readonly file: string
  /** From 1. */
  readonly line: number
  readonly before: string
  readonly after: string
}

/** What is found in a line, and what stands in its place. Each place where it is found is a mutant of its own. */
const operators: readonly (readonly [found: RegExp, instead: string])[] = [
  [/ === /g, ' !== '],
  [/ !== /g, ' === '],
  [/ < /g, ' <= '],
  [/ > /g, ' >= '],
  [/ <= /g, ' < '],
  [/ >= /g, ' > '],
  [/ && /g, ' || '],
  [/ \|\| /g, ' && '],
  [/ \+ 1\b/g, ''],
  [/ - 1\b/g, ''],
  [/\+\+/g, '--'],
  [/--(?=[;)\s]|$)/g, '++'],
  [/ \+= /g, ' -= '],
  [/ -= /g, ' += '],
  [/\btrue\b/g, 'false'],
  [/\bfalse\b/g, 'true'],
]

/** A statement that stands in a line alone, and that nothing but its effect needs. */
const statement =
  /^\s+(?:this|owner|client|server|note|names|chunk|pool|relay|entry)\b[\w.!?[\]]*(?:\(.*\)| = .+|\+\+|--| [-+]= .+)$/
/** One behind a condition: the condition alone then. */
const conditional = /^(\s+if \(.*\) )((?:this|owner|client|server|note|pool|relay)\b[\w.!?]*(?:\(.*\)| = .+|\+\+|--))$/
/** A constructor's. */
const takesOver = /^\s+this\.(\w+) = \1$/
const isComment = /^\s*(?:\/\/|\/?\*)/

export function mutantsOf(file: string, text: string): Mutant[] {
  const mutants: Mutant[] = []
  for (const [index, before] of text.split('\n').entries()) {
    if (isComment.test(before) || takesOver.test(before) || /^(?:import|export \{)/.test(before)) continue
    const add = (after: string): void => {
      if (after !== before) mutants.push({ file, line: index + 1, before, after })
    }
    // What is said behind the code is no code.
    const code = before.replace(/\s\/\/ .*$/, '')
    for (const [found, instead] of operators) {
      for (const match of code.matchAll(found)) {
        const changed = match[0].replace(new RegExp(found.source), instead)
        add(code.slice(0, match.index) + changed + code.slice(match.index + match[0].length))
      }
    }
    const turned = turnedRound(code)
    if (turned !== undefined) add(turned)
    if (statement.test(code)) add(code.replace(/\S.*/, 'void 0'))
    const [, condition, what] = conditional.exec(code) ?? []
    if (condition !== undefined && what !== undefined) add(`${condition}void 0`)
  }
  return mutants
}

/** The line with the condition of its `if` turned round. */
function turnedRound(code: string): string | undefined {
  const start = code.search(/\bif \(/) + 3
  if (start < 3) return undefined
  let depth = 0
  for (let at = start; at < code.length; at++) {
    if (code[at] === '(') depth++
    else if (code[at] === ')' && --depth === 0)
      return `${code.slice(0, start)}(!${code.slice(start, at)})${code.slice(at)}`
  }
  return undefined
}

export const nameOf = ({ file, line, before, after }: Mutant): string =>
  `${file}:${line}\n  - ${before.trim()}\n  + ${after.trim()}`
