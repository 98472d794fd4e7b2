// What is known to fail and is not played until it is mended; `--known` plays it all the same. To be empty.

export const known: ReadonlySet<string> = new Set()
