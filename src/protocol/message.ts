// The shape that all messages after the startup packet share, in both directions.

import { bytesOf } from './byte-text.js'

/** A message with a one-letter code around a body. */
export function message(code: number, body: Buffer | string = ''): Buffer {
  const content = typeof body === 'string' ? bytesOf(body) : body
  const bytes = Buffer.allocUnsafe(5 + content.length)
  bytes[0] = code
  bytes.writeInt32BE(4 + content.length, 1)
  content.copy(bytes, 5)
  return bytes
}
