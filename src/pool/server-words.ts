// hot path
// What a server says that concerns prepared statements: that all of them are gone, or that a plan has gone stale.

const stalePlan = Buffer.from('RRevalidateCachedQuery\0')
const discardAll = Buffer.from('DISCARD ALL\0')
const deallocateAll = Buffer.from('DEALLOCATE ALL\0')

/** Is this the CommandComplete of a command that takes all prepared statements with it? From `start`: its body, `length` bytes. */
export function isReset(chunk: Buffer, start: number, length: number): boolean {
  if (length !== discardAll.length && length !== deallocateAll.length) return false
  return chunk.subarray(start, start + length).equals(length === discardAll.length ? discardAll : deallocateAll)
}

/** `cached plan must not change result type`, told by its place in PostgreSQL's source: the text is translated. */
export function isStalePlan(chunk: Buffer, start: number, end: number): boolean {
  return end <= chunk.length && chunk.subarray(start, end).includes(stalePlan)
}
