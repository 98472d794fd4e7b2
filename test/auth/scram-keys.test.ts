import { inspect } from 'node:util'
import { expect, test, vi } from 'vitest'
import { ScramKeyring } from '../../src/auth/scram-keys.js'
import { verifierOf } from './scram-peer.js'

// Counts the derivations, and lets the real one do the work.
const counted = vi.hoisted(() => ({ pbkdf2: 0 }))
vi.mock('node:crypto', async (original) => {
  const crypto = await original<typeof import('node:crypto')>()
  const pbkdf2: typeof crypto.pbkdf2 = (...given) => {
    counted.pbkdf2++
    crypto.pbkdf2(...given)
  }
  return { ...crypto, pbkdf2 }
})

const salt = Buffer.from('0123456789abcdef')

async function derivations(run: () => Promise<unknown>): Promise<number> {
  const before = counted.pbkdf2
  await run()
  return counted.pbkdf2 - before
}

test('keys are those of RFC 5802', async () => {
  const keys = await new ScramKeyring().keysFor('pencil', salt, 50)
  const expected = verifierOf('pencil', salt, 50)
  expect(keys.clientKey).toEqual(expected.clientKey)
  expect(keys.serverKey).toEqual(expected.serverKey)
  expect(keys.storedKey).toEqual(expected.storedKey)
})

// Secrets as PostgreSQL 15 stored them for these passwords.
test.each([
  ['ASCII', 'pencil', 'zelJREXFT01TA5dXqiCUww==', 'fuMKCeWxgrVoisx54WFRrMpeMfXZM/M9DrTROqfxpNg='],
  [
    'what SASLprep changes',
    'I\u00adX \u2168\u3000\ufb01',
    'J1HerMKvZGo8oajIV3lo5A==',
    'xZwh/LCMUS+tHipXq9YSKy4yH61Veac7iN5GhqD2bWw=',
  ],
  ['what SASLprep refuses', '\u0627\u2168', 'JWfS7mL5RrMcOxlOxwbQcw==', 'O7Visq7ZG8e6ZMp2WX5hhRuvqjnPTcwz9vUxdlWo6Rg='],
])('keys are those that PostgreSQL derives: %s', async (_, password, base64, serverKey) => {
  const keyring = new ScramKeyring()
  for (const form of [password, Buffer.from(password)]) {
    const keys = await keyring.keysFor(form, Buffer.from(base64, 'base64'), 4096)
    expect(keys.serverKey.toString('base64')).toBe(serverKey)
  }
})

test('a password that is not UTF-8 is used as it is', async () => {
  const keyring = new ScramKeyring()
  const one = await keyring.keysFor(Buffer.from([0xff]), salt, 1)
  const other = await keyring.keysFor(Buffer.from([0xfe]), salt, 1)
  expect(one.serverKey).not.toEqual(other.serverKey)
})

test('the same password, salt and iterations are derived once, also when asked for at the same time', async () => {
  const keyring = new ScramKeyring()
  expect(await derivations(() => Promise.all(Array.from({ length: 50 }, () => keyring.keysFor('a', salt, 9))))).toBe(1)
  expect(await derivations(() => keyring.keysFor('a', salt, 9))).toBe(0)
  expect(await derivations(() => keyring.keysFor('b', salt, 9))).toBe(1)
  expect(await derivations(() => keyring.keysFor('a', salt, 8))).toBe(1)
  expect(await derivations(() => keyring.keysFor('a', salt.subarray(1), 9))).toBe(1)
})

test('only so many are remembered, those used last', async () => {
  const keyring = new ScramKeyring({ capacity: 2 })
  for (const password of ['a', 'b', 'a', 'c']) await keyring.keysFor(password, salt, 1)
  expect(await derivations(() => keyring.keysFor('a', salt, 1))).toBe(0)
  expect(await derivations(() => keyring.keysFor('c', salt, 1))).toBe(0)
  expect(await derivations(() => keyring.keysFor('b', salt, 1))).toBe(1)
})

test('wrong guesses push nothing out', async () => {
  const keyring = new ScramKeyring({ capacity: 1 })
  await keyring.keysFor('right', salt, 1)
  for (const guess of ['a', 'b', 'c']) await keyring.keysFor(guess, salt, 1, () => false)
  expect(await derivations(() => keyring.keysFor('right', salt, 1, () => true))).toBe(0)
  expect(await derivations(() => keyring.keysFor('a', salt, 1, () => false))).toBe(1)
})

test('what is announced for a user without a SCRAM secret is stable, and known to no one else', () => {
  const keyring = new ScramKeyring()
  expect(keyring.saltFor('sam')).toHaveLength(16)
  expect(keyring.saltFor('sam')).toEqual(keyring.saltFor('sam'))
  expect(keyring.saltFor('sam')).not.toEqual(keyring.saltFor('tom'))
  expect(keyring.saltFor('sam')).not.toEqual(new ScramKeyring().saltFor('sam'))
  const key = Buffer.alloc(32, 7)
  expect(new ScramKeyring({ key }).saltFor('sam')).toEqual(new ScramKeyring({ key }).saltFor('sam'))
})

test('keys are never printed', async () => {
  const keyring = new ScramKeyring({ key: Buffer.from('processprocessprocessprocess1234') })
  const keys = await keyring.keysFor('pencil', salt, 1)
  for (const value of [keys, keyring] as unknown[]) {
    const options = { showHidden: true, getters: true, depth: Number.POSITIVE_INFINITY }
    const printed = `${inspect(value, options)} ${JSON.stringify(value)} ${String(value)}`
    expect(printed).not.toMatch(/Buffer|data|pencil|process/)
  }
})
