import { inspect } from 'node:util'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodeBase64, parseStoredSecret, type StoredSecret } from '../../src/auth/secrets.js'

const scram =
  'SCRAM-SHA-256$4096:zelJREXFT01TA5dXqiCUww==$61d/9ej26sD/k0ULoerrfbwPkWgNg9O44L1nBfcZbXI=:fuMKCeWxgrVoisx54WFRrMpeMfXZM/M9DrTROqfxpNg='

test.each<[string, string | null, StoredSecret['kind']]>([
  ['NULL', null, 'none'],
  ['an empty text', '', 'none'],
  ['an md5 hash', 'md531dcc6c3366b993fb4b6c619e63776f2', 'md5'],
  ['md5 alone', 'md5', 'plain'],
  ['an md5 hash in capitals', 'md531DCC6C3366B993FB4B6C619E63776F2', 'plain'],
  ['an md5 hash and a line feed', 'md531dcc6c3366b993fb4b6c619e63776f2\n', 'plain'],
  ['an md5 hash that is too long', 'md531dcc6c3366b993fb4b6c619e63776f2a', 'plain'],
  ['a SCRAM secret of PostgreSQL', scram, 'scram'],
  ['a SCRAM secret with an empty salt', scram.replace('zelJREXFT01TA5dXqiCUww==', ''), 'scram'],
  ['a SCRAM secret with more after it', `${scram}x`, 'plain'],
  ['a SCRAM secret with a line feed', `${scram}\n`, 'plain'],
  ['a SCRAM secret without iterations', scram.replace('4096', ''), 'plain'],
  ['a SCRAM secret of 0 iterations', scram.replace('4096', '0'), 'plain'],
  ['a SCRAM secret of 2^31 iterations', scram.replace('4096', '2147483648'), 'plain'],
  ['a SCRAM secret with a broken salt', scram.replace('zelJ', 'zel'), 'plain'],
  ['a SCRAM secret with a salt in base64url', scram.replace('zelJ', 'ze_J'), 'plain'],
  ['a SCRAM secret with a short key', scram.replace('61d/9ej2', '61d/'), 'plain'],
  ['a SCRAM secret of another hash', scram.replace('256', '512'), 'plain'],
  ['anything else', 'null', 'plain'],
])('%s is told apart', (_, text, kind) => {
  expect(parseStoredSecret(text).kind).toBe(kind)
})

test('a SCRAM secret is taken apart', () => {
  const secret = parseStoredSecret(scram)
  if (secret.kind !== 'scram') throw new Error(secret.kind)
  expect(secret.iterations).toBe(4096)
  expect(secret.salt.toString('base64')).toBe('zelJREXFT01TA5dXqiCUww==')
  expect(secret.storedKey.toString('base64')).toBe('61d/9ej26sD/k0ULoerrfbwPkWgNg9O44L1nBfcZbXI=')
  expect(secret.serverKey.toString('base64')).toBe('fuMKCeWxgrVoisx54WFRrMpeMfXZM/M9DrTROqfxpNg=')
})

test('any text is one of the kinds, and a plaintext one is kept as it is', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), (text) => {
      const secret = parseStoredSecret(text)
      expect(secret.kind).toBe('plain')
      if (secret.kind === 'plain') expect(secret.password.reveal()).toBe(text)
    }),
  )
})

test('base64 is read strictly, and as it was written', () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      expect(decodeBase64(Buffer.from(bytes).toString('base64'))).toEqual(Buffer.from(bytes))
    }),
  )
  for (const text of ['a', 'ab', 'abc', 'ab=c', '====', 'ab cd===', 'abc-', 'abcd\n']) {
    expect(decodeBase64(text), text).toBeUndefined()
  }
})

test('a stored secret is never printed', () => {
  const secrets = { plain: 'hunter2', md5: 'md531dcc6c3366b993fb4b6c619e63776f2', scram }
  for (const [kind, text] of Object.entries(secrets)) {
    const secret: unknown = parseStoredSecret(text)
    expect(secret).toHaveProperty('kind', kind)
    const printed = [
      inspect(secret, { showHidden: true, getters: true, depth: Number.POSITIVE_INFINITY }),
      JSON.stringify({ secret }),
      String(secret),
    ].join('\n')
    expect(printed).not.toContain('hunter2')
    expect(printed).not.toContain('31dcc6')
    expect(printed).not.toMatch(/cd e9 49|eb 57 7f|7e e3 0a|"data"|zelJ|61d\/|fuMK/)
  }
})
