import fc from 'fast-check'
import { expect, test } from 'vitest'
import { defineTable, encodeRow, int4, text } from '../../src/admin/table.js'

const table = defineTable('T', () => [], [
  ['one', text, () => ''],
  ['two', text, () => ''],
  ['three', int4, () => 0],
])

/** Built in the plainest way. */
function dataRow(cells: readonly (string | null)[]): Buffer {
  const parts = cells.flatMap((cell) => {
    const bytes = Buffer.from(cell ?? '')
    const length = Buffer.alloc(4)
    length.writeInt32BE(cell === null ? -1 : bytes.length)
    return [length, bytes]
  })
  const body = Buffer.concat([Buffer.of(0, cells.length), ...parts])
  const header = Buffer.alloc(5)
  header.write('D')
  header.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([header, body])
}

test('a row is the same bytes, whatever is in it', () => {
  const cell = fc.oneof(
    fc.constantFrom('', 'plain', '\u00ff', 'é', '\u007f', 'x'.repeat(127), 'x'.repeat(128), 'x'.repeat(70_000)),
    fc.string({ unit: 'grapheme' }),
    fc.constant(null),
  )
  fc.assert(
    fc.property(cell, cell, fc.integer(), (one, two, three) => {
      const whole = Math.min(Math.max(three, -(2 ** 31)), 2 ** 31 - 1)
      expect(encodeRow(table, [one, two, three])).toEqual(dataRow([one, two, String(whole)]))
    }),
  )
})
