// What a client has sent, in a line: `Query "select 1" · Sync · CopyData 12`.

import { MessageCutter } from '../harness/raw-client.js'

const names: Readonly<Record<string, string>> = {
  B: 'Bind',
  C: 'Close',
  D: 'Describe',
  E: 'Execute',
  F: 'FunctionCall',
  H: 'Flush',
  P: 'Parse',
  Q: 'Query',
  S: 'Sync',
  X: 'Terminate',
  c: 'CopyDone',
  d: 'CopyData',
  f: 'CopyFail',
}

/** With the beginning of each body, as far as it is text. */
export function storyOf(bytes: Buffer): string {
  const told: string[] = []
  for (const { code, body } of new MessageCutter().take(bytes)) {
    const text = JSON.stringify(body.toString('latin1', 0, 90).replaceAll(/\0+/g, ' ').trim())
    told.push(`${names[code] ?? code}${body.length > 0 ? ` ${body.length} ${text}` : ''}`)
  }
  return told.join(' · ')
}
