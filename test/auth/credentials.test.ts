import { expect, test } from 'vitest'
import { learnt } from '../../src/auth/credentials.js'
import type { ScramKeys } from '../../src/auth/scram-keys.js'
import type { StoredSecret } from '../../src/auth/secrets.js'
import type { Credentials } from '../../src/auth/server-login.js'
import { Secret } from '../../src/config/secret.js'

const none: StoredSecret = { kind: 'none' }
const plain: StoredSecret = { kind: 'plain', password: new Secret('plain') }
const md5 = (hash: string): StoredSecret => ({ kind: 'md5', hash: new Secret(hash) })
const password = new Secret('typed')
const other = new Secret('other')
const keys = { clientKey: Buffer.of(1) } as unknown as ScramKeys
const of = (stored: StoredSecret, more: Partial<Credentials> = {}): Credentials => ({ user: 'u', stored, ...more })

test.each<[string, Credentials, Credentials, Partial<Credentials>]>([
  ['by trust', of(md5('a'), { password }), of(md5('a')), { stored: md5('a'), password, keys: undefined }],
  ['by trust', of(md5('a'), { keys }), of(md5('a')), { stored: md5('a'), password: undefined, keys }],
  ['of a user whom the file does not know', of(md5('a'), { keys }), of(none), { stored: md5('a'), keys }],
  ['after which the file knows it', of(none, { password }), of(md5('a')), { stored: md5('a'), password }],
  ['after which the file has its password', of(none, { password }), of(plain), { stored: plain, password: undefined }],
  ['by SCRAM, after one that typed it', of(md5('a'), { password }), of(md5('a'), { keys }), { password, keys }],
  ['with another password', of(none, { password }), of(none, { password: other }), { password: other }],
  ['after which the secret is another', of(md5('a'), { password, keys }), of(md5('b')), { stored: md5('b') }],
])('after a login %s', (_, known, latest, expected) => {
  const { stored, password, keys } = learnt(known, latest)
  expect({ stored, password, keys }).toEqual({ password: undefined, keys: undefined, stored, ...expected })
})
