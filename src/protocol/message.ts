// The shape that all messages after the startup packet share, in both directions.

/** A message with a one-letter code around a body. */
export function message(code: number, body: Buffer | string = ''): Buffer {
  const length = typeof body === 'string' ? Buffer.byteLength(body) : body.length
  const bytes = Buffer.allocUnsafe(5 + length)
  bytes[0] = code
  bytes.writeInt32BE(4 + length, 1)
  if (typeof body === 'string') bytes.write(body, 5)
  else body.copy(bytes, 5)
  return bytes
}
