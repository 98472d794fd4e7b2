import { createHash } from 'node:crypto'
import { createRequire } from 'node:module'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { answerMd5, md5Hash, verifyMd5Answer } from '../../src/auth/md5.js'
import { parseStoredSecret } from '../../src/auth/secrets.js'

interface PgCrypto {
  postgresMd5PasswordHash(user: string, password: string, salt: Buffer): Promise<string>
}
const pgCrypto: PgCrypto = createRequire(import.meta.url)('pg/lib/crypto/utils')

const salt = Buffer.from([1, 2, 0xfe, 0xff])

test('the hash is the one that PostgreSQL stores', () => {
  expect(md5Hash('1234', 'admin').reveal()).toBe('md545f2603610af569b6155c45067268c6b')
  expect(md5Hash('pencil', 't').reveal()).toBe('md531dcc6c3366b993fb4b6c619e63776f2')
  expect(md5Hash('päßword', 't').reveal()).toBe('md5550487280137deb791994aaf698e91ec')
})

test('the answer is the same from a password and from its hash, and the one that node-postgres gives', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.string({ unit: 'grapheme', minLength: 1 }),
      fc.string({ unit: 'grapheme' }),
      fc.uint8Array({ minLength: 4, maxLength: 4 }),
      async (password, user, bytes) => {
        const salt = Buffer.from(bytes)
        const plain = parseStoredSecret(password)
        const hashed = parseStoredSecret(md5Hash(password, user).reveal())
        const theirs = await pgCrypto.postgresMd5PasswordHash(user, password, salt)
        expect(answerMd5(plain, user, salt)).toBe(theirs)
        expect(answerMd5(hashed, user, salt)).toBe(theirs)
        expect(verifyMd5Answer(plain, user, salt, Buffer.from(theirs))).toBe(true)
        expect(verifyMd5Answer(hashed, user, salt, Buffer.from(theirs))).toBe(true)
      },
    ),
  )
})

test('a wrong password, salt or user is refused', () => {
  const stored = parseStoredSecret('pencil')
  const answer = answerMd5(stored, 'sam', salt)!
  expect(verifyMd5Answer(stored, 'sam', salt, Buffer.from(answer))).toBe(true)
  expect(verifyMd5Answer(stored, 'sam', Buffer.alloc(4), Buffer.from(answer))).toBe(false)
  expect(verifyMd5Answer(stored, 'tom', salt, Buffer.from(answer))).toBe(false)
  expect(verifyMd5Answer(parseStoredSecret('pen'), 'sam', salt, Buffer.from(answer))).toBe(false)
  for (const text of ['', 'md5', 'pencil', answer.slice(3), `${answer}0`, answer.toUpperCase()]) {
    expect(verifyMd5Answer(stored, 'sam', salt, Buffer.from(text)), text).toBe(false)
  }
})

test('a user without a password can answer nothing right, not even what the mock hash would make right', () => {
  const zeros = createHash('md5').update('0'.repeat(32)).update(salt).digest('hex')
  const scram = `SCRAM-SHA-256$1:AAAA$${'A'.repeat(43)}=:${'A'.repeat(43)}=`
  for (const stored of [parseStoredSecret(null), parseStoredSecret(''), parseStoredSecret(scram)]) {
    expect(answerMd5(stored, 'sam', salt)).toBeUndefined()
    for (const text of [`md5${zeros}`, '', 'md5', 'null', answerMd5(parseStoredSecret('null'), 'sam', salt)!]) {
      expect(verifyMd5Answer(stored, 'sam', salt, Buffer.from(text)), `${stored.kind} ${text}`).toBe(false)
    }
  }
})
