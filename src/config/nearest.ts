// The known name that a misspelt one was most likely meant to be.

/** The name with the fewest letters to change, if these are few enough to speak of a slip. */
export function nearest(misspelt: string, names: Iterable<string>): string | undefined {
  const word = misspelt.toLowerCase()
  if (word.length > 64) return undefined
  let found: string | undefined
  let fewest = Math.floor(word.length / 3) + 1
  for (const name of names) {
    const changes = distance(word, name)
    if (changes < fewest) {
      fewest = changes
      found = name
    }
  }
  return found
}

/** `, did you mean NAME?`, or nothing. */
export function suggestion(misspelt: string, names: Iterable<string>): string {
  const name = nearest(misspelt, names)
  return name === undefined ? '' : `did you mean ${name}?`
}

/** Insertions, deletions, replacements and swaps of neighbours (optimal string alignment). */
function distance(a: string, b: string): number {
  let before: number[] = []
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      const swapped = isSwap ? before[j - 2]! + 1 : replaced
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, replaced, swapped))
    }
    before = row
    row = next
  }
  return row[b.length]!
}
