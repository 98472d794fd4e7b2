// Finding messages in a stream.

import { Cut, Frames, Message } from '../../src/protocol/framing.js'
import { chunksOf, dataRow, simple, thousandRows } from './messages.js'
import { type Case, type Suite, short } from './suite.js'

const maxLength = 0x7fffffff
const megabyte = chunksOf(dataRow('x'.repeat(1024 * 1024)))
/** Each message of these, and its header, is cut at some place. */
const tinyChunks = thousandRows.answer.flatMap((chunk) => cutEvery(chunk, 7))

/** As the relays walk; what they do with each message is left out. */
function walk(frames: Frames, incoming: Buffer): void {
  const chunk = frames.join(incoming)
  if (chunk === null) return
  let at = frames.bodyLeft > 0 ? frames.skipBody(chunk) : 0
  while (at < chunk.length) {
    const found = frames.next(chunk, at)
    if (found === Cut) return frames.hold(chunk, at, 5)
    if (found !== Message) throw new Error('bad message')
    at = frames.skip(chunk)
  }
}

function walking(name: string, chunks: readonly Buffer[]): Case {
  const frames = new Frames(maxLength)
  return {
    name,
    bytes: chunks.reduce((sum, chunk) => sum + chunk.length, 0),
    run() {
      for (const chunk of chunks) walk(frames, chunk)
    },
  }
}

function cutEvery(bytes: Buffer, size: number): Buffer[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.subarray(i * size, (i + 1) * size))
}

const frames = new Frames(maxLength)
const answer = Buffer.concat(simple.answer)

export const framing: Suite = {
  name: 'framing',
  cases: () => [
    short('a chunk of four messages', () => walk(frames, answer)),
    walking('1003 messages in chunks of 64 KiB', thousandRows.answer),
    walking('a message of 1 MiB in chunks of 64 KiB', megabyte),
    walking('1003 messages in chunks of 7 bytes', tinyChunks),
  ],
}
