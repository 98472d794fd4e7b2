// Cuts a console command into words, quoted names, quoted texts and signs.

export interface Token {
  /** `sign`: one of `; = ( ) ,`. */
  readonly kind: 'word' | 'name' | 'text' | 'sign'
  /** Without the quotes. */
  readonly value: string
}

/** No command is nearly as long; what is longer is not looked at. */
const longest = 16_384

/** Sticky: each match begins where the one before it ended. A comment ends a word. */
const next =
  /(?<blank>\s+|--[^\n\r]*)|(?<comment>\/\*)|(?<sign>[;=(),])|"(?<name>[^"]*(?:""[^"]*)*)"|'(?<text>[^']*(?:''[^']*)*)'|(?<word>(?:(?!--|\/\*)[^\s;=(),"'])+)/y

/** The tokens of a command without its comments, or undefined where a quote or a comment does not end. */
export function tokenize(command: string): Token[] | undefined {
  if (command.length > longest) return undefined
  const tokens: Token[] = []
  let at = 0
  while (at < command.length) {
    next.lastIndex = at
    const groups = next.exec(command)?.groups
    if (groups === undefined) return undefined
    at = next.lastIndex
    const { comment, sign, name, text, word } = groups
    if (comment !== undefined) {
      const end = endOfComment(command, at)
      if (end === undefined) return undefined
      at = end
    }
    if (word !== undefined) tokens.push({ kind: 'word', value: word })
    else if (name !== undefined) tokens.push({ kind: 'name', value: name.replaceAll('""', '"') })
    else if (text !== undefined) tokens.push({ kind: 'text', value: text.replaceAll("''", "'") })
    else if (sign !== undefined) tokens.push({ kind: 'sign', value: sign })
  }
  return tokens
}

/** Where the comment ends whose first mark ends at `at`; comments nest, as in SQL. */
function endOfComment(command: string, at: number): number | undefined {
  const mark = /\/\*|\*\//g
  mark.lastIndex = at
  for (let depth = 1; depth > 0; ) {
    const found = mark.exec(command)
    if (found === null) return undefined
    depth += found[0] === '/*' ? 1 : -1
  }
  return mark.lastIndex
}
