// Names, passwords and values as strings that give back the bytes they came from, in whatever encoding these were.
// To PostgreSQL and pgbouncer they are bytes: a role, a database or a password may well be in LATIN1.

import { isUtf8 } from 'node:buffer'

/*
 * What is UTF-8 is decoded as such. Any other byte becomes a lone surrogate, U+DC80 to U+DCFF, as with Python's
 * surrogateescape (PEP 383). UTF-8 has no surrogates, so different bytes are different strings, and the way back is known.
 * Everything that leaves has to take it: Buffer.from and socket.write would make U+FFFD of them.
 */
const escapes = 0xdc00

/** The string of some bytes; bytesOf gives the very same bytes again. */
export function textOf(bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString()
  let text = ''
  let start = 0 // of the valid part that `at` is the end of
  for (let at = 0; at < bytes.length; ) {
    const length = sequenceLength(bytes, at)
    if (length > 0) {
      at += length
      continue
    }
    text += bytes.toString('utf8', start, at) + String.fromCharCode(escapes + bytes[at]!)
    start = ++at
  }
  return text + bytes.toString('utf8', start)
}

// With the flag u, a surrogate in a pattern is a lone one.
const lone = /[\udc80-\udcff]/u
const runs = /([\udc80-\udcff]+)/u

/** The bytes of a string: those that textOf made it of, or its UTF-8. */
export function bytesOf(text: string): Buffer {
  if (!lone.test(text)) return Buffer.from(text)
  return Buffer.concat(text.split(runs).map((part, at) => (at % 2 === 0 ? Buffer.from(part) : unescaped(part))))
}

function unescaped(part: string): Buffer {
  return Buffer.from(Array.from(part, (character) => character.charCodeAt(0) - escapes))
}

/** How many bytes it has. */
export function byteLength(text: string): number {
  return lone.test(text) ? bytesOf(text).length : Buffer.byteLength(text)
}

/** Returns whether it is made of UTF-8 alone. What it is given to may know nothing else. */
export function isUtf8Text(text: string): boolean {
  return !lone.test(text)
}

/** Bytes of the UTF-8 sequence that begins at a place, or 0 where none does. RFC 3629 section 4. */
function sequenceLength(bytes: Buffer, at: number): number {
  const first = bytes[at]!
  if (first < 0x80) return 1
  if (first < 0xc2 || first > 0xf4) return 0
  const second = bytes[at + 1] ?? 0
  const least = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80
  const most = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf
  if (second < least || second > most) return 0
  if (first < 0xe0) return 2
  if (!isContinuation(bytes[at + 2])) return 0
  if (first < 0xf0) return 3
  return isContinuation(bytes[at + 3]) ? 4 : 0
}

function isContinuation(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0xc0) === 0x80
}
