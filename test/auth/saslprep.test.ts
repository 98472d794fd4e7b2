import fc from 'fast-check'
import { expect, test } from 'vitest'
import { saslprep } from '../../src/auth/saslprep.js'

// RFC 4013 section 3.
test.each([
  ['I\u00adX', 'IX'],
  ['user', 'user'],
  ['USER', 'USER'],
  ['\u00aa', 'a'],
  ['\u2168', 'IX'],
])('%j becomes %j', (input, output) => {
  expect(saslprep(input)).toBe(output)
})

test('ASCII is left alone, control characters too, as PostgreSQL does', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary-ascii' }), (text) => {
      expect(saslprep(text)).toBe(text)
    }),
  )
})

test('a zero-width space becomes a space, other zero-width characters go', () => {
  expect(saslprep('a\u200bb\u200cc\u2060d\ufeff')).toBe('a bcd')
  expect(saslprep('a\u3000b\u00a0c')).toBe('a b c')
})

test.each([
  ['what is empty once mapped', '\u00ad\ufeff'],
  ['a control character', '\u0085'],
  ['a private character', '\ue000'],
  ['a non-character', '\ufdd0'],
  ['a lone surrogate', '\ud800'],
  ['a change of display', '\u202e'],
  ['a tag', '\u{e0041}'],
  ['a character of after Unicode 3.2', '\u0221'],
  ['an emoji', '\u{1f600}'],
  ['the end of the code space', '\u{10ffff}'],
  ['a right-to-left letter followed by a digit (RFC 4013)', '\u06271'],
  ['right-to-left around left-to-right', '\u0627a\u0627'],
  ['right-to-left that begins otherwise', '1\u0627'],
])('%s is refused', (_, text) => {
  expect(saslprep(text)).toBeUndefined()
})

test('right-to-left around a digit is accepted', () => {
  expect(saslprep('\u06271\u0628')).toBe('\u06271\u0628')
})

test('the tables are those of RFC 3454', () => {
  // Counted with Python's stringprep module.
  let accepted = 0
  let rightToLeft = 0
  let leftToRight = 0
  for (let code = 0x80; code <= 0x10ffff; code++) {
    const character = String.fromCodePoint(code)
    if (saslprep(`1${character}1`) !== undefined) accepted++
    // Between digits all but right-to-left is fine, between Alefs all but left-to-right.
    else if (saslprep(character) !== undefined) rightToLeft++
    if (saslprep(`\u0627${character}\u0627`) === undefined && saslprep(`1${character}1`) !== undefined) leftToRight++
  }
  expect({ accepted, rightToLeft, leftToRight }).toEqual({ accepted: 93_874, rightToLeft: 1042, leftToRight: 90_404 })
})
