import { expect, test } from 'vitest'
import { md5Hash } from '../../src/auth/md5.js'
import { verifyPassword } from '../../src/auth/password.js'
import { ScramKeyring } from '../../src/auth/scram-keys.js'
import { parseStoredSecret } from '../../src/auth/secrets.js'
import { verifierOf } from './scram-peer.js'

const keyring = new ScramKeyring()
const salt = Buffer.from('0123456789abcdef')

test.each([
  ['plain', 'pencil'],
  ['md5', md5Hash('pencil', 'sam').reveal()],
  ['scram', verifierOf('pencil', salt, 64).text],
])('a password in clear text is checked against a %s secret', async (kind, text) => {
  const stored = parseStoredSecret(text)
  expect(stored.kind).toBe(kind)
  const check = (given: string) => verifyPassword(stored, 'sam', Buffer.from(given), keyring)
  expect(await check('pencil')).toBe(true)
  expect(await check('pencil')).toBe(true)
  for (const given of ['', 'pen', 'pencil ', 'Pencil', text === 'pencil' ? 'x' : text]) {
    expect(await check(given), given).toBe(false)
  }
})

test('a user without a password has no right one', async () => {
  for (const stored of [parseStoredSecret(null), parseStoredSecret('')]) {
    for (const given of ['', 'null', 'md5', 'x']) {
      expect(await verifyPassword(stored, 'sam', Buffer.from(given), keyring)).toBe(false)
    }
  }
})

test('an empty password is wrong even where the stored hash is that of an empty one', async () => {
  for (const text of [md5Hash('', 'sam').reveal(), verifierOf('', salt, 1).text]) {
    expect(await verifyPassword(parseStoredSecret(text), 'sam', Buffer.alloc(0), keyring)).toBe(false)
  }
})

test('bytes that are not UTF-8 are told apart', async () => {
  const decoded = parseStoredSecret(Buffer.from([0xff]).toString())
  expect(await verifyPassword(decoded, 'sam', Buffer.from([0xfe]), keyring)).toBe(false)
  const hashed = parseStoredSecret(md5Hash(Buffer.from([0xff]), 'sam').reveal())
  expect(await verifyPassword(hashed, 'sam', Buffer.from([0xfe]), keyring)).toBe(false)
  expect(await verifyPassword(hashed, 'sam', Buffer.from([0xff]), keyring)).toBe(true)
})

test('a password is normalised before it meets a SCRAM secret', async () => {
  const stored = parseStoredSecret(verifierOf('IX fi', salt, 2).text)
  expect(await verifyPassword(stored, 'sam', Buffer.from('I\u00adX\u00a0\ufb01'), keyring)).toBe(true)
})
