import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Renamed } from '../../src/relay/statements/renamed.js'
import { absentName, reworded, takenName } from '../../src/relay/statements/reserved-names.js'
import { inOwnWords } from '../../src/relay/statements/statement-errors.js'
import { message, messagesOf, z } from '../protocol/wire.js'

const error = (fields: Record<string, string>): Buffer =>
  message('E', ...Object.entries(fields).map(([code, text]) => z(code + text)), Buffer.alloc(1))
const fieldsOf = (bytes: Buffer): string[] => messagesOf(bytes)[0]!.body.toString().split('\0').slice(0, -2)

test('the names that no client has a statement by are not to be guessed', () => {
  expect(absentName).toMatch(/^PGBOUNCER_absent_[0-9a-f]{24}$/)
  expect(takenName).toMatch(/^PGBOUNCER_taken_[0-9a-f]{24}$/)
  expect(Buffer.byteLength(absentName), 'PostgreSQL would cut it off').toBeLessThan(64)
})

test('an error has the client’s own name in its message, in whatever language', () => {
  const german = error({
    S: 'FEHLER',
    V: 'ERROR',
    C: '26000',
    M: `vorbereitete Anweisung »${absentName}« existiert nicht`,
    R: 'x',
  })
  expect(fieldsOf(reworded(german, absentName, 'meine')!)).toEqual([
    'SFEHLER',
    'VERROR',
    'C26000',
    'Mvorbereitete Anweisung »meine« existiert nicht',
    'Rx',
  ])
})

test('only the message, only the whole name, only where it stands there', () => {
  const about = (text: string): Buffer => error({ C: '26000', M: text, D: 'PGBOUNCER_1', H: 'PGBOUNCER_1' })
  expect(fieldsOf(reworded(about('"PGBOUNCER_12" or "PGBOUNCER_1"'), 'PGBOUNCER_1', 'a')!)).toEqual([
    'C26000',
    'M"PGBOUNCER_12" or "a"',
    'DPGBOUNCER_1',
    'HPGBOUNCER_1',
  ])
  const beside = Array.from('09AZaz_').flatMap((letter) => [`${letter}PGBOUNCER_1`, `PGBOUNCER_1${letter}`])
  for (const text of ['', 'pgbouncer_1', ...beside]) {
    expect(reworded(about(text), 'PGBOUNCER_1', 'a')).toBeNull()
  }
  expect(reworded(error({ C: '26000' }), 'PGBOUNCER_1', 'a')).toBeNull()
})

test('a name may be any bytes, and as long as it likes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ min: 1, maxLength: 300 }), (bytes) => {
      const name = Buffer.from(bytes).toString('latin1')
      const told = reworded(error({ C: '26000', M: `"${takenName}"` }), takenName, name)!
      expect(told.readInt32BE(1)).toBe(told.length - 1)
      expect(told.includes(Buffer.concat([Buffer.from('M"'), bytes, Buffer.from('"')]))).toBe(true)
    }),
  )
})

test('a long error is not looked through', () => {
  const long = (size: number): Buffer => error({ C: 'P0001', M: `${'x'.repeat(size)} "PGBOUNCER_1"` })
  expect(reworded(long(10_000), 'PGBOUNCER_1', 'a')).not.toBeNull()
  expect(reworded(long(20_000), 'PGBOUNCER_1', 'a')).toBeNull()
})

test('what is no ErrorResponse, or has no end, is left as it is', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), fc.boolean(), (bytes, isError) => {
      const body = Buffer.concat([bytes, Buffer.from('M"PGBOUNCER_1"')])
      const message = Buffer.concat([Buffer.from(isError ? 'E' : 'N'), Buffer.alloc(4), body])
      expect(() => reworded(message, 'PGBOUNCER_1', 'a')).not.toThrow()
    }),
  )
})

test('the note of what failed tells which name it was', () => {
  const chunk = error({ C: '26000', M: `"${absentName}"` })
  const note = new Renamed(absentName, 'mine')
  const told = inOwnWords(Buffer.concat([Buffer.from('before'), chunk]), 6, 6 + chunk.length, note)
  expect(fieldsOf(told!)).toEqual(['C26000', 'M"mine"'])
  expect(inOwnWords(chunk, 0, chunk.length + 1, note), 'not all there').toBeNull()
})
